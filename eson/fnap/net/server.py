"""The server's shell: feeds lines to the pure session and carries out its actions."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IHandshakeListener, IPushProducer, ITLSTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.errors import EsonError, NotAvailableNow
from eson.fnap.core import render
from eson.fnap.core import server as core
from eson.fnap.core.lines import LineBuffer, LineFault
from eson.fnap.core.service import AgentService, EventReader, EventWriter
from eson.fnap.core.states import ServerState as S
from eson.identity.mechanisms import AskPassword, AskVerifier
from eson.identity.verifier import Verifier
from eson.model.principals import Caller

SHUT_DOWN = "The server is going down: try again later"
_CHECK_EVERY = 1.0
_HELD = 65536
"""A receiver is paused when more octets than these wait behind a pending command."""


class Authenticator(Protocol):
    """What the server asks about logins.  `peer` is the client's address."""

    async def verifier(self, username: str, peer: str) -> Verifier | None:
        """Raises `NotAvailableNow` if too many logins are under way or the peer failed too often."""

    async def check_password(self, username: str, password: str, peer: str) -> bool:
        """Raises `NotAvailableNow`."""

    async def authorise(
        self, username: str, authorisation: str, mechanism: str, peer: str, tls: bool
    ) -> Caller | None: ...

    def failed(self, username: str, mechanism: str, peer: str, reason: str) -> None: ...


@dataclass(frozen=True)
class Limits:
    """Deadlines and places."""

    login: timedelta = timedelta(seconds=60)
    sasl_step: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(minutes=30)
    command: timedelta = timedelta(seconds=60)
    total: int = 10_000
    per_address: int = 50
    per_user: int = 10


