"""Batches as octets: split, checked, readdressed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords

from eson.brokers.kafka.wire import batches
from eson.brokers.kafka.wire.batches import (
    CONTROL,
    DELETE_HORIZON,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeader,
    assign_offset,
    check_crc,
    crc_of,
    iterate,
    magic_of,
    next_sequence,
    parse_header,
    readdress,
    split_entries,
)
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.records import BatchRecord, decode_records, encode_batch


def batch(count: int = 3, attributes: int = 0, **identity: int) -> memoryview:
    made = bytearray(
        encode_batch([BatchRecord(0, 1000 + i, b"k", b"v%d" % i) for i in range(count)], **identity)
    )
    view = memoryview(made)
    if attributes:
        view[21:23] = attributes.to_bytes(2, "big")
        view[17:21] = crc_of(view).to_bytes(4, "big")
    return view


def test_a_header_says_what_kafka_python_says() -> None:
    made = batch(5, producer_id=77, producer_epoch=3, base_sequence=9)
    header = parse_header(made)
    theirs = MemoryRecords(bytes(made)).next_batch()
    assert theirs.validate_crc()
    assert (header.base_offset, header.last_offset_delta, header.attributes) == (
        theirs.base_offset,
        theirs.last_offset_delta,
        theirs.attributes,
    )
    assert (header.base_timestamp, header.max_timestamp, header.record_count) == (1000, 1004, 5)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (
        77,
        3,
        9,
        13,
    )
    assert header.size == len(made)
    assert header.passes_raw


@pytest.mark.parametrize("cut", range(1, 61))
def test_a_last_batch_that_is_cut_short_is_left_out_or_refused(cut: int) -> None:
    data = memoryview(bytes(batch()) + bytes(batch())[:-cut])
    assert len(list(split_entries(data))) == 1
    with pytest.raises(MalformedMessage, match="cut short"):
        list(split_entries(data, partial=False))


@given(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 60))
def test_whole_batches_are_found_whatever_trails(counts: list[int], trailing: int) -> None:
    made = [batch(count) for count in counts]
    data = memoryview(b"".join(map(bytes, made)) + bytes(batch())[:trailing])
    found = list(iterate(data))
    assert [header.record_count for header, _ in found] == counts
    assert [bytes(octets) for _, octets in found] == [bytes(one) for one in made]
    assert all(octets.obj is data.obj for _, octets in found)


@pytest.mark.parametrize("length", [-1, 0, 48, -(2**31)])
def test_a_length_that_no_batch_has_is_refused(length: int) -> None:
    made = batch()
    made[8:12] = length.to_bytes(4, "big", signed=True)
    with pytest.raises(MalformedMessage):
        list(split_entries(made))


def test_a_length_beyond_everything_is_a_batch_cut_short() -> None:
    made = batch()
    made[8:12] = (2**31 - 1).to_bytes(4, "big")
    assert list(split_entries(made)) == []


def test_an_old_format_is_told_and_not_read_as_a_batch() -> None:
    old = bytearray(40)
    old[8:12] = (28).to_bytes(4, "big")
    old[16] = 1
    (entry,) = split_entries(memoryview(old), partial=False)
    assert magic_of(entry) == 1
    with pytest.raises(MalformedMessage):
        parse_header(memoryview(bytes(old) + bytes(40)))
    with pytest.raises(MalformedMessage):
        list(iterate(memoryview(old)))


def test_a_future_format_is_refused() -> None:
    made = batch()
    made[16] = 3
    with pytest.raises(MalformedMessage, match="format 3"):
        list(iterate(made))


@given(st.integers(17, 100), st.integers(1, 255))
def test_any_octet_that_changes_breaks_the_crc(at: int, change: int) -> None:
    made = batch()
    made[at % len(made) if at % len(made) >= 17 else 17] ^= change
    assert not check_crc(made)


def test_readdressing_changes_what_a_destination_assigns_and_nothing_else() -> None:
    made = batch(
        4, LOG_APPEND_TIME | TRANSACTIONAL | DELETE_HORIZON, producer_id=1, producer_epoch=1, base_sequence=1
    )
    assign_offset(made, 5000, 12)
    before, header = bytes(made), parse_header(made)
    assert (header.base_offset, header.leader_epoch) == (5000, 12)
    assert readdress(made, header, 9, 2, 40)
    after = parse_header(made)
    assert check_crc(made)
    assert after == header._replace(
        base_offset=0,
        leader_epoch=-1,
        attributes=0,
        producer_id=9,
        producer_epoch=2,
        base_sequence=40,
        crc=after.crc,
    )
    assert bytes(made[61:]) == before[61:]
    assert [r.value for r in decode_records(made, after)] == [b"v0", b"v1", b"v2", b"v3"]


def test_readdressing_is_stable() -> None:
    one, other = batch(), batch()
    assert readdress(one, parse_header(one), 1, 0, 0)
    assert readdress(other, parse_header(other), 1, 0, 0)
    assert readdress(other, parse_header(other), 1, 0, 0)
    assert bytes(one) == bytes(other)


def test_a_batch_with_a_wrong_crc_is_left_as_it_is() -> None:
    made = batch()
    made[70] ^= 1
    before = bytes(made)
    assert not readdress(made, parse_header(made), 1, 2, 3)
    assert bytes(made) == before


@pytest.mark.parametrize("attributes", [LOG_APPEND_TIME, CONTROL, DELETE_HORIZON, CONTROL | TRANSACTIONAL])
def test_what_cannot_pass_as_it_is(attributes: int) -> None:
    assert not parse_header(batch(2, attributes)).passes_raw


def test_transactional_data_passes_and_compacted_or_empty_batches_do_not() -> None:
    assert parse_header(batch(2, TRANSACTIONAL)).passes_raw
    header = parse_header(batch(3))
    assert not header._replace(record_count=2).passes_raw
    assert not header._replace(record_count=0).passes_raw
    assert header.contiguous
    assert not header._replace(record_count=2).contiguous


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_told(codec: int) -> None:
    assert parse_header(memoryview(encode_batch([BatchRecord(0, 1, None, b"x")], codec))).codec == codec


def test_sequences_wrap_from_the_largest_number_to_zero() -> None:
    assert next_sequence(2**31 - 1, 1) == 0
    assert next_sequence(2**31 - 3, 5) == 2
    wrapping = parse_header(batch(5, producer_id=1, producer_epoch=0, base_sequence=2**31 - 3))
    assert wrapping.last_sequence == 1
    assert next_sequence(wrapping.base_sequence, wrapping.record_count) == wrapping.last_sequence + 1


def test_attributes_are_read_from_their_bits() -> None:
    header = BatchHeader(0, 49, 0, 2, 0, 0x7C, 0, 0, 0, -1, -1, -1, 1)
    assert (header.codec, header.log_append_time, header.transactional) == (4, True, True)
    assert header.control
    assert header.delete_horizon
    assert header.last_sequence == -1
    assert batches.HEADER.size == batches.HEADER_SIZE == 61
