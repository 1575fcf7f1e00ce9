"""What a batch must be to be appended, in the order in which Kafka looks (`ProduceRequest`, `LogValidator`)."""

from __future__ import annotations

from eson.brokers.kafka.wire.batches import (
    CURRENT_MAGIC,
    HEADER,
    HEADER_SIZE,
    LOG_OVERHEAD,
    BatchHeader,
    check_crc,
)

MAX_CODEC = 4
_MAGIC_AT = 16


class Refused(Exception):
    """The log does not take a batch; the subclass says why.  Retry: see the subclass."""


class InvalidBatch(Refused):
    """A batch that breaks a rule of the format (INVALID_RECORD).  Retry: no."""


class CorruptBatch(Refused):
    """The CRC does not hold: the batch was damaged on its way (CORRUPT_MESSAGE).  Retry: yes."""


class BatchTooLarge(Refused):
    """More octets than the topic allows (MESSAGE_TOO_LARGE).  Retry: with less."""


class OffsetOutOfRange(Refused):
    """An offset that the partition does not hold (OFFSET_OUT_OF_RANGE).  Retry: with another one."""


class StorageFailed(Refused):
    """The disk refused; nothing of what was unacknowledged is kept (KAFKA_STORAGE_ERROR).  Retry: yes, later."""


def validated(records: memoryview | None, largest: int) -> BatchHeader:
    """The header of the one batch that `records` holds, every rule checked.  Raises `Refused`.

    Kafka also opens the records and compares each with the header; here they stay closed.
    """
    if records is None or len(records) < HEADER_SIZE:
        raise InvalidBatch("no whole batch")
    if records[_MAGIC_AT] != CURRENT_MAGIC:
        raise InvalidBatch(f"a batch of format {records[_MAGIC_AT]}")
    header = BatchHeader._make(HEADER.unpack_from(records))
    if header.length < HEADER_SIZE - LOG_OVERHEAD or header.size > len(records):
        raise InvalidBatch("a batch that is cut short")
    if header.size < len(records):
        raise InvalidBatch("more than one batch for a partition")
    if header.base_offset != 0:
        raise InvalidBatch(f"a base offset of {header.base_offset}")
    if header.size > largest:
        raise BatchTooLarge(f"{header.size} octets, allowed are {largest}")
    if not check_crc(records):
        raise CorruptBatch("the CRC does not hold")
    if header.record_count <= 0 or header.last_offset_delta != header.record_count - 1:
        raise InvalidBatch(
            f"{header.record_count} records with a last offset delta of {header.last_offset_delta}"
        )
    if header.producer_id >= 0 and (header.base_sequence < 0 or header.producer_epoch < 0):
        raise InvalidBatch("a producer's id without a sequence")
    if header.control:
        raise InvalidBatch("a control batch")
    if header.codec > MAX_CODEC:
        raise InvalidBatch(f"codec {header.codec}")
    return header
