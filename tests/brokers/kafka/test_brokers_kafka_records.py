"""Records: there and back, with kafka-python as the other party; bombs; old message sets."""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from typing import Any

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from eson.brokers.kafka.wire import compression
from eson.brokers.kafka.wire.batches import crc_of, magic_of, parse_header, split_entries
from eson.brokers.kafka.wire.compression import GZIP, LZ4, NAMES, SNAPPY, ZSTD, Limits, compress, decompress
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.message_sets import decode_entry
from eson.brokers.kafka.wire.records import (
    MOST_AT_ONCE,
    BatchRecord,
    decode_records,
    encode_batch,
    record_size,
)

CODECS = list(range(5))
octets = st.none() | st.binary(max_size=40)
headers = st.lists(st.tuples(st.text(max_size=8), octets), max_size=3).map(tuple)
record_lists = st.lists(
    st.builds(BatchRecord, st.just(0), st.integers(-1, 2**45), octets, octets, headers),
    min_size=1,
    max_size=12,
)


def decoded(batch: bytes | memoryview, **options: Any) -> list[BatchRecord]:
    view = memoryview(batch)
    return decode_records(view, parse_header(view), **options)


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
@settings(max_examples=60)
@given(records=record_lists)
def test_records_come_back(codec: int, records: list[BatchRecord]) -> None:
    batch = encode_batch(records, codec)
    assert decoded(batch) == [r._replace(offset=i) for i, r in enumerate(records)]
    assert encode_batch(records, codec) == batch
    assert len(encode_batch(records)) <= 61 + sum(map(record_size, records))


@pytest.mark.parametrize("codec", [c for c in CODECS if c != SNAPPY])
def test_kafka_python_reads_what_we_write(codec: int) -> None:
    records = [
        BatchRecord(i, 1_700_000_000_000 + i, b"k%d" % i, os.urandom(300), (("h", b"1"),)) for i in range(50)
    ]
    theirs = MemoryRecords(encode_batch(records, codec)).next_batch()
    assert theirs.validate_crc()
    assert [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in theirs] == [
        tuple(r) for r in records
    ]


@pytest.mark.parametrize("codec", [c for c in CODECS if c != SNAPPY])
def test_we_read_what_kafka_python_writes(codec: int) -> None:
    builder = MemoryRecordsBuilder(2, codec, 1 << 20)
    for i in range(50):
        builder.append(timestamp=1000 + i, key=None, value=b"v%d" % i, headers=[("h", None)])
    builder.close()
    found = decoded(bytes(builder.buffer()))
    assert found == [BatchRecord(i, 1000 + i, None, b"v%d" % i, (("h", None),)) for i in range(50)]


def test_the_logs_time_counts_where_the_log_stamps() -> None:
    batch = memoryview(
        bytearray(encode_batch([BatchRecord(0, 5, None, b"a"), BatchRecord(0, 9, None, b"b")]))
    )
    header = parse_header(batch)._replace(attributes=8, max_timestamp=77)
    assert [r.timestamp for r in decode_records(batch, header)] == [77, 77]


def test_the_smallest_records_are_read() -> None:
    assert decoded(encode_batch([BatchRecord(0, -1, None, None)] * 3)) == [
        BatchRecord(i, -1, None, None) for i in range(3)
    ]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 2**31 - 1])
def test_a_wrong_count_of_records_is_refused(count: int) -> None:
    batch = memoryview(encode_batch([BatchRecord(0, 1, b"k", b"v")] * 3))
    header = parse_header(batch)._replace(record_count=count)
    with pytest.raises(MalformedMessage):
        decode_records(batch, header)


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
def test_records_cut_short_are_refused(codec: int) -> None:
    whole = encode_batch([BatchRecord(0, i, b"key", b"value" * 20, (("h", b"x"),)) for i in range(5)], codec)
    view = memoryview(whole)
    header = parse_header(view)
    for end in range(61, len(whole)):
        try:
            found = decode_records(view[:end], header)
        except MalformedMessage:
            continue
        # a codec may do without its last octets, a checksum; what it gives must be all the same
        assert len(found) == 5


