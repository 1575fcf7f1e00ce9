"""How processors' processes come to be: a port, and the launcher that spawns them on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

KEPT_ENVIRONMENT = (
    "COVERAGE_PROCESS_START", "HOME", "LANG", "LC_ALL", "PATH", "PYTHONHOME", "PYTHONPATH", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "TMPDIR", "TZ", "VIRTUAL_ENV",
)  # fmt: skip
MOST_LINE = 2000


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
        protocol = _Spawned(listener)
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        self._reactor.spawnProcess(
            protocol, self._command[0], self._command, environment, childFDs={0: "w", 1: "r", 2: "r"}
        )
        return protocol


class _Spawned(ProcessProtocol):
    """One child of a `SpawnLauncher`."""

    _log = Logger()
    transport: Any

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._said = b""
        self.pid: int | None = None

    def connectionMade(self) -> None:
        self.pid = getattr(self.transport, "pid", None)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if childFD == 1:
            self._listener.received(data)
            return
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            self._say(line)
        if len(self._said) > MOST_LINE:
            self._say(self._said)
            self._said = b""

    def _say(self, line: bytes) -> None:
        text = line[:MOST_LINE].decode("utf-8", "replace")
        self._log.warn("processor {pid}: {text}", pid=self.pid, text=text)

    def processEnded(self, reason: Failure) -> None:
        if self._said:
            self._say(self._said)
        self._listener.ended(_words(reason.value))

    def write(self, octets: bytes) -> None:
        if self.transport is not None and self.transport.pid is not None:
            self.transport.writeToChild(0, octets)

    def close(self) -> None:
        if self.transport is not None and self.transport.pid is not None:
            self.transport.closeStdin()

    def kill(self) -> None:
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")


def _words(value: Any) -> str:
    if isinstance(value, ProcessDone):
        return "ended"
    signal, status = getattr(value, "signal", None), getattr(value, "exitCode", None)
    return f"ended by signal {signal}" if signal else f"ended with status {status}"


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
