"""Record batches as octets: what a header says, whether the CRC holds, and what a destination assigns.

A batch of format 2 has a header of 61 octets; its CRC-32C runs from octet 21 to the end.  Records are not looked at
here (`records.py` does).  This is the hot path of a processor: two passes over a batch, and no copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fastcrc.crc32 import iscsi as crc32c

from eson.brokers.kafka.wire.malformed import MalformedMessage

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = 61
LOG_OVERHEAD = 12
"""Octets that `length` does not count: base offset and length itself."""
MAGIC_AT, CRC_AT, CRC_FROM = 16, 17, 21
CURRENT_MAGIC = 2

CODEC_MASK = 0x07
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 0x08, 0x10, 0x20, 0x40
SEQUENCE_MASK = 0x7FFFFFFF

_LENGTH = struct.Struct(">i")
_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")
_CRC = struct.Struct(">I")
_ATTRIBUTES = struct.Struct(">h")
_PRODUCER = struct.Struct(">qhi")
_LENGTH_AT, _EPOCH_AT, _ATTRIBUTES_AT, _PRODUCER_AT = 8, 12, 21, 43
_MIN_OLD_ENTRY = 26
"""Offset, size, CRC, magic, attributes, length of the key, length of the value."""


class BatchHeader(NamedTuple):
    """The 61 octets before the records of a batch of format 2.  Timestamps in milliseconds since 1970."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Octets of the whole batch."""
        return self.length + LOG_OVERHEAD

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & CODEC_MASK

    @property
    def log_append_time(self) -> bool:
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """A marker of a transaction, not data: never forward it."""
        return bool(self.attributes & CONTROL)

    @property
    def delete_horizon(self) -> bool:
        """The base timestamp is the date when tombstones go, and no timestamp of a record."""
        return bool(self.attributes & DELETE_HORIZON)

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def contiguous(self) -> bool:
        """No record was compacted away: a broker accepts no other batch from a producer."""
        return self.last_offset_delta == self.record_count - 1

    @property
    def last_sequence(self) -> int:
        """-1 without a producer's identity."""
        return -1 if self.base_sequence < 0 else (self.base_sequence + self.last_offset_delta) & SEQUENCE_MASK

    @property
    def passes_raw(self) -> bool:
        """Whether the octets can go to another broker with nothing changed but what it assigns.

        False: decode and encode again (append time, delete horizon, holes left by compaction), or drop (control,
        empty).
        """
        return (
            not self.attributes & (LOG_APPEND_TIME | CONTROL | DELETE_HORIZON)
            and self.record_count > 0
            and self.last_offset_delta == self.record_count - 1
        )


def next_sequence(sequence: int, count: int) -> int:
    """The sequence `count` records (negative: before) from `sequence`; it wraps from 2^31-1 to 0; -1 and 1 give 0."""
    return (sequence + count) & SEQUENCE_MASK


def split_entries(records: memoryview, partial: bool = True) -> Iterator[memoryview]:
    """The batches (or entries of an old format, see `magic_of`) in `records`, without copying.

    Kafka's Fetch may cut the last one short: with `partial` it is left out.  Raises `MalformedMessage`.
    """
    pos, end = 0, len(records)
    while pos < end:
        if end - pos < CRC_AT:
            if partial:
                return
            raise MalformedMessage("a batch that is cut short")
        (length,) = _LENGTH.unpack_from(records, pos + _LENGTH_AT)
        minimum = HEADER_SIZE if records[pos + MAGIC_AT] >= CURRENT_MAGIC else _MIN_OLD_ENTRY
        if length + LOG_OVERHEAD < minimum:
            raise MalformedMessage(f"a batch of {length} octets")
        following = pos + length + LOG_OVERHEAD
        if following > end:
            if partial:
                return
            raise MalformedMessage("a batch that is cut short")
        yield records[pos:following]
        pos = following


def magic_of(entry: memoryview) -> int:
    """The format of an entry: 2 is a batch, 0 and 1 are messages of before Kafka 0.11."""
    return entry[MAGIC_AT]


def parse_header(batch: memoryview) -> BatchHeader:
    """The header of a whole batch of format 2, its length checked.  Raises `MalformedMessage`."""
    if len(batch) < HEADER_SIZE:
        raise MalformedMessage("a batch without a whole header")
    header = BatchHeader._make(HEADER.unpack_from(batch))
    if header.magic != CURRENT_MAGIC:
        raise MalformedMessage(f"a batch of format {header.magic}")
    if header.length != len(batch) - LOG_OVERHEAD:
        raise MalformedMessage("a batch with a wrong length")
    if header.record_count < 0:
        raise MalformedMessage(f"a batch that counts {header.record_count} records")
    return header


def iterate(records: memoryview, partial: bool = True) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Header and octets of each batch.  Raises `MalformedMessage`, for old formats too: see `split_entries`."""
    for entry in split_entries(records, partial):
        yield parse_header(entry), entry


def crc_of(batch: memoryview) -> int:
    """The CRC-32C that the batch should carry."""
    return crc32c(batch[CRC_FROM:])


def check_crc(batch: memoryview) -> bool:
    """Whether the CRC-32C that a batch of format 2 carries is that of its octets."""
    (stored,) = _CRC.unpack_from(batch, CRC_AT)
    return bool(stored == crc_of(batch))


def assign_offset(batch: memoryview, base_offset: int, leader_epoch: int) -> None:
    """What a leader writes into a batch that it appends, in place; the CRC does not cover it."""
    _OFFSET.pack_into(batch, 0, base_offset)
    _EPOCH.pack_into(batch, _EPOCH_AT, leader_epoch)


def readdress(
    batch: memoryview,
    header: BatchHeader,
    producer_id: int = -1,
    producer_epoch: int = -1,
    sequence: int = -1,
) -> bool:
    """Checks the CRC, then makes the batch one of this producer, in place: False, and nothing changed, if it is wrong.

    Base offset 0, leader epoch -1, the bits of append time, transaction and delete horizon cleared, identity and CRC.
    `header` is the batch's own.  Only `header.passes_raw` batches mean afterwards what they meant before.
    """
    covered = batch[CRC_FROM:]
    if crc32c(covered) != header.crc:
        return False
    _OFFSET.pack_into(batch, 0, 0)
    _EPOCH.pack_into(batch, _EPOCH_AT, -1)
    attributes = header.attributes & ~(LOG_APPEND_TIME | TRANSACTIONAL | DELETE_HORIZON)
    _ATTRIBUTES.pack_into(batch, _ATTRIBUTES_AT, attributes)
    _PRODUCER.pack_into(batch, _PRODUCER_AT, producer_id, producer_epoch, sequence)
    _CRC.pack_into(batch, CRC_AT, crc32c(covered))
    return True
