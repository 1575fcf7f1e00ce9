"""FNAP over real sockets: the draft's sessions with `openssl s_client`, our client against our server, and a crowd."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers.fnap import MemoryAgent, listen, make_factory
from servers.twisted_reactor import InReactor
from twisted.internet.defer import Deferred

from eson.errors import (
    AuthenticationFailed,
    EncryptionRequired,
    ReplyError,
    TlsFailed,
    Unreachable,
    WriteStopped,
)
from eson.fnap.core import commands as c
from eson.fnap.net.client import Session, connect
from eson.fnap.net.factory import FnapFactory
from eson.fnap.net.places import Limits
from eson.identity.certificates import KeyPair, make_ca, make_certificate
from eson.identity.tls import ClientTls, ServerTls, load_chain, public_key_pin

NAME = "fnaa.unix.ar"
CA = make_ca()
EVENT = {"specversion": "1.0", "id": "1", "source": "/t", "type": "t"}
LOGIN = b"AUTHENTICATE PLAIN\nAHRlc3QAdGVzdA==\n"


def server_tls(directory: Path, pair: KeyPair | None = None) -> ServerTls:
    made = pair or make_certificate(CA, [NAME], ["127.0.0.1"])
    certificate, key = directory / "server.pem", directory / "server.key"
    certificate.write_text(made.certificate)
    key.write_text(made.key)
    return ServerTls(certificate, key)


class Agent:
    """Listens in clear with STARTTLS (`port`) and with TLS from the first octet (`tls_port`)."""

    def __init__(self, reactor: Any, tls: ServerTls, **options: Any) -> None:
        self.memory = MemoryAgent()
        self.clear = make_factory(reactor, self.memory, tls, **options)
        self.implicit = make_factory(reactor, self.memory, tls, implicit_tls=True, **options)
        self.listeners = [listen(reactor, "127.0.0.1", 0, factory) for factory in (self.clear, self.implicit)]
        self.port, self.tls_port = (listener.getHost().port for listener in self.listeners)

    async def stop(self) -> None:
        for listener in self.listeners:
            await listener.stopListening()
        for factory in (self.clear, self.implicit):
            await factory.shut_down(1)


@contextmanager
def running(call: InReactor, reactor: Any, tls: ServerTls, **options: Any) -> Iterator[Agent]:
    agent = call(Agent, reactor, tls, **options)
    try:
        yield agent
    finally:
        call(agent.stop)


@pytest.fixture
def agent(in_reactor: InReactor, reactor_thread: Any, tmp_path: Path) -> Iterator[Agent]:
    with running(in_reactor, reactor_thread, server_tls(tmp_path)) as started:
        yield started


def openssl(
    port: int, said: bytes, *options: str, ca: str = CA.certificate, directory: Path
) -> tuple[int, bytes]:
    """What a person sees who types `said` into `openssl s_client`."""
    trusted = directory / "ca.pem"
    trusted.write_text(ca)
    done = subprocess.run(
        ["openssl", "s_client", "-crlf", "-quiet", "-verify_return_error", "-CAfile", str(trusted), "-verify_hostname", NAME,
         "-servername", NAME, "-connect", f"127.0.0.1:{port}", *options],
        input=said, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


TYPED = (
    b"CREATE FLOW time.flows.unix.ar\nDESCRIBE FLOW time.flows.unix.ar\n"
    b"SUBSCRIBE time.flows.unix.ar LOCAL emiliano.ar-time.flows.unix.ar\nREAD time.flows.unix.ar\nQUIT\n"
)
SEEN = (
    b"220 OK\r\n220 Authenticated\r\n220 OK time.flows.unix.ar\r\n220 DATA\r\nflow=time.flows.unix.ar\r\ntype=kafka\r\n"
    b"topic=time.flows.unix.ar\r\nserver=kf1.unix.ar:9092\r\n220 OK\r\n220 DATA\r\nksdj898.time.flows.unix.ar\r\n220 OK\r\n"
    b"220 DATA\r\n220 OK\r\n220 Bye\r\n"
)
GREETING = b"220 fnaa.unix.ar FNAA\r\n"


def test_the_drafts_session_with_openssl(agent: Agent, tmp_path: Path) -> None:
    """Typed into `openssl s_client -crlf -quiet`, to the byte; certificate and name are verified."""
    assert openssl(agent.tls_port, LOGIN + TYPED, directory=tmp_path) == (0, GREETING + SEEN)
    stranger = make_ca("A stranger")
    assert openssl(agent.tls_port, b"QUIT\n", ca=stranger.certificate, directory=tmp_path)[0] != 0


def test_starttls_as_openssl_does_it_for_smtp(agent: Agent, tmp_path: Path) -> None:
    """`openssl s_client -starttls smtp` works unchanged; there is no second greeting."""
    code, seen = openssl(agent.port, LOGIN + TYPED, "-starttls", "smtp", directory=tmp_path)
    # s_client shows the last line of the answer to EHLO before it begins
    assert (code, seen.split(b"\r\n", 1)[1] if seen.startswith(b"250 ") else seen) == (0, SEEN)


def plain(port: int, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
    """Sends pieces, each after something came back, and reads to the end."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as peer:
        for piece in pieces:
            said += peer.recv(65536)
            peer.sendall(piece)
        while octets := peer.recv(65536):
            said += octets
    return said


