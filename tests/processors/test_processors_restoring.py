"""What is known of a journal elsewhere, against what the file holds; and how one that is lost is made again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eson.brokers.kafka.wire.batches import assign_offset
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.processors.child import restoring, scanning
from eson.processors.child.cluster import EARLIEST, Topic
from eson.processors.child.ends import End
from eson.processors.child.lanes import RunningLane
from eson.processors.child.planning import Planner
from eson.processors.child.restoring import Restoring, missing
from eson.processors.child.trouble import Stopped, Unreachable
from eson.processors.core.journal import (
    MOST_SAID,
    Journal,
    JournalError,
    Lane,
    LaneState,
    lane_line,
    lanes_heard,
    lanes_said,
)
from eson.processors.core.resume import Active

ONE = (0,)


def lane(number: int, producer: int = 7, destination: int = 0) -> Lane:
    return Lane(number, 0, number, "source-id", destination, number, "destination-id", producer, 0, 100, 5)


def journal(*lanes: Lane) -> Journal:
    return Journal("p", {one.number: LaneState(one, one.start) for one in lanes}, 0)


LANES = [lane(0), lane(1)]
SAID = lanes_said(LANES)


def test_what_is_said_is_heard() -> None:
    assert lanes_heard(SAID) == (LANES, True)
    assert lanes_heard(b"") == ([], True)


def test_of_too_many_lanes_it_is_known_that_there_are_more() -> None:
    many = [lane(number) for number in range(MOST_SAID // 60)]
    octets = lanes_said(many)
    lanes, whole = lanes_heard(octets)
    assert len(octets) <= MOST_SAID + 1
    assert not whole
    assert lanes == many[: len(lanes)]
    assert len(lanes) > 1000


@pytest.mark.parametrize("octets", [SAID[:-1], SAID[:10], b"H 0 0 0\n", SAID.replace(b"H 0", b"H 9")])
def test_damage_is_noticed(octets: bytes) -> None:
    """Or at least gives fewer lanes, never others."""
    try:
        lanes, _ = lanes_heard(octets)
    except JournalError:
        return
    assert lanes == LANES[: len(lanes)]


def test_a_journal_that_holds_them_misses_nothing() -> None:
    assert missing(journal(*LANES), SAID, ONE) == []
    assert missing(journal(*LANES, lane(2)), SAID, ONE) == []
    assert missing(journal(), b"", ONE) == []


def test_an_empty_journal_misses_all() -> None:
    assert [state.lane for state in missing(journal(), SAID, ONE)] == LANES


@pytest.mark.parametrize(
    ("found", "said", "why"),
    [
        (journal(lane(0)), SAID, "is another"),
        (journal(lane(0, 8), lane(1, 8)), SAID, "is another"),
        (journal(), b"\n" + SAID, "more partitions"),
        (journal(), b"H 0 nonsense 00000000\n", "damaged"),
        (journal(), lane_line(lane(0)).replace(b"source", b"sorcue"), "damaged"),
    ],
)
def test_where_nothing_is_proved_it_stops(found: Journal, said: bytes, why: str) -> None:
    with pytest.raises(Stopped, match=why):
        missing(found, said, ONE)


def test_each_destination_misses_its_own() -> None:
    """One was made again already, the other was not reached yet."""
    mine, others = lane(0), lane(1, 8, 1)
    said = lanes_said([mine, others])
    assert [state.lane for state in missing(journal(mine), said, (1,))] == [others]
    assert missing(journal(mine), said, (0,)) == []
    assert missing(journal(mine, lane(2, 9, 2)), said, (2,)) == []
    with pytest.raises(Stopped, match="more partitions"):
        missing(journal(mine), b"\n" + said, (2,))


TEN = Lane(0, 0, 0, "source-id", 0, 0, "destination-id", 7, 0, 0, 0)


class Log(End):
    """A partition in memory.  `losses`: reads after which a connection is lost; `lagging`: batches that a new leader
    does not give yet, one more at each look."""

    def __init__(self, batches: list[bytes], lagging: int = 0, losses: int = 1 << 30) -> None:
        topic = Topic("queue", "id", {0: 1})
        super().__init__(cast(Any, self), topic, {1: cast(Any, self)})
        self.batches, self.lagging, self.losses = batches, lagging, losses
        self.given: list[int] = []

    @property
    def end(self) -> int:
        return 10 * (len(self.batches) - self.lagging)

    async def offset(self, partition: int, when: int) -> int:
        if when == EARLIEST:
            return 0
        self.lagging = max(0, self.lagging - 1)
        return self.end

    async def offsets(self, *_: Any) -> dict[int, int]:
        return {0: 0}

    def read(self, offset: int) -> Any:
        """One batch, if there is one."""
        if len(self.given) and len(self.given) % self.losses == 0:
            self.given.append(-1)
            raise Unreachable("the connection is lost")
        records = self.batches[offset // 10] if offset < self.end else b""
        if not records:
            self.lagging = max(0, self.lagging - 1)
        else:
            self.given.append(offset)
        part = SimpleNamespace(
            partition_index=0,
            error_code=0,
            records=memoryview(bytearray(records)),
            aborted_transactions=None,
            last_stable_offset=self.end,
        )
        return SimpleNamespace(responses=[SimpleNamespace(partitions=[part])])


async def fetch_in_memory(
    topic: Topic, log: Any, partition: int, offset: int, committed: bool = False
) -> Any:
    await asyncio.sleep(0)
    return log.read(offset)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "fetch_some", fetch_in_memory)
    monkeypatch.setattr(restoring, "fetch_some", fetch_in_memory)
    monkeypatch.setattr(restoring, "STEP", 0.001)


def written(count: int) -> list[bytes]:
    """Batches of ten records of a source's log."""
    found = []
    for number in range(count):
        records = [BatchRecord(n, 1_700_000_000_000, b"key", b"value-%d" % n) for n in range(10)]
        batch = bytearray(encode_batch(records, 0, -1, -1, -1))
        assign_offset(memoryview(batch), 10 * number, 0)
        found.append(bytes(batch))
    return found


