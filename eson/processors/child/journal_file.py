"""The journal on disk: one writer at a time, appended and synced, now and then written anew."""

from __future__ import annotations

import contextlib
import fcntl
import os

from eson.processors.child.trouble import Stopped, Unreachable
from eson.processors.core.journal import Journal, JournalError, compacted, kept, opening, parse

COMPACT_AT = 4 << 20
PRUNE_EVERY = 1 << 13
"""Records after which memory forgets what a new file would not hold."""


class DiskRefuses(Unreachable):
    """The journal could not be written.  Retry: yes, after it was read again: what is in memory is ahead of it."""


class JournalFile:
    """Raises `Unreachable` while another process holds it, `DiskRefuses`, `Stopped` if it is damaged.

    `refused` says why nothing more is written, once the disk has refused anything.
    """

    def __init__(self, path: str, processor: str, compact_at: int = COMPACT_AT) -> None:
        self._path, self._compact_at = path, compact_at
        self._pending: list[bytes] = []
        self._unpruned = 0
        self.refused: DiskRefuses | None = None
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DiskRefuses(f"the journal cannot be opened: {error.strerror}") from None
        try:
            self._lock()
            self._read(processor)
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unreachable("another process still holds the journal") from None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == os.fstat(self._fd).st_ino:
                return
        raise Unreachable("the journal was written anew by another process")

    def _read(self, processor: str) -> None:
        try:
            self.journal: Journal = parse(self._whole())
        except JournalError as error:
            raise Stopped(str(error)) from None
        journal = self.journal
        if journal.processor not in ("", processor):
            raise Stopped(f"the journal belongs to processor {journal.processor}")
        os.ftruncate(self._fd, journal.valid)
        if not journal.processor:
            journal.processor = processor
            self.add(opening(processor))
        self._size = journal.valid
        self.sync()
        _sync_folder(self._path)

    def _whole(self) -> bytes:
        parts, at = [], 0
        while part := os.pread(self._fd, 1 << 20, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def add(self, record: bytes) -> None:
        """Takes a record; it stands on disk only after `sync`."""
        self._pending.append(record)

    def write(self) -> None:
        """Hands what was added to the operating system.  Raises `DiskRefuses`."""
        if self.refused is not None:
            raise DiskRefuses(self.refused.reason)
        if not self._pending:
            return
        octets = b"".join(self._pending)
        self._unpruned += len(self._pending)
        self._pending.clear()
        try:
            written = os.write(self._fd, octets)
            if written != len(octets):
                os.ftruncate(self._fd, self._size)
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise self._refuses("written", error) from None
        self._size += written

    def sync(self) -> None:
        """Returns when everything added is on disk.  Raises `DiskRefuses`."""
        self.write()
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # what the disk holds is unknown now
            raise self._refuses("synced", error) from None
        if self._unpruned > PRUNE_EVERY:
            self._prune()
        if self._size > self._compact_at:
            self._rewrite()

    def _prune(self) -> None:
        self._unpruned = 0
        keep = kept(len(self.journal.lanes))
        for state in self.journal.lanes.values():
            state.prune(keep)

    def _rewrite(self) -> None:
        """The same in a new file, which takes the old one's place in one step."""
        self._prune()
        octets = b"".join(compacted(self.journal))
        new = self._path + ".new"
        try:
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.write(fd, octets) != len(octets):
                    raise OSError(28, "No space left on device")
                os.fsync(fd)
                os.rename(new, self._path)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            raise self._refuses("written anew", error) from None
        os.close(self._fd)
        self._fd, self._size = fd, len(octets)
        self._compact_at = max(self._compact_at, 2 * len(octets))
        _sync_folder(self._path)

    def _refuses(self, what: str, error: OSError) -> DiskRefuses:
        self.refused = DiskRefuses(f"the journal cannot be {what}: {error.strerror}")
        return DiskRefuses(self.refused.reason)

    def close(self) -> None:
        with contextlib.suppress(Unreachable):
            self.write()
        os.close(self._fd)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self.close()


def _sync_folder(path: str) -> None:
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
