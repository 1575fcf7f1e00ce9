"""The server's shell on a transport in memory: deadlines, places, held-back peers, and those who leave."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from servers.fnap import MemoryAgent, MemoryAuthenticator, Wire, make_factory
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText
from twisted.python.failure import Failure

from eson.errors import BackendFailed, WriteStopped
from eson.fnap.core import commands as c
from eson.fnap.core.lines import LineFault
from eson.fnap.net.places import Limits, Places
from eson.identity.tls import ServerTls

LOGIN = b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n"
HELLO = b"220 fnaa.unix.ar FNAA\r\n"
IN = b"220 Authenticated\r\n"


class Server:
    """A factory on a clock of its own, and connections to it."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.agent = MemoryAgent()
        self.authenticator = MemoryAuthenticator()
        limits = options.pop("limits", None)
        self.factory = make_factory(
            self.clock, self.agent, limits=limits, authenticator=self.authenticator, **options
        )
        self.factory.doStart()

    def connect(self, login: bool = True, peer: str = "127.0.0.1") -> Connection:
        connection = Connection(self, peer)
        if login:
            assert connection.says(LOGIN) == HELLO + IN
        return connection

    def passes(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.pump([0.05] * 20)
        self.clock.advance(seconds % 1)


class Connection:
    def __init__(self, server: Server, peer: str) -> None:
        self.server = server
        self.protocol = server.factory.buildProtocol(IPv4Address("TCP", peer, 1))
        self.wire = Wire(peer)
        self.protocol.makeConnection(self.wire)

    def says(self, octets: bytes) -> bytes:
        """What comes back."""
        self.protocol.dataReceived(octets)
        return self.hears()

    def hears(self) -> bytes:
        self.server.clock.advance(0)
        said: bytes = self.wire.value()
        self.wire.clear()
        return said

    def leaves(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def over(self) -> bool:
        return bool(self.wire.disconnecting or self.wire.aborted)


EVENT = b'{"type":"t","id":"1"}\r\n'


def test_the_drafts_session_in_one_segment() -> None:
    """Everything pipelined behind the login is answered in order."""
    server = Server()
    one = server.connect(login=False)
    assert one.says(
        LOGIN + b"CREATE FLOW time.flows.unix.ar\r\nDESCRIBE FLOW time.flows.unix.ar\r\n"
        b"SUBSCRIBE time.flows.unix.ar LOCAL emiliano.ar-time.flows.unix.ar\r\nQUIT\r\n"
    ) == (
        HELLO + IN + b"220 OK time.flows.unix.ar\r\n220 DATA\r\nflow=time.flows.unix.ar\r\ntype=kafka\r\n"
        b"topic=time.flows.unix.ar\r\nserver=kf1.unix.ar:9092\r\n220 OK\r\n"
        b"220 DATA\r\nksdj898.time.flows.unix.ar\r\n220 OK\r\n220 Bye\r\n"
    )
    assert one.over
    one.leaves()
    assert server.factory.outcomes == {"quit": 1}
    assert len(server.factory) == 0


def test_nothing_is_executed_while_a_command_is_pending() -> None:
    """Lines that come meanwhile wait, in order; a flood of them is held back."""
    server = Server()
    one = server.connect()
    server.agent.pending = Deferred()
    assert one.says(b"CREATE FLOW a.unix.ar\r\nCREATE FLOW b.unix.ar\r\nNOOP\r\n") == b""
    assert server.agent.commands == [c.CreateFlow("a.unix.ar")]
    one.says(b"NOOP\r\n" * 20_000)
    assert one.wire.producerState == "paused"
    pending, server.agent.pending = server.agent.pending, None
    pending.callback(None)
    said = one.hears()
    assert said.startswith(b"220 OK a.unix.ar\r\n220 OK b.unix.ar\r\n220 OK\r\n")
    assert said.count(b"\r\n") == 20_003
    assert one.wire.producerState == "producing"


def test_a_command_that_fails_is_hidden_and_logged() -> None:
    """No exception's text reaches the peer; the session goes on."""
    server = Server()
    one = server.connect()
    server.agent.broken = ZeroDivisionError("secret")
    assert one.says(b"GET FLOWS\r\n").startswith(b"451 The agent failed")
    server.agent.broken = BackendFailed("The broker is away")
    assert one.says(b"GET FLOWS\r\n") == b"451 The broker is away\r\n"
    server.agent.broken = None
    assert one.says(b"GET FLOWS\r\n") == b"220 DATA\r\n220 OK\r\n"


@pytest.mark.parametrize(
    ("octets", "seconds", "text"),
    [
        (b"", 61, b"No login in time"),
        (b"EHLO x\r\n" * 3, 61, b"No login in time"),
        (b"AUTHENTICATE SCRAM-SHA-256\r\n", 31, b"No response in time"),
        (LOGIN + b"NOO", 61, b"No whole line in time"),
        (LOGIN, 1801, b"Idle too long"),
        (LOGIN + b"CREATE FLOW a.unix.ar\r\nWRITE a.unix.ar\r\n{", 61, b"No whole line in time"),
    ],
)
def test_deadlines(octets: bytes, seconds: int, text: bytes) -> None:
    """Each silence ends at its time, not a moment before it."""
    server = Server()
    one = server.connect(login=False)
    one.says(octets)
    server.passes(seconds - 3)
    assert one.hears() == b""
    server.passes(4)
    assert one.hears() == b"421 " + text + b"\r\n"
    assert one.over
    assert not one.wire.aborted
    server.passes(12)
    assert one.wire.aborted
    assert one.says(b"NOOP\r\n") == b""
    one.leaves()
    assert server.factory.outcomes == {"too late": 1}


def test_a_session_that_fails_keeps_no_other_from_its_deadline() -> None:
    def fails(_octets: bytes) -> None:
        raise RuntimeError("a fault of ours")

    server = Server()
    sessions = [server.connect() for _ in range(10)]
    for broken in sessions[::2]:
        broken.wire.write = fails  # type: ignore[method-assign]
    with capturedLogs() as events:
        server.passes(1802)
    assert any("a session failed" in str(event.get("log_format")) for event in events)
    assert {one.hears() for one in sessions[1::2]} == {b"421 Idle too long\r\n"}


def test_a_slow_writer_cannot_hold_a_place() -> None:
    """A line that grows by an octet now and then ends with its deadline; a whole line starts a new one."""
    server = Server()
    one = server.connect()
    for _ in range(7):
        server.passes(9)
        assert not one.over
        one.says(b"x")
    server.passes(8)
    assert b"421 No whole line in time" in one.hears()
    other = server.connect()
    for _ in range(10):
        server.passes(20)
        assert other.says(b"NOOP\r\nNO") == b"220 OK\r\n"
        other.says(b"OP\r\n")
    assert not other.over


def test_a_command_has_a_deadline_and_follow_has_none() -> None:
    """A command that hangs is given up; nobody is thrown out of FOLLOW."""
    server = Server()
    one = server.connect()
    server.agent.pending = Deferred()
    one.says(b"CREATE FLOW a.unix.ar\r\n")
    server.passes(60)
    one.says(b"x")
    server.passes(7)
    assert one.hears() == b"421 The command took too long\r\n"
    server.agent.pending.callback(None)
    assert one.hears() == b""
    server.agent.pending = None
    two = server.connect()
    assert two.says(b"READ a.unix.ar FOLLOW\r\n") == b"220 DATA\r\n"
    server.passes(4000)
    assert not two.over
    assert two.says(b"\r\n") == b"220 OK\r\n"
    server.passes(1700)
    assert not two.over


def test_under_load_strangers_get_less_time() -> None:
    """From nine tenths of the places on, the deadlines before the login are a sixth."""
    places = Places(Limits(total=10))
    assert places.deadlines.login == 60
    for _ in range(9):
        assert places.take("x") is None
    assert (places.deadlines.login, places.deadlines.sasl_step, places.deadlines.idle) == (10, 5, 300)
    assert places.deadlines.command == 60
    places.give_back("x", "")
    assert places.deadlines.login == 60


def test_places_are_counted_and_given_back() -> None:
    """In all, of one address, of one user; who gets none is told, and is closed."""
    server = Server(limits=Limits(total=4, per_address=2, per_user=1))
    one, two = server.connect(), server.connect(login=False)
    assert server.connect(login=False).hears() == b"421 Too many connections from your address\r\n"
    assert two.says(LOGIN) == HELLO + b"421 Too many sessions of this user\r\n"
    one.leaves()
    two.leaves()
    far = [server.connect(login=False, peer=f"10.0.0.{n}") for n in range(4)]
    assert far[-1].hears() == b"421 Too many connections: try again later\r\n"
    assert far[-1].over
    for connection in far:
        connection.leaves()
    assert server.factory.outcomes["user's places"] == 1
    assert server.factory.outcomes["address's places"] == 0
    assert len(server.factory) == 1


def test_what_is_one_address() -> None:
    """A /64 of IPv6 counts as one, and IPv4 inside IPv6 as what it is."""
    places = Places(Limits(per_address=2))
    same = ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:0db8::1:0:0:0:3"]
    assert [places.take(address) is None for address in same] == [True, True, False]
    assert places.take("2001:db8:0:2::1") is None
    assert [places.take(address) is None for address in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1")] == [
        True,
        True,
        False,
    ]
    for address in same:
        places.give_back(address, "")
    assert places.take(same[0]) is None


@pytest.mark.parametrize("ask", ["verifier", "check_password", "authorise"])
def test_who_leaves_during_the_login(ask: str) -> None:
    """Whatever the login waits for, its answer comes to nobody, no place is taken, and nothing is logged as a fault."""
    server = Server(limits=Limits(per_user=1))
    decided: Deferred[None] = Deferred()
    asked = getattr(server.authenticator, ask)

    async def slow(*arguments: Any) -> Any:
        await decided
        return await asked(*arguments)

    setattr(server.authenticator, ask, slow)
    one = server.connect(login=False)
    one.hears()
    one.says(b"AUTHENTICATE SCRAM-SHA-256 biwsbj10ZXN0LHI9YWJj\r\n" if ask == "verifier" else LOGIN)
    one.leaves()
    with capturedLogs() as events:
        decided.callback(None)
        server.clock.advance(1)
    assert not events
    assert one.hears() == b""
    assert server.factory.outcomes == {"gone": 1}
    assert server.factory.places.take_user("test")


def test_passwords_in_clear() -> None:
    """PLAIN is for loopback peers only, and not even for them if it is switched off."""
    far = Server().connect(login=False, peer="192.0.2.1")
    assert far.says(LOGIN) == HELLO + b"538 Encryption required\r\n"
    never = Server(login_in_clear=False).connect(login=False)
    assert never.says(LOGIN) == HELLO + b"538 Encryption required\r\n"
    assert b"250-AUTH SCRAM-SHA-256 ANONYMOUS\r\n" in never.says(b"EHLO x\r\n")


def test_logins_that_cannot_be_judged() -> None:
    """Too many at once, or a fault: 454, and no exception's text."""
    server = Server()
    one = server.connect(login=False)
    server.authenticator.busy = True
    scram = b"AUTHENTICATE SCRAM-SHA-256 biwsbj10ZXN0LHI9YWJj\r\n"
    assert one.says(scram) == HELLO + b"454 Too many logins are under way\r\n"

    async def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("secret")

    server.authenticator.verifier = broken  # type: ignore[method-assign]
    assert one.says(scram) == b"454 Authentication is not available now: try again later\r\n"
    wrong = b"AUTHENTICATE PLAIN AHRlc3QAeA==\r\n"
    assert one.says(wrong * 2) == b"535 Authentication failed\r\n" * 2
    assert one.says(wrong) == b"421 Authentication failed too often\r\n"
    assert len(server.authenticator.failures) == 3
    assert one.over


def test_starttls_takes_nothing_along() -> None:
    """Octets behind STARTTLS end the session, in one segment or in two; without a certificate there is none."""
    tls = object.__new__(ServerTls)
    for behind in (b"NOOP\r\n", b"NOO", b"\n", b"\x16\x03\x01"):
        one = Server(tls=tls).connect(login=False)
        assert one.says(b"STARTTLS\r\n" + behind) == HELLO + b"220 Ready to start TLS\r\n"
        assert one.over
        assert one.wire.tls is None
        assert one.says(b"NOOP\r\n") == b""
    split = Server(tls=tls).connect(login=False)
    assert split.says(b"START") == HELLO
    assert split.says(b"TLS\r\n") == b"220 Ready to start TLS\r\n"
    assert split.wire.tls is tls
    split.protocol.handshakeCompleted()
    assert b"STARTTLS" not in split.says(b"EHLO x\r\n")
    assert split.says(b"STARTTLS\r\n") == b"503 TLS is active already\r\n"
    none = Server().connect(login=False)
    assert none.says(b"STARTTLS\r\n") == HELLO + b"454 TLS is not available here\r\n"
    assert b"STARTTLS" not in none.says(b"EHLO x\r\n")


def filled(server: Server, count: int, size: int = 10) -> None:
    server.agent.flows["a.unix.ar"] = [
        json.dumps({"n": n, "x": "x" * size}, separators=(",", ":")).encode() for n in range(count)
    ]


def test_a_slow_reader_holds_a_bounded_buffer() -> None:
    """While the transport is paused nothing more is read; who never takes anything is thrown out."""
    server = Server()
    filled(server, 1000, 1000)
    one = server.connect()
    assert one.says(b"READ a.unix.ar LIMIT 5\r\n").count(b"\r\n") == 7
    slow = server.connect()

    class Slow(Wire):
        """Is full after each write."""

        def write(self, data: bytes) -> None:
            super().write(data)
            if self.producer is not None:
                self.producer.pauseProducing()

    slow.wire = slow.protocol.transport = Slow()
    slow.wire.registerProducer(slow.protocol, True)
    first = slow.says(b"READ a.unix.ar\r\n")
    assert 0 < len(first) < 100_000
    server.passes(30)
    assert slow.hears() == b""
    slow.protocol.resumeProducing()
    assert 0 < len(slow.hears()) < 100_000
    server.passes(60)
    assert not slow.over
    server.passes(7)
    assert slow.over
    assert server.agent.readers[-1].closed
    assert slow.wire.producer is None


@pytest.mark.parametrize("login", [False, True])
def test_who_does_not_read_replies_is_not_given_more(login: bool) -> None:
    """HELP answers six octets with two thousand: a flood of it costs the buffer of the transport and a pause."""
    server = Server()
    one = server.connect(login=login)
    one.hears()

    class Full(Wire):
        """Is full when it holds as much as Twisted's transports do."""

        def write(self, data: bytes) -> None:
            super().write(data)
            if self.producer is not None and len(self.value()) > 65536:
                self.producer.pauseProducing()

    one.wire = one.protocol.transport = Full()
    one.wire.registerProducer(one.protocol, True)
    flood = b"HELP\r\n" * 10_000
    first = one.says(flood)
    assert 65536 < len(first) < 2 * 65536
    assert (one.wire.producerState == "paused") is not login
    one.says(flood)
    assert one.wire.producerState == "paused"
    one.protocol.resumeProducing()
    assert 65536 < len(one.hears()) < 2 * 65536
    assert not one.over
    server.passes(59 if login else 55)
    assert not one.over
    server.passes(10)
    assert one.hears().startswith(b"421 ")
    assert one.over


def test_a_stranger_holds_one_line_behind_a_password_that_is_checked() -> None:
    """What comes before the answer is read no further than the longest line."""
    server = Server()
    one = server.connect(login=False)
    one.hears()
    checked: Deferred[bool] = Deferred()

    async def slowly(*arguments: Any) -> bool:
        return await checked

    server.authenticator.check_password = slowly
    one.says(LOGIN + b"NOOP\r\n" * 2000)
    assert one.wire.producerState == "paused"
    checked.callback(True)
    assert one.hears().count(b"220 OK\r\n") == 2000
    assert one.wire.producerState == "producing"


def test_follow_goes_on_until_the_next_line() -> None:
    """Events arrive as they are written; the line that ends it is consumed, what follows it is not."""
    server = Server()
    filled(server, 2)
    one = server.connect()
    assert one.says(b"READ a.unix.ar FOLLOW\r\n").count(b"\r\n") == 3
    server.agent.append("a.unix.ar", {"type": "t"})
    assert one.hears() == b'{"type":"t","esonpartition":0,"esonoffset":2}\r\n'
    assert (
        one.says(b"QUIT\r\nNOOP\r\nREAD a.unix.ar FROM NOW FOLLOW\r\n") == b"220 OK\r\n220 OK\r\n220 DATA\r\n"
    )
    assert one.says(b"x\n") == b"220 OK\r\n"
    assert one.says(b"READ a.unix.ar FOLLOW\r\nNOOP\r\n").endswith(b"220 OK\r\n")
    assert all(reader.closed for reader in server.agent.readers)


def test_readers_that_fail_end_the_body() -> None:
    """A fault in the middle ends the body with its reply, and the session goes on."""
    server = Server()
    filled(server, 100)
    one = server.connect()
    opened = server.agent.open_reader
    for error, reply in (
        (BackendFailed("The broker was lost"), b"451 The broker was lost\r\n"),
        (OSError("x"), b"451 The agent failed"),
    ):

        async def failing(*arguments: Any, error: Exception = error) -> Any:
            reader = await opened(*arguments)
            read = reader.next_lines
            calls = []

            async def next_lines() -> list[bytes]:
                if calls:
                    raise error
                calls.append(1)
                return await read()

            reader.next_lines = next_lines  # type: ignore[method-assign]
            return reader

        server.agent.open_reader = failing  # type: ignore[method-assign]
        said = one.says(b"READ a.unix.ar\r\n")
        assert said.count(b"\r\n") == 66
        assert reply in said
        assert one.says(b"NOOP\r\n") == b"220 OK\r\n"
    assert one.says(b"READ b.unix.ar\r\n") == b"550 No such flow: b.unix.ar\r\n"


def test_writing_holds_the_client_back() -> None:
    """While the sink is full no further line is taken; the count comes after all."""
    server = Server()
    filled(server, 0)
    one = server.connect()
    assert one.says(b"WRITE a.unix.ar\r\n") == b"354 Send events, end with .\r\n"
    server.agent.full = Deferred()
    assert one.says(EVENT * 3 + b".\r\nNOOP\r\n") == b""
    assert server.agent.flows["a.unix.ar"] == []
    one.says(b"x" * 70_000)
    assert one.wire.producerState == "paused"
    full, server.agent.full = server.agent.full, None
    full.callback(None)
    assert one.hears() == b"220 OK 3\r\n220 OK\r\n500 Line too long\r\n"
    assert len(server.agent.flows["a.unix.ar"]) == 3


def test_a_sink_that_hangs_is_given_up() -> None:
    """Held back for longer than a command may take: 421, and the writer is aborted."""
    server = Server()
    filled(server, 0)
    one = server.connect()
    one.says(b"WRITE a.unix.ar\r\n")
    server.agent.full = Deferred()
    one.says(EVENT)
    server.passes(67)
    assert one.hears() == b"421 The command took too long\r\n"
    assert server.agent.aborted == 1
    server.agent.full.callback(None)


def test_writers_that_fail() -> None:
    """The first bad line is named; a broker that is lost says how much was written; faults are hidden."""
    server = Server()
    filled(server, 0)
    one = server.connect()
    one.says(b"WRITE a.unix.ar\r\n")
    assert one.says(EVENT + b"{}\r\n" + EVENT + b".\r\n") == b"501 Line 2: no type; 1 written\r\n"
    server.agent.lost = WriteStopped(451, "The broker was lost", 1)
    one.says(b"WRITE a.unix.ar\r\n")
    assert one.says(EVENT + b".\r\n") == b"451 The broker was lost; 1 written\r\n"
    server.agent.lost = OSError("secret")
    one.says(b"WRITE a.unix.ar\r\n")
    assert one.says(EVENT + b".\r\n").startswith(b"451 The agent failed")
    server.agent.lost = None
    server.agent.full = Deferred()
    one.says(b"WRITE a.unix.ar\r\n" + EVENT)
    full, server.agent.full = server.agent.full, None
    full.errback(Failure(OSError("secret")))
    assert one.says(EVENT + b".\r\n").endswith(b"; 0 written\r\n")
    assert one.says(b"WRITE b.unix.ar\r\n") == b"550 No such flow: b.unix.ar\r\n"


@pytest.mark.parametrize(
    "when",
    [b"", b"AUTHENTICATE PLAIN\r\n", LOGIN, LOGIN + b"READ a.unix.ar FOLLOW\r\n", LOGIN + b"READ a.unix.ar\r\n",
     LOGIN + b"WRITE a.unix.ar\r\n", LOGIN + b"WRITE a.unix.ar\r\n" + EVENT + b"{", LOGIN + b"CREATE FLOW b.unix.ar\r\n"],
)  # fmt: skip
def test_the_client_may_leave_at_any_time(when: bytes) -> None:
    """Whatever was open is closed, once; what was pending ends without a word."""
    server = Server()
    filled(server, 10)
    server.agent.pending = Deferred()
    one = server.connect(login=False)
    one.says(when)
    one.leaves()
    server.agent.pending.callback(None)
    server.passes(3)
    assert all(reader.closed for reader in server.agent.readers if reader._end is None)
    assert server.agent.aborted == (b"WRITE" in when)
    assert server.factory.outcomes == {"gone": 1}
    assert server.factory.places.total == 0


def test_who_leaves_before_the_reader_is_open() -> None:
    """A reader or writer that opens too late is closed at once."""
    for line, name in ((b"READ a.unix.ar\r\n", "open_reader"), (b"WRITE a.unix.ar\r\n", "open_writer")):
        server = Server()
        filled(server, 10)
        wait: Deferred[None] = Deferred()
        opened: Callable[..., Any] = getattr(server.agent, name)

        async def slow(*arguments: Any, wait: Deferred[None] = wait, opened: Any = opened) -> Any:
            await wait
            return await opened(*arguments)

        setattr(server.agent, name, slow)
        one = server.connect()
        one.says(line)
        one.leaves()
        wait.callback(None)
        assert server.agent.aborted == (name == "open_writer")
        assert all(reader.closed for reader in server.agent.readers)


def test_shutting_down_tells_everybody() -> None:
    """A 421 to each, also in the middle of a READ; those that stay are cut off; the clock stops."""
    server = Server()
    filled(server, 1)
    idle, follows, writes = server.connect(), server.connect(), server.connect()
    follows.says(b"READ a.unix.ar FOLLOW\r\n")
    writes.says(b"WRITE a.unix.ar\r\n")
    server.factory.doStop()
    down = ensureDeferred(server.factory.shut_down(5))
    for one in (idle, follows, writes):
        assert one.hears() == b"421 The server is going down: try again later\r\n"
        assert one.over
    assert server.agent.aborted == 1
    assert follows.wire.producer is None
    idle.leaves()
    follows.leaves()
    assert not down.called
    server.passes(6)
    assert writes.wire.aborted
    writes.leaves()
    assert down.called
    assert server.clock.getDelayedCalls() == []
    assert server.factory.outcomes == {"shutdown": 3}


def test_sessions_of_an_account_can_be_ended() -> None:
    """Whatever they are doing; those of others go on."""
    server = Server()
    filled(server, 1)
    idle, follows, stranger = server.connect(), server.connect(), server.connect(login=False)
    stranger.says(b"AUTHENTICATE ANONYMOUS =\r\n")
    follows.says(b"READ a.unix.ar FOLLOW\r\n")
    assert server.factory.accounts() == {"test"}
    server.factory.end_sessions("test", "account locked", "The account was locked")
    for one in (idle, follows):
        assert one.hears() == b"421 The account was locked\r\n"
        assert one.over
        one.leaves()
    assert server.agent.readers[-1].closed
    assert stranger.says(b"NOOP\r\n") == b"220 OK\r\n"
    assert server.factory.accounts() == set()
    assert server.factory.outcomes == {"account locked": 2}


def test_one_reply_to_each_bad_line() -> None:
    """Bare LF at once, then what follows is a new line; too long lines once, in any pieces."""
    server = Server()
    one = server.connect()
    bare = LineFault.BARE_LINE_END.value.encode() + b"\r\n"
    assert one.says(b"NOOP\n") == bare
    assert one.says(b"NO") == b""
    assert one.says(b"OP\r\n") == b"220 OK\r\n"
    said = b"".join(one.says(b"x" * 1000) for _ in range(100)) + one.says(b"\r\nNOOP\r\n")
    assert said == b"500 Line too long\r\n220 OK\r\n"
    assert one.says(b"GRANT read ON a.b TO anonymous\r\n") == b"502 GRANT is not offered here\r\n"
    assert one.says(b"GET GRANTS\r\n") == b"502 GET GRANTS is not offered here\r\n"
    assert one.says(b"REPLICATE a.b c.d\r\n") == b"220 OK\r\n"
    assert server.agent.commands[-1] == c.Replicate("a.b", "c.d")


def test_no_secret_is_logged() -> None:
    """Responses, passwords and what they are made of do not reach the log, whatever fails."""
    server = Server()
    secrets = [b"pa$$word", base64.b64encode(b"\0test\0pa$$word"), b"biwsbj10ZXN0LHI9YWJj", b"QUJDRA=="]
    with capturedLogs() as events:
        one = server.connect(login=False)
        one.says(b"AUTHENTICATE PLAIN " + secrets[1] + b"\r\n")
        one.says(b"AUTHENTICATE SCRAM-SHA-256 " + secrets[2] + b"\r\n" + secrets[3] + b"\r\n")
        one.says(b"AUTHENTICATE\r\n" + secrets[1] + b"\r\n")

        async def broken(username: str, password: str, peer: str) -> bool:
            raise OSError("the store is away")

        server.authenticator.check_password = broken  # type: ignore[method-assign]
        two = server.connect(login=False)
        assert b"454" in two.says(b"AUTHENTICATE PLAIN " + secrets[1] + b"\r\n")
        server.clock.advance(100)
    logged = "\n".join(eventAsText(event) for event in events)
    assert "the store is away" in logged
    for secret in secrets:
        assert secret.decode() not in logged
        assert secret.decode() not in repr(server.authenticator.failures)
