"""READ: events of a flow as lines of JSON, no faster than the client takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from eson.agent.access import Access
from eson.agent.parts import Parts
from eson.agent.streams import OpenStreams
from eson.brokers.port import Record, Source
from eson.brokers.positions import offsets_of
from eson.errors import EsonError
from eson.fnap.core.commands import Read
from eson.model.events import line_of
from eson.model.positions import Beginning
from eson.model.principals import Caller

LINES = 64
OCTETS = 1 << 20

_log = Logger()


class Reading:
    def __init__(self, access: Access, parts: Parts, streams: OpenStreams) -> None:
        self._access = access
        self._parts = parts
        self._streams = streams

    async def open(self, caller: Caller, command: Read) -> Reader:
        """Raises `NoSuch`, `NotAllowed`, `Usage`, `TryLater`."""
        found = await self._access.flow(caller, command.flow, "read")
        flow = found.flow
        broker = self._parts.broker(flow.broker)
        # the end first: what is written from now on belongs to FOLLOW alone
        end = None if command.follow else await broker.end_offsets(flow.topic)
        start = await offsets_of(broker, flow.topic, command.position or Beginning())
        if end is not None and all(start.get(partition, 0) >= last for partition, last in end.items()):
            return Reader(None, flow.name, None, self._streams)
        source = await broker.read(flow.topic, start, end)
        reader = Reader(source, flow.name, command.limit, self._streams)
        self._streams.add(flow.name, reader, caller, "read")
        # the right may have been taken while the broker was asked
        await self._streams.recheck(flow.name)
        return reader


class Reader:
    """An `EventReader`.  `source` None: there is nothing to read."""

    def __init__(self, source: Source | None, flow: str, limit: int | None, streams: OpenStreams) -> None:
        self._source = source
        self._flow = flow
        self._left = limit
        self._streams = streams
        self._lines: deque[bytes] = deque()
        self._error: EsonError | None = None
        self._waiting: Deferred[Sequence[Record] | None] | None = None
        self._over = source is None

    async def next_lines(self) -> list[bytes]:
        while not self._lines and not self._over:
            records = await self._next_records()
            if self._error is not None:
                raise self._error
            if not records:
                self._finish()
                break
            self._lines.extend(self._rendered(records))
        if self._error is not None:
            raise self._error
        return self._taken()

    def _rendered(self, records: Iterable[Record]) -> Iterable[bytes]:
        for record in records:
            if self._left is not None:
                if self._left == 0:
                    return
                self._left -= 1
            yield line_of(record, self._flow)

    def _taken(self) -> list[bytes]:
        lines: list[bytes] = []
        octets = 0
        while self._lines and len(lines) < LINES:
            octets += len(self._lines[0])
            if lines and octets > OCTETS:
                break
            lines.append(self._lines.popleft())
        if not self._lines and self._left == 0:
            self._finish()
        return lines

    async def _next_records(self) -> Sequence[Record] | None:
        """None if it was closed or cut meanwhile."""
        if self._source is None:
            return None
        waiting: Deferred[Sequence[Record] | None] = Deferred()
        self._waiting = waiting
        reading = Deferred.fromCoroutine(_read(self._source))

        def came(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)  # a failure too
            elif isinstance(result, Failure) and not result.check(EsonError):
                _log.failure("a read that was closed failed", result)

        reading.addBoth(came)
        try:
            return await waiting
        finally:
            self._waiting = None

    def _finish(self) -> None:
        self._over = True
        source, self._source = self._source, None
        if source is not None:
            source.close()
            self._streams.remove(self._flow, self)

    def close(self) -> None:
        """Ends it; a `next_lines` that waits returns []."""
        self._lines.clear()
        self._finish()
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def cut(self, error: EsonError) -> None:
        self._error = error
        self.close()


async def _read(source: Source) -> Sequence[Record]:
    return await source.next_records()
