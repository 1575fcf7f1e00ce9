"""Sends planned batches to the leader of their partitions: one batch a partition in a request, five requests under way.

Answers come in order.  Whatever is not a plain success ends the session: what has arrived is then asked, never guessed.

A leader that does not know our producer (yet, or any more) takes whatever sequence comes first.  So the first batch of
a lane goes alone: were it refused and the next one taken, that one would stand for both.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

from eson.brokers.kafka.wire.apis import ProduceRequest, ProduceResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import decode_response
from eson.brokers.kafka.wire.produce import ProduceCodec
from eson.processors.child.cluster import Cluster, Topic, listed
from eson.processors.child.connection import MOST_ELEMENTS, Connection
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.child.trouble import Failing, Stopped, Trouble, Unreachable

IN_FLIGHT = 5
REQUEST_BYTES = 2 << 20
TIMEOUT = 30.0
BESIDE = 1 << 10
"""Octets that a batch takes beside its own while it waits."""
KNOWN_FOR = 60.0
"""Seconds after an acknowledgement for which a leader certainly knows our producer: it forgets after a day by default."""
_BY_NAME, _BY_ID = 12, 13
_NO_ID = UUID(int=0)


class Producer:
    """For one leader.  `acknowledged` is told of each batch, `failed` once why no more can be sent."""

    def __init__(
        self,
        cluster: Cluster,
        topic: Topic,
        connection: Connection,
        acknowledged: Callable[[Planned, int], None],
        failed: Callable[[Trouble], None],
    ) -> None:
        self._cluster, self._topic, self._connection = cluster, topic, connection
        self._acknowledged, self._failed = acknowledged, failed
        self._over = False
        self._alone: set[RunningLane] = set()
        """With a first batch under way."""
        self._loop = asyncio.get_running_loop()
        version = connection.version(ProduceRequest.API_KEY, _BY_ID if topic.id else _BY_NAME, 3)
        if version is None:
            raise Unreachable(f"{connection.name} takes no batches of format 2")
        self._version = version
        self._codec = ProduceCodec(
            version, topic.name, topic.uuid if topic.id else _NO_ID, int(TIMEOUT * 1000)
        )
        self._queues: dict[int, deque[Planned]] = {}
        self._under_way = 0
        self._octets = 0
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()

    def add(self, batches: Iterable[Planned]) -> None:
        """Takes batches in their order; they must stand in the journal."""
        for batch in batches:
            self._octets += batch.size + BESIDE
            queue = self._queues.get(batch.lane.partition)
            if queue is None:
                queue = self._queues[batch.lane.partition] = deque()
            queue.append(batch)
        self._pump()

    async def below(self, octets: int) -> None:
        """Returns when no more than `octets` wait to be sent or acknowledged."""
        while self._octets > octets:
            self._room.clear()
            await self._room.wait()

    async def answered(self) -> None:
        """Returns when every request was answered."""
        while self._under_way:
            self._room.clear()
            await self._room.wait()

    def _pump(self) -> None:
        if self._over:
            return
        while self._under_way < IN_FLIGHT and not self._connection.unsent and (batches := self._next()):
            self._send(batches)

    def _next(self) -> list[Planned]:
        """The first batch of as many partitions as fit, the longest waiting first."""
        chosen: list[Planned] = []
        size = 0
        known = self._loop.time() - KNOWN_FOR
        for partition, queue in list(self._queues.items()):
            batch = queue[0]
            if batch.lane in self._alone:
                continue
            if chosen and size + batch.size > REQUEST_BYTES:
                break
            size += batch.size
            if batch.lane.known < known:
                self._alone.add(batch.lane)
            chosen.append(queue.popleft())
            del self._queues[partition]
            if queue:
                self._queues[partition] = queue  # behind the others
        return chosen

    def _send(self, batches: list[Planned]) -> None:
        parts = self._codec.request(
            self._connection.next_correlation(), [(batch.lane.partition, batch.octets) for batch in batches]
        )
        self._under_way += 1
        self._connection.send(parts, partial(self._answered, batches), TIMEOUT + 10)

    def _answered(self, batches: list[Planned], frame: memoryview) -> None:
        self._under_way -= 1
        if self._over:
            self._room.set()
            return
        results = self._codec.response(frame, len(batches))
        offsets = dict(results) if results is not None else self._unusual(batches, frame)
        now = self._loop.time()
        for batch in batches:
            offset = offsets.get(batch.lane.partition)
            if offset is None:
                self._fail(Failing(f"{self._connection.name} does not answer for a partition"))
                return
            batch.lane.known = now
            self._alone.discard(batch.lane)
            self._octets -= batch.size + BESIDE
            self._acknowledged(batch, offset)
        if not self._room.is_set():
            self._room.set()
        self._pump()

    def _unusual(self, batches: list[Planned], frame: memoryview) -> dict[int, int]:
        """Partition → base offset of what was appended; the first refusal ends the session."""
        answer = decode_response(ProduceResponse, self._version, frame, MOST_ELEMENTS)
        results = {
            one.index: one for topic in listed(answer.responses) for one in listed(topic.partition_responses)
        }
        found: dict[int, int] = {}
        for batch in batches:
            result = results.get(batch.lane.partition)
            if result is not None and result.error_code:
                message = getattr(result, "error_message", None) or ""
                self._fail(self._trouble(batch, result.error_code, message))
                return found
            if result is not None:
                found[result.index] = result.base_offset
        return found

    def _fail(self, trouble: Trouble) -> None:
        """Nothing more is sent, and no later answer counts: what was refused has a hole behind it."""
        if not self._over:
            self._over = True
            self._failed(trouble)

    def _trouble(self, batch: Planned, code: int, message: str) -> Trouble:
        where = f"partition {batch.lane.partition}"
        if code == ErrorCode.INVALID_PRODUCER_EPOCH:
            return Stopped(
                f"{self._cluster.side} {self._topic.name}, {where}: somebody else uses our producer id"
            )
        if code in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE):
            return TooLarge(
                batch, f"{self._cluster.side} {self._topic.name} takes no batch of {batch.size} octets"
            )
        trouble = self._cluster.trouble(code, where)
        return type(trouble)(f"{trouble.reason}{': ' + _line(message) if message else ''}")


class TooLarge(Failing):
    """A batch is larger than the destination takes, whatever it said before."""

    def __init__(self, batch: Planned, reason: str) -> None:
        super().__init__(reason)
        self.batch = batch


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200]
