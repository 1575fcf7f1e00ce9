"""The store's twin in memory, for tests: the same answers, nothing kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from eson.errors import Conflict
from eson.model.flows import Flow, Namespace, Visibility
from eson.model.names import is_below, parent
from eson.model.principals import Principal
from eson.model.subscriptions import Side, State, Subscription
from eson.store import port
from eson.store.port import Change
from eson.store.records import Account, AuditEntry, Call, Intention, StoredCredential, StoredProcessor


@dataclass
class _Tables:
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    subscriptions: dict[tuple[str, str], Subscription] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    credentials: dict[tuple[str, str], StoredCredential] = field(default_factory=dict)
    intentions: dict[str, Intention] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    journals: dict[str, bytes] = field(default_factory=dict)
    processors: dict[str, StoredProcessor] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)


def _put_subscription(tables: _Tables, change: port.PutSubscription) -> None:
    value = change.subscription
    if change.replaces:
        tables.subscriptions.pop((value.side.value, change.replaces), None)
    tables.subscriptions[(value.side.value, value.id)] = value


def _use_label(tables: _Tables, change: port.UseLabel) -> None:
    if change.label in tables.labels:
        raise Conflict("the label was used before")
    tables.labels.add(change.label)


_CHANGES: Mapping[type[Any], Callable[[_Tables, Any], object]] = {
    port.PutNamespace: lambda t, x: t.namespaces.update({x.namespace.name: x.namespace}),
    port.DropNamespace: lambda t, x: t.namespaces.pop(x.name, None),
    port.PutFlow: lambda t, x: t.flows.update({x.flow.name: x.flow}),
    port.DropFlow: lambda t, x: t.flows.pop(x.name, None),
    port.PutSubscription: _put_subscription,
    port.DropSubscription: lambda t, x: t.subscriptions.pop((x.side.value, x.id), None),
    port.UseLabel: _use_label,
    port.PutCredential: lambda t, x: t.credentials.update(
        {(x.credential.side.value, x.credential.name): x.credential}
    ),
    port.DropCredential: lambda t, x: t.credentials.pop((x.side.value, x.name), None),
    port.PutIntention: lambda t, x: t.intentions.update({x.intention.object: x.intention}),
    port.DropIntention: lambda t, x: t.intentions.pop(x.object, None),
    port.PutCall: lambda t, x: t.calls.update({x.call.key: x.call}),
    port.DropCall: lambda t, x: t.calls.pop(x.key, None),
    port.PutJournal: lambda t, x: t.journals.update({x.processor: x.lanes}),
    port.DropJournal: lambda t, x: t.journals.pop(x.processor, None),
    port.PutProcessor: lambda t, x: t.processors.update({x.processor.id: x.processor}),
    port.DropProcessor: lambda t, x: t.processors.pop(x.id, None),
    port.PutAccount: lambda t, x: t.accounts.update({x.account.name: x.account}),
    port.DropAccount: lambda t, x: t.accounts.pop(x.name, None),
    port.Note: lambda t, x: t.audit.append(replace(x.entry, number=len(t.audit) + 1)),
}


class MemoryStore:
    """A `Store` that forgets."""

    def __init__(self) -> None:
        self._tables = _Tables()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def apply(self, *changes: Change) -> None:
        tables = _Tables(**{name: copy.copy(value) for name, value in vars(self._tables).items()})
        for change in changes:
            _CHANGES[type(change)](tables, change)
        self._tables = tables

    async def namespaces(self) -> Sequence[Namespace]:
        return [value for _, value in sorted(self._tables.namespaces.items())]

    async def flow(self, name: str) -> Flow | None:
        return self._tables.flows.get(name)

    async def flows(self, below: str = "", after: str = "", limit: int = 1000) -> Sequence[Flow]:
        found = [f for f in self._flows(after) if not f.copy_of and (not below or is_below(f.name, below))]
        return found[:limit]

    async def all_flows(self, after: str = "", limit: int = 1000) -> Sequence[Flow]:
        return self._flows(after)[:limit]

    def _flows(self, after: str) -> list[Flow]:
        return [value for name, value in sorted(self._tables.flows.items()) if name > after]

    async def flow_directly_below(self, name: str) -> Flow | None:
        return next((f for f in self._flows("") if not f.copy_of and parent(f.name) == name), None)

    async def count_flows(self, owner: Principal) -> int:
        return sum(1 for flow in self._tables.flows.values() if flow.owner == owner and not flow.copy_of)

    async def count_visible(self, namespace: str, owners: Collection[Principal] | None) -> int:
        found = [f for f in self._tables.flows.values() if f.namespace == namespace and not f.copy_of]
        return sum(
            1 for f in found if owners is None or f.visibility is not Visibility.PRIVATE or f.owner in owners
        )

    async def subscription(self, side: Side, id: str) -> Subscription | None:
        return self._tables.subscriptions.get((side.value, id))

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
        found = [
            one
            for one in sorted(self._tables.subscriptions.values(), key=lambda s: (s.id, s.side.value))
            if (side is None or one.side is side)
            and (not flow or one.flow == flow)
            and (not local or one.local == local)
            and (principal is None or one.principal == principal)
            and (ended or one.state is not State.ENDED)
            and one.id > after
        ]
        return found[:limit]

    async def subscription_by_token(
        self, side: Side, principal: Principal, flow: str, token: str
    ) -> Subscription | None:
        found = await self.subscriptions(side, flow=flow, principal=principal)
        return next((one for one in found if one.token == token), None)

    async def ended_before(self, when: datetime) -> Sequence[Subscription]:
        every = self._tables.subscriptions.values()
        return [one for one in every if one.state is State.ENDED and one.since < when][:1000]

    async def count_subscriptions(self, participant: str, principal: Principal | None = None) -> int:
        found = await self.subscriptions(Side.PROVIDER, principal=principal, limit=10**9)
        return sum(1 for one in found if one.principal.participant == participant)

    async def count_pending(self) -> int:
        found = await self.subscriptions(Side.PROVIDER, limit=10**9)
        return sum(1 for one in found if one.state is State.PENDING)

    async def credential(self, side: Side, name: str) -> StoredCredential | None:
        return self._tables.credentials.get((side.value, name))

    async def intention(self, object: str) -> Intention | None:
        return self._tables.intentions.get(object)

    async def intentions(self) -> Sequence[Intention]:
        return [value for _, value in sorted(self._tables.intentions.items())]

    async def call(self, key: str) -> Call | None:
        return self._tables.calls.get(key)

    async def calls(self) -> Sequence[Call]:
        return [value for _, value in sorted(self._tables.calls.items())]

    async def journal(self, processor: str) -> bytes:
        return self._tables.journals.get(processor, b"")

    async def processor(self, id: str) -> StoredProcessor | None:
        return self._tables.processors.get(id)

    async def processors(
        self,
        *,
        owner: Principal | None = None,
        source: str = "",
        destination: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[StoredProcessor]:
        found = [
            one
            for id, one in sorted(self._tables.processors.items())
            if one.state is not State.ENDED
            and (owner is None or one.owner == owner)
            and (not source or source in one.sources)
            and (not destination or destination in one.destinations)
            and id > after
        ]
        return found[:limit]

    async def processors_ended_before(self, when: datetime) -> Sequence[StoredProcessor]:
        every = self._tables.processors.values()
        return [one for one in every if one.state is State.ENDED and one.since < when][:1000]

    async def account(self, name: str) -> Account | None:
        return self._tables.accounts.get(name)

    async def accounts(self) -> Sequence[Account]:
        return [value for _, value in sorted(self._tables.accounts.items())]

    async def audit(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]:
        return self._tables.audit[after : after + limit]

    async def audited(self, act: str, object: str) -> Sequence[AuditEntry]:
        return [one for one in self._tables.audit if (one.act, one.object) == (act, object)]
