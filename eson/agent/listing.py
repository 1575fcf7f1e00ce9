"""The GET commands that list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from eson.agent import views
from eson.agent.access import Access
from eson.agent.carriers import Carriers, needs_lease
from eson.agent.hosting import Hosting, Limits
from eson.agent.local_processors import LocalProcessors
from eson.agent.records import PAGE, every_subscription
from eson.brokers.port import Broker
from eson.fnap.core.commands import (
    GetFlows,
    GetItems,
    GetNamespaces,
    GetSubscribers,
    GetSubscriptions,
    ListedKind,
    Page,
)
from eson.fnap.core.replies import Item, Listing
from eson.model.flows import Flow
from eson.model.names import is_at_or_below
from eson.model.principals import Caller, Principal
from eson.model.subscriptions import Side, State, Subscription
from eson.names.port import Names
from eson.store.port import Store


class Lists:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        brokers: Mapping[str, Broker],
        names: Names,
        carriers: Carriers,
        local_processors: LocalProcessors,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._brokers = brokers
        self._names = names
        self._carriers = carriers
        self._local = local_processors
        self._limits = limits
        self._kinds: Mapping[ListedKind, Callable[[Caller], Awaitable[Sequence[Item]]]] = {
            "BROKERS": self._broker_items,
            "AGENTS": self._agent_items,
            "PROCESSORS": self._processor_items,
            "NAMESERVERS": self._nameserver_items,
        }

    async def namespaces(self, caller: Caller, command: GetNamespaces) -> Listing:
        below = command.below
        found = [
            one.name
            for one in self._hosting.all()
            if one.name > command.page.after and (not below or is_at_or_below(one.name, below))
        ]
        return Listing([{"namespace": name} for name in found[: command.page.limit]])

    async def flows(self, caller: Caller, command: GetFlows) -> Listing:
        """By name; copies are in GET SUBSCRIPTIONS and GET SUBSCRIBERS."""
        items: list[Item] = []
        after, limit = command.page.after, command.page.limit
        while limit is None or len(items) < limit:
            chunk = await self._store.flows(command.below, after, PAGE)
            items.extend({"flow": flow.name} for flow in chunk if self._listed(caller, flow))
            if len(chunk) < PAGE:
                break
            after = chunk[-1].name
        return Listing(items[:limit])

    def _listed(self, caller: Caller, flow: Flow) -> bool:
        return self._hosting.hosts(flow.name) and self._access.sees(caller, flow)

    async def subscriptions(self, caller: Caller, command: GetSubscriptions) -> Listing:
        """The caller's own; an operator's: all.  `flow` narrows to those of a flow, or into a local flow."""
        name = await self._access.spelled(caller, command.flow) if command.flow else ""
        asked: Sequence[Principal | None] = [None] if caller.operator else sorted(caller.principals)
        found = [
            one
            for side in Side
            for who in asked
            async for one in every_subscription(self._store, side, principal=who)
        ]
        wanted = [one for one in found if not _doubled(one) and (not name or name in _names(one))]
        items = [
            (
                one.id,
                views.subscription_item(
                    self._carriers.explained(caller, one),
                    self._carriers.told(caller, one),
                    one.principal in caller.principals,
                ),
            )
            for one in wanted
        ]
        items += [
            (str(one["subscription"]), one) for one in await self._local.subscription_items(caller, name)
        ]
        page = command.page
        return Listing(
            [item for id, item in sorted(items, key=lambda one: one[0]) if id > page.after][: page.limit]
        )

    async def subscribers(self, caller: Caller, command: GetSubscribers) -> Listing:
        found = await self._access.flow(caller, command.flow, "administer")
        source = found.flow.copy_of or found.flow.name
        every = [one async for one in every_subscription(self._store, Side.PROVIDER, flow=source)]
        if found.flow.copy_of:
            every = [one for one in every if one.copy == found.flow.name]
        items = [
            views.subscriber_item(
                self._carriers.explained(caller, one), self._carriers.told(caller, one), self._expires(one)
            )
            for one in _page(every, command.page)
        ]
        return Listing(items)

    def _expires(self, one: Subscription) -> datetime | None:
        if one.state is State.PENDING:
            return one.created + self._limits.request
        return one.renewed + self._limits.lease if one.renewed is not None and needs_lease(one) else None

    async def items(self, caller: Caller, command: GetItems) -> Listing:
        return Listing([views.scalars(one) for one in await self._kinds[command.kind](caller)])

    async def _broker_items(self, caller: Caller) -> Sequence[Item]:
        return [await views.broker_item(self._brokers[name]) for name in sorted(self._brokers)]

    async def _agent_items(self, caller: Caller) -> Sequence[Item]:
        return [views.agent_item(self._hosting.participant)]

    async def _processor_items(self, caller: Caller) -> Sequence[Item]:
        return [*await self._local.items(caller), *await self._carriers.items(caller)]

    async def _nameserver_items(self, caller: Caller) -> Sequence[Item]:
        return [views.nameserver_item(one, self._names) for one in self._hosting.participant.nameservers]


def _doubled(one: Subscription) -> bool:
    """A provider's record of a subscription whose other end is hosted here too, and listed there."""
    return one.side is Side.PROVIDER and bool(one.local)


def _names(one: Subscription) -> tuple[str, ...]:
    return one.flow, one.local, one.copy


def _page(found: list[Subscription], page: Page) -> list[Subscription]:
    return [one for one in sorted(found, key=lambda one: one.id) if one.id > page.after][: page.limit]
