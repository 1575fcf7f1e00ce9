"""What sessions of one process leave to each other: every one gets everything, and what is kept is bounded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.brokers.kafka.wire.batches import parse_header, split_entries
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.processors.child import window as module
from eson.processors.child.connection import Connection
from eson.processors.child.window import LEAST_OWN, Part, Window, Windows

WIDE = 1 << 20


class Reader:
    """A member at one position of each partition."""

    def __init__(self, **positions: int) -> None:
        self.positions = {int(name[1:]): position for name, position in positions.items()}

    def position(self, partition: int) -> int:
        return self.positions.get(partition, 1 << 62)


def batch(base: int, count: int = 10) -> bytes:
    made = encode_batch([BatchRecord(base + n, 0, None, b"value", ()) for n in range(count)], 0, -1, -1, -1)
    return base.to_bytes(8, "big") + made[8:]


def part(records: bytes, end: int = 1000, partition: int = 0) -> Part:
    return Part(partition, memoryview(records), (), end)


def bases(parts: list[Part]) -> list[int]:
    return [parse_header(one).base_offset for given in parts for one in split_entries(given.records)]


class Shared:
    """A window with members."""

    def __init__(self, *members: Reader, most: int = WIDE) -> None:
        self.windows = Windows(most)
        self.ends = [self.windows.membership("source", member) for member in members]
        (self.window,) = {end.__enter__() for end in self.ends}


def test_what_another_wants_is_kept_until_all_have_it() -> None:
    quick, slow = Reader(p0=0), Reader(p0=0)
    shared = Shared(quick, slow)
    assert not shared.window.alone
    assert shared.window.keep(part(batch(0) + batch(10)), 0, quick)
    quick.positions[0] = 20
    shared.window.tidy()
    found = shared.window.look(slow.positions, WIDE)
    assert bases(found) == [0, 10]
    assert found[0].end == 1000
    assert shared.window.look(quick.positions, WIDE) == []
    slow.positions[0] = 20
    shared.window.tidy()
    assert shared.windows.octets == 0


def test_what_nobody_else_wants_is_not_kept() -> None:
    """One that is far behind reads for itself; what it reads pushes nothing out."""
    quick, slow = Reader(p0=500), Reader(p0=0)
    shared = Shared(quick, slow)
    assert not shared.window.keep(part(batch(490)), 0, slow)
    assert shared.windows.octets == 0
    assert shared.window.keep(part(batch(491)), 0, slow)
    assert shared.window.keep(part(batch(500)), 500, quick)


def test_a_position_inside_of_what_is_kept_is_served() -> None:
    quick, slow = Reader(p0=0), Reader(p0=13)
    shared = Shared(quick, slow, Reader(p0=0))
    shared.window.keep(part(batch(0) + batch(10)), 0, quick)
    shared.window.keep(part(batch(20)), 20, quick)
    assert bases(shared.window.look(slow.positions, WIDE)) == [0, 10, 20]
    assert bases(shared.window.look(slow.positions, 1)) == [0, 10]


def test_one_copy_of_the_same_is_enough() -> None:
    quick, slow = Reader(p0=0), Reader(p0=0)
    shared = Shared(quick, slow)
    shared.window.keep(part(batch(0)), 0, quick)
    octets = shared.windows.octets
    shared.window.keep(part(batch(0)), 0, quick)
    assert shared.windows.octets == octets
    shared.window.keep(part(batch(0) + batch(10)), 0, quick)
    assert bases(shared.window.look(slow.positions, WIDE)) == [0, 10]
    assert shared.windows.octets < 2 * octets


def test_octets_are_bounded_over_all_windows() -> None:
    most = 10_000
    quick, slow = Reader(p0=0, p1=0), Reader(p0=0, p1=0)
    shared = Shared(quick, slow, most=most)
    windows = shared.windows
    with windows.membership("other", quick) as other, windows.membership("other", slow):
        for base in range(0, 2000, 10):
            shared.window.keep(part(batch(base), partition=base // 10 % 2), base, quick)
            other.keep(part(batch(base)), base, quick)
            assert shared.windows.octets <= most
        assert shared.window.missing({0: 0, 1: 10}) == {0: 0, 1: 10}
        assert shared.window.lacks(0, 0)
        assert bases(shared.window.look({0: 1980}, WIDE)) == [1980]
        assert len(shared.windows._kept) < 100


def test_dead_entries_do_not_pile_up() -> None:
    """One chunk stays wanted while others come and go."""
    quick, slow, stuck = Reader(p0=0, p1=0), Reader(p0=0, p1=0), Reader(p1=0)
    shared = Shared(quick, slow, stuck, most=64 << 10)
    shared.window.keep(part(batch(0), partition=1), 0, quick)
    for base in range(0, 20_000, 10):
        shared.window.keep(part(batch(base)), base, quick)
        quick.positions[0] = slow.positions[0] = base + 10
        shared.window.tidy()
    assert bases(shared.window.look({1: 0}, WIDE)) == [0]
    assert len(shared.windows._kept) < 200


@pytest.mark.parametrize(
    "records", [b"", batch(0)[:40], batch(0)[:-1], batch(0)[:16] + b"\0" + batch(0)[17:]]
)
def test_what_holds_no_whole_batch_of_today_is_left_to_each(records: bytes) -> None:
    quick, slow = Reader(p0=0), Reader(p0=0)
    shared = Shared(quick, slow)
    assert not shared.window.keep(part(records), 0, quick)
    assert shared.window.look(slow.positions, WIDE) == []
    assert [(one.partition, one.end) for one in shared.window.nothing({0: 0, 5: 0})] == [(0, 1000)]


def test_who_is_left_alone_keeps_nothing() -> None:
    quick, slow = Reader(p0=0), Reader(p0=0)
    shared = Shared(quick, slow)
    shared.window.keep(part(batch(0)), 0, quick)
    shared.ends[1].__exit__(None, None, None)
    assert shared.window.alone
    assert shared.windows.octets == 0


def test_those_that_read_the_same_meet_and_no_others() -> None:
    windows = Windows()
    with windows.membership("a", Reader()) as first:
        with windows.membership("b", Reader()) as other, windows.membership("a", Reader()) as second:
            assert first is second is not other
            assert not first.alone
            assert other.alone
        assert first.alone
    assert windows._windows == {}


def test_many_sessions_take_small_answers() -> None:
    windows = Windows()
    with windows.session():
        alone = windows.share
        with windows.session(), windows.session():
            assert windows.share == (2 << 20) // 3
        assert windows.share == alone > 1 << 40
        ends = [windows.session() for _ in range(40)]
        for end in ends:
            end.__enter__()
        assert windows.share == LEAST_OWN


@given(st.integers(0, 1 << 32), st.integers(2, 5), st.sampled_from([3000, 8000, WIDE]))
def test_every_member_gets_everything_in_order(seed: int, count: int, most: int) -> None:
    """Whoever is chosen takes from the window, or asks; answers are cut anywhere and may come late."""
    chance = random.Random(seed)
    log = [batch(base) for base in range(0, 300, 10)]
    readers = [Reader(p0=chance.choice((0, 0, 7))) for _ in range(count)]
    shared = Shared(*readers, most=most)
    got: list[list[int]] = [[] for _ in readers]
    for _ in range(3000):
        number = chance.randrange(count)
        reader = readers[number]
        position = reader.positions[0]
        shared.window.tidy()
        parts = shared.window.look(reader.positions, chance.choice((1, WIDE)))
        if not parts:
            records = b"".join(log[position // 10 : position // 10 + chance.randrange(1, 5)])
            answer = part(records[: len(records) - chance.choice((0, 0, 5))], 300)
            shared.window.keep(answer, position, reader)
            parts = [answer]
        for base in bases(parts):
            if base + 10 > reader.positions[0]:
                got[number].append(base)
                reader.positions[0] = base + 10
        assert shared.windows.octets <= most
        if all(reader.positions[0] == 300 for reader in readers):
            break
    assert got == [list(range(0, 300, 10))] * count


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def connection(arriving: bool) -> Connection:
    return cast(Connection, SimpleNamespace(arriving=arriving))


def test_who_wants_the_same_waits_for_the_answer() -> None:
    async def work() -> None:
        window = Window(Windows())
        asked = window.ask({0: 5, 1: 7}, connection(True))
        assert window.asked({0: 5, 1: 7}, {}) is asked
        assert window.asked({1: 7}, {}) is asked
        assert window.asked({0: 6}, {}) is None
        assert window.asked({2: 5}, {}) is None
        waiting = asyncio.ensure_future(asked.wait())
        await asyncio.sleep(0)
        asked.answered(True)
        asked.answered(False)
        assert await waiting
        assert window.asked({0: 5}, {}) is None

    run(work())


def test_who_is_a_little_ahead_waits_and_who_is_far_ahead_does_not() -> None:
    async def work() -> None:
        window = Window(Windows())
        asked = window.ask({0: 5, 1: 7}, connection(True))
        assert window.asked({0: 9, 1: 7}, {0: 5, 1: 7}) is asked
        assert window.asked({0: 9, 1: 7}, {0: 6, 1: 7}) is None
        assert window.asked({0: 4, 1: 7}, {0: 3, 1: 7}) is None

    run(work())


@pytest.mark.parametrize("arriving", [True, False])
def test_nobody_waits_for_long_where_nothing_arrives(monkeypatch: pytest.MonkeyPatch, arriving: bool) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)

    async def work() -> None:
        asked = Window(Windows()).ask({0: 5}, connection(arriving))
        waiting = asyncio.ensure_future(asked.wait())
        done, _ = await asyncio.wait([waiting], timeout=0.2 if arriving else 10)
        assert bool(done) is not arriving
        assert asked.over is not arriving
        waiting.cancel()

    run(work())
