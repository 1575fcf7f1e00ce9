"""The user agent's file: which agents, as whom (interface section 3; the draft's `.flow.yml`)."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from eson.errors import EsonError, NameNotAllowed
from eson.model.names import canonical, is_at_or_below

Tls = Literal["implicit", "starttls", "none"]
_AGENT_KEYS = {
    *("name", "fqdn", "address", "tls", "trust", "prefix"),
    *("username", "password", "password_command", "token_command"),
}
_TOP_KEYS = {"agents", "namespaces", "default", "nameserver"}


class _Loader(yaml.SafeLoader):
    """Plain words are text, null aside: the password `0123` is no octal number, and `on` no truth."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag == "tag:yaml.org,2002:null"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class ProfileError(EsonError):
    """The user agent's file cannot be used.  Retry: after it was mended."""


@dataclass(frozen=True)
class AgentProfile:
    """One agent that the user has an account at.  `address` host:port, "" for what DNS says of `fqdn`."""

    name: str
    fqdn: str
    username: str = ""
    password: str = field(default="", repr=False)
    password_command: str = ""
    prefix: str = ""
    address: str = ""
    tls: Tls | None = None
    trust: str = "system"

    def secret(self) -> str:
        """The password: as written, or what `password_command` prints.  Raises `ProfileError`."""
        if not self.password_command:
            return self.password
        done = subprocess.run(self.password_command, shell=True, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ProfileError(
                f"password_command of agent {self.name} failed with status {done.returncode}: "
                f"run it by hand to see why"
            )
        return done.stdout.rstrip("\r\n")


@dataclass(frozen=True)
class Profile:
    """What the file says.  `path` is None if there is none."""

    path: Path | None = None
    agents: tuple[AgentProfile, ...] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    default: str = ""
    nameserver: str = ""

    def agent(self, name: str = "", below: str = "") -> AgentProfile:
        """The agent with that name or FQDN, else the one that serves `below`, else the default one."""
        for agent in self.agents:
            if name and name in (agent.name, agent.fqdn):
                return agent
        if name:
            return AgentProfile(name=name, fqdn=_fqdn(name, self.path))
        serving = [n for n in self.namespaces if below and is_at_or_below(below, n)]
        wanted = self.namespaces[max(serving, key=len)] if serving else self.default
        for agent in self.agents:
            if agent.name == wanted or (not wanted and len(self.agents) == 1):
                return agent
        raise ProfileError(
            "No agent is chosen: name one with -a, or set `default:` in the user agent's file "
            f"({self.path or '~/.config/eson/fnua.yaml'})"
        )


def candidates(chosen: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Where the file may be, first that exists wins; a chosen one (`-c`, $FNUA_CONFIG) must exist."""
    if chosen or environment.get("FNUA_CONFIG"):
        return [Path(chosen or environment["FNUA_CONFIG"])]
    home = Path(environment.get("HOME", "~")).expanduser()
    base = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return [base / "eson" / "fnua.yaml", home / ".flow.yml"]


def load_profile(chosen: str | None = None, environment: Mapping[str, str] | None = None) -> Profile:
    """Reads the first file that exists; an empty profile if there is none.  Raises `ProfileError`."""
    env = os.environ if environment is None else environment
    places = candidates(chosen, env)
    for path in places:
        if path.exists():
            return parse_profile(path)
    if chosen or env.get("FNUA_CONFIG"):
        raise ProfileError(f"{places[0]} does not exist: create it, or leave out -c and $FNUA_CONFIG")
    return Profile()


def parse_profile(path: Path) -> Profile:
    """Reads one file.  Raises `ProfileError`, also if others can read it and it holds a password."""
    try:
        text = path.read_text("utf-8")
        data = yaml.load(text, _Loader) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        # nothing of the line itself, which may hold a password
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise ProfileError(f"{path} is no YAML{where}: {error.problem or 'mend it'}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ProfileError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    _known(path, "the file", data, _TOP_KEYS)
    agents = tuple(_agent(path, entry) for entry in _entries(path, data, "agents"))
    if any(agent.password for agent in agents) and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ProfileError(f"{path} holds a password and others can read it: chmod 600 {path}")
    namespaces = {}
    for entry in _entries(path, data, "namespaces"):
        _known(path, "namespaces", entry, {"name", "agent"})
        namespaces[_fqdn(str(entry.get("name", "")), path)] = str(entry.get("agent", ""))
    default = str(data.get("default", ""))
    names = {agent.name for agent in agents}
    for wanted in [*namespaces.values(), *([default] if default else [])]:
        if wanted not in names:
            raise ProfileError(f"{path}: there is no agent named {wanted!r} under `agents:`")
    return Profile(path, agents, namespaces, default, str(data.get("nameserver", "")))


def _agent(path: Path, entry: Any) -> AgentProfile:
    _known(path, "agents", entry, _AGENT_KEYS)
    if "token_command" in entry:
        raise ProfileError(f"{path}: token_command is not available yet: use password or password_command")
    tls = entry.get("tls")
    if str(tls).lower() in ("no", "off", "false"):
        tls = "none"
    if tls not in (None, "implicit", "starttls", "none"):
        raise ProfileError(f"{path}: tls of an agent is implicit, starttls or none, not {tls!r}")
    values = {key: str(value) for key, value in entry.items() if key != "tls" and value is not None}
    if "fqdn" not in values:
        raise ProfileError(f"{path}: an agent needs `fqdn:`, its name in DNS")
    values["fqdn"] = _fqdn(values["fqdn"], path)
    values.setdefault("name", values["fqdn"])
    trust = values.get("trust", "system")
    if trust != "system" and not trust.startswith("pin-sha256:"):
        values["trust"] = str(path.parent / trust)
    return AgentProfile(
        name=values["name"],
        fqdn=values["fqdn"],
        username=values.get("username", ""),
        password=values.get("password", ""),
        password_command=values.get("password_command", ""),
        prefix=values.get("prefix", ""),
        address=values.get("address", ""),
        tls=tls,
        trust=values.get("trust", "system"),
    )


def _entries(path: Path, data: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = data.get(key) or []
    if not isinstance(found, list):
        raise ProfileError(f"{path}: `{key}:` is a list of entries, each beginning with a hyphen")
    return found


def _known(path: Path, where: str, data: Any, keys: set[str]) -> None:
    if not isinstance(data, dict):
        raise ProfileError(f"{path}: {where} must hold `key: value` pairs")
    for key in data:
        if key not in keys:
            raise ProfileError(f"{path}: unknown key {key!r} in {where}: known are {', '.join(sorted(keys))}")


def _fqdn(name: str, path: Path | None) -> str:
    try:
        return canonical(name)
    except NameNotAllowed as error:
        where = f"{path}: " if path else ""
        raise ProfileError(
            f"{where}{error.text}: give the agent's name in DNS, such as fnaa.unix.ar"
        ) from None
