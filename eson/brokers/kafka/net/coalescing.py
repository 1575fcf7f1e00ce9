"""Many small changes in one request: a Kafka controller takes about as long for a hundred topics as for one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")
R = TypeVar("R")


class Coalescer(Generic[T, R]):
    """Sends what is asked for while a request is under way together in the next one, at most `most` at a time.

    `send` gets the items and gives their results in the same order; what it raises is everyone's.  Two items with the
    same `key` never go into one request: Kafka refuses both.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[R]]],
        key: Callable[[T], Hashable],
        most: int = 100,
    ) -> None:
        self._send, self._key, self._most = send, key, most
        self._queue: list[tuple[T, Deferred[R]]] = []
        self._busy = False

    async def __call__(self, item: T) -> R:
        waiting: Deferred[R] = Deferred()
        self._queue.append((item, waiting))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._run())
        return await waiting

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._send_some()
        finally:
            self._busy = False

    async def _send_some(self) -> None:
        chosen: dict[Hashable, tuple[T, Deferred[R]]] = {}
        left: list[tuple[T, Deferred[R]]] = []
        for entry in self._queue:
            if entry[1].called:  # whoever asked has given up
                continue
            key = self._key(entry[0])
            if key in chosen or len(chosen) == self._most:
                left.append(entry)
            else:
                chosen[key] = entry
        self._queue = left
        if not chosen:
            return
        entries = list(chosen.values())
        try:
            results = await self._send([item for item, _ in entries])
        except Exception as error:
            for _, waiting in entries:
                if not waiting.called:
                    waiting.errback(error)
            return
        for (_, waiting), result in zip(entries, results, strict=True):
            if not waiting.called:
                waiting.callback(result)
