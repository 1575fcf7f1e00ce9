"""What the store keeps beside flows, namespaces and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from eson.model.principals import Principal
from eson.model.subscriptions import Side, State
from eson.processors.port import Kind

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Intention:
    """What a use case is about to do to `object`, recorded before it touches anything outside the store.

    `kind` names the use case; `data` (JSON values) is what the reconciler needs to finish or undo it.  An object has one
    intention at most.
    """

    kind: str
    object: str
    created: datetime
    data: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class Call:
    """A call to another participant's agent that must be repeated until it succeeded.

    `copy` is "" while only the `token` is known: then the copy made for it, if any, is looked up first.
    """

    key: str
    flow: str
    copy: str
    token: str
    principal: Principal
    created: datetime
    attempts: int = 0
    next: datetime | None = None


@dataclass(frozen=True)
class StoredCredential:
    """One side's record of a credential.

    The provider keeps `verifier` (text, from which the password cannot be found), the subscriber `sealed` (the answer to
    GET CREDENTIAL, encrypted).
    """

    name: str
    side: Side
    broker: str
    principal: Principal
    issued: datetime
    verifier: str = ""
    sealed: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class StoredProcessor:
    """A processor between flows hosted here, made by REPLICATE, COLLECT, DISTRIBUTE or SIGNAL.

    `feeds` are pairs (flow of another participant, source that a subscription made for this processor fills); `start`
    holds the offsets fixed for its one source, (partition, offset) pairs; () where it has several: those begin at their
    ends.  `when` is a signal's condition.
    """

    id: str
    kind: Kind
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    owner: Principal
    state: State
    reason: str
    actor: str
    since: datetime
    created: datetime
    feeds: tuple[tuple[str, str], ...] = ()
    start: tuple[tuple[int, int], ...] = ()
    when: str = ""


@dataclass(frozen=True)
class Account:
    """One account: the SCRAM-SHA-256 verifier (salt, iterations, StoredKey; the ServerKey is sealed), and what it may be.

    `participant` is set for another participant's agent; `source` is `file` or `command`.
    """

    name: str
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    sealed_server_key: bytes = field(repr=False)
    home: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)
    operator: bool = False
    participant: str = ""
    locked: bool = False
    source: str = "command"


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit log: who did what to which object, and how it ended.  Never holds a secret."""

    time: datetime
    actor: str
    act: str
    object: str
    outcome: str = "ok"
    detail: str = ""
    number: int = 0
    """Given by the store, rising."""
