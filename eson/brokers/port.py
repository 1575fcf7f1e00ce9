"""The port to an events broker: what draft Figure 3 asks, plus credentials, a source and a sink.

All `async` methods are awaited in the reactor's thread and never block it; a broker that does not answer raises
`BackendFailed` within its deadline.  Operations are idempotent where they say so: the reconciler repeats them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from eson.model.servers import Server


class Capability(enum.Flag):
    """What a kind of broker can do; DESCRIBE BROKER shows it."""

    NONE = 0
    ISSUES_CREDENTIALS = enum.auto()
    EXACTLY_ONCE = enum.auto()
    SEEK_BY_TIME = enum.auto()
    CLOSES_CONNECTIONS = enum.auto()
    """Taking a right away also closes the principal's open connections."""


@dataclass(frozen=True)
class Access:
    """How clients reach a broker: `security` as in Kafka (plaintext, ssl, sasl_plaintext, sasl_ssl).

    `trust` is PEM text of the CA for TLS, "" for the system's.
    """

    servers: tuple[Server, ...]
    security: str = "plaintext"
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    trust: str = ""


@dataclass(frozen=True)
class Queue:
    """A queue (Kafka: topic).  `id` changes when it is deleted and created again ("" where the kind has none)."""

    name: str
    partitions: int
    id: str = ""
    retention_ms: int | None = None
    retention_bytes: int | None = None


@dataclass(frozen=True)
class Rights:
    """What a broker user may do: queues to read, queues to write, and the prefix of its consumer groups."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    groups_prefix: str = ""
    group: str = ""


@dataclass(frozen=True)
class Record:
    """One record as a broker holds it; `timestamp` in milliseconds since 1970, -1 if there is none."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Source(Protocol):
    """A running read of one queue."""

    async def next_records(self) -> Sequence[Record]:
        """The next records (bounded in count and octets); waits; [] at the end of a bounded read."""

    def close(self) -> None: ...


class Sink(Protocol):
    """A running write to one queue, idempotent, in order."""

    async def send(self, records: Sequence[Record]) -> None:
        """Appends and waits until synced.  `partition` -1 lets the sink choose by key.  Raises `BackendFailed`."""

    def close(self) -> None: ...


class Broker(Protocol):
    """One configured broker."""

    name: str
    kind: str
    capabilities: Capability

    async def servers(self, tls: bool = False) -> Sequence[Server]:
        """What clients are told; with `tls` the TLS listeners (empty: there are none)."""

    def access(self) -> Access:
        """How the agent's own processors reach it, with the administrator's credential."""

    def client_security(self) -> str:
        """`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`: what clients of the preferred listener must use."""

    def client_trust(self) -> str:
        """PEM of the CA that clients need for the TLS listener; "" for the system's."""

    def concerns(self) -> Sequence[str]:
        """What an operator should know of its settings, a line each; nothing before it was asked."""

    async def create_queue(
        self,
        name: str,
        partitions: int = 1,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> Queue:
        """Idempotent: an existing queue with as many partitions is success.  Raises `Conflict`, `BackendFailed`."""

    async def describe_queue(self, name: str) -> Queue | None: ...

    async def update_queue(
        self, name: str, retention_ms: int | None, retention_bytes: int | None
    ) -> None: ...

    async def add_partitions(self, name: str, partitions: int) -> None: ...

    async def delete_queue(self, name: str) -> None:
        """Idempotent."""

    async def list_queues(self) -> Sequence[str]: ...

    async def list_consumers(self, name: str) -> Sequence[str]:
        """Consumer groups that have a position in the queue."""

    async def first_offsets(self, name: str) -> Mapping[int, int]: ...

    async def end_offsets(self, name: str) -> Mapping[int, int]: ...

    async def offsets_at(self, name: str, when: datetime) -> Mapping[int, int]:
        """First offset at or after `when` per partition; the end where there is none."""

    async def set_credential(self, username: str, password: str) -> None:
        """Creates the broker's user or replaces its password.  Idempotent."""

    async def allow(self, username: str, rights: Rights) -> None:
        """Gives rights.  Idempotent."""

    async def disallow(self, username: str) -> None:
        """Takes all rights of the user away and cuts its open connections as far as the kind can.  Idempotent."""

    async def delete_credential(self, username: str) -> None:
        """Idempotent."""

    async def list_users(self) -> Sequence[str]:
        """Users that have a credential."""

    async def read(self, name: str, start: Mapping[int, int], end: Mapping[int, int] | None) -> Source:
        """Reads from `start` (partition → offset) to `end` (exclusive), or on and on if `end` is None."""

    async def write(self, name: str) -> Sink: ...

    async def start(self) -> None:
        """Idempotent; a broker that is down at start does not raise: operations will."""

    async def stop(self) -> None: ...
