"""Group commit: one thread writes and syncs whatever has gathered, in rounds; callers learn of it in the reactor.

While a round is being synced the next one gathers, so that a hundred producers cost one fsync and not a hundred.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from twisted.logger import Logger

from eson.brokers.embedded.log.files import File


class Job(Protocol):
    """Something to be made durable."""

    def write(self) -> Sequence[File]:
        """In the thread: writes, and says which files must be synced.  Raises `OSError`."""

    def failed(self, error: OSError) -> None:
        """In the thread, at once: nothing behind this job may be believed.  Later jobs of the same files must fail."""

    def done(self, error: OSError | None) -> None:
        """In the reactor: all is on the disk, or `error` says why it is not."""


class Committer(Protocol):
    def submit(self, job: Job) -> None:
        """Queues a job; jobs are written in this order, and `done` comes in this order."""

    def stop(self) -> None:
        """Finishes what is queued; blocks until it is done.  `done` of the last jobs has been called then."""


class SyncFailed(OSError):
    """A job's own sync failed: nothing that was written to `file` before is on the disk.  Retry: never on this file."""

    def __init__(self, file: File, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.file = file


def synced(file: File) -> None:
    """What a job calls that must know its file durable before it goes on.  Raises `SyncFailed`."""
    try:
        file.sync()
    except OSError as error:
        raise SyncFailed(file, error) from error


SYNCS_AT_ONCE = 4
"""A file system commits what several threads wait for in one go."""

Round = list[tuple[Job, OSError | None]]

_log = Logger()

Syncs = Callable[[Sequence[File]], Sequence[OSError | None]]


def sync(file: File) -> OSError | None:
    """Why the file is not on the disk; None if it is."""
    try:
        file.sync()
    except OSError as error:
        return error
    return None


def one_by_one(files: Sequence[File]) -> Sequence[OSError | None]:
    return [sync(file) for file in files]


def run_round(jobs: Sequence[Job], syncs: Syncs = one_by_one) -> Round:
    """Writes all jobs, syncs each of their files once, and says how each job ended."""
    outcome: Round = []
    wanted: list[Sequence[File]] = []
    broken: dict[int, OSError] = {}
    for job in jobs:
        try:
            wanted.append(job.write())
            outcome.append((job, None))
        except Exception as caught:
            error = caught if isinstance(caught, OSError) else _mistake(job)
            job.failed(error)
            wanted.append(())
            outcome.append((job, error))
            if isinstance(error, SyncFailed):
                broken[id(error.file)] = error  # a second sync would report success
    named = {id(file): file for files in wanted for file in files}
    files = [file for key, file in named.items() if key not in broken]
    results = zip(files, syncs(files), strict=True)
    broken |= {id(file): error for file, error in results if error is not None}
    if broken:
        for number, (job, failed) in enumerate(outcome):
            unsynced = next((broken[id(file)] for file in wanted[number] if id(file) in broken), None)
            if failed is None and unsynced is not None:
                job.failed(unsynced)
                outcome[number] = (job, unsynced)
    return outcome


def _mistake(job: Job) -> OSError:
    """A mistake of ours counts as a failure of the disk: nothing is confirmed, and the thread goes on."""
    _log.failure("{job} failed", job=type(job).__name__)
    return OSError(errno.EIO, "the log cannot be written")


class ThreadedCommitter:
    """The committer of a running broker.  `call_in_reactor` is `reactor.callFromThread`."""

    def __init__(self, call_in_reactor: Callable[..., object]) -> None:
        self._call_in_reactor = call_in_reactor
        self._queue: deque[Job] = deque()
        self._finished: deque[Round] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._pool = ThreadPoolExecutor(SYNCS_AT_ONCE, "sync")
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._wake:
            self._queue.append(job)
            if len(self._queue) == 1:
                self._wake.notify()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._pool.shutdown()
        self._report()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._stopping:
                    self._wake.wait()
                jobs = list(self._queue)
                self._queue.clear()
            if not jobs:
                return
            self._finished.append(run_round(jobs, self._sync_all))
            self._call_in_reactor(self._report)

    def _sync_all(self, files: Sequence[File]) -> Sequence[OSError | None]:
        return one_by_one(files) if len(files) < 2 else list(self._pool.map(sync, files))

    def _report(self) -> None:
        while self._finished:
            for job, error in self._finished.popleft():
                try:
                    job.done(error)
                except Exception:  # those behind it must learn how they ended
                    _log.failure("{job} failed after it was done", job=type(job).__name__)


class ManualCommitter:
    """The twin for tests: a round runs when the test says so (or at once, with `immediate`)."""

    def __init__(self, immediate: bool = False) -> None:
        self._immediate = immediate
        self._queue: list[Job] = []

    def submit(self, job: Job) -> None:
        self._queue.append(job)
        if self._immediate and len(self._queue) == 1:
            self.flush()

    def take(self, most: int) -> list[Job]:
        """Takes the first of the queue away: a test does with them what it likes."""
        taken, self._queue = self._queue[:most], self._queue[most:]
        return taken

    def flush(self, most: int | None = None) -> int:
        """Runs rounds until nothing is queued, or one round of at most so many jobs; how many were done."""
        done = 0
        while self._queue and (most is None or not done):
            jobs = self.take(len(self._queue) if most is None else most)
            for job, error in run_round(jobs):
                job.done(error)
                done += 1
        return done

    def stop(self) -> None:
        self.flush()