def test_nothing_sent_before_tls_has_an_effect_after_it(agent: Agent) -> None:
    """Command injection: behind STARTTLS in the same segment, as a half line, and in a segment of its own."""
    for behind in (b"NOOP\r\n", b"NOO", b"\n", b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n"):
        assert plain(agent.port, b"STARTTLS\r\n" + behind) == GREETING + b"220 Ready to start TLS\r\n"
    said = plain(agent.port, b"STARTTLS\r\n", b"NOOP\r\n")
    assert said.startswith(GREETING + b"220 Ready to start TLS\r\n")
    assert b"220 OK" not in said


def test_clear_text_of_the_draft(agent: Agent) -> None:
    """From loopback the published session works without TLS; bare LF is answered at once."""
    said = plain(agent.port, (LOGIN + TYPED).replace(b"\n", b"\r\n"))
    assert said == GREETING + SEEN
    assert b"501 Lines end in CR LF (openssl s_client: add -crlf -quiet)" in plain(
        agent.port, b"NOOP\nQUIT\r\n"
    )


# our client


def dialled(port: int, mode: str, **options: Any) -> Callable[[Any], Any]:
    async def dial(reactor: Any) -> Session:
        tls = ClientTls(NAME, CA.certificate) if mode != "none" else None
        return await connect(
            reactor, "127.0.0.1", port, **({"tls": mode, "tls_options": tls, "timeout": 5} | options)
        )

    return dial


@pytest.mark.parametrize("mode", ["implicit", "starttls", "none"])
def test_our_client_and_our_server(
    mode: str, agent: Agent, in_reactor: InReactor, reactor_thread: Any
) -> None:
    """Login, commands, READ, FOLLOW and WRITE, in clear and both ways of TLS."""
    shown: list[str] = []

    async def talk() -> None:
        dial = dialled(
            agent.tls_port if mode == "implicit" else agent.port,
            mode,
            dialogue=lambda who, line: shown.append(line),
        )
        session = await dial(reactor_thread)
        assert (session.hostname, session.tls, session.peer) == (NAME, mode != "none", "127.0.0.1")
        with pytest.raises(AuthenticationFailed):
            await session.login("test", "wrong")
        assert await session.login("test", "test") == "SCRAM-SHA-256"
        assert (await session.execute(c.CreateFlow("a.unix.ar"))).text == "OK a.unix.ar"
        with pytest.raises(ReplyError, match=r"554 Conflict: a\.unix\.ar exists"):
            await session.execute(c.CreateFlow("a.unix.ar"))
        assert (await session.execute("get fl")).lines == ("flow=a.unix.ar",)
        events = [{**EVENT, "data": "x" * 1000, "id": str(n)} for n in range(2000)]
        assert await session.write("a.unix.ar", events) == 2000
        with pytest.raises(WriteStopped) as stopped:
            await session.write("a.unix.ar", [EVENT, b'{"id":"2"}', EVENT])
        assert (stopped.value.written, stopped.value.text) == (1, "Line 2: no type; 1 written")
        read: list[bytes] = []
        assert await session.read(c.Read("a.unix.ar"), read.extend) == 2001 == len(read)

        def take(lines: list[bytes]) -> None:
            if len(lines) and b"last" in lines[-1]:
                session.stop_follow()
            else:
                agent.memory.append("a.unix.ar", {**EVENT, "id": "last"})

        assert await session.read(c.Read("a.unix.ar", follow=True), take) >= 2002
        assert (await session.execute(c.Noop())).text == "OK"
        await session.quit()
        assert not session.alive
        with pytest.raises(Unreachable):
            await session.execute(c.Noop())

    in_reactor(talk)
    assert "test" not in "".join(line for line in shown if line.startswith(("AUTH", "334")))


def test_a_slow_reader_of_ours_holds_the_server_back(
    agent: Agent, in_reactor: InReactor, reactor_thread: Any
) -> None:
    """While the reader waits, neither side holds more than its bounds."""
    line = b'{"x":"' + b"x" * 1000 + b'"}'
    agent.memory.flows["a.unix.ar"] = [line] * 20_000

    async def talk() -> None:
        session = await dialled(agent.tls_port, "implicit")(reactor_thread)
        await session.login("test", "test")
        taken = 0
        stood: list[int] = []

        async def take(lines: list[bytes]) -> None:
            nonlocal taken
            taken += len(lines)
            if len(stood) < 20:
                waits: Deferred[None] = Deferred()
                reactor_thread.callLater(0.02, waits.callback, None)
                await waits
                stood.append(agent.memory.readers[-1]._at - taken)

        assert await session.read(c.Read("a.unix.ar"), take) == 20_000
        # what is under way: the kernel's buffers, and a quarter of a megabyte here
        assert max(stood) < 12_000
        await session.quit()

    in_reactor(talk)


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_servers_that_are_not_trusted_hear_nothing(
    mode: str,
    in_reactor: InReactor,
    reactor_thread: Any,
    tmp_path: Path,
) -> None:
    """Wrong name, stranger's CA, expired: the handshake fails, before any line is sent inside TLS; a pin wins over all."""
    expired = make_certificate(CA, [NAME], life=timedelta(minutes=1))
    other = make_certificate(CA, ["fnab.unix.ar"])
    for pair, trust, why in (
        (None, make_ca("A stranger").certificate, "CA that is not trusted"),
        (other, CA.certificate, "not for fnaa.unix.ar"),
        (expired, CA.certificate, "has expired"),
        (None, "system", "CA that is not trusted"),
        (None, public_key_pin(load_chain(other.certificate)[0]), "not the pinned one"),
    ):
        with running(in_reactor, reactor_thread, server_tls(tmp_path, pair)) as agent:
            port = agent.tls_port if mode == "implicit" else agent.port
            with pytest.raises(TlsFailed, match=why):
                in_reactor(dialled(port, mode, tls_options=ClientTls(NAME, trust)), reactor_thread)
    with running(in_reactor, reactor_thread, server_tls(tmp_path, expired)) as agent:
        port = agent.tls_port if mode == "implicit" else agent.port
        pin = ClientTls("another.name", public_key_pin(load_chain(expired.certificate)[0]))
        session = in_reactor(dialled(port, mode, tls_options=pin), reactor_thread)
        in_reactor(session.quit)


def test_where_our_client_does_not_go(agent: Agent, in_reactor: InReactor, reactor_thread: Any) -> None:
    """Addresses that are not allowed, closed ports, TLS where there is none, a certificate that is reloaded."""
    asked: list[str] = []

    def never(address: str) -> bool:
        asked.append(address)
        return False

    with pytest.raises(Unreachable, match="no address that may be connected to"):
        in_reactor(dialled(agent.port, "none", allowed=never), reactor_thread)
    assert asked == ["127.0.0.1"]
    assert len(agent.clear) == 0
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        with pytest.raises(Unreachable, match="in time"):
            in_reactor(dialled(port, "none", timeout=0.3), reactor_thread)
    with pytest.raises(Unreachable, match="refused"):
        in_reactor(dialled(port, "none"), reactor_thread)
    with pytest.raises(TlsFailed):
        in_reactor(dialled(agent.port, "implicit"), reactor_thread)


def test_passwords_stay_where_nobody_listens(in_reactor: InReactor, reactor_thread: Any) -> None:
    """PLAIN is not used in clear to another host, whatever the server offers."""

    async def talk() -> None:
        factory = make_factory(reactor_thread)
        listener = listen(reactor_thread, "127.0.0.1", 0, factory)
        session = await dialled(listener.getHost().port, "none")(reactor_thread)
        session._connection.peer = "192.0.2.1"
        with pytest.raises(EncryptionRequired):
            await session.login("test", "test", mechanisms=("PLAIN",))
        assert await session.login("", "") == "ANONYMOUS"
        await session.quit()
        await listener.stopListening()

    in_reactor(talk)


def test_a_certificate_is_replaced_while_it_serves(
    in_reactor: InReactor, reactor_thread: Any, tmp_path: Path
) -> None:
    """`reload` takes the new files for new connections; open sessions go on."""
    tls = server_tls(tmp_path)
    with running(in_reactor, reactor_thread, tls) as agent:
        first = in_reactor(dialled(agent.tls_port, "implicit"), reactor_thread)
        fresh = make_ca("Another CA")
        server_tls(tmp_path, make_certificate(fresh, [NAME]))
        in_reactor(tls.reload)
        with pytest.raises(TlsFailed):
            in_reactor(dialled(agent.tls_port, "implicit"), reactor_thread)
        options = ClientTls(NAME, fresh.certificate)
        second = in_reactor(dialled(agent.tls_port, "implicit", tls_options=options), reactor_thread)
        for session in (first, second):
            in_reactor(session.login, "test", "test")
            in_reactor(session.quit)


CROWD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12_000), hard))
port, count = int(sys.argv[1]), int(sys.argv[2])
peers = []
for number in range(count):
    peer = socket.socket()
    peer.bind((f"127.0.1.{1 + number % 200}", 0))
    peer.connect(("127.0.0.1", port))
    peers.append(peer)
