"""A client's connection: octets into lines, lines through the pure session, events into a mailbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.errors import (
    AuthenticationFailed,
    EsonError,
    ProtocolViolation,
    ReplyError,
    TlsFailed,
    Unreachable,
    WriteStopped,
)
from eson.fnap.core import client_events as e
from eson.fnap.core.client import ClientSession
from eson.fnap.core.lines import LineBuffer
from eson.fnap.core.states import ClientState as S
from eson.fnap.net.transport import Transport
from eson.identity.tls import ClientTls

_HELD = 1 << 18
"""The server is held back while more octets than these wait for the reader of a READ."""
_BATCH = 256
_LINGER = 5.0


@dataclass(frozen=True)
class Lines:
    """Lines of a READ that came together."""

    lines: list[bytes]


@dataclass(frozen=True)
class TlsUp:
    """The handshake behind STARTTLS is done."""


Event = e.Event | Lines | TlsUp
_T = TypeVar("_T")


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """One connection.  `starttls`: how to do TLS when the session says so."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, reactor: Any, session: ClientSession, starttls: ClientTls | None = None) -> None:
        self.reactor = reactor
        self.core = session
        self.peer = ""
        self._starttls = starttls
        self._lines = LineBuffer()
        self._events: deque[Event] = deque()
        self._batch: list[bytes] = []
        self._held = 0
        self._paused = False
        self._waiting: Deferred[None] | None = None
        self._failure: EsonError | None = None
        self._drained: Deferred[None] | None = None
        self._open = False
        self._gone: Deferred[None] | None = None

    # what Twisted calls

    def connectionMade(self) -> None:
        self._open = True
        self.peer = getattr(self.transport.getPeer(), "host", "")
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        if self._failure is not None:
            self.transport.abortConnection()
        elif not self.core.tls:
            self.core.connected()

    def handshakeCompleted(self) -> None:
        if self.core.state is S.IDLE:
            self.core.connected()
        elif self.core.state is S.HANDSHAKE:
            self.core.tls_started(nothing_buffered=True)
            self._put(TlsUp())

    def dataReceived(self, data: bytes) -> None:
        if self._failure is None:
            self._lines.feed(data)
            self._feed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._open = False
        self._end(_why(reason, self.core.state in (S.IDLE, S.HANDSHAKE)))
        if self._gone is not None:
            self._gone.callback(None)

    # lines to events

    def _feed(self) -> None:
        session, lines = self.core, self._lines
        while self._held <= _HELD and session.state is not S.CLOSED:
            line = lines.next_loose_line(session.limit) if session.loose else lines.next_line(session.limit)
            if line is None:
                break
            for event in session.line(line):
                self._take(event)
        self._flush()
        if (self._held > _HELD) != self._paused and self._open:
            self._paused = not self._paused
            (self.transport.pauseProducing if self._paused else self.transport.resumeProducing)()

    def _take(self, event: e.Event) -> None:
        if isinstance(event, e.BodyLine):
            self._batch.append(event.line)
            self._held += len(event.line)
            if len(self._batch) >= _BATCH:
                self._flush()
            return
        self._flush()
        if isinstance(event, e.Broken):
            self.fail(ProtocolViolation(event.reason))
        elif isinstance(event, e.ServerCloses):
            self.fail(ReplyError(event.reply.code, event.reply.text))
        elif isinstance(event, e.BeginTls):
            self._begin_tls()
        else:
            self._put(event)

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._put(Lines(batch))

    def _begin_tls(self) -> None:
        if len(self._lines):
            for event in self.core.tls_started(nothing_buffered=False):
                self._take(event)
        else:
            self.transport.startTLS(self._starttls)

    # the mailbox

    def _put(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    async def next_event(self) -> Event:
        """The next event.  Raises what ended the session."""
        while not self._events:
            self.check()
            waiting = self._waiting = Deferred()
            try:
                await waiting
            finally:
                self._waiting = None
        event = self._events.popleft()
        if isinstance(event, Lines):
            self._held -= sum(map(len, event.lines))
            if self._paused:
                self._feed()
        return event

    async def expect(self, kind: type[_T]) -> _T:
        """The next event, which must be of this kind."""
        event = await self.next_event()
        if not isinstance(event, kind):
            raise self.odd()
        return event

    def odd(self) -> EsonError:
        """Ends the session because of an answer that does not fit; what to raise."""
        return self.fail(ProtocolViolation("The server sent a reply that fits nothing that was asked"))

    # sending

    def send(self, octets: bytes) -> None:
        self.check()
        if octets:
            self.transport.write(octets)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While it lasts, `drained` waits for a server that reads slowly."""
        self.check()
        self.transport.registerProducer(self, True)
        try:
            yield
        finally:
            if self._open:
                self.transport.unregisterProducer()
            self.resumeProducing()

    async def drained(self) -> None:
        if self._drained is not None:
            try:
                await self._drained
            finally:
                self._drained = None
        self.check()

    def pauseProducing(self) -> None:
        if self._drained is None:
            self._drained = Deferred()

    def resumeProducing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.called:
            drained.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    # the end

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def check(self) -> None:
        """Raises what ended the session, if anything did."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def deadline(
        self, seconds: float | None, what: str = "The server did not answer in time"
    ) -> Iterator[None]:
        """Ends the session if the block takes longer, and if it is left by anything but a reply of the server."""
        call = self.reactor.callLater(seconds, self.fail, Unreachable(what)) if seconds else None
        try:
            yield
        except (ReplyError, WriteStopped, AuthenticationFailed):
            raise
        except BaseException:
            # what was asked may still be answered: nothing after it could be told apart
            self.fail(Unreachable("The session was given up while it waited for an answer"))
            raise
        finally:
            if call is not None and call.active():
                call.cancel()

    def fail(self, failure: EsonError) -> EsonError:
        """Ends the session at once; what later calls raise."""
        self._end(failure)
        if self._open:
            self.transport.abortConnection()
        assert self._failure is not None
        return self._failure

    def _end(self, failure: EsonError) -> None:
        if self._failure is None:
            self._failure = failure
        self.core.close()
        self._lines.clear()
        self._wake()
        self.resumeProducing()

    async def close(self) -> None:
        """Ends an orderly session and waits until the connection is gone."""
        self._end(Unreachable("The session is closed"))
        if not self._open:
            return
        self._gone = Deferred()
        self.transport.loseConnection()
        linger = self.reactor.callLater(_LINGER, self.transport.abortConnection)
        await self._gone
        if linger.active():
            linger.cancel()


def _why(reason: Failure, in_handshake: bool) -> EsonError:
    error = reason.value
    if isinstance(error, EsonError):
        return error
    if isinstance(error, SSL.Error):
        details = error.args[0] if error.args and isinstance(error.args[0], list) else []
        said = "; ".join(str(detail[-1]) for detail in details if detail) or "no reason given"
        return TlsFailed(f"TLS failed: {said}")
    if in_handshake:
        return Unreachable("The connection was lost before TLS was up")
    return Unreachable("The connection was lost")
