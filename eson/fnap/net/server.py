"""The server's shell: feeds lines to the pure session and carries out its actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.errors import BackendFailed, EsonError, NotAvailableNow
from eson.fnap.core import actions as a
from eson.fnap.core import render
from eson.fnap.core.lines import LineBuffer, LineFault
from eson.fnap.core.server import ServerSession
from eson.fnap.core.service import EventReader, EventWriter
from eson.fnap.core.states import ServerState as S
from eson.fnap.net.transport import Transport
from eson.identity.mechanisms import AskPassword, AskVerifier
from eson.model.principals import Caller

if TYPE_CHECKING:
    from eson.fnap.net.factory import FnapFactory

SHUT_DOWN = "The server is going down: try again later"
_HELD = 65536
"""A receiver is paused when more octets than these wait behind a pending command."""
_PIECE = 16384
"""So many octets of replies are handed over at once: the transport then says whether the client takes them."""
_LINGER = 10.0
"""Seconds in which a peer may take what was said last."""
_GRACE = 5.0
"""Seconds beyond the deadline of a command, so that the agent's own answer comes first."""
_Work = Coroutine[Deferred[Any], Any, a.Actions]


@implementer(IHandshakeListener, IPushProducer)
class FnapServer(Protocol):
    """One connection."""

    transport: Transport  # type: ignore[assignment]
    factory: FnapFactory

    # bare class attributes until they are needed: ten thousand idle sessions are ordinary
    _reader: EventReader | None = None
    _writer: EventWriter | None = None
    _resumed: Deferred[None] | None = None
    _at_once = False
    _held = False
    _half_line_since: float | None = None
    _moved = 0.0
    _gone = False
    counted_user = ""
    slot = 0
    outcome = ""

    def __init__(self, factory: FnapFactory, peer: str) -> None:
        self.factory = factory
        self.peer = peer
        self._lines = LineBuffer()
        self.session = ServerSession(
            factory.policy, tls=factory.implicit_tls, clear_is_safe=factory.clear_is_safe(peer)
        )
        self.began = self.heard = factory.now()

    # the connection

    def connectionMade(self) -> None:
        # replies are whole when they are written: none waits for the peer's acknowledgement of the last
        self.transport.setTcpNoDelay(True)
        # a FOLLOW has no deadline: only this ends one whose peer vanished
        self.transport.setTcpKeepAlive(True)
        # for the whole session: who does not read replies is not asked for further commands
        self.transport.registerProducer(self, True)
        refusal = self.factory.admit(self)
        if refusal is None:
            self._do(self.session.connected())
        elif self.factory.implicit_tls:
            # a handshake only to refuse would cost more than the session
            self.outcome = refusal[0]
            self.session.close(refusal[0])
            self.transport.abortConnection()
        else:
            self._do(self.session.close(*refusal))

    def dataReceived(self, data: bytes) -> None:
        if self.session.state is S.CLOSED:
            return
        self.heard = self.factory.now()
        self._lines.feed(data)
        self._feed()

    def handshakeCompleted(self) -> None:
        if self.session.state is S.HANDSHAKE:
            self._do(self.session.tls_started(nothing_buffered=True))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        self.outcome = self.outcome or "gone"
        self.session.close("gone")
        self.factory.forget(self)
        self._lines.clear()
        self._release()

    def _release(self) -> None:
        """Lets go of what READ and WRITE hold."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        if reader is not None:
            reader.close()
        if writer is not None:
            writer.abort()
        self.resumeProducing()

    def _feed(self) -> None:
        session, lines = self.session, self._lines
        out: list[bytes] = []
        fed, size = False, 0
        while not session.waits and self._resumed is None:
            line = lines.next_line(session.limit)
            if line is None:
                break
            fed = True
            actions = session.fault(line) if isinstance(line, LineFault) else session.line(line)
            for action in actions:
                if type(action) is bytes:
                    out.append(action)
                    size += len(action)
                    if size < _PIECE:
                        continue
                if out:
                    self.transport.write(b"".join(out))
                    out.clear()
                    size = 0
                if type(action) is not bytes:
                    self._act(action)
        if out:
            self.transport.write(b"".join(out))
        held = session.waits or self._resumed is not None
        if held or not len(lines):
            self._half_line_since = None
        elif fed or self._half_line_since is None:
            self._half_line_since = self.factory.now()
        # a stranger holds one line here, whatever it is that is waited for
        self._hold(held and len(lines) > (_HELD if session.caller else session.limit))

    def _hold(self, hold: bool) -> None:
        """A paused receiver does not notice that its peer left: pause only for floods."""
        if hold != self._held and not self._gone:
            self._held = hold
            (self.transport.pauseProducing if hold else self.transport.resumeProducing)()

    # actions

    def _do(self, actions: a.Actions) -> None:
        for action in actions:
            self._act(action)

    def _act(self, action: a.Action) -> None:
        if isinstance(action, bytes):
            self.transport.write(action)
        else:
            _ACTS[type(action)](self, action)

    def _close(self, action: a.Close) -> None:
        self.outcome = self.outcome or action.outcome
        self.heard = self.factory.now()
        self._lines.clear()
        self._release()
        if not self._gone:
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _begin_tls(self, action: a.BeginTls) -> None:
        if len(self._lines):
            self._do(self.session.tls_started(nothing_buffered=False))
        else:
            self.transport.startTLS(self.factory.tls)

    def _wait(self, work: _Work) -> None:
        """Carries `work` out, then its actions, then feeds the lines that came meanwhile."""
        self._at_once = True
        self._moved = self.factory.now()
        Deferred.fromCoroutine(self._finish(work)).addErrback(self.factory.unexpected)
        self._at_once = False

    async def _finish(self, work: _Work) -> None:
        actions = await work
        at_once, self._at_once = self._at_once, False
        self.heard = self.factory.now()
        self._do(actions)
        if not at_once and not self._gone:
            self._feed()

    # logins

    def _ask_verifier(self, action: AskVerifier) -> None:
        async def ask() -> a.Actions:
            found = await self.factory.authenticator.verifier(action.username, self.peer)
            return self.session.verifier_found(found)

        self._wait(self._login_step(ask))

    def _ask_password(self, action: AskPassword) -> None:
        async def ask() -> a.Actions:
            right = await self.factory.authenticator.check_password(
                action.username, action.password, self.peer
            )
            return self.session.password_checked(right)

        self._wait(self._login_step(ask))

    def _authorise(self, action: a.Authorise) -> None:
        async def ask() -> a.Actions:
            caller = await self.factory.authenticator.authorise(
                action.username, action.authorisation, action.mechanism, self.peer, self.session.tls
            )
            if self._gone:
                return ()
            if caller is not None and not self.factory.admit_user(self, caller):
                return self.session.close("user's places", "Too many sessions of this user")
            return self.session.authorised(caller)

        self._wait(self._login_step(ask))

    async def _login_step(self, ask: Callable[[], Awaitable[a.Actions]]) -> a.Actions:
        try:
            return await ask()
        except NotAvailableNow as error:
            return self.session.login_unavailable(error.text)
        except Exception as error:  # whatever it is, nobody is let in and no exception's text is told
            self.factory.report(error, self)
            return self.session.login_unavailable("Authentication is not available now: try again later")

    def _login_failed(self, action: a.LoginFailed) -> None:
        self.factory.authenticator.failed(action.username, action.mechanism, self.peer, action.reason)

    # commands

    def _run(self, ask: Callable[[], Awaitable[a.Actions]]) -> None:
        async def run() -> a.Actions:
            try:
                return await ask()
            except Exception as error:  # whatever it is, the peer gets one reply and no exception's text
                self.factory.report(error, self)
                return self.session.answered(error)

        self._wait(run())

    def _caller(self) -> Caller:
        caller = self.session.caller
        assert caller is not None
        return caller

    def _execute(self, action: a.Execute) -> None:
        caller = self._caller()

        async def execute() -> a.Actions:
            return self.session.answered(await self.factory.service.execute(caller, action.command))

        self._run(execute)

    # READ

    def _open_reader(self, action: a.OpenReader) -> None:
        caller = self._caller()

        async def open_reader() -> a.Actions:
            reader = await self.factory.service.open_reader(caller, action.command)
            if self.session.state is S.CLOSED:
                reader.close()
                return ()
            self._reader = reader
            self.factory.call_soon(self._start_pump)
            return self.session.reading(action.command.follow)

        self._run(open_reader)

    def _start_pump(self) -> None:
        if self.session.state is not S.CLOSED:
            Deferred.fromCoroutine(self._pump()).addErrback(self.factory.unexpected)

    async def _pump(self) -> None:
        """Reader to transport, no faster than the client takes it."""
        failure: BaseException | None = None
        try:
            while (reader := self._reader) is not None:
                lines = await reader.next_lines()
                if not lines or self._reader is None:
                    break
                self._moved = self.factory.now()
                self.transport.write(b"\r\n".join([*lines, b""]))
                if self._resumed is not None:
                    await self._resumed
        except Exception as error:  # the body ends with a reply whatever happened
            failure = error
            self.factory.report(error, self)
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        if self.session.state is S.CLOSED:
            return
        self.heard = self.factory.now()
        self._do(self.session.read_ended(failure))
        self._feed()

    def _stop_reading(self, action: a.StopReading) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()
            self._moved = self.factory.now()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            self._moved = self.factory.now()
            resumed.callback(None)
            if not self._gone:
                self._feed()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # WRITE

    def _open_writer(self, action: a.OpenWriter) -> None:
        caller = self._caller()

        async def open_writer() -> a.Actions:
            writer = await self.factory.service.open_writer(caller, action.command)
            if self.session.state is S.CLOSED:
                writer.abort()
                return ()
            self._writer = writer
            return self.session.writing()

        self._run(open_writer)

    def _write_event(self, action: a.WriteEvent) -> None:
        writer = self._writer
        if writer is None:
            return
        accepted = Deferred.fromCoroutine(self._accept(writer, action.event))
        if not accepted.called:
            # the sink holds back: no further line before this event is in
            self.session.held = True
            self._moved = self.factory.now()
            accepted.addBoth(self._take_more)
        accepted.addErrback(self.factory.unexpected)

    async def _accept(self, writer: EventWriter, event: Mapping[str, Any]) -> None:
        try:
            await writer.write(event)
        except EsonError as error:
            self._do(self.session.event_refused(error))
        except Exception as error:  # the rest is dropped, and the reply says how much was written
            self.factory.report(error, self)
            self._do(self.session.event_refused(BackendFailed(render.FAILED)))

    def _take_more(self, result: object) -> object:
        self.session.held = False
        if not self._gone:
            self.heard = self.factory.now()
            self._feed()
        return result

    def _finish_writing(self, action: a.FinishWriting) -> None:
        writer, self._writer = self._writer, None

        async def finish() -> a.Actions:
            return self.session.written(await writer.finish() if writer else 0)

        self._run(finish)

    # deadlines

    def check(self, now: float) -> None:
        """Ends the session if a deadline has passed; called each second."""
        state = self.session.state
        if state is S.CLOSED:
            if now - self.heard > _LINGER:
                self.transport.abortConnection()
            return
        late = self._late(state, now)
        if late:
            self.outcome = "too late"
            self._do(self.session.close("too late", late))

    def _late(self, state: S, now: float) -> str:
        """Why the session has to end now; "" if it has not."""
        deadlines = self.factory.places.deadlines
        silence, stood = now - self.heard, now - self._moved
        if self.session.caller is None:
            if now - self.began > deadlines.login:
                return "No login in time"
            return "No response in time" if state is S.SASL and silence > deadlines.sasl_step else ""
        if state is S.FOLLOWING:
            return ""
        if state in (S.CMD_RECVD, S.READING) or self.session.held:
            return "The command took too long" if stood > deadlines.command + _GRACE else ""
        if self._resumed is not None and stood > deadlines.command + _GRACE:
            return "Replies were not read in time"
        if self._half_line_since is not None and now - self._half_line_since > deadlines.command:
            return "No whole line in time"
        return "Idle too long" if silence > deadlines.idle else ""

    def shut_down(self, outcome: str = "shutdown", text: str = SHUT_DOWN) -> None:
        """Ends the session with a 421."""
        self._do(self.session.close(outcome, text))


_ACTS: Mapping[type, Callable[[FnapServer, Any], None]] = {
    a.Close: FnapServer._close,
    a.BeginTls: FnapServer._begin_tls,
    AskVerifier: FnapServer._ask_verifier,
    AskPassword: FnapServer._ask_password,
    a.Authorise: FnapServer._authorise,
    a.LoginFailed: FnapServer._login_failed,
    a.Execute: FnapServer._execute,
    a.OpenReader: FnapServer._open_reader,
    a.StopReading: FnapServer._stop_reading,
    a.OpenWriter: FnapServer._open_writer,
    a.WriteEvent: FnapServer._write_event,
    a.FinishWriting: FnapServer._finish_writing,
}
