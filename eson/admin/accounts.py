"""`eson account`: accounts in the store, whether the agent runs or not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from eson.admin.opened import opened_accounts, this_person, wait
from eson.admin.options import config_option, output_option
from eson.agent.accounts import Terms, check_name
from eson.cli.output import Style, show_list
from eson.config import Places, load
from eson.store.records import Account

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def account() -> None:
    """Add, lock, remove and list accounts; the agent sees each change at the next login."""


def _named(command: F) -> F:
    return config_option(click.argument("name")(command))


@account.command()
@_named
@click.option(
    "--home", default="", metavar="NAMESPACE", help="Home namespace, below which it may create flows."
)
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group; may be repeated.")
@click.option("--operator", is_flag=True, help="May do everything here.")
@click.option(
    "--participant",
    default="",
    metavar="DOMAIN",
    help="The account is another participant's agent, which may act for NAME@DOMAIN.",
)
def add(
    config: Path, name: str, home: str, groups: tuple[str, ...], operator: bool, participant: str
) -> None:
    """Add an account; its password is asked for, or read from the first line of standard input."""
    terms = Terms(home, frozenset(groups), operator, participant)
    places = _places(config)
    check_name(name)
    password = _new_password()
    with opened_accounts(places) as accounts:
        wait(accounts.add(this_person(), name, password, terms))
    _say(f"Account {name} added.")


@account.command()
@_named
def passwd(config: Path, name: str) -> None:
    """Change a password: asked for, or read from the first line of standard input."""
    places = _places(config)
    password = _new_password()
    with opened_accounts(places) as accounts:
        wait(accounts.set_password(this_person(), name, password))
    _say(f"Password of {name} changed.")


@account.command()
@_named
def lock(config: Path, name: str) -> None:
    """Refuse an account's logins, and end its open sessions."""
    with opened_accounts(_places(config)) as accounts:
        wait(accounts.lock(this_person(), name, True))
    _say(f"Account {name} locked.")


@account.command()
@_named
def unlock(config: Path, name: str) -> None:
    """Let an account log in again."""
    with opened_accounts(_places(config)) as accounts:
        wait(accounts.lock(this_person(), name, False))
    _say(f"Account {name} unlocked.")


@account.command()
@_named
def remove(config: Path, name: str) -> None:
    """Remove an account; its flows stay."""
    with opened_accounts(_places(config)) as accounts:
        wait(accounts.remove(this_person(), name))
    _say(f"Account {name} removed.")


@account.command(name="list")
@config_option
@output_option
def list_accounts(config: Path, output: Style) -> None:
    """List all accounts by name."""
    with opened_accounts(_places(config)) as accounts:
        found = wait(accounts.all())
    show_list([_row(one) for one in found], output)


def _row(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "source": account.source,
        "locked": account.locked,
        "operator": account.operator,
        "home": account.home,
        "groups": sorted(account.groups),
        "participant": account.participant,
    }


def _places(config: Path) -> Places:
    return Places(load(config).state)


def _new_password() -> str:
    """Never from an argument or the environment, which others can see."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _say(text: str) -> None:
    click.echo(text, err=True)
