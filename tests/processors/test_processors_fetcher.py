"""What a fetcher asks of a broker that fills answers as Kafka does, and what it makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from processors.test_processors_planning import batch, moved

from eson.brokers.kafka.wire.apis import FetchResponse
from eson.brokers.kafka.wire.messages import decode_request, encode_response
from eson.processors.child.cluster import Topic
from eson.processors.child.fetcher import Fetcher
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.child.planning import MOST_STUCK, Planner
from eson.processors.child.window import Windows
from eson.processors.core.journal import Lane, LaneState

VERSION = 12
COUNT = 10
END = 1 << 40
KIB = 1 << 10


class FakeConnection:
    """A leader whose partitions hold batches of `COUNT` events without end; `sizes`: octets of one event of each.

    As Kafka's it gives the first batch of an answer whole and cuts the others at an octet.
    """

    name = "source 1"
    cap = 0
    round_trip = 0.0
    arriving = False

    def __init__(self, sizes: Mapping[int, int]) -> None:
        self._batches = {number: batch(0, COUNT, size=size) for number, size in sizes.items()}
        self.answers = 0

    def version(self, key: int, newest: int, oldest: int) -> int:
        return VERSION

    def next_correlation(self) -> int:
        return 1

    def detach(self, replacement: bytearray) -> bytearray:
        return bytearray(len(replacement))

    def send(self, parts: Any, answered: Callable[[memoryview], None], timeout: float) -> None:
        body = decode_request(memoryview(b"".join(parts))[4:]).body
        of = FetchResponse.FetchableTopicResponse
        (asked,) = body.topics
        room, given = body.max_bytes, []
        for one in asked.partitions:
            octets = self._records(one.partition, one.fetch_offset, min(room, one.partition_max_bytes))
            if not given:
                octets = max(octets, moved(self._batches[one.partition], one.fetch_offset), key=len)
            room -= len(octets)
            given.append(
                of.PartitionData(
                    partition_index=one.partition,
                    error_code=0,
                    high_watermark=END,
                    last_stable_offset=END,
                    log_start_offset=0,
                    aborted_transactions=None,
                    preferred_read_replica=-1,
                    records=octets,
                )
            )
        answer = FetchResponse(
            throttle_time_ms=0, error_code=0, session_id=0, responses=[of(topic="time", partitions=given)]
        )
        self.answers += 1
        frame = memoryview(bytearray(encode_response(answer, VERSION, 1)[4:]))
        asyncio.get_running_loop().call_soon(answered, frame)

    def _records(self, partition: int, offset: int, room: int) -> bytes:
        octets = self._batches[partition]
        count = room // len(octets) + 1
        whole = b"".join(moved(octets, offset + COUNT * number) for number in range(count))
        return whole[:room]


def lane(partition: int) -> RunningLane:
    made = Lane(partition, 0, partition, "s", 0, partition, "d", 77, 0, 0, 0)
    return RunningLane(LaneState(made, 0), True, 1 << 20)


def read_until(connection: FakeConnection, fetch_bytes: int, enough: Callable[[list[Planned]], bool]) -> None:
    """Plans answers for as long as they are not `enough`."""

    async def test() -> None:
        over = asyncio.Event()

        async def carry(planned: list[Planned]) -> None:
            if enough(planned):
                over.set()
            await asyncio.sleep(0)

        fetcher = Fetcher(
            None,  # type: ignore[arg-type]
            Topic("time", "", {}),
            connection,  # type: ignore[arg-type]
            {number: Planner([lane(number)], "time") for number in connection._batches},
            carry,
            Windows(),
            object(),
            fetch_bytes,
        )
        running = asyncio.ensure_future(fetcher.run())
        waiting = asyncio.ensure_future(over.wait())
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        for task in (running, waiting):
            task.cancel()
        if not over.is_set():
            await running
            pytest.fail("it was not enough for a minute")

    asyncio.run(test())


def test_a_partition_of_large_batches_has_its_turn_among_many_of_small_ones() -> None:
    """It gets a whole batch only when it stands first: as often as there are partitions."""
    partitions, large = 2 * MOST_STUCK, 2 * MOST_STUCK - 10
    connection = FakeConnection(dict.fromkeys(range(partitions), 100) | {large: 10 * KIB})
    seen = 0

    def enough(planned: list[Planned]) -> bool:
        nonlocal seen
        seen += sum(one.lane.partition == large for one in planned)
        return seen >= 2

    read_until(connection, partitions * 2 * KIB, enough)
    assert connection.answers > MOST_STUCK


def test_an_answer_for_a_partition_that_was_not_asked_for_is_nobodys() -> None:
    """What others want of the rest they get all the same."""

    class Other:
        def position(self, partition: int) -> int:
            return 0

    async def test() -> None:
        connection, windows = FakeConnection({0: 100, 1: 100}), Windows()
        fetcher = Fetcher(
            None,  # type: ignore[arg-type]
            Topic("time", "", {}),
            connection,  # type: ignore[arg-type]
            {number: Planner([lane(number)], "time") for number in (0, 1)},
            None,  # type: ignore[arg-type]
            windows,
            object(),
        )
        answers: list[memoryview] = []
        connection.send(
            (fetcher._codec.request(1, {0: 0, 1: 0}, 8 * KIB, 2 * KIB, 0, 1),), answers.append, 1.0
        )
        await asyncio.sleep(0)
        with windows.membership("time", fetcher) as window, windows.membership("time", Other()):
            fetcher._window = window
            assert fetcher._keep({1: 0}, fetcher._codec.response(answers[0], 2, 100))
            assert list(window.missing({0: 0, 1: 0})) == [0]

    asyncio.run(test())
