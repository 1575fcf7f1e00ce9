"""The port to what the agent remembers.

Writing: changes are values; one `apply` is one transaction, synced when it returns.  Reading: one method per question.
All methods are awaited in the reactor's thread, never block it, and raise `BackendFailed` when the store cannot read or
write (full disk, I/O error): then nothing of that `apply` is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from eson.model.flows import Flow, Namespace
from eson.model.principals import Principal
from eson.model.subscriptions import Side, Subscription
from eson.store.records import Account, AuditEntry, Call, Intention, StoredCredential, StoredProcessor


@dataclass(frozen=True)
class PutNamespace:
    namespace: Namespace


@dataclass(frozen=True)
class DropNamespace:
    name: str


@dataclass(frozen=True)
class PutFlow:
    flow: Flow


@dataclass(frozen=True)
class DropFlow:
    name: str


@dataclass(frozen=True)
class PutSubscription:
    """`replaces`: the id under which this side's record was kept before, "" if it is the same."""

    subscription: Subscription
    replaces: str = ""


@dataclass(frozen=True)
class DropSubscription:
    side: Side
    id: str


@dataclass(frozen=True)
class UseLabel:
    """Takes a copy's label for ever.  Raises `Conflict` if it was ever used."""

    label: str


@dataclass(frozen=True)
class PutCredential:
    credential: StoredCredential


@dataclass(frozen=True)
class DropCredential:
    side: Side
    name: str


@dataclass(frozen=True)
class PutIntention:
    intention: Intention


@dataclass(frozen=True)
class DropIntention:
    object: str


@dataclass(frozen=True)
class PutCall:
    call: Call


@dataclass(frozen=True)
class DropCall:
    key: str


@dataclass(frozen=True)
class PutJournal:
    """What the journal of a processor begins with: `ProcessorStatus.lanes`."""

    processor: str
    lanes: bytes


@dataclass(frozen=True)
class DropJournal:
    processor: str


@dataclass(frozen=True)
class PutProcessor:
    processor: StoredProcessor


@dataclass(frozen=True)
class DropProcessor:
    id: str


@dataclass(frozen=True)
class PutAccount:
    account: Account


@dataclass(frozen=True)
class DropAccount:
    name: str


@dataclass(frozen=True)
class Note:
    """Appends to the audit log."""

    entry: AuditEntry


Change = (
    PutNamespace
    | DropNamespace
    | PutFlow
    | DropFlow
    | PutSubscription
    | DropSubscription
    | UseLabel
    | PutCredential
    | DropCredential
    | PutIntention
    | DropIntention
    | PutCall
    | DropCall
    | PutJournal
    | DropJournal
    | PutProcessor
    | DropProcessor
    | PutAccount
    | DropAccount
    | Note
)


class Store(Protocol):
    """What the agent remembers."""

    async def open(self) -> None:
        """Makes or migrates the schema.  Raises `BackendFailed`; also if a newer release wrote it."""

    async def close(self) -> None: ...

    async def apply(self, *changes: Change) -> None:
        """All changes or none, synced.  Puts replace, drops of what is missing succeed."""

    async def namespaces(self) -> Sequence[Namespace]: ...

    async def flow(self, name: str) -> Flow | None: ...

    async def flows(self, below: str = "", after: str = "", limit: int = 1000) -> Sequence[Flow]:
        """Flows that are no copies, by name, strictly behind `after`; only those strictly below `below` if given."""

    async def all_flows(self, after: str = "", limit: int = 1000) -> Sequence[Flow]:
        """As `flows`, copies included."""

    async def flow_directly_below(self, name: str) -> Flow | None:
        """One flow, if any, that is no copy and whose name is one label and `name`."""

    async def count_flows(self, owner: Principal) -> int:
        """Flows of an owner that are no copies; takes the same time for any number."""

    async def count_visible(self, namespace: str, owners: Collection[Principal] | None) -> int:
        """Flows of a namespace that are no copies: all, or, with `owners`, the private ones of these alone."""

    async def subscription(self, side: Side, id: str) -> Subscription | None: ...

    async def subscriptions(
        self,
        side: Side | None = None,
        *,
        flow: str = "",
        local: str = "",
        principal: Principal | None = None,
        ended: bool = False,
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[Subscription]:
        """By id, strictly behind `after`; each condition that is given must hold; ended ones only if asked for."""

    async def subscription_by_token(
        self, side: Side, principal: Principal, flow: str, token: str
    ) -> Subscription | None:
        """The one made for that token which has not ended, if any."""

    async def ended_before(self, when: datetime) -> Sequence[Subscription]:
        """At most 1,000 that ended before `when`."""

    async def count_subscriptions(self, participant: str, principal: Principal | None = None) -> int:
        """Provider's live subscriptions of one participant's principals, or of one of them; "" for the own users'."""

    async def count_pending(self) -> int:
        """Subscriptions that wait for approval, provider's side."""

    async def credential(self, side: Side, name: str) -> StoredCredential | None: ...

    async def intention(self, object: str) -> Intention | None: ...

    async def intentions(self) -> Sequence[Intention]: ...

    async def call(self, key: str) -> Call | None: ...

    async def calls(self) -> Sequence[Call]: ...

    async def journal(self, processor: str) -> bytes:
        """What `PutJournal` said, b"" if nothing."""

    async def processor(self, id: str) -> StoredProcessor | None: ...

    async def processors(
        self,
        *,
        owner: Principal | None = None,
        source: str = "",
        destination: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[StoredProcessor]:
        """Live ones by id, strictly behind `after`; each condition that is given must hold."""

    async def processors_ended_before(self, when: datetime) -> Sequence[StoredProcessor]:
        """At most 1,000 that ended before `when`."""

    async def account(self, name: str) -> Account | None: ...

    async def accounts(self) -> Sequence[Account]: ...

    async def audit(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]:
        """The audit log, oldest first, behind entry number `after`."""

    async def audited(self, act: str, object: str) -> Sequence[AuditEntry]:
        """What the audit log holds of that act with that object, oldest first."""
