"""The client's shell on a reactor in memory: deadlines, held-back servers, injections, and who gives up when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
from servers.fnap import Wire
from servers.outcomes import result_of as result
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

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
from eson.fnap.core import commands as c
from eson.fnap.net.client import Session, connect
from eson.identity.certificates import make_ca
from eson.identity.tls import ClientTls

GREETING = b"220 fnaa.unix.ar FNAA\r\n"
EHLO = b"250-fnaa.unix.ar\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
TLS = ClientTls("fnaa.unix.ar", make_ca().certificate)


class Peer:
    """A server that a test plays by hand."""

    def __init__(self, address: str = "127.0.0.1", **options: Any) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.nameResolver = Names(self.reactor)  # type: ignore[assignment]
        self.options = options
        self.wire = Wire(address)
        self.protocol: Any = None

    def dialled(self, host: str = "127.0.0.1") -> Deferred[Session]:
        """What `connect` gives, the connection being open."""
        wanted = do(connect(self.reactor, host, 61000, **({"tls": "none"} | self.options)))
        if self.reactor.tcpClients:
            self.answers()
        return wanted

    def answers(self) -> None:
        host, port, factory, _, _ = self.reactor.tcpClients[-1]
        self.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        self.protocol.makeConnection(self.wire)

    def refuses(self) -> None:
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def says(self, octets: bytes) -> bytes:
        """What the client says then."""
        self.protocol.dataReceived(octets)
        return self.hears()

    def hears(self) -> bytes:
        heard: bytes = self.wire.value()
        self.wire.clear()
        return heard

    def hangs_up(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionLost()))


class Names:
    """A resolver that knows two addresses of `two.names`, none of others, and never answers for `slow`."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def resolveHostName(self, receiver: Any, host: str, *rest: Any) -> None:
        receiver.resolutionBegan(self)
        if host == "slow":
            return
        for address in ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2") if host == "two.names" else ():
            receiver.addressResolved(IPv4Address("TCP", address, 0))
        receiver.resolutionComplete()


