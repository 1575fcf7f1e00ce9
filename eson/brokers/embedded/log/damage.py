"""What recovery cuts off but must not destroy: octets with something whole behind what is damaged.

A tail that is torn was never acknowledged.  Where a whole batch or entry follows what does not hold, the disk may
have lost what was: then all that is cut is kept in a file beside the old one, for people.
"""

from __future__ import annotations

import re
import struct

from eson.brokers.embedded.log.files import File, Files
from eson.brokers.kafka.wire.batches import CURRENT_MAGIC, HEADER, HEADER_SIZE, BatchHeader, check_crc

_CHUNK = 1 << 20
_MAGIC_AT = 16
_SMALLEST = HEADER_SIZE - 12
_OFFSET = struct.Struct(">q")
REMEDY = (
    "Kafka's kafka-dump-log reads what is whole in it, to be written again; remove it when it is not needed"
)


def whole_batch_behind(file: File, position: int, size: int, offset: int) -> int | None:
    """The base offset of a whole batch between `position` and `size`, wherever it begins; None if there is none.

    `offset` is that of the damaged one.
    """
    most = offset + size - position  # no record is smaller than an octet
    pattern = _looks_like_a_batch(offset + 1, most)
    while position + HEADER_SIZE <= size:
        chunk = file.read_at(position, _CHUNK)
        last = len(chunk) - HEADER_SIZE
        if last < 0:
            return None
        found = pattern.search(chunk)
        while found is not None and found.start() <= last:
            at = found.start()
            header = BatchHeader._make(HEADER.unpack_from(chunk, at))
            if (
                offset < header.base_offset <= most
                and _SMALLEST <= header.length <= size - position - at
                and 0 < header.record_count == header.last_offset_delta + 1
                and _is_whole(file.read_at(position + at, header.size), header)
            ):
                return header.base_offset
            found = pattern.search(chunk, at + 1)
        position += last + 1
    return None


def _looks_like_a_batch(first: int, last: int) -> re.Pattern[bytes]:
    """What all headers with such base offsets begin with: millions of octets are looked through."""
    low, high = _OFFSET.pack(first), _OFFSET.pack(last)
    prefix = low[: next((n for n in range(len(low)) if low[n] != high[n]), len(low))]
    between, magic = b".{%d}" % (_MAGIC_AT - len(prefix)), bytes([CURRENT_MAGIC])
    return re.compile(re.escape(prefix) + between + re.escape(magic), re.DOTALL)


def _is_whole(batch: bytes, header: BatchHeader) -> bool:
    return len(batch) == header.size and check_crc(memoryview(batch))


def kept(files: Files, path: str) -> list[str]:
    """The names of what was cut off `path` at any time and is still there."""
    folder, _, name = path.rpartition("/")
    return [found for found in files.names(folder) if found.startswith(f"{name}.damaged-")]


def keep(files: Files, path: str, file: File, position: int, size: int) -> str:
    """Copies the octets from `position` on to a new file beside `path`, durably; its path.  Raises `OSError`."""
    folder, _, name = path.rpartition("/")
    taken = kept(files, path)
    number = next(n for n in range(len(taken) + 1) if f"{name}.damaged-{n}" not in taken)
    fresh = f"{path}.damaged-{number}"
    copy = files.open(fresh, create=True)
    for start in range(position, size, _CHUNK):
        copy.write_at(start - position, [file.read_at(start, min(_CHUNK, size - start))])
    copy.sync()
    files.sync_folder(folder)
    return fresh