@settings(max_examples=400)
@given(st.data())
def test_octets_that_flip_give_records_or_a_named_error(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(CODECS))
    batch = bytearray(
        encode_batch([BatchRecord(0, i, b"key", b"value" * 9, (("h", b"x"),)) for i in range(4)], codec)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        batch[data.draw(st.integers(61, len(batch) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        assert len(decoded(memoryview(batch))) == 4


@settings(max_examples=200)
@given(st.integers(1, 4), st.binary(max_size=200))
def test_noise_in_a_codec_is_a_named_error(codec: int, noise: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decompress(codec, memoryview(noise))


def test_an_unknown_codec_is_refused() -> None:
    for codec in (5, 6, 7):
        with pytest.raises(MalformedMessage, match="codec"):
            decompress(codec, memoryview(b"x"))


# caps


def bombs(size: int) -> dict[str, tuple[int, bytes]]:
    zeros = bytes(size)
    return {
        "gzip": (GZIP, compress(GZIP, zeros)),
        "gzip of many members": (GZIP, compress(GZIP, bytes(size // 64)) * 64),
        "lz4": (LZ4, lz4.frame.compress(zeros, block_size=lz4.frame.BLOCKSIZE_MAX4MB)),
        "lz4 of many frames": (LZ4, compress(LZ4, bytes(size // 64)) * 64),
        "zstd": (ZSTD, zstandard.ZstdCompressor().compress(zeros)),
        "zstd without its size": (ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress(zeros)),
        "snappy": (SNAPPY, bytes(cramjam.snappy.compress_raw(zeros))),
        "snappy in frames": (SNAPPY, compress(SNAPPY, zeros)),
    }


@pytest.mark.parametrize("kind", bombs(64))
def test_what_grows_beyond_the_cap_is_refused_before_it_has_grown(kind: str) -> None:
    codec, packed = bombs(40_000_000)[kind]
    limits = Limits(octets=4_000_000, ratio=10_000)
    began = time.perf_counter()
    with pytest.raises(MalformedMessage, match="grow"):
        decompress(codec, memoryview(packed), limits)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("kind", bombs(64))
def test_what_grows_too_much_for_its_size_is_refused(kind: str) -> None:
    codec, packed = bombs(8_000_000)[kind]
    limits = Limits(ratio=5, floor=1000)
    with pytest.raises(MalformedMessage, match="grow"):
        decompress(codec, memoryview(packed), limits)
    assert len(decompress(codec, memoryview(packed), Limits(ratio=10**6))) == 8_000_000


def test_small_batches_may_grow_a_thousandfold() -> None:
    assert len(decompress(ZSTD, memoryview(compress(ZSTD, bytes(1_000_000))))) == 1_000_000


def test_a_snappy_block_that_claims_much_allocates_nothing() -> None:
    claim = b"\xff\xff\xff\xff\x0f"  # 4 GiB
    for packed in (claim, b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + len(claim).to_bytes(4, "big") + claim):
        with pytest.raises(MalformedMessage):
            decompress(SNAPPY, memoryview(packed))


@pytest.mark.parametrize("size", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0"])
def test_a_snappy_frame_with_a_hostile_length_is_refused(size: bytes) -> None:
    with pytest.raises(MalformedMessage, match="cut short"):
        decompress(SNAPPY, memoryview(b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + size))


def test_snappy_without_frames_is_read() -> None:
    """As librdkafka writes it."""
    raw = bytes(cramjam.snappy.compress_raw(b"hello" * 100))
    assert bytes(decompress(SNAPPY, memoryview(raw))) == b"hello" * 100


# hostile records


def with_body(body: bytes, count: int = 1) -> memoryview:
    batch = bytearray(encode_batch([BatchRecord(0, 0, None, None)] * count)[:61]) + body
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    view = memoryview(batch)
    view[17:21] = crc_of(view).to_bytes(4, "big")
    return view


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 30,
        b"\x80\x01\0\0\0\1\1\0",
        b"\x01\0\0\0\1\1\0",
        b"\x0e\0\0\0\x7f\1\0\0",
        b"\x0c\0\0\0\1\1\x7e",
        b"\x0c\0\0\0\1\1\1",
        b"\x10\0\0\0\1\1\2\1\1",
        b"\x12\0\0\0\1\1\2\2\xff\1",
        b"\x0e\0\0\0\1\1\0\0",
        b"\x0c\0\0\x02\1\1\0",
    ],
    ids=[
        "endless number",
        "length beyond the end",
        "negative length",
        "key beyond the end",
        "more headers than octets",
        "negative count of headers",
        "header without a name",
        "name that is not UTF-8",
        "octets behind the headers",
        "offset beyond the batch",
    ],
)
def test_hostile_records_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decoded(with_body(body))


def test_offsets_must_rise() -> None:
    with pytest.raises(MalformedMessage, match="out of order"):
        decoded(with_body(b"\x0c\0\0\x02\1\1\0" + b"\x0c\0\0\0\1\1\0", 2))


# formats 0 and 1


def old_set(magic: int, codec: int, count: int = 5) -> memoryview:
    builder = MemoryRecordsBuilder(magic, codec, 1 << 20)
    for i in range(count):
        builder.append(timestamp=1000 + i, key=b"k", value=b"v%d" % i, headers=[])
    builder.close()
    data = bytearray(builder.buffer())
    if magic == 1 and codec:
        data[0:8] = (100 + count - 1).to_bytes(8, "big")  # a broker gives the wrapper the offset of the last
    return memoryview(data)


@pytest.mark.parametrize(("magic", "codec"), [(0, 0), (0, GZIP), (0, LZ4), (1, 0), (1, GZIP), (1, LZ4)])
def test_old_message_sets_are_read(magic: int, codec: int) -> None:
    if (magic, codec) == (0, LZ4):
        data = _old_lz4()
    else:
        data = old_set(magic, codec)
    found = [r for entry in split_entries(data, partial=False) for r in decode_entry(entry)]
    first = 100 if magic == 1 and codec else 0
    assert found == [BatchRecord(first + i, 1000 + i if magic else -1, b"k", b"v%d" % i) for i in range(5)]


def _old_lz4() -> memoryview:
    """Format 0 with LZ4, whose descriptor had a wrong checksum."""
    frame = bytearray(compress(LZ4, bytes(old_set(0, 0))))
    frame[6] ^= 0x55
    with pytest.raises(MalformedMessage):
        decompress(LZ4, memoryview(frame))
    message = bytes([0, LZ4]) + b"\xff\xff\xff\xff" + len(frame).to_bytes(4, "big") + bytes(frame)
    message = zlib.crc32(message).to_bytes(4, "big") + message
    return memoryview(bytes(8) + len(message).to_bytes(4, "big") + message)


@pytest.mark.parametrize("magic", [0, 1])
def test_an_old_message_that_changed_or_was_cut_is_refused(magic: int) -> None:
    (entry, *_) = split_entries(old_set(magic, 0))
    assert magic_of(entry) == magic
    for at in range(12, len(entry)):
        changed = bytearray(entry)
        changed[at] ^= 1
        with pytest.raises(MalformedMessage):
            decode_entry(memoryview(changed))
    for end in range(len(entry)):
        with pytest.raises(MalformedMessage):
            decode_entry(entry[:end])


def test_a_set_in_a_set_in_a_set_is_refused() -> None:
    inner = bytes(old_set(1, GZIP))
    packed = compress(GZIP, inner)
    message = bytes([1, GZIP]) + bytes(8) + b"\xff\xff\xff\xff" + len(packed).to_bytes(4, "big") + packed
    message = zlib.crc32(message).to_bytes(4, "big") + message
    with pytest.raises(MalformedMessage, match="inside"):
        decode_entry(memoryview(bytes(8) + len(message).to_bytes(4, "big") + message))


def test_lz4_that_is_none_cannot_be_mended() -> None:
    for noise in (b"", b"\x04\x22\x4d\x18", bytes(30)):
        with pytest.raises(MalformedMessage, match="no frame"):
            compression.mended_lz4(memoryview(noise))


def test_headers_are_bounded_like_records() -> None:
    """Two octets each, of which a batch of a megabyte that decompresses well holds millions."""
    many = tuple(("", None) for _ in range(MOST_AT_ONCE // 2))
    octets = encode_batch([BatchRecord(n, 0, None, None, many) for n in range(3)], ZSTD)
    with pytest.raises(MalformedMessage, match="taken apart at once"):
        decoded(octets)
    one = encode_batch([BatchRecord(0, 0, None, None, (*many, *many, ("", None)))], ZSTD)
    with pytest.raises(MalformedMessage, match="its count of headers"):
        decoded(one)
