"""A file system in memory that fails as disks do: it runs full, its fsync fails, a crash loses what was not synced."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from random import Random
from typing import Any

from eson.brokers.embedded.log.files import Buffer, File

PAGE = 4096


class MemoryFile:
    """`now` is what readers see, `synced` what the disk has."""

    def __init__(self, owner: FaultyFiles) -> None:
        self._owner = owner
        self.now = bytearray()
        self.synced = b""
        self.syncs = self.reads = 0

    def read_at(self, position: int, size: int) -> bytes:
        self.reads += 1
        return bytes(self.now[position : position + size])

    def write_at(self, position: int, buffers: Sequence[Buffer]) -> int:
        data = b"".join(bytes(buffer) for buffer in buffers)
        written = self._owner.spend(data)
        if len(self.now) < position:
            self.now.extend(bytes(position - len(self.now)))
        self.now[position : position + len(written)] = written
        if len(written) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)

    def sync(self) -> None:
        self.syncs += 1
        if self._owner.failing_syncs:
            # Linux reports the error once and forgets: the next fsync says success about pages that never arrived
            self._owner.failing_syncs -= 1
            self._owner.lying.add(id(self))
            raise OSError(errno.EIO, "Input/output error")
        if id(self) not in self._owner.lying:
            self.synced = bytes(self.now)

    def truncate(self, size: int) -> None:
        del self.now[size:]
        self.synced = self.synced[:size]

    def size(self) -> int:
        return len(self.now)


class FaultyFiles:
    """`space`: octets that may still be written, None without end.  `failing_syncs`: so many fail from now on.

    Names are durable at once; that folders are synced is checked by the real file system's own test.
    """

    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}
        self.space: int | None = None
        self.failing_syncs = 0
        self.lying: set[int] = set()

    def spend(self, data: bytes) -> bytes:
        if self.space is None:
            return data
        written = data[: self.space]
        self.space -= len(written)
        return written

    def crash(self, random: Random | None = None) -> FaultyFiles:
        """What a machine finds that lost power: of what was not synced, any pages at all arrived."""
        after = FaultyFiles()
        for path, file in self.files.items():
            survivor = after.files[path] = MemoryFile(after)
            survivor.now = bytearray(_survived(file, random))
            survivor.synced = bytes(survivor.now)
        return after

    def open(self, path: str, create: bool = False) -> File:
        if create:
            if path in self.files:
                raise FileExistsError(path)
            if self.space == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.files[path] = MemoryFile(self)
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def names(self, folder: str) -> list[str]:
        start = folder + "/"
        return sorted({path[len(start) :].split("/")[0] for path in self.files if path.startswith(start)})

    def make_folder(self, path: str) -> None: ...

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def remove_folder(self, path: str) -> None: ...

    def sync_folder(self, path: str) -> None: ...


def _survived(file: MemoryFile, random: Random | None) -> bytes:
    if random is None:
        return file.synced
    # the length may or may not have been recorded; each unsynced page may or may not have been written
    length = random.choice(
        (
            len(file.synced),
            len(file.now),
            random.randint(len(file.synced), max(len(file.synced), len(file.now))),
        )
    )
    disk = bytearray(file.synced[:length].ljust(length, b"\0"))
    for start in range(0, length, PAGE):
        page = slice(max(start, len(file.synced)), min(start + PAGE, length))
        if page.start < page.stop and random.random() < 0.5:
            disk[page] = file.now[page]
    return bytes(disk)


def ignore(*_: Any) -> None: ...
