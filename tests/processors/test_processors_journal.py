"""The journal says after a crash what it said before, whatever octet the crash cut it at."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.processors.child.journal_file import PRUNE_EVERY, JournalFile
from eson.processors.core.journal import (
    KEEP,
    KEEP_ALL,
    MOST_GAPS,
    Entry,
    Journal,
    JournalError,
    Lane,
    LaneState,
    acknowledged_line,
    compacted,
    entry_line,
    gap_line,
    kept,
    lane_line,
    leader_epoch_line,
    line,
    opening,
    parse,
    skip_line,
)

LANE = Lane(0, 0, 3, "source-id", 0, 3, "", 77, 0, 100, 40)
OTHER = Lane(1, 0, 4, "source-id", 0, 4, "", 77, 0, 0, 0)
RECORDS = [
    opening("p-abcdefg"),
    lane_line(LANE),
    lane_line(OTHER),
    entry_line(0, Entry(0, 9, 110, 5)),
    entry_line(1, Entry(0, 0, 1, 6)),
    acknowledged_line(0, 9, 55),
    entry_line(0, Entry(10, 19, 120, 7)),
    skip_line(0, 125),
    gap_line(1, 1, 499),
    leader_epoch_line(0, 6),
    leader_epoch_line(0, 7),
]


def test_everything_is_read_back() -> None:
    journal = parse(b"".join(RECORDS))
    first, second = journal.lanes[0], journal.lanes[1]
    assert journal.processor == "p-abcdefg"
    assert (first.lane, second.lane) == (LANE, OTHER)
    assert first.entries == [Entry(0, 9, 110, 5), Entry(10, 19, 125, 7)]
    assert first.acknowledged == (9, 55)
    assert first.position() == 110
    assert second.entries == [Entry(0, 0, 500, 6)]
    assert second.gaps == [(1, 499)]
    assert second.position() == 0
    assert (first.leader_epoch, second.leader_epoch) == (7, -1)


def test_a_torn_end_is_left_out_at_every_octet() -> None:
    whole, ends, at = b"".join(RECORDS), [0], 0
    for record in RECORDS:
        at += len(record)
        ends.append(at)
    for cut in range(len(whole) + 1):
        assert parse(whole[:cut]).valid == max(end for end in ends if end <= cut)


@given(st.binary(max_size=80))
def test_rubbish_at_the_end_is_left_out(rubbish: bytes) -> None:
    whole = b"".join(RECORDS)
    assert parse(whole + b"P 0 20 29 130" + rubbish.replace(b"\n", b"")).valid == len(whole)


@pytest.mark.parametrize("at", [30, 60, 150])
def test_damage_before_the_end_is_an_error_and_never_a_position(at: int) -> None:
    whole = bytearray(b"".join(RECORDS))
    whole[at] ^= 0x01
    with pytest.raises(JournalError):
        parse(bytes(whole))


@pytest.mark.parametrize(
    "records",
    [
        [line("J 2 p-abcdefg")],
        [lane_line(LANE)],
        [opening("p-a"), opening("p-b")],
        [opening("p-a"), entry_line(4, Entry(0, 9, 1, 1))],
        [opening("p-a"), line("X 1 2")],
        [opening("p-a"), lane_line(LANE), line("P 0 1 2")],
    ],
)
def test_what_makes_no_sense_is_an_error(records: list[bytes]) -> None:
    with pytest.raises(JournalError):
        parse(b"".join(records))


def test_planned_again_from_a_sequence_voids_what_was_planned_there() -> None:
    state = LaneState(LANE, 100)
    for entry in (Entry(0, 9, 110, 1), Entry(10, 19, 120, 2), Entry(20, 29, 130, 3)):
        state.plan(entry)
    state.plan(Entry(10, 14, 115, 4))
    assert state.entries == [Entry(0, 9, 110, 1), Entry(10, 14, 115, 4)]
    state.plan(Entry(0, 4, 105, 5))
    assert state.entries == [Entry(0, 4, 105, 5)]


def test_what_is_not_ascii_is_refused_though_its_mark_is_right() -> None:
    record = "P 0 é".encode()
    with pytest.raises(JournalError):
        parse(opening("p-abcdefg") + b"%s %08x\n" % (record, zlib.crc32(record)))


lanes = st.builds(
    lambda entries, acknowledged, epoch: _state(entries, acknowledged, epoch),
    st.lists(st.integers(1, 50), max_size=20),
    st.integers(0, 20),
    st.integers(-1, 3),
)


def _state(counts: list[int], acknowledged: int, epoch: int) -> LaneState:
    state, sequence, offset = LaneState(LANE, LANE.start), 2**31 - 60, LANE.start
    for number, count in enumerate(counts):
        last = (sequence + count - 1) % 2**31
        offset += count
        state.plan(Entry(sequence, last, offset, number))
        if number < acknowledged:
            state.acknowledge(last, number)
        sequence = (last + 1) % 2**31
    state.leader_epoch = epoch
    return state


@given(lanes)
def test_a_compacted_journal_says_the_same(state: LaneState) -> None:
    read = parse(b"".join(compacted(Journal("p-abcdefg", {0: state}, 0))))
    assert read.lanes[0] == state


@given(lanes, st.integers(0, 5))
def test_pruning_moves_no_position(state: LaneState, keep: int) -> None:
    before, newest = state.position(), state.entries[-1:]
    state.prune(keep)
    assert state.position() == before
    assert state.entries[-1:] == newest


def test_of_many_gaps_the_newest_stay() -> None:
    """A source may lose something every day for ever; what is told of it must fit into a message."""
    records = [opening("p"), lane_line(LANE)]
    records += [gap_line(LANE.number, 10 * n, 10 * n + 4) for n in range(MOST_GAPS + 5)]
    (state,) = parse(b"".join(records)).lanes.values()
    assert len(state.gaps) == MOST_GAPS
    assert state.gaps[-1] == (10 * MOST_GAPS + 40, 10 * MOST_GAPS + 44)
    assert state.start == 10 * MOST_GAPS + 45
    assert parse(b"".join(compacted(parse(b"".join(records))))).lanes[LANE.number] == state


@pytest.mark.parametrize(
    ("lanes", "each"), [(0, 512), (1, 512), (64, 512), (65, 504), (300, 109), (10_000, 16)]
)
def test_of_many_lanes_less_is_kept_of_each(lanes: int, each: int) -> None:
    assert kept(lanes) == each


def _long(acknowledged: int) -> bytes:
    """A journal that was not written anew for long; every fourth of so many batches was noted as acknowledged."""
    records = [opening("p"), lane_line(LANE)]
    for n in range(3000):
        records.append(entry_line(0, Entry(10 * n, 10 * n + 9, 110 + 10 * n, n)))
        if n < acknowledged and n % 4 == 0:
            records.append(acknowledged_line(0, 10 * n + 9, 10 * n))
    return b"".join(records)


def test_of_a_long_journal_the_end_is_remembered() -> None:
    state = parse(_long(3000)).lanes[0]
    assert len(state.entries) < 3 * KEEP
    assert state.entries[-1].next_offset == 30_100
    assert state.acknowledged == (29_969, 29_960)
    assert state.start == state.entries[0].next_offset - 10
    assert state.position() == 30_070


def test_what_was_not_acknowledged_is_not_forgotten() -> None:
    assert len(parse(_long(1000)).lanes[0].entries) >= 2004
    assert len(parse(_long(0)).lanes[0].entries) == 3000


def test_a_file_of_many_lanes_takes_little_memory(tmp_path: Path) -> None:
    file = JournalFile(str(tmp_path / "journal"), "p")
    states = [LaneState(replace(LANE, number=number), 0) for number in range(300)]
    for state in states:
        file.journal.lanes[state.lane.number] = state
        file.add(lane_line(state.lane))
    most = 0
    for n in range(250):
        for state in states:
            state.plan(entry := Entry(10 * n, 10 * n + 9, 10 * n + 10, n))
            file.add(entry_line(state.lane.number, entry))
            state.acknowledged = (entry.last, 10 * n)
        file.sync()
        most = max(most, sum(len(state.entries) for state in states))
    file.close()
    assert most <= KEEP_ALL + PRUNE_EVERY + 3 * len(states)
    assert all(kept(300) < len(state.entries) for state in states)
