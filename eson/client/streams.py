"""A READ as an asynchronous iterator that holds the server back while nobody takes what it sent."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from eson.client.closing import Closing
from eson.errors import ProtocolViolation
from eson.fnap.core import commands as c
from eson.fnap.net.client import Session
from eson.model.event_json import parse_json

Event = dict[str, Any]


class Events(Closing):
    """The events of a flow, oldest first, as JSON CloudEvents.

    It ends by itself unless it follows; a follower is ended by `close`, or by leaving the `async with` around it.  To
    leave a bounded one before its end drops the session: the agent would send the rest all the same.
    """

    def __init__(self, session: Session, command: c.Read) -> None:
        self._session = session
        self._command = command
        self._lines: deque[bytes] = deque()
        self._taken: Deferred[None] | None = None
        self._arrived: Deferred[None] | None = None
        self._running = False
        self._closing = False
        self._ended = False
        self._failure: BaseException | None = None
        self._end: Deferred[None] = Deferred()

    @property
    def waiting(self) -> int:
        """How many events are at hand."""
        return len(self._lines)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        return _event(await self.next_line())

    async def next_line(self) -> bytes:
        """The next event as its line of JSON.  Raises `StopAsyncIteration` at the end, else as `Session.read` does."""
        self._start()
        while not self._lines:
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._arrived = Deferred()
            await self._arrived
        line = self._lines.popleft()
        if not self._lines:
            self._let_go_on()
        return line

    async def close(self) -> None:
        """Ends it; what was not taken is dropped."""
        if not self._running or self._ended:
            self._ended = True
            return
        self._closing = True
        self._lines.clear()
        if self._command.follow:
            self._session.stop_follow()
        else:
            self._session.abort()
        self._let_go_on()
        await self._end

    def _start(self) -> None:
        if not self._running and not self._ended:
            self._running = True
            running = ensureDeferred(self._session.read(self._command, self._take))
            running.addCallbacks(lambda count: self._finish(None), lambda failure: self._finish(failure))

    def _take(self, lines: list[bytes]) -> Deferred[None] | None:
        if self._closing:
            return None
        self._lines.extend(lines)
        self._wake()
        if not self._lines:
            return None
        self._taken = Deferred()
        return self._taken

    def _let_go_on(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.callback(None)

    def _finish(self, failure: Failure | None) -> None:
        self._ended = True
        self._failure = failure.value if failure is not None else None
        self._wake()
        self._end.callback(None)

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived.callback(None)


def _event(line: bytes) -> Event:
    try:
        found = parse_json(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProtocolViolation("The agent sent an event that is no JSON object")
    return found
