"""What goes out of date while a session carries: partitions and leaders, topics made anew, logins, idle connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from eson.brokers.kafka.wire.apis import ApiVersionsRequest
from eson.processors.child.ends import End
from eson.processors.child.fetcher import Fetcher
from eson.processors.child.trouble import Again

REFRESH, REFRESH_NARROW = 30.0, 3.0
"""Seconds between two looks at the queues: usually, and while a destination lacks partitions, which somebody adds soon."""
RENEW_ENDS = 10.0
"""Seconds between two looks at whether it is known where the sources end."""
RENEW_AT = 0.8
"""Part of a login's lifetime after which the session is opened anew."""


def lifetime(ends: Iterable[End]) -> float | None:
    """Seconds after which the session is opened anew; None without an end."""
    lifetimes = [end.cluster.lifetime() for end in ends]
    shortest = min((one for one in lifetimes if one), default=None)
    return shortest * RENEW_AT if shortest else None


async def refresh(ends: Sequence[End], narrow: bool) -> None:
    """Until cancelled.  Raises `Again` when the session must be opened anew, other `Trouble`.

    `narrow`: a destination lacks partitions.
    """
    loop = asyncio.get_running_loop()
    lasts = lifetime(ends)
    until = loop.time() + lasts if lasts else None
    every = REFRESH_NARROW if narrow else REFRESH
    while True:
        now = loop.time()
        await asyncio.sleep(every if until is None else max(0.0, min(every, until - now)))
        if until is not None and loop.time() >= until:
            raise Again("a login is about to end")
        for end in ends:
            topic = await end.cluster.topic()
            if topic != end.topic:
                raise Again("the queue's partitions or leaders changed")
            for connection in end.connections.values():
                if not connection.waiting:  # brokers close what is idle
                    await connection.ask(ApiVersionsRequest(), 0)


async def renew_ends(fetchers: Sequence[Fetcher]) -> None:
    """Until cancelled, so that lag stays true.  Raises `Trouble`."""
    while True:
        await asyncio.sleep(RENEW_ENDS)
        for fetcher in fetchers:
            await fetcher.renew_ends()
