"""Coroutines of a command on Twisted's reactor, from its start to its end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

_T = TypeVar("_T")
Work = Coroutine[Deferred[Any], Any, _T]
_CHUNK = 1 << 16


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


class Runner(Protocol):
    """What runs the coroutines of a command, and what they need of the world."""

    reactor: Any

    def run(self, work: Work[_T]) -> _T:
        """Its result.  Raises what it raises, or `Interrupted`."""

    async def sleep(self, seconds: float) -> None: ...

    def chunks(self, stream: BinaryIO) -> AsyncIterator[bytes]:
        """The octets of a file as they come, without holding up what else happens."""


class ReactorRunner:
    """The process's own reactor, which runs once."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def run(self, work: Work[_T]) -> _T:
        reactor = self.reactor
        outcome: list[Any] = []
        running: list[Deferred[Any]] = []
        interrupted = False

        def begin() -> None:
            running.append(ensureDeferred(work))
            running[0].addBoth(end)

        def end(result: Any) -> None:
            outcome.append(result)
            _stop(reactor)

        def leave() -> Deferred[Any] | None:
            nonlocal interrupted
            if outcome or not running:
                return None
            interrupted = True
            running[0].cancel()
            return running[0]

        reactor.callWhenRunning(begin)
        reactor.addSystemEventTrigger("before", "shutdown", leave)
        reactor.run()
        if interrupted and (not outcome or _is_cancelled(outcome[0])):
            raise Interrupted
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: _T = outcome[0]
        return result

    async def sleep(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def chunks(self, stream: BinaryIO) -> AsyncIterator[bytes]:
        reading = _Reading(self.reactor, stream)
        try:
            while chunk := await reading.next():
                yield chunk
        finally:
            reading.stop()


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # Ctrl-C came first
        reactor.stop()


def _is_cancelled(result: object) -> bool:
    return isinstance(result, Failure) and result.check(CancelledError) is not None


class _Reading:
    """A thread that reads a file, at most two chunks ahead.

    It is a daemon and no thread of the pool: nobody waits at the end for one that still waits for a key to be pressed.
    """

    def __init__(self, reactor: Any, stream: BinaryIO) -> None:
        self._reactor = reactor
        self._stream = stream
        self._room = threading.Semaphore(2)
        self._chunks: deque[bytes | BaseException] = deque()
        self._arrived: Deferred[None] | None = None
        self._stopped = False
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> bytes:
        """The next octets; b"" at the end.  Raises what reading raised."""
        while not self._chunks:
            self._arrived = Deferred()
            await self._arrived
        chunk = self._chunks.popleft()
        self._room.release()
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def _read(self) -> None:
        chunk: bytes | BaseException = b"-"
        while chunk and not isinstance(chunk, BaseException):
            self._room.acquire()
            if self._stopped:
                return
            try:
                chunk = read_some(self._stream)
            except Exception as error:
                chunk = error
            self._reactor.callFromThread(self._put, chunk)

    def _put(self, chunk: bytes | BaseException) -> None:
        self._chunks.append(chunk)
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.called:
            arrived.callback(None)


def read_some(stream: BinaryIO) -> bytes:
    """What is there, at most 64 KiB; waits if there is nothing; b"" at the end."""
    read1 = getattr(stream, "read1", None)
    chunk: bytes = read1(_CHUNK) if read1 is not None else stream.readline()
    return chunk