print("connected", flush=True)
told = 0
for peer in peers:
    said = b""
    while octets := peer.recv(1000):
        said += octets
    told += said.endswith(b"421 No login in time\\r\\n")
print(told, flush=True)
"""


def test_ten_thousand_silent_connections(in_reactor: InReactor, reactor_thread: Any) -> None:
    """They cost little, one more from their addresses is told, a session among them is served on, and they end in time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12_000), hard))
    limits = Limits(total=2 * count, login=timedelta(seconds=8))
    factory: FnapFactory = make_factory(reactor_thread, limits=limits)
    listener = in_reactor(listen, reactor_thread, "127.0.0.1", 0, factory)
    port = listener.getHost().port
    crowd = None
    try:
        session = in_reactor(dialled(port, "none"), reactor_thread)
        in_reactor(session.login, "test", "test")
        before, began = psutil.Process().memory_info().rss, time.monotonic()
        crowd = subprocess.Popen(
            [sys.executable, "-c", CROWD, str(port), str(count)],
            stdout=subprocess.PIPE,
        )
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == b"connected\n"
        wait_for(lambda: in_reactor(factory.__len__) == count + 1)
        grown = psutil.Process().memory_info().rss - before
        assert grown / count < 6 * 1024
        assert plain(port, source="127.0.1.1") == b"421 Too many connections from your address\r\n"
        slowest = 0.0
        for _ in range(50):
            asked = time.monotonic()
            in_reactor(session.execute, c.Noop())
            slowest = max(slowest, time.monotonic() - asked)
        assert slowest < 1
        assert int(crowd.stdout.readline()) == count
        assert time.monotonic() - began < 40
        wait_for(lambda: in_reactor(factory.__len__) == 1)
        in_reactor(session.quit)
    finally:
        if crowd is not None:
            crowd.kill()
            crowd.wait()
        in_reactor(listener.stopListening)
        in_reactor(factory.shut_down, 1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)
