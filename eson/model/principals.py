"""Principals: who asks (design section 9; interface section 4, `principal`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from eson.errors import Usage
from eson.model.names import canonical

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


Kind = Literal["user", "group", "participant", "anonymous"]


@dataclass(frozen=True, order=True)
class Principal:
    """`user:name[@participant]`, `group:name`, `participant:domain` or `anonymous`.

    A user of the own participant has an empty `participant`; one of another participant names it.
    """

    kind: Kind
    name: str = ""
    participant: str = ""

    def __str__(self) -> str:
        if self.kind == "anonymous":
            return "anonymous"
        if self.kind == "participant":
            return f"participant:{self.participant}"
        suffix = f"@{self.participant}" if self.participant else ""
        return f"{self.kind}:{self.name}{suffix}"


ANONYMOUS = Principal("anonymous")


def user(name: str, participant: str = "") -> Principal:
    """A user; `participant` only for users of another participant."""
    return Principal("user", name, participant)


def parse_principal(text: str) -> Principal:
    """The principal that `text` names (interface section 4).  Raises `Usage`."""
    if text.lower() == "anonymous":
        return ANONYMOUS
    word, _, rest = text.partition(":")
    word = word.lower()
    if word == "participant" and rest:
        return Principal("participant", participant=canonical(rest))
    if word == "group" and _NAME.match(rest):
        return Principal("group", rest)
    if word == "user":
        name, at, domain = rest.partition("@")
        if _NAME.match(name) and (not at or domain):
            return Principal("user", name, canonical(domain) if at else "")
    raise Usage("Usage: user:NAME[@DOMAIN] | group:NAME | participant:DOMAIN | anonymous")


@dataclass(frozen=True)
class Caller:
    """A logged-in peer: the principal and what its account adds.

    `account` is the name it logged in with (empty: anonymous); `home` the home namespace ("" if none);
    `operator` may do all; `mechanism` and `tls` are those of the session, for WHOAMI; `agent_of` is the participant whose
    agent logged in with an account that we gave it ("" for our own people).
    """

    principal: Principal
    account: str = ""
    home: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)
    operator: bool = False
    mechanism: str = ""
    tls: bool = False
    agent_of: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this participant's own users."""
        return self.principal.kind == "user" and not self.principal.participant and not self.agent_of

    @property
    def principals(self) -> frozenset[Principal]:
        """All principals that this caller acts as: itself, its groups and its participant."""
        own = {self.principal} | {Principal("group", name) for name in self.groups}
        if self.principal.participant:
            own.add(Principal("participant", participant=self.principal.participant))
        return frozenset(own)
