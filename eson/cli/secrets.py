"""Passwords of agents: the user agent's file, else the system's keyring where there is one, else the terminal."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

import click

from eson.cli.lines import WrongWords
from eson.cli.profile import AgentProfile

_PREFIX = "fnua:"


def keyring() -> Any | None:
    """The `keyring` package with a backend that keeps something, or None."""
    try:
        found = importlib.import_module("keyring")
        usable = found.get_keyring().priority > 0
    except Exception:  # a backend may fail in any way: then there is none
        return None
    return found if usable else None


def with_secret(agent: AgentProfile) -> AgentProfile:
    """The agent with user name and password filled in as far as they are known.  Raises `ProfileError`."""
    if agent.password or agent.password_command:
        return replace(agent, password=agent.secret())
    user, password = _kept(agent)
    if password:
        return replace(agent, username=agent.username or user, password=password)
    if agent.username and sys.stdin.isatty():
        return replace(agent, password=ask_password(agent))
    return agent


def ask_password(agent: AgentProfile) -> str:
    """From the terminal, unseen; the question goes to stderr.  Without a terminal the first line of the input.

    Raises `WrongWords` if none comes.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise WrongWords(
                f"No password came for {agent.username}: type it, or give it on a line of the input"
            )
        return line
    answer: str = click.prompt(f"Password of {agent.username} at {agent.fqdn}", hide_input=True, err=True)
    return answer


def keep(agent: AgentProfile) -> bool:
    """Puts the password into the keyring; whether there is one."""
    found = keyring()
    if found is None:
        return False
    try:
        found.set_password(_PREFIX + agent.fqdn, agent.username, agent.password)
    except Exception:  # any backend: then nothing is kept
        return False
    return True


def _kept(agent: AgentProfile) -> tuple[str, str]:
    found = keyring()
    if found is None:
        return "", ""
    try:
        credential = found.get_credential(_PREFIX + agent.fqdn, agent.username or None)
    except Exception:  # any backend: then nothing was kept
        return "", ""
    return (credential.username or "", credential.password or "") if credential is not None else ("", "")
