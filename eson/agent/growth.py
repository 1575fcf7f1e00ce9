"""Partitions that a source gets while it is carried: what was made for it follows.

Processors are the first to notice, since they look at their queues all the time.  One that has no place for a new
partition says that it fails, goes on with the others, and looks again every few seconds.  Its failure is what makes the
agent look here; what cannot be done at once is tried with each pass of the reconciler.
"""

from __future__ import annotations

from functools import partial

from twisted.logger import Logger

from eson.agent.carriers import Carriers
from eson.agent.flows import Flows
from eson.agent.incoming import Incoming
from eson.agent.processing import Processing
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError
from eson.model.names import PROCESSOR_ID
from eson.model.subscriptions import Side, State
from eson.processors.port import BY_PARTITION
from eson.store.port import Store

AT_ONCE = 8
_NOT_RUNNING = (State.REQUESTED, State.ENDED)

_log = Logger()


class Growth:
    def __init__(
        self,
        store: Store,
        flows: Flows,
        carriers: Carriers,
        incoming: Incoming,
        processing: Processing,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._flows = flows
        self._carriers = carriers
        self._incoming = incoming
        self._processing = processing
        self._tasks = tasks

    def changed(self, id: str) -> None:
        """Looks, if that processor fails, whether it is because of partitions that its destination lacks."""
        if self._fails(id):
            self._tasks.spawn(self._tried(id), "looking for new partitions")

    async def pass_by(self) -> bool:
        """For the reconciler: whether all that fail were looked at."""
        outcome: list[bool] = []

        async def look(id: str) -> None:
            outcome.append(await self._tried(id))

        await self._tasks.each([partial(look, id) for id in self._carriers.ids() if self._fails(id)], AT_ONCE)
        return all(outcome)

    def _fails(self, id: str) -> bool:
        status = self._carriers.status_of(id)
        return status is not None and status.state == "failing"

    async def _tried(self, id: str) -> bool:
        try:
            await self._follow(id)
        except EsonError as error:
            _log.info("{id}: new partitions: {reason}", id=id, reason=error.text)
            return isinstance(error, Busy)
        return True

    async def _follow(self, id: str) -> None:
        """Raises `Busy`, `TryLater`."""
        if PROCESSOR_ID.match(id):
            processor = await self._store.processor(id)
            if processor is None or processor.state in _NOT_RUNNING or processor.kind not in BY_PARTITION:
                return
            await self._flows.look(processor.sources[0])
            await self._processing.widen(processor)
            return
        record = await self._carriers.find(id)
        if record is None:
            return
        if record.side is Side.PROVIDER:
            await self._flows.look(record.flow)
            return
        local = await self._store.flow(record.local)
        if local is not None and local.made_for == record.copy:  # else nothing would follow from the answer
            await self._incoming.check(record.copy)
