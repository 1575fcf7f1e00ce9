"""The client's shell: a session with an agent as coroutines over Deferreds.

    session = await connect(reactor, "127.0.0.1", 61001, tls="implicit", tls_options=ClientTls("fnaa.unix.ar"))
    await session.login("test", "test")
    reply = await session.execute(Describe("FLOW", "time.flows.unix.ar"))
    await session.quit()

Every method raises `Unreachable` (lost, or silent beyond its deadline), `ProtocolViolation`, `TlsFailed`, or `ReplyError`
(a 4yz or 5yz).  After all but `ReplyError` and `AuthenticationFailed` the session is over.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool

from eson.errors import (
    AuthenticationFailed,
    EncryptionRequired,
    EsonError,
    NotSupported,
    ProtocolViolation,
    ReplyError,
    TlsFailed,
    Unreachable,
    Usage,
    WriteStopped,
)
from eson.fnap.core import client_events as e
from eson.fnap.core import commands as c
from eson.fnap.core.client import ClientSession, Dialogue
from eson.fnap.core.client_events import ClientLimits, Reply
from eson.fnap.net.connection import Connection, Lines, TlsUp
from eson.fnap.net.dialing import Allowed, dial, is_loopback
from eson.identity.mechanisms import ClientMechanism, MechanismError
from eson.identity.mechanisms.anonymous import AnonymousClient
from eson.identity.mechanisms.plain import PlainClient
from eson.identity.mechanisms.scram import ScramClient
from eson.identity.tls import ClientTls

__all__ = [
    "Allowed",
    "ClientLimits",
    "Dialogue",
    "EventSource",
    "Reply",
    "Session",
    "TlsMode",
    "connect",
    "each",
]

_T = TypeVar("_T")
TlsMode = Literal["implicit", "starttls", "none"]
OnLines = Callable[[list[bytes]], Awaitable[None] | None]
EventSource = Iterable[Mapping[str, Any] | bytes] | AsyncIterable[Mapping[str, Any] | bytes]

COMMAND_TIMEOUT = 90.0
"""Longer than the server's own deadline, so that its answer comes first."""
MECHANISMS = ("SCRAM-SHA-256", "PLAIN")
_KNOWN = frozenset({"SCRAM-SHA-256", "PLAIN", "ANONYMOUS"})
_QUIT_TIMEOUT = 5.0
_WRITTEN = re.compile(r"(?:\A|; )([0-9]{1,18}) written\Z")


async def connect(
    reactor: Any,
    host: str,
    port: int,
    *,
    tls: TlsMode = "implicit",
    tls_options: ClientTls | None = None,
    timeout: float = 30.0,
    allowed: Allowed | None = None,
    dialogue: Dialogue | None = None,
    limits: ClientLimits | None = None,
    client_name: str = "",
) -> Session:
    """A session that was greeted and, if wanted, secured; not logged in.  `timeout` in seconds, for all of it.

    `host` is a name or an address; `tls_options` say whose certificate is expected (default: `host`, trusted by the
    system's CAs).  `allowed` decides on each address before it is connected to.  `dialogue` gets each line.
    Raises `Unreachable`, `TlsFailed`, `ProtocolViolation`, `ReplyError` (the server greets with an error).
    """
    options = (tls_options or ClientTls(host)) if tls != "none" else None
    session = ClientSession(limits, tls == "implicit", dialogue)
    connection = Connection(reactor, session, options if tls == "starttls" else None)
    with connection.deadline(timeout, f"{host} port {port} did not answer in time"):
        implicit = options if tls == "implicit" else None
        await dial(reactor, host, port, connection, implicit, allowed, timeout)
        await connection.expect(e.Greeted)
        await _hello(connection, client_name)
        if tls == "starttls":
            if session.word("STARTTLS") is None:
                raise TlsFailed(f"{host} does not offer STARTTLS, and nothing is said to it in clear")
            connection.send(session.starttls())
            await connection.expect(TlsUp)
            await _hello(connection, client_name)
    return Session(connection)


async def _hello(connection: Connection, client_name: str) -> None:
    connection.send(connection.core.ehlo(client_name))
    await connection.expect(e.Hello)


