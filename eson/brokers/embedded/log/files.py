"""The seam to the file system: everything that the log does to a disk goes through `Files`.

Tests put a file system behind it that runs full, whose fsync fails, or that loses what was not synced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview
_MAX_BUFFERS = 1000


class File(Protocol):
    """An open file.  It is closed when nothing refers to it any more: a slow reader keeps what it still sends."""

    def read_at(self, position: int, size: int) -> bytes:
        """Up to `size` bytes; fewer at the end of the file.  Raises `OSError`."""

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        """Writes all of them, one behind the other; how many bytes.  Raises `OSError`."""

    def sync(self) -> None:
        """Returns when everything written is on the disk.  Raises `OSError`: then nothing is known."""

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...


class Files(Protocol):
    """A file system.  Paths are strings; all operations raise `OSError`."""

    def open(self, path: str, create: bool = False) -> File:
        """Opens for reading and writing; with `create` the file must not exist yet.  A new name is not durable
        before `sync_folder`."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none if there is no such folder."""

    def make_folder(self, path: str) -> None:
        """Makes the folder and what is missing above it, durably.  Idempotent."""

    def rename(self, old: str, new: str) -> None:
        """Replaces `new`.  Not durable before `sync_folder`."""

    def remove(self, path: str) -> None:
        """Idempotent."""

    def remove_folder(self, path: str) -> None:
        """Removes an empty folder.  Idempotent."""

    def sync_folder(self, path: str) -> None: ...


class OsFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str, create: bool) -> None:
        self._descriptor = -1
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        self._descriptor = os.open(path, flags, 0o600)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read_at(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        total = 0
        for first in range(0, len(buffers), _MAX_BUFFERS):
            left = list(buffers[first : first + _MAX_BUFFERS])
            while left:
                written = os.pwritev(self._descriptor, left, position + total)
                total += written
                left = _behind(left, written)
        return total

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size


class OsFiles:
    """The file system of the operating system."""

    def open(self, path: str, create: bool = False) -> File:
        return OsFile(path, create)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def make_folder(self, path: str) -> None:
        if os.path.isdir(path):
            return
        above = os.path.dirname(path)
        if above and above != path:
            self.make_folder(above)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        self.sync_folder(above)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return

    def remove_folder(self, path: str) -> None:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return

    def sync_folder(self, path: str) -> None:
        descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(files: Files, path: str, content: Buffer) -> File:
    """Puts `content` in the place of `path`, durably but for the folder: a crash leaves the old or the new file."""
    fresh = path + ".new"
    files.remove(fresh)
    file = files.open(fresh, create=True)
    file.write_at(0, [content])
    file.sync()
    files.rename(fresh, path)
    return file


def read_file(files: Files, path: str, limit: int = 1 << 30) -> bytes | None:
    """What a file holds, None if it is missing."""
    try:
        file = files.open(path)
    except FileNotFoundError:
        return None
    return file.read_at(0, min(file.size(), limit))


def _behind(buffers: list[Buffer], written: int) -> list[Buffer]:
    """What is left of `buffers` behind the first `written` bytes."""
    for number, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[number + 1 :]]
        written -= len(buffer)
    return []
