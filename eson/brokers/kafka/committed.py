"""What a reader may see of a Fetch response: whole batches, their CRC right, of no aborted transaction."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from eson.brokers.kafka.wire.batches import (
    CURRENT_MAGIC,
    BatchHeader,
    check_crc,
    magic_of,
    parse_header,
    split_entries,
)
from eson.brokers.kafka.wire.compression import Limits
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.message_sets import decode_entry
from eson.brokers.kafka.wire.records import BatchRecord, iterate_records

LIMITS = Limits(octets=32 * 1024 * 1024)
_ABORT = 0
_MARKER = struct.Struct(">hh")
"""A control record's key: version, type."""


def committed_records(part: Any) -> Iterator[tuple[int, Iterable[BatchRecord]]]:
    """(offset that follows, records) of each batch in a partition's part of a Fetch response with isolation level 1.

    Iterating over either raises `MalformedMessage`.
    """
    if part.records is None:
        return
    aborted = sorted(part.aborted_transactions or (), key=lambda one: one.first_offset, reverse=True)
    shut: set[int] = set()
    for entry in split_entries(part.records):
        if magic_of(entry) < CURRENT_MAGIC:
            old = decode_entry(entry, LIMITS)
            yield old[-1].offset + 1, old
            continue
        header = parse_header(entry)
        if not check_crc(entry):
            raise MalformedMessage(f"a batch with a wrong CRC at offset {header.base_offset}")
        while aborted and aborted[-1].first_offset <= header.last_offset:
            shut.add(aborted.pop().producer_id)
        yield header.last_offset + 1, _of_batch(entry, header, shut)


def _of_batch(entry: memoryview, header: BatchHeader, shut: set[int]) -> Iterable[BatchRecord]:
    if header.control:
        if _is_abort(next(iterate_records(entry, header, LIMITS), None)):
            shut.discard(header.producer_id)
        return ()
    if header.transactional and header.producer_id in shut:
        return ()
    return iterate_records(entry, header, LIMITS)


def _is_abort(marker: BatchRecord | None) -> bool:
    if marker is None or marker.key is None or len(marker.key) < _MARKER.size:
        return False
    _version, kind = _MARKER.unpack_from(marker.key)
    return bool(kind == _ABORT)
