"""The parent's side of the embedded broker: starts the child, learns where it listens, starts it again when it dies."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eson.brokers.embedded.log_lines import parse
from eson.brokers.embedded.settings import Bound, Settings
from eson.children import ChildProcess, Lines, spawn

FIRST_DELAY, LONGEST_DELAY = 0.1, 30.0
HEALTHY_SECONDS = 60.0
"""A child that lived so long starts the delays from the beginning."""
STOP_SECONDS = 10.0
COMMAND = (sys.executable, "-P", "-m", "eson.brokers.embedded")


class EmbeddedChild:
    """Keeps one child running until `stop`.

    `ready` fires when it listens for the first time, `ended` when it has ended for good; `on_ready` is called each
    time that it listens.  After a restart it has the ports that it had.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        on_ready: Callable[[Bound], None] = lambda bound: None,
        name: str = "embedded",
        command: Sequence[str] = COMMAND,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.ready: Deferred[Bound] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.bound: Bound | None = None
        self.name = name
        self._reactor, self._settings, self._on_ready = reactor, settings, on_ready
        self._command, self._jitter = list(command), jitter
        self._process: ChildProcess | None = None
        self._failures = 0
        self._again: Any = None
        self._killing: Any = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts the child; idempotent."""
        if self._process is None and self._again is None and not self._stopping:
            self._spawn()

    def stop(self) -> Deferred[None]:
        """SIGTERM, and SIGKILL if that does not help; fires like `ended`."""
        ended: Deferred[None] = Deferred()

        def tell(result: None) -> None:
            ended.callback(None)

        self.ended.addCallback(tell)
        if not self._stopping:
            self._stopping = True
            if self._again is not None:
                self._again.cancel()
                self._again = None
            if self._process is None:
                self.ended.callback(None)
            else:
                self._process.signal("TERM")
                self._killing = self._reactor.callLater(STOP_SECONDS, self._process.signal, "KILL")
        return ended

    def _spawn(self) -> None:
        self._again = None
        try:
            self._process = spawn(self._reactor, self._command, _Incarnation(self, self._reactor.seconds()))
        except OSError as error:
            self._later(f"cannot be started: {error}")
            return
        self._process.write(self._settings.line())

    def listens(self, bound: Bound) -> None:
        """The child says where."""
        self.bound = bound
        self._settings = replace(
            self._settings, listen=bound.listen, listen_tls=bound.listen_tls, internal=bound.internal
        )
        self.log.info("broker {name} listens on {bound}", name=self.name, bound=str(bound))
        self._on_ready(bound)
        if not self.ready.called:
            self.ready.callback(bound)

    def gone(self, started: float, reason: str) -> None:
        """The child that was started at `started`, in the reactor's seconds, has ended."""
        self._process = None
        if self._stopping:
            if self._killing is not None and self._killing.active():
                self._killing.cancel()
            self.ended.callback(None)
            return
        if self._reactor.seconds() - started >= HEALTHY_SECONDS:
            self._failures = 0
        self._later(reason)

    def _later(self, reason: str) -> None:
        """Full jitter, so that many that died together do not come back together."""
        most = min(LONGEST_DELAY, FIRST_DELAY * 2**self._failures)
        self._failures = min(self._failures + 1, 20)
        delay = self._jitter(0, most)
        self.log.error(
            "broker {name} {reason}; again in {delay:.1f} s", name=self.name, reason=reason, delay=delay
        )
        self._again = self._reactor.callLater(delay, self._spawn)


class _Incarnation:
    """What one child says, from its start to its end."""

    def __init__(self, owner: EmbeddedChild, started: float) -> None:
        self._owner, self._started = owner, started
        self._lines = Lines()

    def received(self, octets: bytes) -> None:
        for line in self._lines.feed(octets):
            try:
                self._owner.listens(Bound.from_message(json.loads(line)))
            except (ValueError, KeyError, TypeError):
                self._owner.log.error("broker {name} says {line!r}", name=self._owner.name, line=line[:200])

    def complained(self, line: bytes) -> None:
        level, text = parse(line)
        self._owner.log.emit(level, "broker {name}: {text}", name=self._owner.name, text=text)

    def ended(self, reason: str) -> None:
        self._owner.gone(self._started, reason)
