"""Destinations with limits of rate: each gets no more than its own allows, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from eson.model.rates import RateLimit
from eson.processors.child.fetcher import FETCH_BYTES
from eson.processors.child.lanes import Planned
from eson.processors.child.sender import Sender
from eson.processors.core.rates import Limiter

LEAST_FETCH = 64 << 10
"""Octets that an answer may have, however low a limit is."""
USUAL_RECORD = 1 << 10


class Pacer:
    """`limiters`: of each destination, by number."""

    def __init__(self, sender: Sender, limiters: Mapping[int, Limiter]) -> None:
        self._sender, self._limiters = sender, limiters

    async def send(self, planned: Sequence[Planned]) -> None:
        """Returns when more may be planned."""
        groups: dict[int, list[Planned]] = {}
        for batch in planned:
            groups.setdefault(batch.lane.state.lane.destination, []).append(batch)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._pace(self._limiters[one], groups[one])) for one in groups]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _pace(self, limiter: Limiter, planned: Sequence[Planned]) -> None:
        """Sends what goes to one destination, batch by batch: an answer may hold many seconds' worth."""
        loop = asyncio.get_running_loop()
        for batch in planned:
            if wait := limiter.wait(loop.time()):  # also for what a session before this one sent
                await asyncio.sleep(wait)
            limiter.take(batch.records, batch.size, loop.time())
            await self._sender.send([batch])


def fetch_bytes(limiters: Mapping[int, Limiter]) -> int:
    """Octets to ask a source for at a time: a second's worth of the lowest limit, so that none waits long for another."""
    return max(LEAST_FETCH, min(_second(one.limit) for one in limiters.values()))


def _second(limit: RateLimit) -> int:
    rates = [limit.octets, limit.records and limit.records * USUAL_RECORD]
    return min([FETCH_BYTES, *(rate for rate in rates if rate)])
