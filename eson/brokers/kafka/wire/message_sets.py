"""Message sets of format 0 and 1, as logs from before Kafka 0.11 still hold them: decoded only.

An entry is offset (8), size (4), CRC-32 (4) of what follows, magic (1), attributes (1), in format 1 a timestamp (8),
key and value with a length of four octets each, -1 for null.  A compressed entry's value is a message set again.
"""

from __future__ import annotations

import struct
import zlib

from eson.brokers.kafka.wire import compression
from eson.brokers.kafka.wire.batches import CODEC_MASK, LOG_APPEND_TIME, split_entries
from eson.brokers.kafka.wire.compression import DEFAULT_LIMITS, LZ4, Limits
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.records import FIRST_TIMESTAMP, MOST_AT_ONCE, BatchRecord

_HEAD = struct.Struct(">qiIbb")
_TIMESTAMP = struct.Struct(">q")
_LENGTH = struct.Struct(">i")
_CRC_FROM = 16


def decode_entry(entry: memoryview, limits: Limits = DEFAULT_LIMITS) -> list[BatchRecord]:
    """The records of one entry (see `split_entries`), CRC checked.  Raises `MalformedMessage`."""
    outer, attributes, magic = _message(entry)
    codec = attributes & CODEC_MASK
    if not codec:
        return [outer]
    packed = memoryview(outer.value or b"")
    if codec == LZ4 and magic == 0:
        packed = compression.mended_lz4(packed)
    plain = memoryview(compression.decompress(codec, packed, limits))
    inner: list[BatchRecord] = []
    for part in split_entries(plain, partial=False):
        record, inner_attributes, inner_magic = _message(part)
        if inner_attributes & CODEC_MASK or inner_magic != magic:
            raise MalformedMessage("a message set inside a message set inside a message set")
        if len(inner) == MOST_AT_ONCE:
            raise MalformedMessage(f"more than {MOST_AT_ONCE} messages to be taken apart at once")
        if inner and record.offset <= inner[-1].offset:
            raise MalformedMessage(f"offset {record.offset} out of order")
        inner.append(record)
    if not inner:
        raise MalformedMessage("an empty message set")
    return _absolute(inner, outer, attributes, magic)


def crc_of_entry(entry: memoryview) -> int:
    """As the entry says."""
    return int(_HEAD.unpack_from(entry)[2])


def _absolute(inner: list[BatchRecord], outer: BatchRecord, attributes: int, magic: int) -> list[BatchRecord]:
    # format 1 counts inner offsets from 0 and gives the outer entry that of the last; format 0 has them absolute
    shift = outer.offset - inner[-1].offset if magic == 1 else 0
    stamp = outer.timestamp if attributes & LOG_APPEND_TIME else None
    return [
        record._replace(offset=record.offset + shift, timestamp=record.timestamp if stamp is None else stamp)
        for record in inner
    ]


def _message(entry: memoryview) -> tuple[BatchRecord, int, int]:
    try:
        offset, _size, crc, magic, attributes = _HEAD.unpack_from(entry)
        if magic not in (0, 1):
            raise MalformedMessage(f"a message of format {magic}")
        if zlib.crc32(entry[_CRC_FROM:]) != crc:
            raise MalformedMessage("a message with a wrong CRC")
        pos, timestamp = _HEAD.size, -1
        if magic == 1:
            (timestamp,) = _TIMESTAMP.unpack_from(entry, pos)
            pos += _TIMESTAMP.size
            if not FIRST_TIMESTAMP <= timestamp <= -FIRST_TIMESTAMP:
                raise MalformedMessage(f"timestamp {timestamp}")
        key, pos = _octets(entry, pos)
        value, pos = _octets(entry, pos)
    except struct.error as error:
        raise MalformedMessage("a message that is cut short") from error
    if pos != len(entry):
        raise MalformedMessage("a message with a wrong length")
    return BatchRecord(offset, timestamp, key, value), attributes, magic


def _octets(entry: memoryview, pos: int) -> tuple[bytes | None, int]:
    (size,) = _LENGTH.unpack_from(entry, pos)
    pos += _LENGTH.size
    if size == -1:
        return None, pos
    if size < 0 or pos + size > len(entry):
        raise MalformedMessage("a message that is cut short")
    return bytes(entry[pos : pos + size]), pos + size
