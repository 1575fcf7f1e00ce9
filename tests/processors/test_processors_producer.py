"""What is sent while an answer is due, and what a refusal leaves undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from eson.brokers.kafka.wire.apis import ProduceResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import decode_request, encode_response
from eson.processors.child.cluster import Cluster, Topic
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.child.producer import IN_FLIGHT, KNOWN_FOR, Producer
from eson.processors.child.trouble import Trouble
from eson.processors.core.journal import Entry, Lane, LaneState

VERSION = 9
TOPIC = Topic("time", "", {0: 1, 1: 1})
OCTETS = 70


class FakeConnection:
    """Keeps requests until the test answers them, the oldest first."""

    name = "destination 1"
    unsent = False

    def __init__(self) -> None:
        self.due: list[tuple[list[int], Callable[[memoryview], None]]] = []

    def version(self, key: int, newest: int, oldest: int) -> int:
        return VERSION

    def next_correlation(self) -> int:
        return 1

    def send(self, parts: Any, answered: Callable[[memoryview], None], timeout: float) -> None:
        request = decode_request(memoryview(b"".join(parts))[4:])
        (topic,) = request.body.topic_data
        self.due.append(([one.index for one in topic.partition_data], answered))

    def answer(self, error: int = 0, base: int = 500) -> None:
        partitions, answered = self.due.pop(0)
        of = ProduceResponse.TopicProduceResponse
        told = [
            of.PartitionProduceResponse(
                index=one,
                error_code=error,
                base_offset=-1 if error else base,
                log_append_time_ms=-1,
                log_start_offset=0,
                record_errors=[],
                error_message=None,
            )
            for one in partitions
        ]
        response = ProduceResponse(
            responses=[of(name=TOPIC.name, partition_responses=told)], throttle_time_ms=0
        )
        answered(memoryview(encode_response(response, VERSION, 1))[4:])


class FakeCluster:
    side, queue = "destination", "time"
    trouble = Cluster.trouble


class Sending:
    """A producer over a fake connection; `acknowledged` and `failed` are what it told."""

    def __init__(self) -> None:
        self.connection = FakeConnection()
        self.acknowledged: list[Planned] = []
        self.failed: list[Trouble] = []
        self.producer = Producer(
            FakeCluster(),  # type: ignore[arg-type]
            TOPIC,
            self.connection,  # type: ignore[arg-type]
            lambda batch, offset: self.acknowledged.append(batch),
            self.failed.append,
        )

    @property
    def under_way(self) -> list[list[int]]:
        """The partitions of each request that is not answered."""
        return [partitions for partitions, _ in self.connection.due]


def lane(number: int = 0, partition: int = 0) -> RunningLane:
    made = Lane(number, number, partition, "s", 0, partition, "d", 77, 0, 0, 0)
    return RunningLane(LaneState(made, 0), True, 1 << 20)


def batches(lane: RunningLane, count: int, first: int = 0) -> list[Planned]:
    return [
        Planned(lane, Entry(first + n, first + n, first + n + 1, 0), bytes(OCTETS), 1, 1, True)
        for n in range(count)
    ]


@pytest.fixture
def sending() -> Sending:
    async def make() -> Sending:
        return Sending()

    return asyncio.new_event_loop().run_until_complete(make())


def test_the_first_batch_of_a_lane_goes_alone(sending: Sending) -> None:
    sending.producer.add(batches(lane(), 8))
    assert sending.under_way == [[0]]
    sending.connection.answer()
    assert sending.under_way == [[0]] * IN_FLIGHT
    for _ in range(7):
        sending.connection.answer()
    assert len(sending.acknowledged) == 8


def test_lanes_wait_for_their_own_first_batch_only(sending: Sending) -> None:
    known, new = lane(0), lane(1)
    sending.producer.add(batches(known, 1))
    sending.connection.answer()
    sending.producer.add([*batches(known, 1, 1), *batches(new, 2)])
    assert len(sending.under_way) == 2
    sending.connection.answer()
    assert len(sending.under_way) == 1, "that of the other lane says nothing of this one"
    sending.connection.answer()
    assert len(sending.under_way) == 1


def test_other_partitions_go_on_meanwhile(sending: Sending) -> None:
    sending.producer.add([*batches(lane(0, 0), 3), *batches(lane(1, 1), 3)])
    assert sending.under_way == [[0, 1]]


def test_a_lane_that_was_silent_for_long_begins_anew(sending: Sending) -> None:
    one = lane()
    sending.producer.add(batches(one, 1))
    sending.connection.answer()
    one.known -= KNOWN_FOR
    sending.producer.add(batches(one, 3, 1))
    assert len(sending.under_way) == 1


def test_nothing_counts_behind_a_refusal(sending: Sending) -> None:
    one = lane()
    sending.producer.add(batches(one, 1))
    sending.connection.answer()
    sending.producer.add(batches(one, 8, 1))
    sending.connection.answer(ErrorCode.NOT_ENOUGH_REPLICAS)
    while sending.connection.due:
        sending.connection.answer()
    assert len(sending.acknowledged) == 1
    assert len(sending.failed) == 1


def test_nothing_is_sent_behind_a_refusal(sending: Sending) -> None:
    """Its session may hand on what was planned before it hears of it."""
    sending.producer.add(batches(lane(0, 0), 1))
    sending.connection.answer(ErrorCode.NOT_ENOUGH_REPLICAS)
    sending.producer.add(batches(lane(1, 1), 1))
    assert sending.under_way == []


def test_all_is_answered_once_nothing_is_under_way() -> None:
    async def test() -> None:
        sending, one = Sending(), lane()
        sending.producer.add(batches(one, 1))
        sending.connection.answer()
        sending.producer.add(batches(one, 3, 1))
        sending.connection.answer(ErrorCode.MESSAGE_TOO_LARGE)
        answered = asyncio.ensure_future(sending.producer.answered())
        sending.connection.answer(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        await asyncio.sleep(0)
        assert not answered.done()
        sending.connection.answer(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        await asyncio.wait_for(answered, 5)

    asyncio.run(test())
