"""One partition: batches come in order, are durable when their Deferred fires, and are read up to there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from eson.brokers.embedded.log import checkpoint
from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.epochs import LeaderEpoch
from eson.brokers.embedded.log.files import File, Files
from eson.brokers.embedded.log.jobs import (
    Append,
    Checkpoint,
    Cut,
    PartitionJob,
    Remove,
    Reopen,
    Roll,
    SetStart,
    Writer,
)
from eson.brokers.embedded.log.loading import cool, dump_start, load, segment_path, warm
from eson.brokers.embedded.log.producers import Producer
from eson.brokers.embedded.log.segment import Segment, headers
from eson.brokers.embedded.log.validation import OffsetOutOfRange, StorageFailed, validated
from eson.brokers.kafka.wire.batches import BatchHeader, assign_offset

CHECKPOINT_EVERY = 16 << 20
"""Octets after which recovery is spared what lies before."""
REOPEN_AFTER_MS = 1000
_WARM, _ENDS = 8, 32
_LONGEST_SEGMENT_MS = 7 * 86_400_000
_SHORTEST_SEGMENT_MS = 600_000


@dataclass
class Limits:
    """A topic's settings: times in milliseconds, sizes in octets; -1 is no limit."""

    retention_ms: int = 7 * 86_400_000
    retention_bytes: int = -1
    segment_bytes: int = 128 << 20
    max_message_bytes: int = 1_048_588

    @property
    def segment_ms(self) -> int:
        """When the last segment is closed although it is not full, so that retention can take it."""
        if self.retention_ms < 0:
            return _LONGEST_SEGMENT_MS
        return min(_LONGEST_SEGMENT_MS, max(_SHORTEST_SEGMENT_MS, self.retention_ms // 4))


class Slice(NamedTuple):
    """Whole batches in a file, of which nothing was read yet."""

    file: File
    position: int
    size: int


class _Undo(NamedTuple):
    producer_id: int
    producer: Producer | None


class Partition:
    """All methods are called in the reactor's thread.  `now` gives milliseconds since 1970.

    `start` is the first offset, `synced` the high watermark: the end of what is durable; `end` the next offset that a
    batch gets.  `epoch` is the broker's.
    """

    def __init__(
        self,
        files: Files,
        committer: Committer,
        folder: str,
        limits: Limits,
        now: Callable[[], int],
        epoch: LeaderEpoch,
    ) -> None:
        self.limits = limits
        self._files, self._committer, self._folder, self._now = files, committer, folder, now
        self._writer = Writer(files, folder)
        loaded = load(files, folder, now())
        self.producers = loaded.producers
        self._segments = loaded.segments
        self.start = self._wanted_start = loaded.start
        self.end = max(self._segments[-1].next_offset, loaded.start) if self._segments else loaded.start
        self.synced = self.end
        self.epochs, self._epoch = loaded.epochs, epoch
        epoch.raise_above(self.epochs.latest)
        self.epochs.begin(epoch.value, self.end)
        self._synced_segment = self._segments[-1] if self._segments else None
        self._synced_position = self._synced_segment.size if self._synced_segment else 0
        self._checkpointed = 0
        self._pending = 0
        self._failed_at: int | None = None
        self._undo: list[_Undo] = []
        self._waiting: list[tuple[int, Deferred[int], int]] = []
        self._warm: dict[Segment, None] = {}
        self._ends: dict[int, tuple[Segment, int]] = {}
        self.watchers: set[Callable[[], None]] = set()
        """Called whenever `synced` has moved or the partition goes away."""

    log = Logger()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, so that the partition may be closed."""
        return not self._pending and not self.watchers and self._failed_at is None

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    # Appending

    def append(self, records: memoryview) -> Deferred[int]:
        """Takes one batch (writable memory, which is given away); fires with its base offset when it is durable.

        Raises `Refused`, `StaleEpoch` or `OutOfOrder` at once; the Deferred fails with `StorageFailed`.
        """
        self._make_writable()
        header = validated(records, self.limits.max_message_bytes)
        now = self._now()
        if header.producer_id >= 0:
            known = self.producers.check(header)
            if known is not None:
                return self._when_synced(known.base_offset + header.last_offset_delta + 1, known.base_offset)
        active = self._active_for(header.size, now)
        base = self.end
        epoch = self._epoch.value
        if epoch != self.epochs.latest:
            self.epochs.begin(epoch, base)
        assign_offset(records, base, epoch)
        header = header._replace(base_offset=base)
        position = active.note(header)
        self.end = active.next_offset
        old = self.producers.append(header, base, now) if header.producer_id >= 0 else None
        undo = _Undo(header.producer_id, old)
        fired: Deferred[int] = Deferred()

        def done(error: OSError | None) -> None:
            if error is None:
                self._advance(active, position + header.size, base + header.last_offset_delta + 1)
            else:
                self._undo.append(undo)
            self._ended(error)
            if error is None:
                fired.callback(base)
            else:
                fired.errback(StorageFailed(error.strerror or "the log cannot be written"))

        self._submit(Append(self._writer, done, active, position, records))
        if active.size - self._checkpointed >= CHECKPOINT_EVERY:
            self.checkpoint()
        return fired

    def _submit(self, job: PartitionJob) -> None:
        self._pending += 1
        self._committer.submit(job)

    def _ended(self, error: OSError | None) -> None:
        """A job has ended.  After a failure the partition is closed for writing; what was handed over behind it comes
        back failed too, and then all of it is undone."""
        self._pending -= 1
        if error is not None and self._failed_at is None:
            self.log.error("{folder}: cannot be written: {error}", folder=self._folder, error=error)
        if error is not None:
            self._failed_at = self._now()
        if self._failed_at is not None and not self._pending:
            self._take_back()

    def _when_synced(self, end: int, base: int) -> Deferred[int]:
        if end <= self.synced:
            return succeed(base)
        waiting: Deferred[int] = Deferred()
        self._waiting.append((end, waiting, base))
        return waiting

    def _active_for(self, size: int, now: int) -> Segment:
        """The last segment, a new one if that is full or too old."""
        if self._segments:
            active = self._segments[-1]
            fits = active.size + size <= self.limits.segment_bytes
            young = now - active.created <= self.limits.segment_ms
            # a start that is behind the end of a damaged segment leaves a gap, and a segment has none
            if active.next_offset == self.end and (active.size == 0 or (fits and young)):
                return active
        return self._roll(now)

    def _roll(self, now: int) -> Segment:
        old = self._segments[-1] if self._segments else None
        new = Segment(segment_path(self._folder, self.end), self.end, now)
        contents = (
            checkpoint.dump(old, self.producers, self.epochs) if old is not None else b"",
            checkpoint.dump(new, self.producers, self.epochs),
        )
        self._segments.append(new)
        self._checkpointed = 0
        self._submit(Roll(self._writer, self._ended, old, new, contents))
        return new

    def _advance(self, segment: Segment, position: int, offset: int) -> None:
        if self._synced_segment is not None and self._synced_segment is not segment:
            self._keep_warm(self._synced_segment)
        self._synced_segment, self._synced_position, self.synced = segment, position, offset
        if self._waiting:
            ready = [entry for entry in self._waiting if entry[0] <= offset]
            self._waiting = [entry for entry in self._waiting if entry[0] > offset]
            for _, waiting, base in ready:
                waiting.callback(base)
        for watcher in tuple(self.watchers):
            watcher()

    # Failing and beginning anew

    def _take_back(self) -> None:
        """Undoes everything that was not synced."""
        waiting, self._waiting = self._waiting, []
        for producer_id, producer in reversed(self._undo):
            if producer_id >= 0:
                self.producers.restore(producer_id, producer)
        self._undo.clear()
        self.end = self.synced
        self.epochs.cut_behind(self.end)
        while self._segments and self._segments[-1] is not self._synced_segment:
            self._segments.pop()
        if self._segments:
            active = self._segments[-1]
            active.size, active.next_offset = self._synced_position, max(self.synced, active.base)
            active.index.cut(active.size)
            self._submit(Cut(self._writer, self._cut, active, active.size))
        for _, deferred, _ in waiting:
            deferred.errback(StorageFailed("the log cannot be written"))

    def _cut(self, error: OSError | None) -> None:
        self._pending -= 1

    def _make_writable(self) -> None:
        """After a failure: tries again, with a new file, once a second.  Raises `StorageFailed`."""
        if self._failed_at is None:
            return
        now = self._now()
        if self._pending or 0 <= now - self._failed_at < REOPEN_AFTER_MS:
            raise StorageFailed("the log is closed for writing after a failure")
        old = self._segments[-1] if self._segments else None
        new = Segment(segment_path(self._folder, self.end), self.end, now)
        if old is not None and old.base == self.end:
            before = self._segments[-2] if len(self._segments) > 1 else None
            if before is not None:
                warm(self._files, before)
                self._warm.pop(before, None)
            self._segments.pop()
            self._synced_segment = old = before
            self._synced_position = old.size if old is not None else 0
        self._segments.append(new)
        self._failed_at, self._checkpointed = None, 0
        content = checkpoint.dump(new, self.producers, self.epochs)
        self._submit(Reopen(self._writer, self._ended, old, new, content))

    # Reading

    def read(self, offset: int, max_bytes: int, at_least_one: bool = True) -> Slice | None:
        """Whole batches from the one that holds `offset` on, at most `max_bytes` but for a first one that is larger.

        None: nothing is there yet, or (without `at_least_one`) the first batch is too large.  Raises
        `OffsetOutOfRange`, `OSError`.
        """
        if not self.start <= offset <= self.end:
            raise OffsetOutOfRange(f"{offset} is not in {self.start} to {self.end}")
        if offset >= self.synced:
            return None
        first = max(bisect_right(self._segments, offset, key=_base) - 1, 0)
        known, at = self._ends.get(offset, (None, 0))
        for segment in self._segments[first:]:
            end = self._readable(segment)
            position = at if segment is known and at < end else segment.find(offset, end) if end else None
            if position is not None:
                size = self._whole_batches(segment, position, end, max_bytes, at_least_one)
                if position + size == self._synced_position and segment is self._synced_segment:
                    self._remember_end(segment, position + size)
                return Slice(segment.opened(), position, size) if size else None
            if segment is self._synced_segment:
                return None
        return None

    def _remember_end(self, segment: Segment, position: int) -> None:
        """Who has read to the end asks next for what comes there."""
        self._ends[self.synced] = (segment, position)
        if len(self._ends) > _ENDS:
            del self._ends[next(iter(self._ends))]

    def _readable(self, segment: Segment) -> int:
        """How many octets of a segment are durable; opens it."""
        if segment is self._segments[-1] or segment is self._synced_segment:
            return self._synced_position if segment is self._synced_segment else 0
        warm(self._files, segment)
        self._keep_warm(segment)
        return segment.size

    def _keep_warm(self, segment: Segment) -> None:
        """A segment that is complete stays open for a while; the one that was used longest ago is closed."""
        self._warm.pop(segment, None)
        self._warm[segment] = None
        if len(self._warm) > _WARM:
            coldest = next(iter(self._warm))
            del self._warm[coldest]
            cool(coldest)

    def _whole_batches(
        self, segment: Segment, position: int, end: int, max_bytes: int, at_least_one: bool
    ) -> int:
        if end - position <= max_bytes:
            return end - position
        border = segment.index.position_before(position + max_bytes)
        if border > position:
            return border - position
        size = 0
        for _, header in headers(segment.opened(), position, end):
            if size + header.size > max_bytes and (size or not at_least_one):
                break
            size += header.size
            if size >= max_bytes:
                break
        return size

    def batches_by_time(self, timestamp: int) -> Iterator[tuple[Segment, int, BatchHeader]]:
        """Segment, position and header of each durable batch that has a record at or after `timestamp`."""
        for segment in list(self._segments):
            if segment.max_timestamp < timestamp or segment.next_offset <= self.start:
                continue
            end = self._readable(segment)
            begin = segment.index.position_by_time(timestamp)
            for position, header in headers(segment.opened(), begin, end) if end else ():
                if header.max_timestamp >= timestamp and header.last_offset >= self.start:
                    yield segment, position, header
            if segment is self._synced_segment:
                return

    def latest_timestamp(self) -> int:
        """The largest timestamp of the durable batches, -1 if there is none."""
        latest = -1
        for segment in self._segments:
            if segment.max_timestamp <= latest or segment.next_offset <= self.start:
                continue
            if segment.next_offset <= self.synced and self.start <= segment.base:
                latest = segment.max_timestamp
                continue
            end = self._readable(segment)
            begin = segment.index.position_of(self.start)
            for _, header in headers(segment.opened(), begin, end) if end else ():
                if header.last_offset >= self.start:
                    latest = max(latest, header.max_timestamp)
        return latest

    # Removing

    def delete_before(self, offset: int) -> Deferred[int]:
        """Drops what lies before `offset` (-1: everything durable); fires with the new start when that is durable.

        Raises `OffsetOutOfRange`.
        """
        wanted = self.synced if offset == -1 else offset
        if not 0 <= wanted <= self.synced:
            raise OffsetOutOfRange(f"{wanted} is behind {self.synced}")
        if wanted <= self.start:
            return succeed(self.start)
        fired: Deferred[int] = Deferred()
        # one that asks for less must not take back what another was told
        self._wanted_start = max(self._wanted_start, wanted)

        def done(error: OSError | None) -> None:
            self._ended(None)
            if error is not None:
                fired.errback(StorageFailed(error.strerror or "the log cannot be written"))
                return
            self.start = max(self.start, wanted)
            self._remove_before_start()
            fired.callback(self.start)

        self._submit(SetStart(self._writer, done, dump_start(self._wanted_start)))
        return fired

    def retain(self) -> None:
        """Removes segments that are too old or too much, and producers that lapsed."""
        now = self._now()
        self.producers.expire(now)
        limits = self.limits
        if limits.retention_ms >= 0 and self._segments and not self._pending and self._failed_at is None:
            active = self._segments[-1]
            if active.size and self._expired(active, now):
                self._roll(now)
        total = self.size
        for segment in self._segments[:-1]:
            over = limits.retention_bytes >= 0 and total - segment.size >= limits.retention_bytes
            if not over and not self._expired(segment, now):
                break
            if segment.next_offset > self.synced:
                break
            total -= segment.size
            self.start = max(self.start, segment.next_offset)
        self._remove_before_start()

    def _expired(self, segment: Segment, now: int) -> bool:
        latest = segment.max_timestamp if segment.max_timestamp >= 0 else segment.created
        return 0 <= self.limits.retention_ms < now - latest

    def _remove_before_start(self) -> None:
        self.epochs.cut_before(self.start)
        paths = []
        while len(self._segments) > 1 and self._segments[0].next_offset <= self.start:
            segment = self._segments[0]
            if segment is self._synced_segment and self._segments[1].file is None:
                break  # its successor is not made yet
            if segment is self._synced_segment:
                self._synced_segment, self._synced_position = self._segments[1], 0
            self._segments.pop(0)
            self._warm.pop(segment, None)
            paths.append(segment.path)
        if paths:
            self._submit(Remove(self._writer, self._removed, paths))

    def _removed(self, error: OSError | None) -> None:
        self._ended(None)
        if error is not None:
            self.log.warn("{folder}: old segments stay: {error}", folder=self._folder, error=error)

    # Ending

    def checkpoint(self) -> None:
        """Spares the next start what is known now."""
        if not self._segments or self._failed_at is not None or self._segments[-1].size == self._checkpointed:
            return
        active = self._segments[-1]
        self._checkpointed = active.size
        content = checkpoint.dump(active, self.producers, self.epochs)
        self._submit(Checkpoint(self._writer, self._ended, active, content))

    def gone(self) -> None:
        """The topic was deleted: who waits learns it."""
        for watcher in tuple(self.watchers):
            watcher()


def _base(segment: Segment) -> int:
    return segment.base
