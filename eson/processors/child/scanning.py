"""Reads the headers of a destination's batches for what has arrived, where its leader does not tell (any more)."""

from __future__ import annotations

import asyncio
from typing import Any

from eson.brokers.kafka.wire.batches import CURRENT_MAGIC, BatchHeader, magic_of, parse_header, split_entries
from eson.processors.child.cluster import EARLIEST, LATEST, Cluster, Topic, listed
from eson.processors.child.connection import MOST_ELEMENTS, Connection
from eson.processors.child.fetcher import LARGEST_BATCH, fetch_codec
from eson.processors.child.trouble import Stopped, Unreachable
from eson.processors.core.journal import Lane

SCAN_BYTES = 1 << 20
PATIENCE = 30.0
"""Seconds for a new leader to bring its high watermark up to what was acknowledged."""
STEP = 0.2


async def newest_batch(
    cluster: Cluster, topic: Topic, connection: Connection, lane: Lane, offset: int, past: int
) -> BatchHeader | None:
    """The newest batch of the lane's producer at or behind `offset`, None if there is none.

    Waits until the partition's end is past `past`.  Raises `Stopped` if it never is and nothing of ours is left.
    """
    partition = lane.destination_partition
    end = await _end(cluster, connection, partition)
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while end <= past and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(STEP)
        end = await _end(cluster, connection, partition)
    lost = end <= past
    scan = HeaderScan(lane, 0 if lost else offset)
    await scan.read(cluster, topic, connection, end)
    if lost and scan.newest is None:
        raise Stopped(
            f"the destination's partition {partition} lost what it had acknowledged up to offset {past}"
        )
    return scan.newest


class HeaderScan:
    """Of one lane's destination from `offset` on; what was read stays read if a connection is lost meanwhile."""

    def __init__(self, lane: Lane, offset: int) -> None:
        self._lane, self._at = lane, offset
        self.newest: BatchHeader | None = None
        """The newest batch of the lane's producer so far."""

    async def read(self, cluster: Cluster, topic: Topic, connection: Connection, end: int) -> None:
        """Goes on to before `end`.  Raises `Unreachable` if the leader does not give what it holds."""
        partition = self._lane.destination_partition
        first = (await cluster.offsets(connection, [partition], EARLIEST))[partition]
        self._at = max(self._at, first)
        now = asyncio.get_running_loop().time
        deadline = now() + PATIENCE
        while self._at < end:
            newest, following = await _scan(cluster, topic, connection, self._lane, self._at)
            self.newest = newest or self.newest
            if following > self._at:
                self._at, deadline = following, now() + PATIENCE
            elif now() < deadline:
                # an empty answer proves nothing: a quota that was passed gives one as well
                await asyncio.sleep(STEP)
            else:
                raise Unreachable(
                    f"destination {topic.name}, partition {partition}: its leader gives nothing from offset {self._at} on,"
                    f" and says that it ends at {end}"
                )


async def _end(cluster: Cluster, connection: Connection, partition: int) -> int:
    return (await cluster.offsets(connection, [partition], LATEST))[partition]


async def _scan(
    cluster: Cluster, topic: Topic, connection: Connection, lane: Lane, at: int
) -> tuple[BatchHeader | None, int]:
    answer = await fetch_some(topic, connection, lane.destination_partition, at)
    newest: BatchHeader | None = None
    following = at
    for part in (part for one in listed(answer.responses) for part in listed(one.partitions)):
        if part.error_code:
            raise cluster.trouble(part.error_code, f"partition {part.partition_index}")
        for batch in split_entries(part.records or memoryview(b"")):
            if magic_of(batch) < CURRENT_MAGIC:
                following = max(following, int.from_bytes(batch[:8], "big") + 1)
                continue
            header = parse_header(batch)
            following = max(following, header.last_offset + 1)
            if header.producer_id == lane.producer_id and header.producer_epoch == lane.epoch:
                newest = header
    return newest, following


async def fetch_some(
    topic: Topic, connection: Connection, partition: int, offset: int, committed: bool = False
) -> Any:
    """One answer of a partition from `offset` on; it need not hold anything."""
    codec = fetch_codec(connection, topic, committed)
    connection.cap = max(connection.cap, LARGEST_BATCH)
    correlation = connection.next_correlation()
    request = codec.request(correlation, {partition: offset}, SCAN_BYTES, SCAN_BYTES, 100)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(frame: memoryview) -> None:
        decoded = codec.response(frame, 1, MOST_ELEMENTS)
        connection.detach()
        if not future.done():
            future.set_result(decoded)

    connection.send((request,), answered)
    connection.ends(future)
    return await future
