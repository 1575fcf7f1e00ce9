"""Who may read which copies at the brokers: one user per subscription, and one that all strangers share."""

from __future__ import annotations

from eson.agent.credentials import ANONYMOUS_USER
from eson.agent.parts import Parts
from eson.agent.records import every_subscription
from eson.model.flows import Flow
from eson.model.principals import ANONYMOUS
from eson.model.subscriptions import Side, Subscription
from eson.store.port import Store

END = "end-copy"
"""The kind of intention that ends a copy."""


class Readers:
    """Every step may be repeated, and raises `TryLater`."""

    def __init__(self, store: Store, parts: Parts) -> None:
        self._store = store
        self._parts = parts

    async def admit(self, record: Subscription, copy: Flow) -> None:
        """What a new copy needs at once: its own user gets its rights with its credential."""
        if record.principal == ANONYMOUS:
            await self._parts.admit(copy.broker, ANONYMOUS_USER, (copy.topic,))

    async def readmit(self, record: Subscription, copy: Flow) -> None:
        """Gives the reader of a live copy the rights that it should have."""
        if record.principal == ANONYMOUS:
            topics = await self._strangers_topics(copy.broker)
            await self._parts.admit(copy.broker, ANONYMOUS_USER, (*topics, copy.topic))
        elif await self._store.credential(Side.PROVIDER, copy.name) is not None:
            await self._parts.give_rights(copy)

    async def cut_off(self, broker: str, record: Subscription) -> None:
        """Takes the rights, which cuts open connections.

        Strangers share one credential: its rights are taken and given again without this copy.
        """
        if record.principal != ANONYMOUS:
            await self._parts.take_rights(broker, record.copy)
            return
        await self._parts.shut_out(broker, ANONYMOUS_USER)
        topics = await self._strangers_topics(broker, without=record.copy)
        if topics:
            await self._parts.admit(broker, ANONYMOUS_USER, topics)

    async def remove(self, broker: str, record: Subscription) -> None:
        """Removes the user, its rights first."""
        if record.principal != ANONYMOUS:
            await self._parts.shut_out(broker, record.copy)

    async def _strangers_topics(self, broker: str, without: str = "") -> tuple[str, ...]:
        """Of the strangers' copies that are there, or being made at this moment; not of those that are being ended."""
        topics: list[str] = []
        async for one in every_subscription(self._store, Side.PROVIDER, principal=ANONYMOUS):
            left = await self._store.intention(one.copy)
            if one.copy == without or (left is not None and left.kind == END):
                continue
            copy = await self._store.flow(one.copy)
            if copy is not None:
                at, topic = copy.broker, copy.topic
            elif left is not None:
                at, topic = left.data["broker"], left.data["topic"]
            else:
                continue
            if at == broker:
                topics.append(topic)
        return tuple(topics)
