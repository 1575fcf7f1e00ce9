"""A supervisor of processors in memory, for tests of what stands on the port.

It starts no process.  It keeps the rules of the port: ids are idempotent, `stop_processor` keeps the position,
`destroy` forgets it, listeners hear of changes of state alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from eson.errors import TryLater
from eson.processors.port import ProcessorOrder, ProcessorStatus


class MemoryProcessors:
    """`Processors` without processes.

    `orders` holds what runs, `journals` the ids whose position is kept, `calls` everything that was asked in order.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.orders: dict[str, ProcessorOrder] = {}
        self.journals: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.running = False
        self._now = now
        self._statuses: dict[str, ProcessorStatus] = {}
        self._listeners: list[Callable[[ProcessorStatus], None]] = []
        self._unready: set[str] = set()

    async def create(self, order: ProcessorOrder) -> None:
        self.calls.append(("create", order.id))
        known = self._statuses.get(order.id)
        self.orders[order.id] = order
        self.journals.add(order.id)
        if order.id in self._unready:
            self.change(order.id, state="unreachable")
            raise TryLater(f"Processor {order.id} is not ready yet")
        if known is None or known.state not in ("running", "paused"):
            self.change(order.id, state="running", lanes=f"lanes of {order.id}".encode())

    async def update(self, order: ProcessorOrder) -> None:
        self.calls.append(("update", order.id))
        if order.id not in self.orders:
            await self.create(order)
            return
        self.orders[order.id] = order
        self.change(order.id, login_refused=False)

    async def amend(self, order: ProcessorOrder) -> None:
        if self.orders.get(order.id, order) != order:
            self.calls.append(("amend", order.id))
            self.orders[order.id] = order

    async def pause(self, id: str) -> None:
        self.calls.append(("pause", id))
        if id in self.orders:
            self.change(id, state="paused")

    async def resume(self, id: str) -> None:
        self.calls.append(("resume", id))
        if id in self.orders and self._statuses[id].state == "paused":
            self.change(id, state="running")

    async def stop_processor(self, id: str) -> None:
        self.calls.append(("stop_processor", id))
        self._end(id)

    async def destroy(self, id: str) -> None:
        self.calls.append(("destroy", id))
        self._end(id)
        self.journals.discard(id)

    def status(self, id: str) -> ProcessorStatus | None:
        return self._statuses.get(id)

    def ids(self) -> Sequence[str]:
        return sorted(self.orders)

    def listen(self, changed: Callable[[ProcessorStatus], None]) -> None:
        self._listeners.append(changed)

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False
        for id in list(self.orders):
            self._end(id)

    # What tests order

    def never_ready(self, id: str) -> None:
        """The next `create` of it raises `TryLater` and leaves it unreachable."""
        self._unready.add(id)

    def ready(self, id: str) -> None:
        """What `never_ready` held back runs now."""
        self._unready.discard(id)
        if id in self.orders:
            self.change(id, state="running")

    def change(self, id: str, **fields: Any) -> None:
        """Sets fields of the status of a processor that was created; listeners hear of a change of state."""
        order = self.orders[id]
        known = self._statuses.get(id)
        before = known or ProcessorStatus(id=id, kind=order.kind, state="starting", since=self._now())
        after = replace(before, **fields)
        if after.state != before.state or after.login_refused != before.login_refused:
            after = replace(after, since=self._now())
        self._statuses[id] = after
        if known is None or after.state != before.state or after.login_refused != before.login_refused:
            for listener in list(self._listeners):
                listener(after)

    def _end(self, id: str) -> None:
        if self.orders.pop(id, None) is not None:
            self._statuses.pop(id, None)
