"""WRITE: events into a flow.  Exactly the events before the first bad line are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eson.agent.access import Access
from eson.agent.hosting import Limits
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.streams import OpenStreams
from eson.agent.tasks import Tasks
from eson.brokers.port import Record, Sink
from eson.errors import BackendFailed, EsonError, TooLarge, WriteStopped
from eson.fnap.core.commands import Write
from eson.model.events import Mode, record_of
from eson.model.principals import Caller

WAITING_RECORDS = 1000
WAITING_OCTETS = 4 << 20
"""What is accepted and not yet sent; beyond that the client is held back."""

_log = Logger()


class Writing:
    def __init__(
        self,
        access: Access,
        parts: Parts,
        streams: OpenStreams,
        tasks: Tasks,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._access = access
        self._parts = parts
        self._streams = streams
        self._tasks = tasks
        self._clock = clock
        self._limits = limits

    async def open(self, caller: Caller, command: Write) -> Writer:
        """Raises `NoSuch`, `NotAllowed`, `TryLater`."""
        found = await self._access.flow(caller, command.flow, "write")
        flow = found.flow
        sink = await self._parts.broker(flow.broker).write(flow.topic)
        writer = Writer(
            sink,
            flow.name,
            cast(Mode, flow.mode),
            self._streams,
            self._tasks,
            self._clock,
            self._limits.event,
        )
        self._streams.add(flow.name, writer, caller, "write")
        await self._streams.recheck(flow.name)
        return writer


class Writer:
    """An `EventWriter`.  One batch is under way at a time, so that order holds; what comes meanwhile makes the next."""

    def __init__(
        self,
        sink: Sink,
        flow: str,
        mode: Mode,
        streams: OpenStreams,
        tasks: Tasks,
        clock: Clock,
        limit: int,
    ) -> None:
        self._sink = sink
        self._flow = flow
        self._mode = mode
        self._streams = streams
        self._tasks = tasks
        self._clock = clock
        self._limit = limit
        self._next: list[Record] = []
        self._octets = 0
        self._written = 0
        self._sending: Deferred[None] | None = None
        self._error: EsonError | None = None
        self._told = False
        self._closed = False
        self._open = True
        self._waiting: list[Deferred[None]] = []

    async def write(self, event: Mapping[str, Any]) -> None:
        """Raises `Usage`, `TooLarge`, `WriteStopped`."""
        self._check()
        made = record_of(event, self._mode, self._clock.now())
        size = len(made.key or b"") + len(made.value or b"")
        size += sum(len(name) + len(value or b"") for name, value in made.headers)
        if size > self._limit:
            raise TooLarge(f"an event has at most {self._limit} octets")
        self._next.append(Record(-1, -1, made.timestamp, made.key, made.value, made.headers))
        self._octets += size
        self._send()
        while self._sending is not None and (
            len(self._next) >= WAITING_RECORDS or self._octets >= WAITING_OCTETS
        ):
            await self._pass()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            self._told = True
            raise WriteStopped(self._error.code, self._error.text, self._written)

    def _send(self) -> None:
        if self._sending is None and self._next and self._error is None:
            batch, self._next, self._octets = self._next, [], 0
            self._sending = self._tasks.run(self._sent(batch))
            self._sending.addCallback(self._ended)

    async def _sent(self, batch: list[Record]) -> None:
        try:
            await self._sink.send(batch)
        except EsonError as error:
            self._count(error)
            self._fail(error)
        except Exception:  # whatever it is, what was not confirmed is not counted
            _log.failure("{flow}: a batch could not be sent", flow=self._flow)
            self._fail(BackendFailed("The broker failed"))
        else:
            self._written += len(batch)

    def _count(self, error: EsonError) -> None:
        """What was written of a batch before it failed."""
        some = error.context.get("written")
        if isinstance(some, int):
            self._written += some

    def _fail(self, error: EsonError) -> None:
        self._error = self._error or error
        self._next, self._octets = [], 0

    def _ended(self, result: None) -> None:
        self._sending = None
        self._send()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
        if self._closed:
            self._close_sink()

    async def _pass(self) -> None:
        """Until the batch that is under way is through."""
        passed: Deferred[None] = Deferred()
        self._waiting.append(passed)
        await passed

    async def finish(self) -> int:
        while self._sending is not None:
            await self._pass()
        self.abort()
        if self._error is not None and not self._told:
            raise WriteStopped(self._error.code, self._error.text, self._written)
        return self._written

    def abort(self) -> None:
        """What was accepted is still written."""
        self._closed = True
        self._close_sink()

    def _close_sink(self) -> None:
        if self._sending is None and self._open:
            self._open = False
            self._sink.close()
            self._streams.remove(self._flow, self)

    def cut(self, error: EsonError) -> None:
        self._fail(error)
