"""DESCRIBE."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from eson.agent import views
from eson.agent.access import Access, administers
from eson.agent.carriers import Carriers
from eson.agent.hosting import Hosting
from eson.agent.local_processors import LocalProcessors
from eson.agent.parts import Parts, client_servers
from eson.agent.settings import shown
from eson.brokers.port import Broker
from eson.errors import NoSuch
from eson.fnap.core.commands import Describe, DescribedKind
from eson.fnap.core.replies import Description, Value
from eson.model.names import PROCESSOR_ID
from eson.model.principals import Caller
from eson.model.subscriptions import Side, State, Subscription
from eson.names.port import Names
from eson.store.port import Store


class Lineages(Protocol):
    async def of_copy(self, subscription: Subscription) -> tuple[str, ...]: ...


class Leases(Protocol):
    async def renew(self, caller: Caller, subscription: Subscription) -> Subscription: ...


class Descriptions:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        brokers: Mapping[str, Broker],
        names: Names,
        carriers: Carriers,
        local_processors: LocalProcessors,
        lineages: Lineages,
        leases: Leases,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._parts = parts
        self._brokers = brokers
        self._names = names
        self._carriers = carriers
        self._local = local_processors
        self._lineages = lineages
        self._leases = leases
        self._kinds: Mapping[DescribedKind, Callable[[Caller, str], Awaitable[Description]]] = {
            "FLOW": self._flow,
            "NAMESPACE": self._namespace,
            "NAMESERVER": self._nameserver,
            "BROKER": self._broker,
            "AGENT": self._agent,
            "PROCESSOR": self._processor,
        }

    async def describe(self, caller: Caller, command: Describe) -> Description:
        return await self._kinds[command.kind](caller, command.name)

    async def _flow(self, caller: Caller, name: str) -> Description:
        without = await self._without_flow(caller, name)
        if without is not None:
            return without
        found = await self._access.flow(caller, name)
        item = dict(
            await views.flow_item(
                found.flow, self._parts.broker(found.flow.broker), self._hosting.participant.agent
            )
        )
        if found.subscription is not None:
            subscription = await self._leases.renew(caller, found.subscription)
            item.update(await self._of_copy(caller, subscription))
        return Description(item, views.text_keys(found.flow))

    async def _of_copy(self, caller: Caller, subscription: Subscription) -> Mapping[str, Value]:
        values = dict(self._copy_values(caller, subscription))
        lineage = ",".join(await self._lineages.of_copy(subscription))
        return {**values, "lineage": lineage} if lineage else values

    def _copy_values(self, caller: Caller, record: Subscription) -> Mapping[str, Value]:
        return views.copy_values(
            self._carriers.explained(caller, record), self._carriers.told(caller, record)
        )

    async def _without_flow(self, caller: Caller, name: str) -> Description | None:
        """A copy that is only reserved, has ended, or lies at another participant: described from its record."""
        exists = await self._store.flow(name) is not None
        for side in Side:
            record = await self._store.subscription(side, name)
            if exists and (record is None or record.state is not State.ENDED):
                return None
            if record is not None and record.copy and await self._access.concerns(caller, record):
                values = dict(self._copy_values(caller, record))
                if side is Side.SUBSCRIBER:
                    values["provider-state"] = record.remote_state or "unknown"
                return Description({"flow": record.copy, **shown(views.COPY_KEYS, values)})
        return None

    async def _namespace(self, caller: Caller, name: str) -> Description:
        namespace = self._hosting.namespace(name)
        owners = None if administers(caller, namespace) else caller.principals
        values: dict[str, Value] = {
            "namespace": namespace.name,
            "broker": namespace.broker,
            "copies": namespace.copies,
            "public": namespace.public,
            "private": namespace.private,
            "agent": self._hosting.participant.agent,
            "flows": await self._store.count_visible(namespace.name, owners),
        }
        return Description(
            shown(("namespace", "broker", "copies", "public", "private", "agent", "flows"), values)
        )

    async def _agent(self, caller: Caller, name: str) -> Description:
        """Of the agent's own name, or of a namespace that it serves."""
        participant = self._hosting.participant
        if name not in (participant.agent, participant.domain) and self._hosting.find(name) is None:
            raise NoSuch("agent", name)
        return Description(views.agent_item(participant))

    async def _nameserver(self, caller: Caller, name: str) -> Description:
        for one in self._hosting.participant.nameservers:
            if one.name == name:
                return Description(views.nameserver_item(one, self._names))
        raise NoSuch("nameserver", name)

    async def _broker(self, caller: Caller, name: str) -> Description:
        """By its name in the configuration, or by the host name of one of its servers."""
        for broker in self._brokers.values():
            if broker.name == name:
                return Description(await views.broker_item(broker, caller.operator))
        for broker in self._brokers.values():
            if any(server.host == name for server in await client_servers(broker)):
                return Description(await views.broker_item(broker, caller.operator))
        raise NoSuch("broker", name)

    async def _processor(self, caller: Caller, id: str) -> Description:
        if PROCESSOR_ID.match(id):
            return Description(await self._local.item(caller, id))
        return Description(await self._carriers.item(caller, id))
