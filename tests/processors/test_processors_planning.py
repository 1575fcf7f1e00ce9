"""What is planned of a source's answer: which octets, which sequences, which lines of the journal."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.brokers.kafka.wire.batches import (
    CRC_AT,
    CRC_FROM,
    HEADER,
    HEADER_SIZE,
    assign_offset,
    check_crc,
    crc_of,
    parse_header,
)
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.records import BatchRecord, decode_records, encode_batch
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.child.planning import MOST_STUCK, Changed, Planner
from eson.processors.child.trouble import Failing
from eson.processors.core.journal import Entry, Lane, LaneState

LANE = Lane(0, 0, 3, "source-id", 0, 3, "destination-id", 77, 2, 0, 0)
NO_ABORTS: list[tuple[int, int]] = []


def lane(offset: int = 0, sequence: int = 0, exact: bool = True, max_bytes: int = 1 << 20) -> RunningLane:
    running = RunningLane(LaneState(LANE, offset), exact, max_bytes)
    running.offset, running.sequence = offset, sequence
    return running


def event(offset: int, size: int = 20) -> BatchRecord:
    return BatchRecord(
        offset, 1_700_000_000_000 + offset, b"key-%d" % offset, bytes(size), (("h", b"1"), ("n", None))
    )


def batch(base: int, count: int, codec: int = 0, size: int = 20, **fields: int) -> bytes:
    """A batch of the source's log; `fields` of its header are set afterwards, the CRC is right."""
    made = bytearray(encode_batch([event(base + n, size) for n in range(count)], codec, 5, 0, 0))
    header = parse_header(memoryview(made))._replace(base_offset=base, leader_epoch=9, **fields)
    HEADER.pack_into(made, 0, *header)
    made[CRC_AT:CRC_FROM] = crc_of(memoryview(made)).to_bytes(4, "big")
    return bytes(made)


def moved(octets: bytes, base: int) -> bytes:
    """The batch at another offset, which its CRC does not cover."""
    return base.to_bytes(8, "big", signed=True) + octets[8:]


def plan(running: RunningLane, octets: bytes, aborted: list[tuple[int, int]] = NO_ABORTS) -> list[Planned]:
    return Planner([running], "time").plan(memoryview(bytearray(octets)), aborted)


def events(planned: list[Planned]) -> list[BatchRecord]:
    """The events of planned batches, offsets left out."""
    found = []
    for one in planned:
        octets = memoryview(one.octets)
        assert check_crc(octets)
        found += decode_records(octets, parse_header(octets))
    return [record._replace(offset=0) for record in found]


def wanted(first: int, end: int, size: int = 20) -> list[BatchRecord]:
    return [event(n, size)._replace(offset=0) for n in range(first, end)]


@pytest.mark.parametrize("codec", range(5))
def test_octets_pass_with_our_identity(codec: int) -> None:
    source = batch(0, 10, codec) + batch(10, 5, codec)
    running = lane()
    planned = plan(running, source)
    assert bytes(planned[0].octets[HEADER_SIZE:]) == source[HEADER_SIZE : len(planned[0].octets)]
    headers = [parse_header(memoryview(one.octets)) for one in planned]
    assert [(h.producer_id, h.producer_epoch, h.base_sequence, h.base_offset) for h in headers] == [
        (77, 2, 0, 0),
        (77, 2, 10, 0),
    ]
    assert events(planned) == wanted(0, 15)
    crc = parse_header(memoryview(source)[: len(planned[0].octets)]).crc
    assert planned[0].entry == Entry(0, 9, 10, crc)
    assert all(one.new for one in planned)
    assert [one.entry.next_offset for one in planned] == [10, 15]
    assert (running.offset, running.sequence) == (15, 15)


def test_without_exactly_once_batches_have_no_identity() -> None:
    planned = plan(lane(exact=False), batch(0, 10))
    header = parse_header(memoryview(planned[0].octets))
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (-1, -1, -1)


def test_the_sequence_wraps_inside_a_batch() -> None:
    top = 2**31 - 1
    running = lane(sequence=top - 4)
    planned = plan(running, batch(0, 10) + batch(10, 1))
    assert [(one.entry.first, one.entry.last) for one in planned] == [(top - 4, 4), (5, 5)]


def test_a_wrong_crc_stops_before_anything_is_sent() -> None:
    octets = bytearray(batch(0, 10))
    octets[-3] ^= 1
    with pytest.raises(Failing, match="offset 0 has a wrong CRC"):
        plan(lane(), bytes(octets))
    with pytest.raises(Failing, match="wrong CRC"):
        plan(lane(4), bytes(octets))


