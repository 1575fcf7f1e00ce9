"""Checkpoints: what is known of a segment up to a synced position, so that recovery reads only what lies behind it.

A checkpoint holds the segment's index, and the partition's producers and epochs as they were at that position.  It is
written after the sync of what it describes, into a new file that replaces the old one; one that is damaged is as good as
none.

Layout, in network order: magic `ESC1`, CRC-32C of what follows, then size, next offset, largest timestamp, creation
time, the number of index entries and the length of the producers; the index (offsets, positions, timestamps); the
producers; the epochs, which older versions did not write.
"""

from __future__ import annotations

import struct
import sys
from array import array

from fastcrc.crc32 import iscsi as crc32c

from eson.brokers.embedded.log.epochs import Epochs
from eson.brokers.embedded.log.files import Files, read_file, replace_file
from eson.brokers.embedded.log.producers import Producers
from eson.brokers.embedded.log.segment import Segment

SUFFIX = ".checkpoint"
_MAGIC = b"ESC1"
_HEAD = struct.Struct(">4sI")
_FIXED = struct.Struct(">qqqqII")


def dump(segment: Segment, producers: Producers, epochs: Epochs) -> bytes:
    """The checkpoint of `segment` as it is now."""
    known = producers.dump()
    index = segment.index
    body = b"".join(
        (
            _FIXED.pack(
                segment.size,
                segment.next_offset,
                segment.max_timestamp,
                segment.created,
                len(index.offsets),
                len(known),
            ),
            *(_network(column).tobytes() for column in (index.offsets, index.positions, index.timestamps)),
            known,
            epochs.dump(),
        )
    )
    return _HEAD.pack(_MAGIC, crc32c(body)) + body


def write(files: Files, path: str, content: bytes) -> None:
    """Replaces the checkpoint of the segment at `path`; the folder is not synced.  Raises `OSError`."""
    replace_file(files, path + SUFFIX, content)


def read(files: Files, path: str) -> bytes | None:
    """A checkpoint's body, None if there is none that is whole."""
    content = read_file(files, path + SUFFIX)
    if content is None or len(content) < _HEAD.size + _FIXED.size:
        return None
    magic, crc = _HEAD.unpack_from(content)
    body = content[_HEAD.size :]
    return body if magic == _MAGIC and crc32c(body) == crc else None


def apply(segment: Segment, body: bytes) -> None:
    """Gives `segment` size, offsets and index of its checkpoint."""
    segment.size, segment.next_offset, segment.max_timestamp, segment.created, entries, _ = (
        _FIXED.unpack_from(body)
    )
    position = _FIXED.size
    for column in (segment.index.offsets, segment.index.positions, segment.index.timestamps):
        read = array("q", body[position : position + 8 * entries])
        del column[:]
        column.extend(_network(read))
        position += 8 * entries


def producers_of(body: bytes) -> Producers:
    """The producers in a checkpoint."""
    *_, entries, length = _FIXED.unpack_from(body)
    start = _FIXED.size + 3 * 8 * entries
    return Producers.load(body[start : start + length])


def epochs_of(body: bytes) -> Epochs:
    """The epochs in a checkpoint; none in one of an older version."""
    *_, entries, length = _FIXED.unpack_from(body)
    return Epochs.load(body[_FIXED.size + 3 * 8 * entries + length :])


def _network(column: array[int]) -> array[int]:
    if sys.byteorder == "big":
        return column
    swapped = array("q", column)
    swapped.byteswap()
    return swapped
