"""Fetches from the leader of some partitions of a source: the next Fetch is under way while the last is carried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from eson.brokers.kafka.wire.apis import FetchRequest, FetchResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import decode_response, encode_request_parts
from eson.processors.child.cluster import Cluster, Topic, listed
from eson.processors.child.connection import MOST_ELEMENTS, TIMEOUT, Connection
from eson.processors.child.lanes import Memory, Planned
from eson.processors.child.planning import Planner
from eson.processors.child.trouble import Failing, Trouble, Unreachable

FETCH_BYTES = 2 << 20
FAR_BYTES = 6 << 20
"""For sources that are far: what an answer may hold where no answer came within `FAR`, so that the link is filled."""
FAR = 0.06
LARGEST_BATCH = 16 << 20
"""Octets of an answer that may exceed what was asked for, because one batch is always given whole."""
MAX_WAIT = 5.0
_BESIDE = 64 << 10
"""Octets of an answer beside its batches, so that its memory need not grow."""
_BY_NAME, _BY_ID, _OLDEST = 12, 13, 4
_NO_ID = UUID(int=0)


def fetch_version(connection: Connection, topic: Topic) -> int:
    """The version of Fetch to use: by topic id where both sides know it.  Raises `Unreachable`."""
    version = connection.version(FetchRequest.API_KEY, _BY_ID if topic.id else _BY_NAME, _OLDEST)
    if version is None:
        raise Unreachable(f"{connection.name} gives no batches of format 2")
    return version


def fetch_request(
    topic: Topic, positions: Mapping[int, int], octets: int, wait: float, committed: bool = True
) -> Any:
    """A Fetch of some partitions, `octets` in all; the broker waits up to `wait` seconds for something to give."""
    of_topic = FetchRequest.FetchTopic
    of_partition = of_topic.FetchPartition
    partitions = [
        of_partition(
            partition=number,
            current_leader_epoch=-1,
            fetch_offset=offset,
            last_fetched_epoch=-1,
            log_start_offset=-1,
            partition_max_bytes=octets,
        )
        for number, offset in positions.items()
    ]
    return FetchRequest(
        replica_id=-1,
        max_wait_ms=int(wait * 1000),
        min_bytes=1,
        max_bytes=octets,
        isolation_level=1 if committed else 0,
        session_id=0,
        session_epoch=-1,
        topics=[
            of_topic(topic=topic.name, topic_id=topic.uuid if topic.id else _NO_ID, partitions=partitions)
        ],
        forgotten_topics_data=[],
        rack_id="",
    )


class OutOfRange(Trouble):
    """The source does not hold a partition's position."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} does not hold the position")
        self.partition = partition


class Fetcher:
    """For one leader.  `carry` takes what was planned of an answer and returns when the next answer may be planned."""

    def __init__(
        self,
        cluster: Cluster,
        topic: Topic,
        connection: Connection,
        planners: Mapping[int, Planner],
        carry: Callable[[list[Planned]], Awaitable[None]],
        fetch_bytes: int = FETCH_BYTES,
    ) -> None:
        self._cluster, self._topic, self._connection = cluster, topic, connection
        self._planners, self._carry = dict(planners), carry
        self._bytes = fetch_bytes
        self._version = fetch_version(connection, topic)
        connection.cap = LARGEST_BATCH + max(fetch_bytes, FAR_BYTES)
        self._turn = 0
        self._pool: list[bytearray] = []

    async def run(self) -> None:
        """Until cancelled.  Raises what planning and carrying raise, `OutOfRange`, `Unreachable`, `Failing`."""
        answer = self._fetch()
        while True:
            decoded, buffer = await answer
            try:
                planned = self._plan(decoded)
            except MalformedMessage as error:
                raise Failing(f"{self._connection.name} breaks Kafka's protocol: {error}") from None
            if buffer is not None:
                memory = Memory(buffer, len(planned), self._pool)
                for batch in planned:
                    batch.memory = memory
            answer = self._fetch()
            await self._carry(planned)

    def _adapt(self, octets: int) -> None:
        """Asks for more at once where the source is far: one Fetch fills a link only so far.

        The quickest answer tells, not this one: a broker that is merely busy gains nothing by larger answers.
        """
        if self._connection.round_trip <= FAR:
            self._bytes = min(self._bytes, FETCH_BYTES)
        elif octets >= self._bytes * 3 // 4 and FETCH_BYTES <= self._bytes < FAR_BYTES:
            self._bytes = min(FAR_BYTES, 2 * self._bytes)

    def _memory(self) -> bytearray:
        usual = self._bytes + _BESIDE
        while self._pool:
            buffer = self._pool.pop()
            if usual <= len(buffer) <= 2 * usual:
                return buffer
        return bytearray(usual)

    def _fetch(self) -> asyncio.Future[Any]:
        partitions = list(self._planners)
        # what stands first is served first: another one at each turn
        self._turn = (self._turn + 1) % len(partitions)
        partitions = partitions[self._turn :] + partitions[: self._turn]
        positions = {number: self._planners[number].position for number in partitions}
        request = fetch_request(self._topic, positions, self._bytes, MAX_WAIT)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def answered(frame: memoryview) -> None:
            self._adapt(len(frame))
            # a few octets must not hold on to the memory of many while they wait
            small = 2 * len(frame) < self._bytes
            octets = memoryview(bytearray(frame)) if small else frame
            decoded = decode_response(FetchResponse, self._version, octets, MOST_ELEMENTS)
            buffer = None if small else self._connection.detach(self._memory())
            if not future.done():
                future.set_result((decoded, buffer))

        parts = encode_request_parts(request, self._version, self._connection.next_correlation())
        self._connection.send(parts, answered, MAX_WAIT + TIMEOUT)
        return future

    def _plan(self, answer: Any) -> list[Planned]:
        if getattr(answer, "error_code", 0):
            raise self._cluster.trouble(answer.error_code, "reading")
        planned: list[Planned] = []
        for part in (part for topic in listed(answer.responses) for part in listed(topic.partitions)):
            planner = self._planners.get(part.partition_index)
            if planner is None:
                continue
            if part.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                raise OutOfRange(part.partition_index)
            if part.error_code:
                raise self._cluster.trouble(part.error_code, f"partition {part.partition_index}")
            aborted = [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()]
            end = part.last_stable_offset if part.last_stable_offset >= 0 else part.high_watermark
            for lane in planner.lanes:
                lane.end = end
            if part.records:
                planned += planner.plan(part.records, aborted)
            for lane in planner.lanes:
                lane.caught_up = lane.offset >= end
        return planned
