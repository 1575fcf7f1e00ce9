"""What a partition lets the committer's thread do to its files.

One `Writer` for each partition stands between the two: after the first failure it lets nothing through, because what
follows in the queue was placed behind what failed.  Only `Reopen` mends it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from eson.brokers.embedded.log import checkpoint
from eson.brokers.embedded.log.committing import synced
from eson.brokers.embedded.log.files import Buffer, File, Files, replace_file
from eson.brokers.embedded.log.segment import Segment

Done = Callable[[OSError | None], None]


class Writer:
    """The thread's view of one partition."""

    __slots__ = ("broken", "files", "folder")

    def __init__(self, files: Files, folder: str) -> None:
        self.files = files
        self.folder = folder
        self.broken: OSError | None = None

    def check(self) -> None:
        if self.broken is not None:
            raise self.broken


class PartitionJob(ABC):
    """A job that ends with a call of `done` and breaks its writer when it fails."""

    __slots__ = ("_done", "_writer")

    def __init__(self, writer: Writer, done: Done) -> None:
        self._writer = writer
        self._done = done

    @abstractmethod
    def write(self) -> Sequence[File]:
        """Writes, and gives the files that must be synced before `done`."""

    def failed(self, error: OSError) -> None:
        self._writer.broken = error

    def done(self, error: OSError | None) -> None:
        self._done(error)


class Append(PartitionJob):
    """Writes one batch at its place."""

    __slots__ = ("_batch", "_position", "_segment")

    def __init__(self, writer: Writer, done: Done, segment: Segment, position: int, batch: Buffer) -> None:
        super().__init__(writer, done)
        self._segment, self._position, self._batch = segment, position, batch

    def write(self) -> Sequence[File]:
        self._writer.check()
        file = self._segment.opened()
        file.write_at(self._position, [self._batch])
        return (file,)


class Roll(PartitionJob):
    """Makes the old segment durable to its end, checkpoints both, and creates the new one.

    So only the last segment of a partition can ever have a torn tail.
    """

    __slots__ = ("_contents", "_new", "_old")

    def __init__(
        self, writer: Writer, done: Done, old: Segment | None, new: Segment, contents: tuple[bytes, bytes]
    ) -> None:
        super().__init__(writer, done)
        self._old, self._new, self._contents = old, new, contents

    def write(self) -> Sequence[File]:
        self._writer.check()
        files = self._writer.files
        if self._old is not None:
            synced(self._old.opened())
            checkpoint.write(files, self._old.path, self._contents[0])
        else:
            files.make_folder(self._writer.folder)
        checkpoint.write(files, self._new.path, self._contents[1])
        self._new.file = files.open(self._new.path, create=True)
        files.sync_folder(self._writer.folder)
        return ()


class Reopen(PartitionJob):
    """Begins anew after a failure: the old segment is cut to what was synced, and a new file takes what comes.

    A sync that has failed once is never repeated on the same file: the kernel may have dropped the pages and report
    success.  What lies before the cut was synced before.
    """

    __slots__ = ("_content", "_new", "_old")

    def __init__(self, writer: Writer, done: Done, old: Segment | None, new: Segment, content: bytes) -> None:
        super().__init__(writer, done)
        self._old, self._new, self._content = old, new, content

    def write(self) -> Sequence[File]:
        files, folder = self._writer.files, self._writer.folder
        files.make_folder(folder)
        if self._old is not None:
            self._old.opened().truncate(self._old.size)
        files.remove(self._new.path)
        checkpoint.write(files, self._new.path, self._content)
        self._new.file = files.open(self._new.path, create=True)
        files.sync_folder(folder)
        self._writer.broken = None
        return ()


class Cut(PartitionJob):
    """After a failure: cuts the file to what was synced, so that no later process takes the rest for good.

    What a failed sync leaves in the kernel's memory reads well and is on no disk.
    """

    __slots__ = ("_segment", "_size")

    def __init__(self, writer: Writer, done: Done, segment: Segment, size: int) -> None:
        super().__init__(writer, done)
        self._segment, self._size = segment, size

    def write(self) -> Sequence[File]:
        if self._segment.file is not None:
            self._segment.file.truncate(self._size)
        return ()

    def failed(self, error: OSError) -> None:
        """Closed it is already; `Reopen` cuts again."""


class Checkpoint(PartitionJob):
    """Syncs the segment, then writes its checkpoint."""

    __slots__ = ("_content", "_segment")

    def __init__(self, writer: Writer, done: Done, segment: Segment, content: bytes) -> None:
        super().__init__(writer, done)
        self._segment, self._content = segment, content

    def write(self) -> Sequence[File]:
        self._writer.check()
        synced(self._segment.opened())
        checkpoint.write(self._writer.files, self._segment.path, self._content)
        return ()


class SetStart(PartitionJob):
    """Keeps the first offset that is still valid."""

    __slots__ = ("_content",)

    def __init__(self, writer: Writer, done: Done, content: bytes) -> None:
        super().__init__(writer, done)
        self._content = content

    def write(self) -> Sequence[File]:
        files, folder = self._writer.files, self._writer.folder
        files.make_folder(folder)
        replace_file(files, f"{folder}/start", self._content)
        files.sync_folder(folder)
        return ()

    def failed(self, error: OSError) -> None:
        """Nothing else depends on it."""


class Remove(PartitionJob):
    """Removes segments, oldest first: a crash in between leaves a log that begins later."""

    __slots__ = ("_paths",)

    def __init__(self, writer: Writer, done: Done, paths: Sequence[str]) -> None:
        super().__init__(writer, done)
        self._paths = paths

    def write(self) -> Sequence[File]:
        for path in self._paths:
            self._writer.files.remove(path)
            self._writer.files.remove(path + checkpoint.SUFFIX)
        return ()

    def failed(self, error: OSError) -> None:
        """What could not be removed is removed at the next start."""