def test_a_start_inside_a_batch_crops_it() -> None:
    running = lane(4)
    planned = plan(running, batch(0, 10, 3))
    assert events(planned) == wanted(4, 10)
    assert (running.offset, running.sequence) == (10, 6)


def test_large_batches_are_split_and_going_on_inside_gives_the_same_parts() -> None:
    octets = batch(0, 100, 3, size=50)
    whole = plan(lane(max_bytes=1000), octets)
    assert len(whole) > 3
    assert events(whole) == wanted(0, 100, 50)
    second = whole[1].entry
    again = plan(lane(whole[0].entry.next_offset, second.first, max_bytes=1000), octets)
    assert [(one.entry, bytes(one.octets)) for one in again] == [
        (one.entry, bytes(one.octets)) for one in whole[1:]
    ]


def test_what_is_too_large_alone_goes_alone() -> None:
    """The limit may be a guess, or half of what was refused: a destination itself judges single events."""
    planned = plan(lane(max_bytes=1000), batch(0, 3, size=2000))
    assert [one.records for one in planned] == [1, 1, 1]
    assert events(planned) == wanted(0, 3, 2000)


def test_holes_of_compaction_close_and_the_position_is_behind_the_batch() -> None:
    octets = batch(0, 10, last_offset_delta=14)
    running = lane()
    planned = plan(running, octets)
    assert parse_header(memoryview(planned[0].octets)).last_offset_delta == 9
    assert running.offset == 15


def test_the_time_of_the_log_becomes_the_events_own() -> None:
    octets = batch(0, 3, attributes=0x08, max_timestamp=1_800_000_000_000)
    planned = plan(lane(), octets)
    header = parse_header(memoryview(planned[0].octets))
    assert not header.log_append_time
    assert {record.timestamp for record in events(planned)} == {1_800_000_000_000}


def test_aborted_and_control_batches_move_the_position_alone() -> None:
    control = batch(10, 1, attributes=0x30, producer_id=6)
    running = lane()
    planned = plan(running, batch(0, 10, attributes=0x10, producer_id=6) + control, [(6, 0)])
    assert (planned, running.offset, running.sequence) == ([], 11, 0)


def test_the_leader_epoch_is_that_of_the_newest_batch_also_where_it_is_dropped() -> None:
    running = lane()
    assert running.leader_epoch == -1
    plan(running, batch(0, 10))
    assert running.leader_epoch == 9
    newer = bytearray(batch(10, 1, attributes=0x30, producer_id=6))
    assign_offset(memoryview(newer), 10, 12)
    plan(running, bytes(newer))
    assert (running.offset, running.leader_epoch) == (11, 12)


def test_what_was_expected_is_sent_again_and_not_noted_again() -> None:
    octets = batch(0, 10) + batch(10, 5)
    first = plan(lane(), octets)
    running = lane()
    running.expected.extend(one.entry for one in first)
    again = plan(running, octets)
    assert not any(one.new for one in again)
    assert [bytes(one.octets) for one in again] == [bytes(one.octets) for one in first]


@pytest.mark.parametrize("changed", [batch(0, 9), batch(0, 10, 3), batch(0, 10, size=21)])
def test_what_differs_from_what_was_expected_is_not_sent(changed: bytes) -> None:
    first = plan(lane(), batch(0, 10))
    running = lane()
    running.expected.extend(one.entry for one in first)
    with pytest.raises(Changed):
        plan(running, changed)


def old(value: bytes) -> bytes:
    """A message of the format of before Kafka 0.11, with a CRC of its own."""
    body = b"\x01\x00" + bytes(8) + b"\xff\xff\xff\xff" + len(value).to_bytes(4, "big") + value
    return bytes(8) + (4 + len(body)).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def test_other_messages_of_an_old_format_are_told_by_their_own_crc() -> None:
    (first,) = plan(lane(), old(b"what was planned"))
    running = lane()
    running.expected.append(first.entry)
    assert not plan(running, old(b"what was planned"))[0].new
    running = lane()
    running.expected.append(first.entry)
    with pytest.raises(Changed):
        plan(running, old(b"what came instead"))


def test_a_copy_for_each_destination() -> None:
    lanes = [lane(), lane(5)]
    lanes[1].producer = 78
    planned = Planner(lanes, "time").plan(memoryview(bytearray(batch(0, 10))), NO_ABORTS)
    assert [(one.lane, one.records) for one in planned] == [(lanes[0], 10), (lanes[1], 5)]
    assert events(planned[:1]) == wanted(0, 10)
    assert events(planned[1:]) == wanted(5, 10)


