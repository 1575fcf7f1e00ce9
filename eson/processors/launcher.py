"""How processors' processes come to be: a port, and the launcher that spawns them on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.logger import Logger

from eson import children
from eson.children import ChildProcess, spawn

KEPT_ENVIRONMENT = (*children.KEPT_ENVIRONMENT, "SSL_CERT_DIR", "SSL_CERT_FILE")
MAX_COMPLAINT = 2000


class Listener(Protocol):
    """Whoever started a process."""

    def received(self, octets: bytes) -> None:
        """What it wrote to its descriptor 1."""

    def ended(self, reason: str) -> None:
        """Called once, when it is gone; `reason` is one line."""


class Child(Protocol):
    """A process that was started.  Everything is allowed after its end, and does nothing."""

    @property
    def pid(self) -> int | None: ...

    def write(self, octets: bytes) -> None:
        """To its descriptor 0."""

    def close(self) -> None:
        """Closes its descriptor 0: it ends by itself."""

    def kill(self) -> None: ...


class Launcher(Protocol):
    """Starts processes that speak the messages of `processor.proto`."""

    def launch(self, listener: Listener) -> Child:
        """Raises `OSError` if no process can be started."""


class SpawnLauncher:
    """Child processes of this one; `reactor` provides IReactorProcess.

    What they write to descriptor 2 goes to the log, line by line.
    """

    def __init__(
        self,
        reactor: Any,
        command: Sequence[str] = (sys.executable, "-P", "-m", "eson.processors"),
    ) -> None:
        self._reactor = reactor
        self._command = list(command)

    def launch(self, listener: Listener) -> Child:
        parent = _Parent(listener)
        parent.child = spawn(self._reactor, self._command, parent, KEPT_ENVIRONMENT)
        return parent.child


class _Parent:
    """Passes on what a child says, and logs what it says to people."""

    _log = Logger()

    def __init__(self, listener: Listener) -> None:
        self.received = listener.received
        self.ended = listener.ended
        self.child: ChildProcess | None = None

    def complained(self, line: bytes) -> None:
        pid = self.child.pid if self.child is not None else None
        text = line[:MAX_COMPLAINT].decode("utf-8", "replace")
        self._log.warn("processor {pid}: {text}", pid=pid, text=text)


class MemoryChild:
    """A child of `MemoryLauncher`: `written` is what it got; a test says what it does."""

    def __init__(self, listener: Listener, pid: int) -> None:
        self.listener = listener
        self.pid: int | None = pid
        self.written = b""
        self.closed = self.killed = self.gone = False

    def write(self, octets: bytes) -> None:
        self.written += octets

    def close(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.killed = True

    def says(self, octets: bytes) -> None:
        self.listener.received(octets)

    def ends(self, reason: str = "ended with status 1") -> None:
        self.gone = True
        self.listener.ended(reason)


class MemoryLauncher:
    """A launcher without processes; `refuse` is raised by the next launches if it is set."""

    def __init__(self, launched: Callable[[MemoryChild], None] = lambda child: None) -> None:
        self.children: list[MemoryChild] = []
        self.refuse: OSError | None = None
        self._launched = launched

    def launch(self, listener: Listener) -> Child:
        if self.refuse is not None:
            raise self.refuse
        child = MemoryChild(listener, 1000 + len(self.children))
        self.children.append(child)
        self._launched(child)
        return child
