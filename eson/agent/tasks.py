"""Work that goes on whoever waits for it, and waiting with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from eson.agent.ports import Scheduler

T = TypeVar("T")
Work = Coroutine[Any, Any, T]

STOP_WITHIN = 5.0
"""Seconds that an end waits for what runs: whoever asked was sent away, and a start goes on with what was begun."""

_log = Logger()


class Tasks:
    """Runs coroutines to their end.  A client that goes away, or a deadline, never stops a use case half way."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._running: set[Deferred[Any]] = set()
        self._waiting: list[Deferred[None]] = []
        self._stopped = False

    def run(self, work: Work[T]) -> Deferred[T]:
        """Starts it now.  Cancelling what is returned does not reach the work."""
        outer: Deferred[T] = Deferred()
        inner = Deferred.fromCoroutine(work)
        self._running.add(inner)

        def ended(result: Any) -> None:
            self._running.discard(inner)
            if not outer.called:
                outer.callback(result)  # a failure too
            elif isinstance(result, Failure):
                _log.warn("work that nobody waits for any more failed: {reason}", reason=result.value)
            if not self._running:
                waiting, self._waiting = self._waiting, []
                for one in waiting:
                    one.callback(None)

        inner.addBoth(ended)
        return outer

    def spawn(self, work: Work[object], what: str) -> None:
        """Starts work that nobody waits for; its failure is logged.  After `stop` nothing is started."""
        if self._stopped:
            work.close()
            return
        self.run(work).addErrback(lambda failure: _log.failure("{what} failed", failure=failure, what=what))

    def later(self, seconds: float, work: Callable[[], Work[object]], what: str) -> None:
        def start() -> None:
            if not self._stopped:
                self.spawn(work(), what)

        if not self._stopped:
            self._scheduler.callLater(seconds, start)

    async def within(self, seconds: float, running: Deferred[T]) -> T | None:
        """The result, or None when the time is over: then the work goes on without us."""
        first: Deferred[T | None] = Deferred()
        timer = self._scheduler.callLater(seconds, first.callback, None)

        def ended(result: Any) -> None:
            if first.called:
                if isinstance(result, Failure):
                    _log.warn("work that came too late failed: {reason}", reason=result.value)
                return
            timer.cancel()
            first.callback(result)  # a failure too

        running.addBoth(ended)
        return await first

    async def each(self, works: Iterable[Callable[[], Work[object]]], at_once: int = 16) -> None:
        """Runs them all, at most `at_once` at a time.  Each must deal with its own errors."""
        places = DeferredSemaphore(at_once)
        await gatherResults([places.run(_started, work) for work in works], consumeErrors=True)

    async def breathe(self) -> None:
        """Lets everybody else run once."""
        passed: Deferred[None] = Deferred()
        self._scheduler.callLater(0, passed.callback, None)
        await passed

    async def stop(self) -> None:
        """Starts nothing more of its own accord, and waits for what runs, `STOP_WITHIN` seconds at most.

        What takes longer waits for somebody else, such as an agent that is gone.
        """
        self._stopped = True
        if not self._running:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        timer = self._scheduler.callLater(STOP_WITHIN, self._leave, waiting)
        await waiting
        if timer.active():
            timer.cancel()

    def _leave(self, waiting: Deferred[None]) -> None:
        _log.info("{count} operations are left to the next start", count=len(self._running))
        self._waiting.remove(waiting)
        waiting.callback(None)

    async def settled(self) -> None:
        """When nothing runs any more."""
        if self._running:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting


def _started(work: Callable[[], Work[object]]) -> Deferred[object]:
    return Deferred.fromCoroutine(work())
