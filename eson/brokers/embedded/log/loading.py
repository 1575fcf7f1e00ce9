"""Opening a partition: which segments there are, where the log ends, what producers have written, and in which epochs.

Every segment but the last was synced to its end before its successor was made; the last one is read from its
checkpoint on, batch by batch with CRC, and cut where something is torn.  What is cut with whole batches in it is kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from fastcrc.crc32 import iscsi as crc32c
from twisted.logger import Logger

from eson.brokers.embedded.log import checkpoint, damage
from eson.brokers.embedded.log.epochs import Epochs
from eson.brokers.embedded.log.files import File, Files, read_file
from eson.brokers.embedded.log.producers import Producers
from eson.brokers.embedded.log.segment import Index, Segment, recover

LOG_SUFFIX = ".log"
_START = struct.Struct(">qI")
_log = Logger()


@dataclass
class Loaded:
    """A partition as the disk has it.  `segments` ascend; all but the last are closed and without their index."""

    start: int = 0
    segments: list[Segment] = field(default_factory=list)
    producers: Producers = field(default_factory=Producers)
    epochs: Epochs = field(default_factory=Epochs)


def segment_path(folder: str, base: int) -> str:
    return f"{folder}/{base:020d}{LOG_SUFFIX}"


def dump_start(offset: int) -> bytes:
    """The content of the file `start`."""
    number = struct.pack(">q", offset)
    return number + struct.pack(">I", crc32c(number))


def _load_start(files: Files, folder: str) -> int:
    content = read_file(files, f"{folder}/start") or b""
    if len(content) != _START.size:
        return 0
    offset, crc = _START.unpack(content)
    return int(offset) if crc == crc32c(content[:8]) else 0


def load(files: Files, folder: str, now: int) -> Loaded:
    """Opens a partition, cutting a torn tail.  `now` in milliseconds since 1970.  Raises `OSError`."""
    names = [name for name in files.names(folder) if name.endswith(LOG_SUFFIX)]
    bases = sorted(int(name[: -len(LOG_SUFFIX)]) for name in names)
    loaded = Loaded(start=_load_start(files, folder))
    body: bytes | None = None
    for number, base in enumerate(bases):
        segment = Segment(segment_path(folder, base), base, now)
        following = bases[number + 1] if number + 1 < len(bases) else None
        found = _trusted(files, segment)
        body = found or body
        if following is not None and found is not None and segment.next_offset == following:
            cool(segment)
        else:
            if body is not None:
                _remember(loaded, body, bases[0])
                body = None
            _read_on(files, segment, loaded, following, now)
            if following is not None:
                cool(segment)
        loaded.segments.append(segment)
    if body is not None:
        _remember(loaded, body, bases[0])
    if loaded.segments:
        loaded.start = max(loaded.start, loaded.segments[0].base)
        loaded.segments = _without_removed(files, loaded)
    loaded.epochs.cut_before(loaded.start)
    return loaded


def warm(files: Files, segment: Segment) -> None:
    """Opens a segment that is not the last and reads its index.  Raises `OSError`."""
    if segment.file is not None:
        return
    segment.file = files.open(segment.path)
    found = checkpoint.read(files, segment.path)
    if found is not None:
        kept = segment.size, segment.next_offset, segment.max_timestamp, segment.created
        checkpoint.apply(segment, found)
        segment.size, segment.next_offset, segment.max_timestamp, segment.created = kept
        segment.index.cut(segment.size)


def cool(segment: Segment) -> None:
    """Closes a segment as soon as nobody sends from it, and forgets its index."""
    segment.file = None
    segment.index = Index()


def _trusted(files: Files, segment: Segment) -> bytes | None:
    """Applies the segment's checkpoint, if there is one and the file is as long as it says."""
    found = checkpoint.read(files, segment.path)
    if found is None:
        return None
    checkpoint.apply(segment, found)
    if files.open(segment.path).size() >= segment.size:
        return found
    _log.error("{path}: shorter than its checkpoint, read anew", path=segment.path)
    segment.size, segment.next_offset, segment.max_timestamp = 0, segment.base, -1
    segment.index = Index()
    return None


def _remember(loaded: Loaded, body: bytes, first: int) -> None:
    """What a checkpoint says of all before it; `first` is the base of the first segment."""
    loaded.producers, loaded.epochs = checkpoint.producers_of(body), checkpoint.epochs_of(body)
    loaded.epochs.begin(0, first)  # an older version wrote no other epoch, and kept none


def _read_on(files: Files, segment: Segment, loaded: Loaded, following: int | None, now: int) -> None:
    """Reads what the checkpoint does not cover; `following` is the base of the next segment."""
    segment.file = files.open(segment.path)
    size, known = segment.file.size(), segment.size
    for header in recover(segment, size):
        loaded.epochs.begin(header.leader_epoch, header.base_offset)
        if header.producer_id >= 0:
            loaded.producers.append(header, header.base_offset, now)
        if following is not None and segment.next_offset >= following:
            return
    if following is not None:
        _log.error(
            "{path}: offsets {first} to {last} are missing",
            path=segment.path,
            first=segment.next_offset,
            last=following - 1,
        )
    else:
        if size > segment.size:
            _cut(files, segment, segment.file, size)
        if size > known:
            segment.file.sync()  # what a process that was killed had written may be on no disk yet


def _cut(files: Files, segment: Segment, file: File, size: int) -> None:
    """Cuts what does not hold, and all behind it.  Raises `OSError`, before it cuts, where that could not be kept."""
    count, offset = size - segment.size, segment.next_offset
    whole = damage.whole_batch_behind(file, segment.size, size, offset)
    if whole is None:
        _log.warn("{path}: {count} octets cut that were torn", path=segment.path, count=count)
    else:
        kept = damage.keep(files, segment.path, file, segment.size, size)
        _log.error(
            "{path}: offset {offset} is damaged, and {whole} is whole behind it: the log ends before it now, and the"
            " {count} octets that were cut are kept in {kept}; {remedy}",
            path=segment.path,
            offset=offset,
            whole=whole,
            count=count,
            kept=kept,
            remedy=damage.REMEDY,
        )
    file.truncate(segment.size)


def _without_removed(files: Files, loaded: Loaded) -> list[Segment]:
    """Ends a removal that a crash interrupted: segments before the start, but never the last."""
    kept = [
        segment
        for segment in loaded.segments
        if segment.next_offset > loaded.start or segment is loaded.segments[-1]
    ]
    for segment in loaded.segments:
        if segment not in kept:
            files.remove(segment.path)
            files.remove(segment.path + checkpoint.SUFFIX)
    return kept
