"""The records inside batches: decoded for those that must look into them, and encoded again, the same way each time.

Sources: Kafka's documentation, "Record Batch" and "Record"; format 0 and 1 in `message_sets.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastcrc.crc32 import iscsi as crc32c

from eson.brokers.kafka.wire import compression
from eson.brokers.kafka.wire.batches import CRC_AT, CRC_FROM, HEADER, HEADER_SIZE, LOG_OVERHEAD, BatchHeader
from eson.brokers.kafka.wire.compression import DEFAULT_LIMITS, Limits
from eson.brokers.kafka.wire.malformed import MalformedMessage

MAX_VARINT_SHIFT = 63
MOST_AT_ONCE = 1 << 18
"""Records and headers that are held decoded: each takes some hundred octets, however small it is."""
FIRST_TIMESTAMP = -(1 << 62)
"""Of any two between it and its opposite the difference still fits into 64 bits."""
_SMALLEST_RECORD = 7
"""Length, attributes, two deltas, two lengths, count of headers: an octet each at least."""

Headers = tuple[tuple[str, bytes | None], ...]


class BatchRecord(NamedTuple):
    """One record.  `timestamp` in milliseconds since 1970, -1 without; that of the batch where the log stamps it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def decode_records(
    batch: memoryview, header: BatchHeader, limits: Limits = DEFAULT_LIMITS
) -> list[BatchRecord]:
    """All records of a batch of format 2; `header` is its own.  Does not check the CRC.

    Raises `MalformedMessage` where octets and counts do not agree, grow beyond `limits`, or are more than `MOST_AT_ONCE`.
    """
    if header.record_count > MOST_AT_ONCE:
        raise MalformedMessage(f"{header.record_count} records to be taken apart at once")
    records, left = [], MOST_AT_ONCE - header.record_count
    for record in iterate_records(batch, header, limits):
        left -= len(record.headers)
        if left < 0:
            raise MalformedMessage(f"more than {MOST_AT_ONCE} records and headers to be taken apart at once")
        records.append(record)
    return records


def iterate_records(
    batch: memoryview, header: BatchHeader, limits: Limits = DEFAULT_LIMITS
) -> Iterator[BatchRecord]:
    """As `decode_records`, one at a time: a batch of a megabyte may hold millions, which nobody need keep.

    What it gives before it raises `MalformedMessage` is right as far as it goes.
    """
    plain = compression.decompress(header.codec, batch[HEADER_SIZE:], limits)
    if header.record_count * _SMALLEST_RECORD > len(plain):
        raise MalformedMessage(f"{header.record_count} records in {len(plain)} octets")
    pos, last = 0, header.base_offset - 1
    for _ in range(header.record_count):
        try:
            record, pos = _decode(plain, pos, header)
        except (IndexError, ValueError) as error:
            raise MalformedMessage(f"a record that cannot be read: {error}") from error
        if not last < record.offset <= header.last_offset:
            raise MalformedMessage(f"offset {record.offset} out of order")
        last = record.offset
        yield record
    if pos != len(plain):
        raise MalformedMessage(f"{len(plain) - pos} octets after the last record")


def _decode(data: bytes, start: int, header: BatchHeader) -> tuple[BatchRecord, int]:
    size, pos = _varint(data, start)
    end = pos + size
    if size < 0 or end > len(data):
        raise ValueError("its length")
    timestamp_delta, pos = _varint(data, pos + 1)
    offset_delta, pos = _varint(data, pos)
    key, pos = _octets(data, pos, end)
    value, pos = _octets(data, pos, end)
    count, pos = _varint(data, pos)
    if not 0 <= count <= min(end - pos, MOST_AT_ONCE):
        raise ValueError("its count of headers")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, pos = _octets(data, pos, end)
        if name is None:
            raise ValueError("a header without a name")
        content, pos = _octets(data, pos, end)
        headers.append((name.decode("utf-8"), content))
    if pos != end:
        raise ValueError("its length")
    if header.log_append_time:
        timestamp = header.max_timestamp
    else:
        timestamp = header.base_timestamp + timestamp_delta
        if not FIRST_TIMESTAMP <= timestamp <= -FIRST_TIMESTAMP:
            raise ValueError("its timestamp")
    return BatchRecord(header.base_offset + offset_delta, timestamp, key, value, tuple(headers)), end


def _octets(data: bytes, start: int, end: int) -> tuple[bytes | None, int]:
    size, pos = _varint(data, start)
    if size == -1:
        return None, pos
    if size < 0 or pos + size > end:
        raise ValueError("a length in it")
    return data[pos : pos + size], pos + size


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    octet = data[pos]
    if octet < 0x80:
        return (octet >> 1) ^ -(octet & 1), pos + 1
    value, shift = octet & 0x7F, 7
    while True:
        pos += 1
        octet = data[pos]
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return (value >> 1) ^ -(value & 1), pos + 1
        shift += 7
        if shift > MAX_VARINT_SHIFT:
            raise ValueError("a number of more than ten octets")


def encode_batch(
    records: Sequence[BatchRecord],
    codec: int = compression.NONE,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytes:
    """A batch of format 2 of create time, base offset 0, offsets without holes whatever those of `records` are.

    The same records give the same octets, as long as the codec's library is the same.  There must be one at least.
    """
    base = records[0].timestamp
    body = bytearray()
    for delta, record in enumerate(records):
        _encode(body, record, record.timestamp - base, delta)
    packed = compression.compress(codec, bytes(body))
    count = len(records)
    batch = bytearray(HEADER_SIZE)
    HEADER.pack_into(
        batch,
        0,
        0,
        HEADER_SIZE - LOG_OVERHEAD + len(packed),
        -1,
        2,
        0,
        codec,
        count - 1,
        base,
        max(record.timestamp for record in records),
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    batch += packed
    batch[CRC_AT:CRC_FROM] = crc32c(memoryview(batch)[CRC_FROM:]).to_bytes(4, "big")
    return bytes(batch)


def _encode(out: bytearray, record: BatchRecord, timestamp_delta: int, offset_delta: int) -> None:
    body = bytearray(b"\0")
    _put_varint(body, timestamp_delta)
    _put_varint(body, offset_delta)
    _put_octets(body, record.key)
    _put_octets(body, record.value)
    _put_varint(body, len(record.headers))
    for name, content in record.headers:
        _put_octets(body, name.encode("utf-8"))
        _put_octets(body, content)
    _put_varint(out, len(body))
    out += body


def _put_octets(out: bytearray, octets: bytes | None) -> None:
    if octets is None:
        out.append(1)
    else:
        _put_varint(out, len(octets))
        out += octets


def _put_varint(out: bytearray, value: int) -> None:
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def record_size(record: BatchRecord) -> int:
    """Octets that the record takes uncompressed at most: for filling batches up to a limit."""
    size = 36 + len(record.key or b"") + len(record.value or b"")
    return size + sum(10 + 4 * len(name) + len(content or b"") for name, content in record.headers)
