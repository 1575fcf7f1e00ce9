"""Batches whose octets cannot pass: their records are decoded and encoded again, the same way each time."""

from __future__ import annotations

from collections.abc import Iterator

from eson.brokers.kafka.wire.batches import BatchHeader, check_crc
from eson.brokers.kafka.wire.message_sets import decode_entry
from eson.brokers.kafka.wire.records import BatchRecord, decode_records, record_size
from eson.processors.child.trouble import Failing

_HEADER = 61


def records_of(batch: memoryview, header: BatchHeader | None, position: int) -> list[BatchRecord]:
    """The records at or behind `position`; `header` is None for the formats of before Kafka 0.11.

    Raises `MalformedMessage`, `Failing`.
    """
    if header is None:
        records = decode_entry(batch)
    else:
        if not check_crc(batch):
            raise Failing(f"the batch at offset {header.base_offset} has a wrong CRC")
        records = decode_records(batch, header)
    return [record for record in records if record.offset >= position]


def chunks(records: list[BatchRecord], max_bytes: int) -> Iterator[list[BatchRecord]]:
    """As many records in a batch as fit uncompressed, one at least: from where a batch ended the same cuts follow.

    Whether a record alone is too large its destination judges: the limit may be a guess.
    """
    chunk: list[BatchRecord] = []
    size = _HEADER
    for record in records:
        more = record_size(record)
        if chunk and size + more > max_bytes:
            yield chunk
            chunk, size = [], _HEADER
        chunk.append(record)
        size += more
    if chunk:
        yield chunk