@implementer(IHandshakeListener, IPushProducer)
class FnapServer(TwistedProtocol):
    """One connection."""

    # few and bare attributes: ten thousand idle sessions are ordinary
    _reader: EventReader | None = None
    _writer: EventWriter | None = None
    _pending: Deferred[None] | None = None
    _resumed: Deferred[None] | None = None
    _counted_user = ""
    _held = False
    _half_line_since = 0.0
    _gone = False
    outcome = ""

    def __init__(self, factory: FnapFactory, peer: str) -> None:
        self.factory = factory
        self.peer = peer
        self._lines = LineBuffer()
        self.session = core.ServerSession(
            factory.policy, tls=factory.implicit_tls, clear_is_safe=factory.clear_is_safe(peer)
        )
        self.began = self.heard = factory.now()

    # the connection

    def connectionMade(self) -> None:
        refusal = self.factory.admit(self)
        self._do(self.session.close(*refusal) if refusal else self.session.connected())

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
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        self.resumeProducing()

    def _feed(self) -> None:
        session, lines = self.session, self._lines
        out: list[bytes] = []
        while not session.waits:
            line = lines.next_line(session.limit)
            if line is None:
                break
            actions = session.fault(line) if isinstance(line, LineFault) else session.line(line)
            for action in actions:
                if type(action) is bytes:
                    out.append(action)
                else:
                    if out:
                        self.transport.write(b"".join(out))
                        out.clear()
                    self._act(action)
        if out:
            self.transport.write(b"".join(out))
        self._half_line_since = (self._half_line_since or self.heard) if len(lines) else 0.0
        self._hold(session.waits and len(lines) > _HELD)

    def _hold(self, hold: bool) -> None:
        """A paused receiver does not notice that its peer left: pause only for floods."""
        if hold != self._held and not self._gone:
            self._held = hold
            (self.transport.pauseProducing if hold else self.transport.resumeProducing)()

    # actions

    def _do(self, actions: core.Actions) -> None:
        for action in actions:
            self._act(action)

    def _act(self, action: core.Action) -> None:
        if isinstance(action, bytes):
            self.transport.write(action)
            return
        _ACTS[type(action)](self, action)

    def _close(self, action: core.Close) -> None:
        self.outcome = action.outcome
        self._lines.clear()
        self.transport.loseConnection()

    def _begin_tls(self, action: core.BeginTls) -> None:
        if len(self._lines) or not ITLSTransport.providedBy(self.transport):
            self._do(self.session.tls_started(nothing_buffered=False))
            return
        self.transport.startTLS(self.factory.tls_context)

    def _wait(self, work: Coroutine[Deferred[Any], Any, core.Actions]) -> None:
        """Carries `work` out, then its actions, then feeds the lines that came meanwhile."""
        pending = self._pending = Deferred.fromCoroutine(self._finish(work))
        if pending.called:
            self._pending = None

    async def _finish(self, work: Coroutine[Deferred[Any], Any, core.Actions]) -> None:
        try:
            actions = await work
        except CancelledError:
            return
        finally:
            self._pending = None
        self._do(actions)
        if len(self._lines) and not self._gone:
            self.factory.call_soon(self._feed_again)

    def _feed_again(self) -> None:
        if not self._gone:
            self._feed()

    def _ask_verifier(self, action: AskVerifier) -> None:
        async def ask() -> core.Actions:
            try:
                found = await self.factory.authenticator.verifier(action.username, self.peer)
            except NotAvailableNow as error:
                return self.session.login_unavailable(error.text)
            return self.session.verifier_found(found)

        self._wait(self._guarded_login(ask))

    def _ask_password(self, action: AskPassword) -> None:
        async def ask() -> core.Actions:
            try:
                right = await self.factory.authenticator.check_password(
                    action.username, action.password, self.peer
                )
            except NotAvailableNow as error:
                return self.session.login_unavailable(error.text)
            return self.session.password_checked(right)

        self._wait(self._guarded_login(ask))

    def _authorise(self, action: core.Authorise) -> None:
        async def ask() -> core.Actions:
            caller = await self.factory.authenticator.authorise(
                action.username, action.authorisation, action.mechanism, self.peer, self.session.tls
            )
            if caller is not None and not self.factory.admit_user(self, caller):
                return self.session.close("user's places", "Too many sessions of this user")
            return self.session.authorised(caller)

        self._wait(self._guarded_login(ask))

    async def _guarded_login(self, ask: Callable[[], Awaitable[core.Actions]]) -> core.Actions:
        try:
            return await ask()
        except EsonError as error:
            self.factory.report(error, self)
            return self.session.login_unavailable("Authentication is not available now: try again later")

    def _login_failed(self, action: core.LoginFailed) -> None:
        self.factory.authenticator.failed(action.username, action.mechanism, self.peer, action.reason)

    def _execute(self, action: core.Execute) -> None:
        caller = self._caller()

        async def run() -> core.Actions:
            try:
                return self.session.answered(await self.factory.service.execute(caller, action.command))
            except CancelledError:
                raise
            except Exception as error:  # whatever it is, the peer gets one reply and no exception's text
                self.factory.report(error, self)
                return self.session.answered(error)

        self._wait(run())

    def _caller(self) -> Caller:
        caller = self.session.caller
        assert caller is not None
        return caller

    # READ

    def _open_reader(self, action: core.OpenReader) -> None:
        caller = self._caller()

        async def run() -> core.Actions:
            try:
                reader = await self.factory.service.open_reader(caller, action.command)
            except CancelledError:
                raise
            except Exception as error:  # as for any command
                self.factory.report(error, self)
                return self.session.answered(error)
            if self._gone:
                reader.close()
                return ()
            self._reader = reader
            started = self.session.reading(action.command.follow)
            self.factory.call_soon(self._start_pump)
            return started

        self._wait(run())

    def _start_pump(self) -> None:
        if not self._gone:
            self.transport.registerProducer(self, True)
            Deferred.fromCoroutine(self._pump()).addErrback(self.factory.unexpected)

    async def _pump(self) -> None:
        """Reader to transport, no faster than the client takes it."""
        failure: BaseException | None = None
        try:
            while (reader := self._reader) is not None:
                lines = await reader.next_lines()
                if not lines or self._gone or self._reader is None:
                    break
                self.transport.write(b"\r\n".join([*lines, b""]))
                if self._resumed is not None:
                    await self._resumed
        except Exception as error:  # the body ends with a reply whatever happened
            failure = error
            self.factory.report(error, self)
        if self._gone:
            return
        self.transport.unregisterProducer()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.heard = self.factory.now()
        self._do(self.session.read_ended(failure))
        self._feed()

    def _stop_reading(self, action: core.StopReading) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self.resumeProducing()

    # WRITE

    def _open_writer(self, action: core.OpenWriter) -> None:
        caller = self._caller()

        async def run() -> core.Actions:
            try:
                writer = await self.factory.service.open_writer(caller, action.command)
            except CancelledError:
                raise
            except Exception as error:  # as for any command
                self.factory.report(error, self)
                return self.session.answered(error)
            if self._gone:
                writer.abort()
                return ()
            self._writer = writer
            return self.session.writing()

        self._wait(run())

    def _write_event(self, action: core.WriteEvent) -> None:
        writer = self._writer
        if writer is None:
            return
        accepted = Deferred.fromCoroutine(self._accept(writer, action.event))
        if not accepted.called:
            # the sink holds back: no further line before this event is in
            self._lines_wait(accepted)

    async def _accept(self, writer: EventWriter, event: Mapping[str, Any]) -> None:
        try:
            await writer.write(event)
        except EsonError as error:
            self._do(self.session.event_refused(error))

    def _lines_wait(self, accepted: Deferred[None]) -> None:
        self.session.held = True
        self._hold(True)

        def go_on(result: object) -> object:
            self.session.held = False
            if not self._gone:
                self._hold(False)
                self.factory.call_soon(self._feed_again)
            return result

        accepted.addBoth(go_on).addErrback(self.factory.unexpected)

    def _finish_writing(self, action: core.FinishWriting) -> None:
        writer, self._writer = self._writer, None

        async def run() -> core.Actions:
            try:
                return self.session.written(await writer.finish() if writer else 0)
            except CancelledError:
                raise
            except Exception as error:  # as for any command
                self.factory.report(error, self)
                return self.session.answered(error)

        self._wait(run())

    # deadlines

    def check(self, now: float) -> None:
        """Ends the session if a deadline has passed; called each second."""
        limits, session = self.factory.limits, self.session
        state = session.state
        late = ""
        if state is S.CLOSED:
            if now - self.heard > 10:
                self.transport.abortConnection()
            return
        if session.caller is None:
            if now - self.began > limits.login.total_seconds():
                late = "No login in time"
            elif state is S.SASL and now - self.heard > limits.sasl_step.total_seconds():
                late = "No response in time"
        elif state in (S.FOLLOWING, S.READING) or state is S.CMD_RECVD:
            return
        elif self._half_line_since and now - self._half_line_since > limits.command.total_seconds():
            late = "No whole line in time"
        elif now - self.heard > limits.idle.total_seconds():
            late = "Idle too long"
        if late:
            self.outcome = "too late"
            self._do(session.close("too late", late))

    def shut_down(self) -> None:
        self._do(self.session.close("shutdown", SHUT_DOWN))


