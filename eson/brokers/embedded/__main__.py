"""The child process: `python -m eson.brokers.embedded`.

Reads its settings from standard input (one line), says on standard output where it listens (one line), and runs until
standard input ends, SIGTERM comes, or its parent dies.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import FileLogObserver, Logger, globalLogBeginner
from twisted.python.failure import Failure

from eson.brokers.embedded.log.committing import ThreadedCommitter
from eson.brokers.embedded.log.files import OsFiles
from eson.brokers.embedded.log_lines import dump
from eson.brokers.embedded.server.service import EmbeddedService, Storage
from eson.brokers.embedded.settings import Settings
from eson.identity.tls import BadTlsFile

log = Logger("eson.brokers.embedded")

_PR_SET_PDEATHSIG = 1
_SWITCH_SECONDS = 0.0005
"""The committer's thread must get the interpreter soon after a sync."""


def _end_with_parent() -> None:
    """The kernel ends this process with its parent, even if that is killed."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


def main() -> int:
    """Runs the broker; the exit status."""
    _end_with_parent()
    with open(0, "rb", buffering=0, closefd=False) as first:
        line = first.readline()
    if not line:
        return 0
    output = os.dup(1)
    os.dup2(2, 1)  # a stray print must not end up in what the parent reads
    try:
        settings = Settings.from_line(line)
    except ValueError as error:
        print(f"eson.brokers.embedded: {error}", file=sys.stderr)
        return 2
    return run(settings, output)


class Leash(Protocol):
    """The pipes to the parent: when they end, so does the broker."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()


def run(settings: Settings, output: int) -> int:
    """Runs until told to stop; the exit status."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.seconds = time.monotonic  # else whoever moves the time of day moves what waits
    globalLogBeginner.beginLoggingTo([FileLogObserver(sys.stderr, dump)], redirectStandardIO=False)  # type: ignore[list-item]
    sys.setswitchinterval(_SWITCH_SECONDS)
    status = 0

    def stop() -> None:
        if reactor.running:
            reactor.stop()

    async def start() -> None:
        nonlocal status
        storage = Storage(OsFiles(), ThreadedCommitter(reactor.callFromThread), _now)
        try:
            service = EmbeddedService(reactor, settings, storage)
            reactor.addSystemEventTrigger(
                "before", "shutdown", lambda: Deferred.fromCoroutine(service.stop())
            )
            bound = await service.start()
        except (OSError, CannotListenError, BadTlsFile) as error:
            log.error("cannot start: {error}", error=error)
            status = 1
            stop()
            return
        leash = StandardIO(Leash(stop), stdin=0, stdout=output)  # type: ignore[call-arg]
        leash.write(bound.line())
        gc.collect()
        gc.freeze()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(start()))
    reactor.run()
    return status


def _now() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    sys.exit(main())
