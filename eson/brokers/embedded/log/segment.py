"""A segment: one file of batches, one behind the other, and a sparse index of where they begin.

The index is kept in memory and saved with the checkpoint (`checkpoint.py`); what the checkpoint does not cover is read
again from the file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from eson.brokers.embedded.log.files import File
from eson.brokers.kafka.wire.batches import HEADER, HEADER_SIZE, BatchHeader, check_crc

INDEX_INTERVAL = 16_384
"""Octets between two entries of the index; larger batches have one each."""
NO_TIMESTAMP = -1
_CHUNK = 1 << 18
_SMALLEST = HEADER_SIZE - 12


class Index:
    """Offset, position and largest timestamp before it, of some of the batches, ascending."""

    __slots__ = ("offsets", "positions", "timestamps")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.positions = array("q")
        self.timestamps = array("q")

    def add(self, offset: int, position: int, max_timestamp_before: int) -> None:
        if not self.positions or position - self.positions[-1] >= INDEX_INTERVAL:
            self.offsets.append(offset)
            self.positions.append(position)
            self.timestamps.append(max_timestamp_before)

    def position_of(self, offset: int) -> int:
        """Where to begin to look for `offset`."""
        found = bisect_right(self.offsets, offset) - 1
        return self.positions[found] if found >= 0 else 0

    def position_before(self, position: int) -> int:
        """The last known beginning of a batch that is not behind `position`."""
        found = bisect_right(self.positions, position) - 1
        return self.positions[found] if found >= 0 else 0

    def position_by_time(self, timestamp: int) -> int:
        """Before this position nothing is as late as `timestamp`."""
        found = bisect_left(self.timestamps, timestamp) - 1
        return self.positions[found] if found >= 0 else 0

    def cut(self, position: int) -> None:
        """Forgets what begins at `position` or behind it."""
        while self.positions and self.positions[-1] >= position:
            del self.offsets[-1], self.positions[-1], self.timestamps[-1]


class Segment:
    """One file of a partition.  `size` and `next_offset` cover what is handed over for writing, not what is synced."""

    __slots__ = ("base", "created", "file", "index", "max_timestamp", "next_offset", "path", "size")

    def __init__(self, path: str, base: int, created: int, file: File | None = None) -> None:
        self.path = path
        self.base = base
        self.created = created
        self.file = file
        self.index = Index()
        self.size = 0
        self.next_offset = base
        self.max_timestamp = NO_TIMESTAMP

    def note(self, header: BatchHeader) -> int:
        """A batch comes to the end; its position."""
        position = self.size
        self.index.add(header.base_offset, position, self.max_timestamp)
        self.size += header.size
        self.next_offset = header.last_offset + 1
        self.max_timestamp = max(self.max_timestamp, header.max_timestamp)
        return position

    def opened(self) -> File:
        if self.file is None:
            raise OSError(f"{self.path} is not open")
        return self.file

    def find(self, offset: int, end: int) -> int | None:
        """Where the batch begins that holds `offset`, or the first one behind it; None if none begins before `end`."""
        for position, header in headers(self.opened(), self.index.position_of(offset), end):
            if header.last_offset >= offset:
                return position
        return None


def headers(file: File, start: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each batch between two borders of batches, as the file has them."""
    chunk, chunk_at, position = b"", start, start
    while position + HEADER_SIZE <= end:
        if position < chunk_at or position + HEADER_SIZE > chunk_at + len(chunk):
            # one header when batches are large, many at a time when they are small
            chunk, chunk_at = file.read_at(position, min(_CHUNK if chunk else 4096, end - position)), position
            if len(chunk) < HEADER_SIZE:
                return
        header = BatchHeader._make(HEADER.unpack_from(chunk, position - chunk_at))
        if header.length < _SMALLEST:
            return
        yield position, header
        position += header.size
        if header.size > _CHUNK:
            chunk = b""


def recover(segment: Segment, size: int) -> Iterator[BatchHeader]:
    """Reads on from where the segment's index ends, checks each batch whole, and notes it.

    Stops at the first one that is torn, of another offset than expected, or damaged: what lies behind it was never
    acknowledged.  `size` is the length of the file; afterwards `segment.size` is that of what is good.
    """
    file = segment.opened()
    buffer, buffer_at = b"", segment.size
    while segment.size + HEADER_SIZE <= size:
        if segment.size + HEADER_SIZE > buffer_at + len(buffer):
            buffer, buffer_at = file.read_at(segment.size, _CHUNK), segment.size
            if len(buffer) < HEADER_SIZE:
                return
        header = BatchHeader._make(HEADER.unpack_from(buffer, segment.size - buffer_at))
        if not _expected(header, segment.next_offset) or segment.size + header.size > size:
            return
        if segment.size + header.size > buffer_at + len(buffer):
            buffer, buffer_at = file.read_at(segment.size, max(_CHUNK, header.size)), segment.size
            if len(buffer) < header.size:
                return
        start = segment.size - buffer_at
        if not check_crc(memoryview(buffer)[start : start + header.size]):
            return
        segment.note(header)
        yield header


def _expected(header: BatchHeader, offset: int) -> bool:
    return (
        header.magic == 2
        and header.length >= _SMALLEST
        and header.base_offset == offset
        and 0 < header.record_count == header.last_offset_delta + 1
    )
