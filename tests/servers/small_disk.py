"""A disk that runs full and has room again, for the real programs that write to it."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

_PIECE = bytes(64 << 10)


class SmallDisk:
    """`path` is a file system in memory of its own where one may be mounted (`mounted`), so that whoever writes is told
    ENOSPC when `fill` has taken the rest.  Elsewhere it is a plain folder, and `fill` limits the size of files of the
    process instead (EFBIG).
    """

    def __init__(self, path: Path, octets: int) -> None:
        self.path = path
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={octets}", "eson-tests", str(path)]
        try:
            self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            self.mounted = False
        self._ballast = path / "ballast"
        self._limited: int | None = None

    def fill(self, process: int) -> None:
        if not self.mounted:
            self._limit(process, 1)
            self._limited = process
            return
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(_PIECE) == len(_PIECE):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)
        if self._limited is not None:
            with contextlib.suppress(ProcessLookupError):
                self._limit(self._limited, resource.RLIM_INFINITY)
            self._limited = None

    @staticmethod
    def _limit(process: int, octets: int) -> None:
        hard = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process, resource.RLIMIT_FSIZE, (octets, hard))

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)
            self.mounted = False


@contextlib.contextmanager
def small_disk(path: Path, octets: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(path, octets)
    try:
        yield disk
    finally:
        disk.remove()
