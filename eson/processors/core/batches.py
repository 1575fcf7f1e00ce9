"""What becomes of one batch of a source: it passes as it is, is dropped, or is decoded and made anew, and why.

The conditions are those under which a destination would refuse the octets, or take them and mean something else.
"""

from __future__ import annotations

import enum

from eson.brokers.kafka.wire.batches import LOG_APPEND_TIME, BatchHeader
from eson.processors.core.transactions import AbortedFilter, marker_kind

LAST_CODEC = 4
LAST_OFFSET = (1 << 62) - 1
"""No log comes that far; positions behind it would not fit into a request."""
MAX_RECORDS = 1 << 24
SMALLEST_RECORD = 7
"""Octets: length, attributes, deltas of timestamp and offset, key, value, headers, one each."""


class Verdict(enum.Enum):
    """The value is the reason, as counters name it."""

    PASS = "passed"
    """Octets stay; only what the destination assigns is written anew."""
    DROP_BEHIND = "lies before the position"
    DROP_CONTROL = "marks the end of a transaction"
    DROP_ABORTED = "belongs to an aborted transaction"
    DROP_EMPTY = "holds no record, compaction left it"
    RECODE_COMPACTED = "has holes that compaction left"
    RECODE_INSIDE = "begins before the position"
    RECODE_APPEND_TIME = "carries the time of its source's log"
    RECODE_DELETE_HORIZON = "carries a date of deletion as its timestamp"
    RECODE_TOO_LARGE = "is larger than the destination takes"
    REFUSE_COUNT = "counts records that it cannot hold"
    REFUSE_CODEC = "is compressed by an unknown codec"
    REFUSE_OFFSET = "has an offset that no log can have"

    @property
    def drops(self) -> bool:
        return self.name.startswith("DROP")

    @property
    def recodes(self) -> bool:
        return self.name.startswith("RECODE")

    @property
    def refuses(self) -> bool:
        return self.name.startswith("REFUSE")


def judge(
    header: BatchHeader, batch: memoryview, position: int, max_bytes: int, aborted: AbortedFilter
) -> Verdict:
    """What becomes of a batch of format 2 whose CRC holds; `max_bytes` is the destination's max.message.bytes."""
    if header.passes_raw and LAST_OFFSET >= header.base_offset >= position and header.size <= max_bytes:
        if header.codec > LAST_CODEC:
            return Verdict.REFUSE_CODEC
        if header.record_count > (MAX_RECORDS if header.codec else header.size // SMALLEST_RECORD):
            return Verdict.REFUSE_COUNT
        if header.transactional and aborted.drops(header.producer_id, header.last_offset):
            return Verdict.DROP_ABORTED
        return Verdict.PASS
    return _judge_odd(header, batch, position, max_bytes, aborted)


def _judge_odd(
    header: BatchHeader, batch: memoryview, position: int, max_bytes: int, aborted: AbortedFilter
) -> Verdict:
    if not 0 <= header.base_offset <= LAST_OFFSET:
        return Verdict.REFUSE_OFFSET
    if header.control:
        aborted.marker(header.producer_id, header.last_offset, marker_kind(batch))
        return Verdict.DROP_CONTROL
    if header.last_offset_delta < 0 or header.record_count > min(header.last_offset_delta + 1, MAX_RECORDS):
        return Verdict.REFUSE_COUNT
    if header.codec > LAST_CODEC:
        return Verdict.REFUSE_CODEC
    if header.transactional and aborted.drops(header.producer_id, header.last_offset):
        return Verdict.DROP_ABORTED
    if header.last_offset < position:
        return Verdict.DROP_BEHIND
    if header.record_count == 0:
        return Verdict.DROP_EMPTY
    if header.base_offset < position:
        return Verdict.RECODE_INSIDE
    if header.attributes & LOG_APPEND_TIME:
        return Verdict.RECODE_APPEND_TIME
    if header.delete_horizon:
        return Verdict.RECODE_DELETE_HORIZON
    if not header.contiguous:
        return Verdict.RECODE_COMPACTED
    return Verdict.RECODE_TOO_LARGE
