"""A running write to one queue: idempotent, in order, each send synced before it returns."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock

from eson.brokers.kafka.failures import Answered, Unreachable, answered
from eson.brokers.kafka.net.cluster import NO_NODE, Cluster, Topic
from eson.brokers.kafka.net.gathering import gather
from eson.brokers.kafka.wire.apis import InitProducerIdRequest, ProduceRequest
from eson.brokers.kafka.wire.batches import next_sequence
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch, record_size
from eson.brokers.partitions import partition_of_key
from eson.brokers.port import Record
from eson.errors import BackendFailed, EsonError, NoSuch, TooLarge

BATCH_OCTETS = 900_000
"""Below Kafka's default `max.message.bytes` of 1 MiB, overhead included."""
ALL_IN_SYNC = -1
_APPENDED = (0, ErrorCode.DUPLICATE_SEQUENCE_NUMBER)
_TOO_LARGE = (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE)
_TRANSACTION_TIMEOUT_MS = 60_000


Placed = tuple[int, BatchRecord]
"""A record with its number in what is sent, from 0 on."""


@dataclass(frozen=True)
class _Batch:
    """The octets of a batch, which are the same when it is sent again: the broker knows it by them."""

    partition: int
    octets: bytes
    following: int
    """The sequence after it."""


