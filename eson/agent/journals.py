"""What the store adds to each order: how the journal begins, so that one that is lost is never begun anew, and limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from eson.agent.carriers import SECOND_LEG
from eson.agent.limiting import limited
from eson.errors import TryLater
from eson.model.names import PROCESSOR_ID
from eson.model.subscriptions import Side, State
from eson.processors.port import ProcessorOrder, Processors, ProcessorStatus
from eson.store.port import DropJournal, PutJournal, Store


class KeptJournals:
    """`Processors` that are given back what they said of their journals, and the limits of what they fill."""

    def __init__(self, processors: Processors, store: Store) -> None:
        self._processors = processors
        self._store = store
        self._starting: dict[str, set[object]] = {}
        """By processor, the starts that have not reached its process yet; who ends it takes them out."""

    async def create(self, order: ProcessorOrder) -> None:
        """Raises `TryLater` too if it was ended or stopped while this was on its way: it is not started again."""
        start = object()
        self._starting.setdefault(order.id, set()).add(start)
        try:
            known = None if await self._is_over(order.id) else await self._known(order)
            if known is None or start not in self._starting.get(order.id, ()):
                raise TryLater(f"Processor {order.id} was ended")
        finally:
            self._over(order.id, start)
        await self._processors.create(known)
        await self.keep(order.id)

    def _over(self, id: str, start: object) -> None:
        starts = self._starting.get(id, set())
        starts.discard(start)
        if not starts:
            self._starting.pop(id, None)

    async def _is_over(self, id: str) -> bool:
        """Whether what it was to carry has ended, as far as there is a record of it."""
        if PROCESSOR_ID.match(id):
            processor = await self._store.processor(id)
            return processor is None or processor.state is State.ENDED
        records = [await self._store.subscription(side, id.removeprefix(SECOND_LEG)) for side in Side]
        states = [one.state for one in records if one is not None]
        return bool(states) and all(state is State.ENDED for state in states)

    async def update(self, order: ProcessorOrder) -> None:
        await self._processors.update(await self._known(order))
        await self.keep(order.id)

    async def amend(self, order: ProcessorOrder) -> None:
        await self._processors.amend(await self._known(order))

    async def _known(self, order: ProcessorOrder) -> ProcessorOrder:
        return await limited(self._store, replace(order, lanes=await self._store.journal(order.id)))

    async def keep(self, id: str) -> None:
        """Writes down what the processor said, if that is new.  Raises `TryLater`."""
        status = self._processors.status(id)
        if status is None or not status.lanes or status.lanes == await self._store.journal(id):
            return
        if (
            self._processors.status(id) is not None
        ):  # else it was destroyed meanwhile, and nobody would drop it
            await self._store.apply(PutJournal(id, status.lanes))

    async def pause(self, id: str) -> None:
        await self._processors.pause(id)

    async def resume(self, id: str) -> None:
        await self._processors.resume(id)

    async def stop_processor(self, id: str) -> None:
        self._starting.pop(id, None)
        await self._processors.stop_processor(id)

    async def destroy(self, id: str) -> None:
        self._starting.pop(id, None)
        await self._processors.destroy(id)
        await self._store.apply(DropJournal(id))

    def status(self, id: str) -> ProcessorStatus | None:
        return self._processors.status(id)

    def ids(self) -> Sequence[str]:
        return self._processors.ids()

    def listen(self, changed: Callable[[ProcessorStatus], None]) -> None:
        self._processors.listen(changed)

    async def start(self) -> None:
        await self._processors.start()

    async def stop(self) -> None:
        await self._processors.stop()