@pytest.mark.parametrize(
    "octets",
    [
        batch(0, 10, record_count=2**31 - 1, last_offset_delta=2**31 - 2),
        batch(0, 10, record_count=11),
        batch(0, 10, last_offset_delta=-5),
        batch(0, 10, attributes=7),
        batch(0, 10, attributes=4),
    ],
)
def test_lying_counts_and_codecs_end_with_a_reason(octets: bytes) -> None:
    running = lane(3)
    with pytest.raises((Failing, MalformedMessage)):
        plan(running, octets)


def test_nothing_behind_the_position_again_and_again_is_named() -> None:
    planner = Planner([lane(50)], "time")
    with pytest.raises(Failing, match="again and again"):
        for _ in range(MOST_STUCK + 2):
            planner.plan(memoryview(bytearray(batch(0, 10))), NO_ABORTS)


@given(st.binary(max_size=300))
def test_rubbish_ends_with_a_reason_or_gives_nothing(octets: bytes) -> None:
    try:
        planned = plan(lane(), octets)
    except (Failing, MalformedMessage):
        return
    assert planned == []


@given(st.data())
def test_one_flipped_bit_never_passes(data: st.DataObject) -> None:
    octets = bytearray(batch(0, 6, 3))
    at = data.draw(st.integers(CRC_FROM * 8, len(octets) * 8 - 1))
    octets[at // 8] ^= 1 << at % 8
    with pytest.raises((Failing, MalformedMessage)):
        planned = plan(lane(), bytes(octets))
        assert planned, "it was left out"


@pytest.mark.parametrize("base", [-1, -(1 << 63), 1 << 62, (1 << 63) - 1])
def test_offsets_that_no_log_has_are_refused(base: int) -> None:
    """Else the journal would hold a position that no request can carry, for ever."""
    running = lane()
    with pytest.raises(Failing):
        plan(running, moved(batch(0, 2), base))
    assert running.offset == 0


@pytest.mark.parametrize("base", [(1 << 63) - 1, -(1 << 63)])
def test_times_that_cannot_be_written_again_are_refused_by_name(base: int) -> None:
    with pytest.raises(MalformedMessage):
        plan(lane(), batch(0, 2, base_timestamp=base, last_offset_delta=5))


def test_records_that_are_left_out_move_the_position_and_take_no_sequence() -> None:
    """Resumed anywhere, the same records get the same sequences."""
    running = lane()

    def even(partition: int, records: list[BatchRecord]) -> list[BatchRecord]:
        assert partition == 3
        return [one for one in records if one.offset % 2 == 0 and not 10 <= one.offset < 20]

    octets = batch(0, 10) + batch(10, 10) + batch(20, 10)
    planned = Planner([running], "time", even).plan(memoryview(bytearray(octets)), NO_ABORTS)
    assert [(one.entry.first, one.entry.last, one.entry.next_offset) for one in planned] == [
        (0, 4, 10),
        (5, 9, 30),
    ]
    assert running.offset == 30
    resumed = lane(10, 5)
    resumed.expected.append(planned[1].entry)
    again = Planner([resumed], "time", even).plan(memoryview(bytearray(octets)), NO_ABORTS)
    assert [bytes(one.octets) for one in again] == [bytes(planned[1].octets)]
    assert not again[0].new
    nothing = lane(10)
    assert Planner([nothing], "time", even).plan(memoryview(bytearray(batch(10, 10))), NO_ABORTS) == []
    assert nothing.offset == 20


def test_a_plan_in_turns_is_the_same_plan() -> None:
    """A turn ends behind a batch that was made anew; what passes as octets is never worth one."""
    hole = {"last_offset_delta": 5}
    octets = b"".join(
        (batch(0, 3), batch(3, 4, **hole), batch(9, 2), batch(11, 1), batch(12, 4, **hole), batch(18, 5))
    )
    at_once, running = lane(), lane()
    whole = plan(at_once, octets)
    turns = Planner([running], "time").turns(memoryview(bytearray(octets)), NO_ABORTS, lambda: True)
    parts, seen = [], []
    for part in turns:
        parts.append(part)
        seen.append(running.offset)  # nothing behind it is planned before it was taken
    assert ([len(part) for part in parts], seen) == ([2, 3, 1], [9, 18, 23])
    told = [(bytes(one.octets), one.entry, one.records, one.new) for part in parts for one in part]
    assert told == [(bytes(one.octets), one.entry, one.records, one.new) for one in whole]
    assert (running.offset, running.sequence) == (at_once.offset, at_once.sequence)
