"""Child processes of this one: what they inherit, their three descriptors, how they ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

KEPT_ENVIRONMENT = (
    "COVERAGE_PROCESS_START", "HOME", "LANG", "LC_ALL", "PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "TZ",
    "VIRTUAL_ENV",
)  # fmt: skip
MAX_LINE = 65_536


class Parent(Protocol):
    """Whoever started a child."""

    def received(self, octets: bytes) -> None:
        """What it wrote to its descriptor 1."""

    def complained(self, line: bytes) -> None:
        """A line that it wrote to its descriptor 2, without its end."""

    def ended(self, reason: str) -> None:
        """Called once, when it is gone; `reason` is one line."""


class Lines:
    """Cuts octets into lines; of one that does not end, the first `most` octets are kept."""

    def __init__(self, most: int = MAX_LINE) -> None:
        self.rest = b""
        self._most = most

    def feed(self, octets: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        *lines, rest = (self.rest + octets).split(b"\n")
        self.rest = rest[: self._most]
        return lines


class ChildProcess(ProcessProtocol):
    """One child.  Everything is allowed before its start and after its end, and does nothing then."""

    transport: Any

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._complaints = Lines()
        self.pid: int | None = None
        """Kept when it has ended."""

    def connectionMade(self) -> None:
        self.pid = getattr(self.transport, "pid", None)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == 1:
            self._parent.received(data)
        else:
            for line in self._complaints.feed(data):
                self._parent.complained(line)

    def processEnded(self, reason: Failure) -> None:
        if self._complaints.rest:
            self._parent.complained(self._complaints.rest)
        self._parent.ended(_words(reason.value))

    def write(self, octets: bytes) -> None:
        """To its descriptor 0."""
        if self._runs():
            self.transport.write(octets)

    def close(self) -> None:
        """Closes its descriptor 0."""
        if self._runs():
            self.transport.closeStdin()

    def signal(self, name: str) -> None:
        """`name` without SIG."""
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)

    def kill(self) -> None:
        self.signal("KILL")

    def _runs(self) -> bool:
        return self.transport is not None and self.transport.pid is not None


def spawn(
    reactor: Any, command: Sequence[str], parent: Parent, kept: Sequence[str] = KEPT_ENVIRONMENT
) -> ChildProcess:
    """Starts `command` with the variables `kept` of our environment.  `reactor` provides IReactorProcess.

    Raises `OSError` if no process can be started.
    """
    child = ChildProcess(parent)
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    reactor.spawnProcess(child, command[0], list(command), environment, childFDs={0: "w", 1: "r", 2: "r"})
    return child


def _words(value: Any) -> str:
    if isinstance(value, ProcessDone):
        return "ended"
    signal, status = getattr(value, "signal", None), getattr(value, "exitCode", None)
    return f"ended by signal {signal}" if signal else f"ended with status {status}"