def carried(batches: list[bytes]) -> list[bytes]:
    """As the destination has them."""
    running = RunningLane(LaneState(TEN, 0), True, 1 << 20)
    planned = Planner([running], "queue").plan(memoryview(bytearray(b"".join(batches))), [])
    for number, one in enumerate(planned):
        assign_offset(memoryview(one.octets), 10 * number, 0)
    return [bytes(one.octets) for one in planned]


def restored(source: Log, destination: Log, active: Active | None, sessions: int = 1) -> Restoring:
    """After so many sessions, all but the last of which lost a connection."""

    async def test() -> Restoring:
        made = Restoring(LaneState(TEN, 0), "queue", None, 1 << 20, 512)
        for _ in range(sessions - 1):
            with pytest.raises(Unreachable):
                await made.restore(source, destination, active)
        await made.restore(source, destination, active)
        return made

    return asyncio.run(asyncio.wait_for(test(), 20))


def check(made: Restoring, batches: int) -> None:
    assert [one.last for one in made.state.entries] == list(range(9, 10 * batches, 10))
    assert made.state.entries[-1].next_offset == 10 * batches


def test_what_was_read_stays_read_when_a_connection_is_lost(memory: None) -> None:
    batches = written(8)
    source, destination = Log(batches, losses=4), Log(carried(batches[:7]), losses=5)
    check(restored(source, destination, Active(69, 0), 3), 7)
    assert [one for one in destination.given if one >= 0] == list(range(0, 70, 10))
    assert [one for one in source.given if one >= 0] == list(range(0, 70, 10))


@pytest.mark.parametrize(("behind", "before"), [(3, 0), (0, 3), (2, 2)])
def test_a_new_leader_that_does_not_give_all_yet_is_waited_for(
    memory: None, behind: int, before: int
) -> None:
    batches = written(7)
    source, destination = Log(batches, before), Log(carried(batches), behind)
    check(restored(source, destination, Active(69, 0)), 7)


def test_who_holds_less_than_arrived_for_good_proves_nothing(
    memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "PATIENCE", 0.05)
    batches = written(7)
    with pytest.raises(Stopped, match="arrived last"):
        restored(Log(batches), Log(carried(batches)), Active(79, 0))
    with pytest.raises(Stopped, match="fewer events"):
        restored(Log(batches[:6]), Log(carried(batches)), Active(69, 0))


def test_what_still_arrives_is_looked_for_again(memory: None) -> None:
    batches = written(7)
    source, destination = Log(batches), Log(carried(batches)[:5])
    made = restored(source, destination, Active(49, 0))
    destination.batches = carried(batches)
    with pytest.raises(Unreachable, match="still arrives"):
        asyncio.run(made.restore(source, destination, Active(49, 0)))
    asyncio.run(made.restore(source, destination, Active(69, 0)))
    check(made, 7)
