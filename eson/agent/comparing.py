"""What is, compared with what should be: queues, records, rights and processors."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from twisted.logger import Logger

from eson.agent.carriers import Carriers
from eson.agent.copies import Copies, behind
from eson.agent.credentials import ANONYMOUS_USER
from eson.agent.hosting import Hosting
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.parts import Parts, issues_credentials
from eson.agent.pausing import Pausing, record_lock
from eson.agent.readers import Readers
from eson.agent.records import every_flow, every_processor, every_subscription
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError, TryLater
from eson.model.flows import Flow
from eson.model.names import COPY_LABEL, PROCESSOR_ID, parent
from eson.model.principals import ANONYMOUS
from eson.model.subscriptions import Side, State, Subscription
from eson.names.port import Names
from eson.store.port import Store

BREATH = 200
"""Objects after which everybody else may run."""

_log = Logger()


class Comparing:
    """Each comparison says whether all that had to be mended was; `False` means once more, soon."""

    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        parts: Parts,
        names: Names,
        copies: Copies,
        readers: Readers,
        carriers: Carriers,
        local_processors: LocalProcessors,
        pausing: Pausing,
        locks: Locks,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._parts = parts
        self._names = names
        self._copies = copies
        self._readers = readers
        self._carriers = carriers
        self._local = local_processors
        self._pausing = pausing
        self._locks = locks
        self._tasks = tasks

    # Records

    async def names(self) -> bool:
        """Publishes what DNS should say, and withdraws flows that are not ours any more."""
        done = True
        for namespace in self._hosting.all():
            done &= await _tried(self._names.publish_namespace(namespace.name), namespace.name)
        number = 0
        async for flow in every_flow(self._store):
            if self._hosting.hosts(flow.name) and not self._locks.held(flow.name):
                done &= await _tried(self._parts.publish(flow), flow.name)
            number += 1
            if number % BREATH == 0:
                await self._tasks.breathe()
        return await self._withdraw_orphans() and done

    async def _withdraw_orphans(self) -> bool:
        done = True
        for name in self._names.published():
            # one that is being made holds its lock
            if await self._store.flow(name) is None and not self._locks.held(name):
                done &= await _tried(self._parts.withdraw(name), name)
        return done

    # Queues

    async def queues(self) -> bool:
        """Makes queues that somebody removed behind our back (empty: their events are gone), and partitions that lack."""
        found: dict[str, set[str] | None] = {}
        done = True
        number = 0
        async for flow in every_flow(self._store):
            if flow.broker not in found:
                found[flow.broker] = await self._queues_of(flow.broker)
            queues = found[flow.broker]
            if queues is None:
                done = False
            elif flow.topic not in queues:
                done &= await self._make_queue(flow)
            if flow.copy_of:
                done &= await self._follow(flow)
            number += 1
            if number % BREATH == 0:
                await self._tasks.breathe()
        return done

    async def _queues_of(self, broker: str) -> set[str] | None:
        try:
            return set(await self._parts.broker(broker).list_queues())
        except TryLater as error:
            _log.warn("broker {broker}: {reason}", broker=broker, reason=error.text)
            return None

    async def _make_queue(self, flow: Flow) -> bool:
        try:
            with self._locks.hold(flow.name):
                left = await self._store.intention(flow.name)
                if left is None and await self._store.flow(flow.name) is not None:
                    _log.warn("{flow}: its queue is gone and is made anew, empty", flow=flow.name)
                    await self._parts.make_queue(flow)
        except EsonError as error:
            _log.warn("{flow}: {reason}", flow=flow.name, reason=error.text)
            return False
        return True

    async def _follow(self, copy: Flow) -> bool:
        flow = await self._store.flow(copy.copy_of)
        if flow is None or not behind(copy, flow):
            return True
        return await _tried(self._copies.follow_one(flow, copy.name), copy.name)

    # Rights

    async def rights(self) -> bool:
        """Readers of live copies have theirs; users named after copies that are gone have none."""
        done = True
        anonymous: set[str] = set()
        async for record in every_subscription(self._store, Side.PROVIDER):
            copy = await self._store.flow(record.copy)
            if copy is None or self._locks.held(record.copy):
                continue
            if record.principal != ANONYMOUS:
                done &= await _tried(self._readers.readmit(record, copy), record.copy)
            elif copy.broker not in anonymous:
                anonymous.add(copy.broker)
                done &= await _tried(self._readers.readmit(record, copy), ANONYMOUS_USER)
        for name in {one.copies for one in self._hosting.all()} | {one.broker for one in self._hosting.all()}:
            done &= await self._shut_out_orphans(name)
        return done

    async def _shut_out_orphans(self, broker: str) -> bool:
        if not self._parts.has_broker(broker) or not issues_credentials(self._parts.broker(broker)):
            return True
        try:
            users = await self._parts.broker(broker).list_users()
            for user in users:
                if self._is_copy(user) and await self._is_orphan(user):
                    await self._parts.shut_out(broker, user)
        except EsonError as error:
            _log.warn("broker {broker}: {reason}", broker=broker, reason=error.text)
            return False
        return True

    async def _is_orphan(self, user: str) -> bool:
        # in this order: one that is being made has an intention until its flow is there
        gone = await self._store.intention(user) is None and await self._store.flow(user) is None
        # one that is being made holds its lock
        return gone and not self._locks.held(user)

    def _is_copy(self, user: str) -> bool:
        label = user.partition(".")[0]
        return (
            bool(COPY_LABEL.match(label)) and self._hosting.hosts(user) and self._hosting.hosts(parent(user))
        )

    # Processors

    async def processors(self) -> bool:
        """Those of live subscriptions run, pause or rest as their records say; others are removed."""
        outcome: list[bool] = []
        records = [
            one
            for side in Side
            async for one in every_subscription(self._store, side)
            if one.copy and one.state is not State.PENDING
        ]

        async def settle(record: Subscription) -> None:
            outcome.append(await self._settle(record))

        await self._tasks.each([partial(settle, one) for one in records])
        local_processors = [one.id async for one in every_processor(self._store)]

        async def settle_local(id: str) -> None:
            outcome.append(await self._settle_local(id))

        await self._tasks.each([partial(settle_local, id) for id in local_processors])
        for id in self._carriers.ids():
            if not await self._is_known(id):
                outcome.append(await _tried(self._carriers.destroy_orphan(id), id))
        return all(outcome)

    async def _is_known(self, id: str) -> bool:
        if PROCESSOR_ID.match(id):
            record = await self._store.processor(id)
            return record is not None and record.state is not State.ENDED
        return await self._carriers.find(id) is not None

    async def _settle(self, record: Subscription) -> bool:
        lock = record_lock(record)
        if self._locks.held(lock):
            return True
        try:
            # not locked: a start waits until its processor is ready, and an UNSUBSCRIBE need not wait for that
            now = await self._store.subscription(record.side, record.id)
            if now is None or now.state is State.ENDED or self._locks.held(lock):
                return True
            if now.state is State.REQUESTED:
                await self._start_requested(now)
            else:
                await self._pausing.settle(now)
        except EsonError as error:
            _log.warn("{copy}: its processor: {reason}", copy=record.copy, reason=error.text)
            return False
        return True

    async def _settle_local(self, id: str) -> bool:
        """One between local flows; whoever is still to make it does so himself."""
        if self._locks.held(id):
            return True
        # it may have been paused, stopped or ended while others were being started
        now = await self._store.processor(id)
        if now is None or now.state in (State.REQUESTED, State.ENDED) or self._locks.held(id):
            return True
        return await _tried(self._local.settle(now), id)

    async def _start_requested(self, record: Subscription) -> None:
        """One whose copy exists and whose processor was not ready; a subscriber's begins with its check."""
        if record.side is Side.SUBSCRIBER or await self._store.flow(record.copy) is None:
            return
        if self._carriers.status(record) is None:
            await self._carriers.start(record)


async def _tried(step: Awaitable[object], name: str) -> bool:
    try:
        await step
    except EsonError as error:
        _log.warn("{name}: {reason}", name=name, reason=error.text)
        return isinstance(error, Busy)
    return True
