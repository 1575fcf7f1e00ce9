"""What this participant hosts: its agent, its namespaces, and which of them a name belongs to."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from eson.errors import NoSuch, NotHosted
from eson.model.flows import Namespace
from eson.model.names import is_at_or_below, longest_namespace

QUEUE_LIMIT = 249
"""Octets that Kafka takes for a topic's name."""


@dataclass(frozen=True)
class Nameserver:
    """A name server of ours: its FQDN, `host:port`, and kind (`embedded`, `bind`, …)."""

    name: str
    host: str
    kind: str = "embedded"


@dataclass(frozen=True)
class Participant:
    """Who we are: domain, agent's FQDN, its addresses and port, whether that port speaks TLS from the first byte."""

    domain: str
    agent: str
    addresses: tuple[str, ...] = ()
    port: int = 0
    tls: bool = False
    nameservers: tuple[Nameserver, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Numbers that the use cases obey; sizes in octets.  Those down to `lease` are keys of `eson.yaml`."""

    flows_per_account: int = 1000
    subscriptions_per_participant: int = 100
    pending: int = 1000
    event: int = 1024 * 1024
    copies_retention: timedelta = timedelta(hours=24)
    copies_bytes: int = 1024**3
    lease: timedelta = timedelta(days=7)
    subscribe: timedelta = timedelta(seconds=60)
    """Deadline of SUBSCRIBE … LOCAL."""
    check: timedelta = timedelta(minutes=5)
    """How often a subscriber asks the copy's agent, which renews the lease."""
    reconcile: timedelta = timedelta(minutes=1)
    request: timedelta = timedelta(days=30)
    """When a request that nobody approved lapses."""
    history: timedelta = timedelta(days=30)
    """How long DESCRIBE shows a subscription that ended."""


@dataclass
class Hosting:
    """The namespaces hosted here, kept in memory because every command asks."""

    participant: Participant
    _namespaces: dict[str, Namespace] = field(default_factory=dict)

    def keep(self, namespaces: Iterable[Namespace]) -> None:
        """Adds or replaces namespaces."""
        self._namespaces.update((one.name, one) for one in namespaces)

    def forget(self, name: str) -> None:
        self._namespaces.pop(name, None)

    def all(self) -> Sequence[Namespace]:
        """All hosted namespaces by name."""
        return [self._namespaces[name] for name in sorted(self._namespaces)]

    def find(self, name: str) -> Namespace | None:
        return self._namespaces.get(name)

    def namespace(self, name: str) -> Namespace:
        """The hosted namespace of that name.  Raises `NoSuch`, or `NotHosted` if it lies in nobody's we host."""
        found = self._namespaces.get(name)
        if found is None:
            if any(is_at_or_below(name, one) for one in self._namespaces):
                raise NoSuch("namespace", name)
            raise NotHosted(name)
        return found

    def hosts(self, flow: str) -> bool:
        """Whether a flow of that name would be ours."""
        return longest_namespace(flow, self._namespaces) is not None

    def namespace_of(self, flow: str) -> Namespace:
        """The namespace that `flow` belongs to: the longest that is a suffix.  Raises `NotHosted`."""
        name = longest_namespace(flow, self._namespaces)
        if name is None:
            raise NotHosted(flow)
        return self._namespaces[name]


def queue_name(flow: str, dots: bool = True, limit: int = QUEUE_LIMIT) -> str:
    """The queue of a flow (interface section 7, "Names"): the FQDN, lower case.

    Where the broker holds no dots they become `_`; where the name is too long: its first 40 characters, `-`, and 26
    base32 characters of the SHA-256 of the flow's FQDN.
    """
    name = flow if dots else flow.replace(".", "_")
    if len(name) <= limit:
        return name
    digest = base64.b32encode(hashlib.sha256(flow.encode("ascii")).digest()).decode("ascii")
    return f"{name[:40]}-{digest[:26].lower()}"