class Session:
    """A conversation with an agent.  Commands may be given at any time: they are sent one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._core = connection.core
        self._turn = DeferredLock()
        self.timeout = COMMAND_TIMEOUT
        """Seconds within which a command must be answered; else the session ends."""
        self._stop: Any = None

    # what is known

    @property
    def hostname(self) -> str:
        """What the server calls itself in its greeting."""
        return self._core.hostname

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the answer to EHLO, inside TLS if there is TLS; empty if the server knows no EHLO."""
        return self._core.words or ()

    def word(self, name: str) -> str | None:
        """What stands behind an EHLO word ("" if nothing), None if the server did not say it."""
        return self._core.word(name)

    @property
    def knows_ehlo(self) -> bool:
        return self._core.knows_ehlo

    @property
    def tls(self) -> bool:
        return self._core.tls

    @property
    def authenticated(self) -> bool:
        return self._core.authenticated

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self._connection.failed

    @property
    def peer(self) -> str:
        """The address that is connected to."""
        return self._connection.peer

    # login

    async def login(
        self, username: str, password: str, mechanisms: Sequence[str] = MECHANISMS, authorisation: str = ""
    ) -> str:
        """Logs in with the first of `mechanisms` that the server offers; which one.  No user name: ANONYMOUS.

        PLAIN is only used under TLS or to a loopback address.  Raises `AuthenticationFailed`, `EncryptionRequired`,
        `NotSupported` (no mechanism in common), `ReplyError`, `ProtocolViolation` (the server did not prove itself).
        """
        name = self._choose(mechanisms if username else ("ANONYMOUS",))
        try:
            if name == "ANONYMOUS":
                return await self.login_with(AnonymousClient())
            kind = ScramClient if name == ScramClient.name else PlainClient
            mechanism = kind(username, password, authorisation)
        except ValueError as error:
            raise AuthenticationFailed(reason=str(error)) from None
        return await self.login_with(mechanism)

    def _choose(self, wanted: Sequence[str]) -> str:
        offered = (self.word("AUTH") or "").upper().split() if self.knows_ehlo else ["PLAIN", "ANONYMOUS"]
        in_common = [name for name in wanted if name in offered and name in _KNOWN]
        for name in in_common:
            if name != "PLAIN" or self.tls or is_loopback(self.peer):
                return name
        if in_common or ("PLAIN" in wanted and not self.tls and self.word("STARTTLS") is not None):
            raise EncryptionRequired
        offer = " ".join(offered) or "none"
        raise NotSupported(f"The agent offers no login with {' or '.join(wanted)}; it offers: {offer}")

    async def login_with(self, mechanism: ClientMechanism) -> str:
        """Logs in with a mechanism's steps; its name.  Raises as `login`."""
        connection, session = self._connection, self._core
        async with self._turn:
            connection.check()
            with connection.deadline(self.timeout):
                connection.send(session.authenticate(mechanism))
                while True:
                    event = await connection.next_event()
                    if isinstance(event, e.LoggedIn):
                        return mechanism.name
                    if isinstance(event, e.Answered):
                        raise _login_error(event.reply)
                    if not isinstance(event, e.Challenged):
                        raise connection.odd()
                    response = await self._answer(mechanism, event.challenge)
                    connection.check()  # that took a while
                    connection.send(session.respond(response))

    async def _answer(self, mechanism: ClientMechanism, challenge: bytes) -> bytes:
        """Off the reactor: SCRAM takes 40 ms or more."""
        reactor = self._connection.reactor
        try:
            if not IReactorThreads.providedBy(reactor):
                return mechanism.answer(challenge)
            return await deferToThreadPool(reactor, reactor.getThreadPool(), mechanism.answer, challenge)
        except MechanismError as error:
            raise self._connection.fail(ProtocolViolation(f"The login ended: {error}")) from None

    # commands

    async def execute(self, command: c.Command | str, timeout: float | None = None) -> Reply:
        """The final reply to a command, given as a value or as a line; `lines` holds its body.

        Raises `ReplyError` for 4yz and 5yz, `Usage` for what cannot be sent thus (WRITE, READ … FOLLOW, QUIT, …).
        """
        if isinstance(command, c.Write):
            raise Usage("Usage: WRITE is followed by events: it has a method of its own")
        async with self._turn:
            self._connection.check()
            octets = self._core.command(command)
            with self._connection.deadline(timeout or self.timeout):
                self._connection.send(octets)
                return _good(await self._connection.expect(e.Answered))

    async def read(self, command: c.Read, on_lines: OnLines) -> int:
        """Hands the lines of a READ to `on_lines` in batches, one JSON object a line; how many there were.

        If `on_lines` returns an awaitable, little more is taken from the server until it is done.  A bounded READ must
        go on within the session's deadline; FOLLOW ends with `stop_follow`.  If `on_lines` fails, the session ends.
        """
        connection = self._connection
        async with self._turn:
            connection.check()
            octets = self._core.command(command, stream=True)
            try:
                with connection.deadline(None):
                    connection.send(octets)
                    return await self._read(command, on_lines)
            finally:
                stop, self._stop = self._stop, None
                if stop is not None and stop.active():
                    stop.cancel()

    async def _read(self, command: c.Read, on_lines: OnLines) -> int:
        connection = self._connection
        seconds: float | None = self.timeout
        count = 0
        while True:
            with connection.deadline(seconds):
                event = await connection.next_event()
            if isinstance(event, Lines):
                count += len(event.lines)
                taken = on_lines(event.lines)
                if taken is not None:
                    await taken
            elif isinstance(event, e.BodyBegan):
                seconds = None if command.follow else self.timeout
            elif isinstance(event, e.Answered):
                _good(event)
                if not event.had_body:
                    raise connection.odd()
                return count
            else:
                raise connection.odd()

    def stop_follow(self) -> None:
        """Asks the server to end a READ … FOLLOW: `read` then returns.  Without one it does nothing."""
        octets = self._core.stop_follow() if self.alive else b""
        if octets:
            self._connection.send(octets)
            late = Unreachable("The server did not end the READ in time")
            self._stop = self._connection.reactor.callLater(self.timeout, self._connection.fail, late)

    async def write(self, flow: str, events: EventSource) -> int:
        """Writes events (CloudEvents as mappings, or as JSON octets) and waits until all are synced; how many.

        Raises `WriteStopped` if the server took only some, `ReplyError`; what `events` raises is raised when those before
        it are written; `Usage` and `TooLarge` for an event that cannot be sent (`context["written"]`: how many were).
        """
        connection, session = self._connection, self._core
        async with self._turn:
            connection.check()
            octets = session.command(c.Write(flow))
            with connection.deadline(self.timeout):
                connection.send(octets)
                event = await connection.next_event()
                if isinstance(event, e.Answered):
                    _good(event)
                if not isinstance(event, e.GoAhead):
                    raise connection.odd()
            with connection.deadline(None):
                failure = await self._send_events(events)
                connection.check()
                with connection.deadline(self.timeout):
                    connection.send(session.finish())
                    count = _count(await connection.expect(e.Answered), connection)
        if failure is not None:
            failure.add_note(f"{count} events before it were written")
            if isinstance(failure, EsonError):
                failure.context["written"] = count
            raise failure
        return count

    async def _send_events(self, events: EventSource) -> Exception | None:
        """What went wrong with `events`; those before it are sent."""
        connection, session = self._connection, self._core
        with connection.sending():
            source = each(events)
            while True:
                try:
                    event = await anext(source)
                    octets = session.event(_encoded(event))
                except StopAsyncIteration:
                    return None
                except Exception as error:
                    connection.check()
                    return error
                connection.send(octets)
                with connection.deadline(self.timeout):
                    await connection.drained()

    # the end

    async def quit(self) -> None:
        """Says QUIT and waits until the connection is gone; never fails."""
        async with self._turn:
            if self.alive:
                try:
                    with self._connection.deadline(_QUIT_TIMEOUT):
                        self._connection.send(self._core.quit())
                        await self._connection.expect(e.Answered)
                except EsonError:
                    pass
            await self._connection.close()

    def abort(self) -> None:
        """Drops the connection; whatever waits fails with `Unreachable`."""
        self._connection.fail(Unreachable("The session was aborted"))


def _good(answered: e.Answered) -> Reply:
    if answered.reply.code >= 400:
        raise ReplyError(answered.reply.code, answered.reply.text)
    return answered.reply


def _login_error(reply: Reply) -> EsonError:
    return AuthenticationFailed() if reply.code == 535 else ReplyError(reply.code, reply.text)


def _count(answered: e.Answered, connection: Connection) -> int:
    code, text = answered.reply.code, answered.reply.text
    if code >= 400:
        found = _WRITTEN.search(text)
        raise WriteStopped(code, text, int(found[1])) if found else ReplyError(code, text)
    word, _, number = text.partition(" ")
    if code != 220 or word != "OK" or not number.isdigit() or len(number) > 18:
        raise connection.odd()
    return int(number)


async def each(events: Iterable[_T] | AsyncIterable[_T]) -> AsyncIterator[_T]:
    """The events of either kind of iterable."""
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event


def _encoded(event: Mapping[str, Any] | bytes) -> bytes:
    if isinstance(event, bytes):
        return event.strip()
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
