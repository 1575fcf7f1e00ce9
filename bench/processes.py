"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MB = 2**20


def cpu(pid: int) -> float:
    """User and system time of all threads of a process, in seconds: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def private(pid: int) -> int:
    """Octets that no other process shares (USS)."""
    return _rollup(pid, "Private_")


def proportional(pid: int) -> int:
    """Octets, of shared ones the process's part (PSS)."""
    return _rollup(pid, "Pss:")


def resident(pid: int) -> int:
    """Octets, shared ones counted whole (RSS)."""
    return _rollup(pid, "Rss:")


def _rollup(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(key))


@contextmanager
def peak_private(pid: int, every: float = 0.1) -> Iterator[list[float]]:
    """Samples the private memory of a process; the list's only value is the peak in MB."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            try:
                peak[0] = max(peak[0], private(pid) / MB)
            except OSError:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def pin(pid: int, cores: Iterable[int]) -> None:
    """All threads of a process to these cores; threads to come inherit it."""
    wanted = set(cores)
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), wanted)


@contextmanager
def apart(pid: int) -> Iterator[None]:
    """Meanwhile a server has the first core to itself, as far as we are concerned, and this process the last one."""
    cores = sorted(os.sched_getaffinity(0))
    pin(pid, cores[:1])
    pin(os.getpid(), cores[-1:])
    try:
        yield
    finally:
        pin(os.getpid(), cores)
        pin(pid, cores)