class KafkaSink:
    """Writes to `topic` as an idempotent producer with an identity of its own.

    A send that failed leaves open what was appended, and the sink is of no more use: open another one.
    """

    def __init__(
        self, cluster: Cluster, topic: Topic, identity: tuple[int, int], now: Callable[[], float] = time.time
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._producer_id, self._producer_epoch = identity
        self._sequences: dict[int, int] = {}
        self._turn = 0
        self._lock = DeferredLock()
        self._now = now
        self._ended: BackendFailed | None = None

    async def send(self, records: Sequence[Record]) -> None:
        """Raises `BackendFailed`, `TooLarge` and `NoSuch` (a partition that is not there).

        `written` in the error's context: so many of them, from the first on, are in the queue.  What is before a record
        that is too large is; of what is behind it, other partitions may hold some.
        """
        await self._lock.acquire()
        try:
            if self._ended is not None:
                self._ended.context["written"] = 0
                raise self._ended
            await self._send(self._placed(records))
        except BackendFailed as error:
            self._ended = error
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        self._ended = self._ended or BackendFailed(f"Writing to queue {self._topic.name} has ended")

    def _placed(self, records: Sequence[Record]) -> dict[int, list[Placed]]:
        """The records by partition; those without a key or partition stay together, at the next one in turn."""
        count = len(self._topic.leaders)
        now = int(self._now() * 1000)
        placed: defaultdict[int, list[Placed]] = defaultdict(list)
        for index, record in enumerate(records):
            number = record.partition
            if number >= count:
                raise NoSuch("partition", f"{self._topic.name}:{number}")
            if number < 0:
                number = self._turn if record.key is None else partition_of_key(record.key, count)
            timestamp = record.timestamp if record.timestamp >= 0 else now
            made = BatchRecord(0, timestamp, record.key, record.value, record.headers)
            placed[number].append((index, made))
        self._turn = (self._turn + 1) % count
        return placed

    async def _send(self, placed: Mapping[int, Sequence[Placed]]) -> None:
        rounds = {number: _chunks(records) for number, records in placed.items()}
        left = {index for records in placed.values() for index, _ in records}
        end = len(left)
        try:
            while rounds:
                # one batch of a partition at a time: what comes after it must not overtake it
                batches = {number: self._batch(number, chunks[0]) for number, chunks in rounds.items()}
                refused = await self._cluster.within(self._append(batches))
                for number, chunks in rounds.items():
                    chunk = chunks.pop(0)
                    if number not in refused:
                        left.difference_update(index for index, _ in chunk)
                    elif len(chunk) > 1:  # one record of it alone may be what is too large
                        middle = len(chunk) // 2
                        chunks[:0] = [chunk[:middle], chunk[middle:]]
                    else:
                        end = min(end, chunk[0][0])
                rounds = {number: rest for number, chunks in rounds.items() if (rest := _before(end, chunks))}
            if left:
                raise TooLarge(f"Broker {self._cluster.name} does not take a record of this size")
        except EsonError as error:
            error.context["written"] = min(left)
            raise

    def _batch(self, number: int, placed: Sequence[Placed]) -> _Batch:
        sequence = self._sequences.get(number, 0)
        octets = encode_batch(
            [record for _, record in placed],
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=sequence,
        )
        return _Batch(number, octets, next_sequence(sequence, len(placed)))

    async def _append(self, batches: dict[int, _Batch]) -> set[int]:
        """Sends until all are appended but those that are too large: their partitions.

        What failed in a way that may pass is sent again, with the same octets.
        """
        refused: set[int] = set()

        async def attempt() -> None:
            led: defaultdict[int, list[_Batch]] = defaultdict(list)
            for number, batch in batches.items():
                led[self._topic.leaders.get(number, NO_NODE)].append(batch)
            try:
                results = await gather(self._produce(node, some) for node, some in led.items())
            except (Answered, Unreachable) as error:
                await self._look_again(error)
                raise
            for number, code in (pair for result in results for pair in result.items()):
                if code in _APPENDED:
                    self._sequences[number] = batches.pop(number).following
                elif code in _TOO_LARGE:
                    refused.add(number)
                    del batches[number]
            if batches:
                code = next(
                    code for result in results for number, code in result.items() if number in batches
                )
                refusal = self._refusal(code)
                await self._look_again(refusal)
                raise refusal

        while batches:
            await self._cluster.retrying(attempt, patient=True)
        return refused

    async def _produce(self, node: int, batches: Sequence[_Batch]) -> dict[int, int]:
        if node == NO_NODE:
            raise self._refusal(ErrorCode.LEADER_NOT_AVAILABLE)
        topic: Any = ProduceRequest.TopicProduceData
        data = topic(
            name=self._topic.name,
            topic_id=self._topic.id,
            partition_data=[topic.PartitionProduceData(index=b.partition, records=b.octets) for b in batches],
        )
        request = ProduceRequest(
            transactional_id=None,
            acks=ALL_IN_SYNC,
            timeout_ms=int(self._cluster.timeout * 1000),
            topic_data=[data],
        )
        response = await self._cluster.to_node(node, request)
        return {p.index: p.error_code for topic in response.responses for p in topic.partition_responses}

    def _refusal(self, code: int) -> Exception:
        return answered(self._cluster.name, code, f"write queue {self._topic.name}")

    async def _look_again(self, error: Exception) -> None:
        """Asks who leads now, if that may be the reason.  Raises `BackendFailed` if the queue is not the same."""
        passing = isinstance(error, Unreachable) or (isinstance(error, Answered) and error.passing)
        if not passing:
            return
        try:
            topic = (await self._cluster.metadata([self._topic.name])).get(self._topic.name)
        except (Answered, Unreachable):
            return
        if topic is not None and topic.id != self._topic.id:
            raise BackendFailed(f"Queue {self._topic.name} was deleted")
        if topic is not None:
            self._topic = topic


async def producer_identity(cluster: Cluster) -> tuple[int, int]:
    """A new producer id and its epoch.  Run it in `Cluster.within`."""

    async def ask() -> tuple[int, int]:
        response = await cluster.any(
            InitProducerIdRequest(
                transactional_id=None,
                transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
                producer_id=-1,
                producer_epoch=-1,
            )
        )
        if response.error_code:
            raise answered(cluster.name, response.error_code, "become a producer")
        return response.producer_id, response.producer_epoch

    return await cluster.retrying(ask)


def _before(end: int, chunks: Sequence[Sequence[Placed]]) -> list[list[Placed]]:
    """What of them has a number below `end`."""
    kept = ([one for one in chunk if one[0] < end] for chunk in chunks)
    return [chunk for chunk in kept if chunk]


def _chunks(placed: Sequence[Placed]) -> list[list[Placed]]:
    """Records in the same order, as many together as fit into a batch."""
    chunks: list[list[Placed]] = [[]]
    octets = 0
    for one in placed:
        size = record_size(one[1])
        if chunks[-1] and octets + size > BATCH_OCTETS:
            chunks.append([])
            octets = 0
        chunks[-1].append(one)
        octets += size
    return chunks