def do(work: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
    return ensureDeferred(work)


def failed(waiting: Deferred[Any], kind: type[BaseException], text: str = "") -> None:
    with pytest.raises(kind, match=text or None):
        result(waiting)


def opened(**options: Any) -> tuple[Peer, Session]:
    peer = Peer(**options)
    wanted = peer.dialled()
    peer.says(GREETING)
    peer.says(EHLO)
    return peer, result(wanted)


def logged_in(**options: Any) -> tuple[Peer, Session]:
    peer, session = opened(**options)
    login = do(session.login("test", "test"))
    assert peer.hears() == b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n"
    peer.says(b"220 Authenticated\r\n")
    assert result(login) == "PLAIN"
    return peer, session


def test_commands_wait_for_one_another() -> None:
    """Two commands at once are sent one after the other, and each gets its reply."""
    peer, session = logged_in()
    one, two = do(session.execute("GET FL")), do(session.execute(c.Noop()))
    assert peer.hears() == b"GET FL\r\n"
    assert peer.says(b"220 DATA\r\nflow=a.b\r\n220 OK\r\n") == b"NOOP\r\n"
    peer.says(b"450 busy\r\n")
    assert result(one).lines == ("flow=a.b",)
    failed(two, ReplyError, "450 busy")
    assert session.alive
    for line in ("QUIT", c.Quit(), c.Write("a.b"), c.Read("a.b", follow=True), "read a.b follow "):
        failed(do(session.execute(line)), Usage)
    assert session.alive


def test_starttls_step_by_step() -> None:
    """EHLO in clear, STARTTLS, the handshake, EHLO again; the session is made of what was said inside."""
    peer = Peer(tls="starttls", tls_options=TLS)
    wanted = peer.dialled()
    assert peer.says(GREETING) == b"EHLO\r\n"
    assert peer.says(EHLO) == b"STARTTLS\r\n"
    assert peer.says(b"220 Ready to start TLS\r\n") == b""
    assert peer.wire.tls is TLS
    peer.protocol.handshakeCompleted()
    assert peer.hears() == b"EHLO\r\n"
    peer.says(b"250-fnaa.unix.ar\r\n250 AUTH SCRAM-SHA-256\r\n")
    session = result(wanted)
    assert session.tls
    assert session.words == ("AUTH SCRAM-SHA-256",)


@pytest.mark.parametrize("behind", [b"220 OK\r\n", b"2", b"\r\n", b"\n", b"250-x\r\n"])
@pytest.mark.parametrize("split", [False, True])
def test_octets_behind_the_answer_to_starttls_end_the_session(behind: bytes, split: bool) -> None:
    """Response injection, with the answer in one segment or in two."""
    peer = Peer(tls="starttls", tls_options=TLS)
    wanted = peer.dialled()
    peer.says(GREETING)
    peer.says(EHLO)
    if split:
        peer.says(b"220 Rea")
        peer.says(b"dy\r\n" + behind)
    else:
        peer.says(b"220 Ready\r\n" + behind)
    failed(wanted, ProtocolViolation, "behind the answer to STARTTLS")
    assert peer.wire.tls is None
    assert peer.wire.aborted


@pytest.mark.parametrize(
    ("ehlo", "answer", "kind"),
    [
        (b"250-x\r\n250 AUTH PLAIN\r\n", b"", TlsFailed),
        (b"404 what\r\n", b"", TlsFailed),
        (EHLO, b"454 not now\r\n", ProtocolViolation),
        (EHLO, b"502 no\r\n", ProtocolViolation),
        (EHLO, b"354 go\r\n", ProtocolViolation),
        (EHLO, b"421 bye\r\n", ReplyError),
    ],
)
def test_no_fallback_to_clear_text(ehlo: bytes, answer: bytes, kind: type[EsonError]) -> None:
    """Stripped, refused, or no EHLO at all: nothing more is said."""
    peer = Peer(tls="starttls", tls_options=TLS)
    wanted = peer.dialled()
    peer.says(GREETING)
    peer.says(ehlo)
    if answer:
        assert peer.says(answer) == b""
    failed(wanted, kind)
    assert peer.wire.aborted


def test_a_server_that_greets_with_an_error() -> None:
    """421 instead of the greeting is what the caller gets to know; an odd greeting is a violation."""
    peer = Peer()
    wanted = peer.dialled()
    peer.says(b"421 Too many connections\r\n")
    failed(wanted, ReplyError, "421 Too many connections")
    odd = Peer()
    wanted = odd.dialled()
    odd.says(b"220 Authenticated\r\n")
    failed(wanted, ProtocolViolation)
    assert odd.wire.aborted


def test_addresses_one_after_the_other() -> None:
    """Each once; one that is not allowed is left out; IPv4 inside IPv6 is judged as IPv4."""
    peer = Peer(allowed=lambda address: address != "10.0.0.1")
    wanted = do(
        connect(peer.reactor, "two.names", 1, tls="none", allowed=lambda address: address != "10.0.0.1")
    )
    assert [client[0] for client in peer.reactor.tcpClients] == ["10.0.0.2"]
    peer.refuses()
    failed(wanted, Unreachable, "refused")
    both = Peer()
    wanted = do(connect(both.reactor, "two.names", 1, tls="none"))
    both.refuses()
    assert [client[0] for client in both.reactor.tcpClients] == ["10.0.0.1", "10.0.0.2"]
    both.answers()
    both.says(GREETING)
    both.says(EHLO)
    assert result(wanted).peer == "127.0.0.1"
    for host, why in (("no.names", "no address"), ("two.names", "no address that may be")):
        allowed = None if host == "no.names" else lambda address: False
        failed(do(connect(Peer().reactor, host, 1, tls="none", allowed=allowed)), Unreachable, why)
    slow = Peer()
    wanted = do(connect(slow.reactor, "slow", 1, tls="none", timeout=3))
    slow.reactor.advance(4)
    failed(wanted, Unreachable)
    mapped = Peer()
    wanted = do(
        connect(mapped.reactor, "::ffff:127.0.0.1", 1, tls="none", allowed=lambda address: ":" in address)
    )
    failed(wanted, Unreachable, "no address that may be")


def test_a_silent_server_is_given_up() -> None:
    """In the greeting, in a command, and in a READ that stands still; not in FOLLOW."""
    peer = Peer(timeout=5)
    wanted = peer.dialled()
    peer.reactor.advance(6)
    failed(wanted, Unreachable, "in time")
    assert peer.wire.aborted
    peer, session = logged_in()
    waiting, behind = do(session.execute("NOOP")), do(session.execute("NOOP"))
    peer.reactor.advance(91)
    failed(waiting, Unreachable, "in time")
    failed(behind, Unreachable)
    assert not session.alive
    peer, session = logged_in()
    reading = do(session.read(c.Read("a.b"), lambda lines: None))
    peer.says(b"220 DATA\r\n")
    for _ in range(5):
        peer.reactor.advance(80)
        peer.says(b"{}\r\n")
    assert not reading.called
    peer.reactor.advance(91)
    failed(reading, Unreachable)
    peer, session = logged_in()
    following = do(session.read(c.Read("a.b", follow=True), lambda lines: None))
    peer.says(b"220 DATA\r\n")
    peer.reactor.advance(100_000)
    assert not following.called
    session.stop_follow()
    peer.says(b"220 OK\r\n")
    assert result(following) == 0


def test_a_stop_that_is_not_heard_is_given_up() -> None:
    """FOLLOW has no deadline, but what should end it has."""
    peer, session = logged_in()
    following = do(session.read(c.Read("a.b", follow=True), lambda lines: None))
    peer.says(b"220 DATA\r\n{}\r\n")
    session.stop_follow()
    session.stop_follow()
    assert peer.hears() == b"NOOP\r\n"
    peer.reactor.advance(91)
    failed(following, Unreachable)
    assert peer.reactor.getDelayedCalls() == []


def test_who_hangs_up() -> None:
    """Lost in a command, or between commands: later ones fail at once."""
    peer, session = logged_in()
    waiting = do(session.execute("NOOP"))
    peer.hangs_up()
    failed(waiting, Unreachable, "lost")
    assert not session.alive
    failed(do(session.execute("NOOP")), Unreachable)
    failed(do(session.login("a", "b")), Unreachable)
    assert result(do(session.quit())) is None
    idle, session = logged_in()
    idle.says(b"421 Idle too long\r\n")
    failed(do(session.execute("NOOP")), ReplyError, "421 Idle too long")


def test_a_caller_that_gives_up_ends_the_session() -> None:
    """The answer that is still to come must not be taken for that of the next command."""
    peer, session = logged_in()
    waiting = do(session.execute("NOOP"))
    waiting.cancel()
    failed(waiting, CancelledError)
    assert peer.wire.aborted
    assert not session.alive


def test_a_reader_holds_the_server_back() -> None:
    """While it waits no more is read than a quarter of a megabyte; if it fails, the session ends."""
    peer, session = logged_in()
    waits: list[Deferred[None]] = []
    taken: list[bytes] = []

    async def take(lines: list[bytes]) -> None:
        waits.append(Deferred())
        await waits[-1]
        taken.extend(lines)

    reading = do(session.read(c.Read("a.b"), take))
    peer.says(b"220 DATA\r\n" + b"x" * 1000 + b"\r\n")
    for _ in range(100):
        if peer.wire.producerState == "paused":
            break
        peer.says((b"x" * 1000 + b"\r\n") * 10)
    assert peer.wire.producerState == "paused"
    peer.says((b"x" * 1000 + b"\r\n") * 30 + b"220 OK\r\n")
    while not reading.called:
        waits[-1].callback(None)
    assert peer.wire.producerState == "producing"
    assert result(reading) == len(taken) > 250
    failing = do(session.read(c.Read("a.b"), lambda lines: 1 // 0))
    peer.says(b"220 DATA\r\n{}\r\n")
    failed(failing, ZeroDivisionError)
    assert peer.wire.aborted


def test_reads_that_end_badly() -> None:
    """An error before the body, an error that cuts it, no body at all."""
    peer, session = logged_in()
    read: list[bytes] = []
    for said, text in (
        (b"550 No such flow: a.b\r\n", "550"),
        (b"220 DATA\r\n{}\r\n451 lost\r\n", "451 lost"),
    ):
        reading = do(session.read(c.Read("a.b"), read.extend))
        peer.says(said)
        failed(reading, ReplyError, text)
        assert session.alive
    assert read == [b"{}"]
    reading = do(session.read(c.Read("a.b"), read.extend))
    peer.says(b"220 OK\r\n")
    failed(reading, ProtocolViolation)
    assert not session.alive


def test_writing_waits_for_a_slow_server() -> None:
    """No event is taken from the source while the transport is full."""
    peer, session = logged_in()
    drawn = 0

    def events() -> Iterator[dict[str, str]]:
        nonlocal drawn
        for number in range(3):
            drawn += 1
            yield {"id": str(number)}

    writing = do(session.write("a.b", events()))
    assert peer.hears() == b"WRITE a.b\r\n"
    peer.wire.full = True
    assert peer.says(b"354 Send events, end with .\r\n") == b'{"id":"0"}\r\n'
    assert drawn == 1
    for number in (1, 2):
        peer.wire.producer.resumeProducing()
        assert peer.hears() == b'{"id":"%d"}\r\n' % number
    peer.wire.producer.resumeProducing()
    assert peer.hears() == b".\r\n"
    assert peer.wire.producer is None
    peer.says(b"220 OK 3\r\n")
    assert result(writing) == 3


def test_writes_that_end_badly() -> None:
    """Refused at once, in the middle, without a count, by a source that fails, by an event that cannot be sent."""
    peer, session = logged_in()
    refused = do(session.write("a.b", []))
    peer.says(b"557 Not allowed: write on a.b\r\n")
    failed(refused, ReplyError, "557")
    for said, kind in (
        (b"451 lost; 1 written\r\n", WriteStopped),
        (b"501 Line 2: no; 1 written\r\n", WriteStopped),
        (b"451 x\r\n", ReplyError),
    ):
        writing = do(session.write("a.b", [b"{}", b"{}"]))
        peer.says(b"354 go\r\n")
        peer.says(said)
        failed(writing, kind)
        assert session.alive

    async def broken() -> AsyncIterator[bytes]:
        yield b"{}"
        raise OSError("the file is gone")

    for source, kind, text in ((broken(), OSError, "gone"), ([b"{}", b"no"], Usage, "one JSON object")):
        writing = do(session.write("a.b", source))
        peer.hears()
        assert peer.says(b"354 go\r\n") == b"{}\r\n.\r\n"
        peer.says(b"220 OK 1\r\n")
        with pytest.raises(kind, match=text) as raised:
            result(writing)
        assert raised.value.__notes__ == ["1 events before it were written"]
        assert not isinstance(raised.value, Usage) or raised.value.context["written"] == 1
    odd = do(session.write("a.b", []))
    peer.says(b"354 go\r\n")
    peer.says(b"220 OK many\r\n")
    failed(odd, ProtocolViolation)


def test_a_server_that_never_reads_is_given_up() -> None:
    """A WRITE that cannot be sent ends with the deadline."""
    peer, session = logged_in()
    peer.wire.full = True
    writing = do(session.write("a.b", [b"{}"] * 2))
    peer.says(b"354 go\r\n")
    peer.reactor.advance(91)
    failed(writing, Unreachable)
    assert peer.wire.aborted
    assert peer.reactor.getDelayedCalls() == []


def test_which_mechanism_is_chosen() -> None:
    """The first that both know; no password in clear to another machine; none in common is said."""
    for address, ehlo, kind in (
        ("192.0.2.1", b"250-x\r\n250 AUTH PLAIN\r\n", EncryptionRequired),
        ("192.0.2.1", b"404 what\r\n", EncryptionRequired),
        ("192.0.2.1", b"250-x\r\n250-STARTTLS\r\n250 AUTH ANONYMOUS\r\n", EncryptionRequired),
        ("127.0.0.1", b"250-x\r\n250 AUTH GSSAPI\r\n", NotSupported),
        ("127.0.0.1", b"250-x\r\n250 TOKEN\r\n", NotSupported),
    ):
        peer = Peer(address)
        wanted = peer.dialled()
        peer.says(GREETING)
        peer.says(ehlo)
        session = result(wanted)
        peer.hears()
        failed(do(session.login("test", "test")), kind)
        assert peer.hears() == b""
        assert session.alive
    peer, session = opened()
    wrong = do(session.login("test", "x"))
    peer.says(b"535 Authentication failed\r\n")
    failed(wrong, AuthenticationFailed)
    busy = do(session.login("test", "x"))
    peer.says(b"454 Too many\r\n")
    failed(busy, ReplyError, "454")
    failed(do(session.login("test", "\x00")), AuthenticationFailed)
    assert session.alive


def test_a_server_that_does_not_prove_itself() -> None:
    """A wrong SCRAM message ends the session; the password's proof is not sent for too few iterations."""
    peer = Peer()
    wanted = peer.dialled()
    peer.says(GREETING)
    peer.says(b"250-x\r\n250 AUTH SCRAM-SHA-256\r\n")
    session = result(wanted)
    peer.hears()
    login = do(session.login("test", "test"))
    assert peer.hears().startswith(b"AUTHENTICATE SCRAM-SHA-256 ")
    assert peer.says(b"334 cj1hLHM9QUFBQSxpPTE=\r\n") == b""
    failed(login, ProtocolViolation, "The login ended")
    assert peer.wire.aborted


def test_a_server_that_hangs_up_while_the_answer_is_made() -> None:
    """SCRAM's answers take a while."""
    peer = Peer()
    wanted = peer.dialled()
    peer.says(GREETING)
    peer.says(b"250-x\r\n250 AUTH SCRAM-SHA-256\r\n")
    session = result(wanted)

    class Slow:
        name = "SCRAM-SHA-256"

        def initial(self) -> bytes:
            return b"n,,n=test,r=abc"

        def answer(self, challenge: bytes) -> bytes:
            peer.hangs_up()
            return b"too late"

    login = do(session.login_with(Slow()))
    peer.says(b"334 cj1hYmM=\r\n")
    failed(login, Unreachable)


def test_leaving() -> None:
    """QUIT, its answer, and the end of the connection; a server that does not answer is left all the same."""
    peer, session = logged_in()
    leaving = do(session.quit())
    assert peer.hears() == b"QUIT\r\n"
    peer.says(b"220 Bye\r\n")
    assert peer.wire.disconnecting
    assert not leaving.called
    peer.hangs_up()
    assert result(leaving) is None
    assert peer.reactor.getDelayedCalls() == []
    peer, session = logged_in()
    leaving = do(session.quit())
    peer.reactor.advance(6)
    assert peer.wire.aborted
    peer.hangs_up()
    assert result(leaving) is None
    peer, session = logged_in()
    waiting = do(session.execute("NOOP"))
    session.abort()
    failed(waiting, Unreachable, "aborted")
    assert peer.wire.aborted