_ACTS: Mapping[type, Callable[[FnapServer, Any], None]] = {
    core.Close: FnapServer._close,
    core.BeginTls: FnapServer._begin_tls,
    AskVerifier: FnapServer._ask_verifier,
    AskPassword: FnapServer._ask_password,
    core.Authorise: FnapServer._authorise,
    core.LoginFailed: FnapServer._login_failed,
    core.Execute: FnapServer._execute,
    core.OpenReader: FnapServer._open_reader,
    core.StopReading: FnapServer._stop_reading,
    core.OpenWriter: FnapServer._open_writer,
    core.WriteEvent: FnapServer._write_event,
    core.FinishWriting: FnapServer._finish_writing,
}


class Clock(Protocol):
    """The part of the reactor that the server needs."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, what: Callable[..., object], *args: object) -> Any: ...


class FnapFactory(Factory):
    """All sessions of one listener.  `places` is shared by the listeners of one agent."""

    log = Logger()
    noisy = False

    def __init__(
        self,
        policy: core.Policy,
        service: AgentService,
        authenticator: Authenticator,
        limits: Limits,
        places: Places,
        clock: Clock,
        tls_context: Any = None,
        implicit_tls: bool = False,
        login_in_clear: bool = True,
    ) -> None:
        self.policy = policy
        self.service = service
        self.authenticator = authenticator
        self.limits = limits
        self.places = places
        self.tls_context = tls_context
        self.implicit_tls = implicit_tls
        self._login_in_clear = login_in_clear
        self._clock = clock
        self._sessions: set[FnapServer] = set()
        self._checking = LoopingCall(self._check)
        self._checking.clock = clock  # type: ignore[assignment]
        self.outcomes: Counter[str] = Counter()

    def doStart(self) -> None:
        super().doStart()
        if not self._checking.running:
            self._checking.start(_CHECK_EVERY, now=False).addErrback(self.unexpected)

    def doStop(self) -> None:
        super().doStop()
        if self._checking.running:
            self._checking.stop()

    def buildProtocol(self, addr: IAddress | None) -> FnapServer:
        return FnapServer(self, getattr(addr, "host", ""))

    def now(self) -> float:
        return self._clock.seconds()

    def call_soon(self, what: Callable[[], None]) -> None:
        self._clock.callLater(0, what)

    def clear_is_safe(self, peer: str) -> bool:
        """Whether a password may be shown to this peer without TLS."""
        if self.implicit_tls:
            return True
        try:
            return self._login_in_clear and ipaddress.ip_address(peer).is_loopback
        except ValueError:
            return False

    def admit(self, session: FnapServer) -> tuple[str, str] | None:
        """Gives a place; or says why there is none."""
        self._sessions.add(session)
        return self.places.take(session.peer)

    def admit_user(self, session: FnapServer, caller: Caller) -> bool:
        name = caller.account
        if name and not self.places.take_user(name):
            return False
        session._counted_user = name
        return True

    def forget(self, session: FnapServer) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
            self.outcomes[session.outcome] += 1
            self.places.give_back(session.peer, session._counted_user)

    def _check(self) -> None:
        now = self.now()
        for session in list(self._sessions):
            session.check(now)

    def report(self, error: BaseException, session: FnapServer) -> None:
        """To the operator's log, never to the peer."""
        if render.is_hidden(error):
            self.log.failure("command of {peer} failed", Failure(error), peer=session.peer)
        elif context := render.context_of(error):
            self.log.info(
                "{peer}: {text} {context!r}", peer=session.peer, text=str(error), context=dict(context)
            )

    def unexpected(self, failure: Failure) -> None:
        self.log.failure("session failed", failure)

    def shut_down(self) -> None:
        """Tells every client with a 421 and ends."""
        for session in list(self._sessions):
            session.shut_down()

    def __len__(self) -> int:
        return len(self._sessions)


class Places:
    """How many connections there are: in all, of one address, of one user."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.total = 0
        self._of_address: Counter[str] = Counter()
        self._of_user: Counter[str] = Counter()

    def take(self, address: str) -> tuple[str, str] | None:
        """Takes a place; (outcome, text) if there was none: it is taken all the same, until it is given back."""
        self.total += 1
        self._of_address[address] += 1
        if self.total > self._limits.total:
            return "places", "Too many connections: try again later"
        if self._of_address[address] > self._limits.per_address:
            return "address's places", "Too many connections from your address"
        return None

    def take_user(self, name: str) -> bool:
        if self._of_user[name] >= self._limits.per_user:
            return False
        self._of_user[name] += 1
        return True

    def give_back(self, address: str, user: str) -> None:
        self.total -= 1
        for counter, key in ((self._of_address, address), (self._of_user, user)):
            if key:
                counter[key] -= 1
                if counter[key] <= 0:
                    del counter[key]
