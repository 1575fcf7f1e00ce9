"""The processes of processors between local flows: orders, states, showing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from twisted.logger import Logger

from eson.agent import views
from eson.agent.access import Access
from eson.agent.audit import Audit
from eson.agent.following import NOT_READY, followed
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.records import every_processor, quietly
from eson.errors import Conflict, NoSuch, TryLater
from eson.fnap.core.replies import Item, Ok, Outcome, Pending
from eson.model.principals import Caller
from eson.model.subscriptions import State, check_change
from eson.processors.port import ProcessorEnd, ProcessorOrder, Processors, ProcessorStatus
from eson.store.port import PutProcessor, Store
from eson.store.records import StoredProcessor

AIMS: Mapping[str, State] = {"PAUSE": State.PAUSED, "RESUME": State.ACTIVE, "STOP": State.STOPPED}
_WITHOUT_PROCESS: Mapping[State, Literal["starting", "paused", "stopped"]] = {
    State.PAUSED: "paused",
    State.STOPPED: "stopped",
}

_log = Logger()


class LocalProcessors:
    def __init__(
        self,
        store: Store,
        access: Access,
        parts: Parts,
        processors: Processors,
        locks: Locks,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._access = access
        self._parts = parts
        self._processors = processors
        self._locks = locks
        self._audit = audit
        self._clock = clock

    # Running

    async def order(self, record: StoredProcessor) -> ProcessorOrder:
        """Raises `NoSuch`, `TryLater`."""
        return ProcessorOrder(
            id=record.id,
            kind=record.kind,
            sources=tuple([await self._end(name) for name in record.sources]),
            destinations=tuple([await self._end(name) for name in record.destinations]),
            start=dict(record.start) if record.start else "now",
            when=record.when,
        )

    async def _end(self, name: str) -> ProcessorEnd:
        flow = await self._store.flow(name)
        if flow is None:
            raise NoSuch("flow", name)
        return ProcessorEnd(self._parts.broker(flow.broker).access(), flow.topic, flow.name)

    async def start(self, record: StoredProcessor) -> None:
        """Waits until it is ready.  Raises `TryLater`; it goes on trying all the same."""
        await self._processors.create(await self.order(record))

    async def amend(self, record: StoredProcessor) -> None:
        """Hands a processor that is there what is ordered now.  Raises `TryLater`, `NoSuch`."""
        if self._processors.status(record.id) is not None:
            await self._processors.amend(await self.order(record))

    async def destroy(self, id: str) -> None:
        await self._processors.destroy(id)

    async def settle(self, record: StoredProcessor) -> None:
        """Makes the processor follow its record.  Raises `TryLater`, `NoSuch`."""
        status = self._processors.status(record.id)
        if record.state in (State.ACTIVE, State.FAILING):
            if status is None or status.state == "stopped":
                await self.start(record)
            elif status.state == "paused":
                await self._processors.resume(record.id)
        elif (
            status is not None and record.state is State.PAUSED and status.state not in ("paused", "stopped")
        ):
            await self._processors.pause(record.id)
        elif status is not None and record.state is State.STOPPED and status.state != "stopped":
            await self._processors.stop_processor(record.id)

    # PAUSE, RESUME, STOP

    async def change(self, caller: Caller, id: str, verb: str) -> Outcome:
        """Raises `NoSuch`, `Conflict`, `TryLater`."""
        aim = AIMS[verb]
        with self._locks.hold(id):
            record = await self.find(caller, id)
            if record.state is aim or (aim is State.ACTIVE and record.state is State.FAILING):
                return Ok()
            if record.state is State.REQUESTED:
                raise Conflict(f"{id} is requested: it has not begun")
            check_change(record.state, aim)
            reached = replace(
                record, state=aim, reason="", actor=str(caller.principal), since=self._clock.now()
            )
            try:
                await self.settle(reached)
            except TryLater:
                if aim is not State.ACTIVE:
                    raise
                reached = replace(reached, state=State.FAILING, reason=NOT_READY)
            note = self._audit.note(caller.principal, f"{aim.value} {record.kind}", id)
            try:
                await self._store.apply(PutProcessor(reached), note)
            except TryLater:
                await quietly(self.settle(record))
                raise
        return Pending(id) if reached.state is State.FAILING else Ok()

    async def follow(self, status: ProcessorStatus) -> None:
        """Writes down what its process says.  Raises `Busy`, `TryLater`."""
        with self._locks.hold(status.id):
            record = await self._store.processor(status.id)
            after = None if record is None else followed(record.state, record.reason, status)
            if record is not None and after is not None:
                changed = replace(record, state=after[0], reason=after[1], since=self._clock.now())
                await self._store.apply(PutProcessor(changed))

    # Showing

    async def find(self, caller: Caller, id: str) -> StoredProcessor:
        """One that the caller may end.  Raises `NoSuch` (missing, hidden or ended)."""
        record = await self._store.processor(id)
        if record is None or record.state is State.ENDED or not await self._concerns(caller, record):
            raise NoSuch("subscription", id)
        return record

    async def _concerns(self, caller: Caller, record: StoredProcessor) -> bool:
        """Its owner's, an operator's, and of who may do all to each flow that it writes."""
        if caller.operator or record.owner in caller.principals:
            return True
        return all([await self._access.administers(caller, name) for name in record.destinations])

    async def item(self, caller: Caller, id: str) -> Item:
        """DESCRIBE PROCESSOR.  Raises `NoSuch`."""
        record = await self._store.processor(id)
        if record is None or not await self._concerns(caller, record):
            raise NoSuch("processor", id)
        return self._item(record)

    async def items(self, caller: Caller) -> Sequence[Item]:
        """For GET PROCESSORS."""
        return [
            self._item(one) async for one in every_processor(self._store) if await self._concerns(caller, one)
        ]

    def _item(self, record: StoredProcessor) -> Item:
        if record.state is State.ENDED:
            return views.ended_processor_item(record)
        status = self._processors.status(record.id)
        if status is None:
            state = _WITHOUT_PROCESS.get(record.state, "starting")
            status = ProcessorStatus(record.id, record.kind, state, since=record.since)
        return views.processor_item(replace(status, kind=record.kind), record.sources, record.destinations)

    async def subscription_items(self, caller: Caller, flow: str) -> Sequence[Item]:
        """For GET SUBSCRIPTIONS: the caller's own; an operator's: all."""
        return [
            views.local_processor_item(one, self._processors.status(one.id))
            async for one in every_processor(self._store)
            if (caller.operator or one.owner in caller.principals)
            and (not flow or flow in one.sources + one.destinations)
        ]
