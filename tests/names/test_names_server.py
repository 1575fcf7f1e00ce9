"""The shells around the answers: datagrams, connections, ports; without a socket."""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from eson.errors import BackendFailed
from eson.names.net.server import Counts, Limits, NameServer, TcpFactory, TcpServer, UdpServer

QUERY = b"query"


def respond(data: bytes, stream: bool = False) -> bytes | None:
    """Echoes, except what begins with `!`; `*` asks for a large reply."""
    if data.startswith(b"!"):
        return None
    return b"r:" + data + (b"x" * 30_000 if data.startswith(b"*") else b"") + (b"/tcp" if stream else b"")


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(one)) + one for one in messages)


class Socket:
    def __init__(self, fails: OSError | None = None) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.fails = fails

    def sendto(self, data: bytes, address: Any) -> None:
        if self.fails:
            raise self.fails
        self.sent.append((data, address))


class UdpTransport:
    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def getHandle(self) -> Socket:
        return self.socket


def udp(socket: Socket) -> tuple[UdpServer, Counts]:
    counts = Counts()
    server = UdpServer(respond, counts)
    server.makeConnection(UdpTransport(socket))  # type: ignore[arg-type]
    return server, counts


def test_a_datagram_is_answered_to_its_sender() -> None:
    socket = Socket()
    server, counts = udp(socket)
    server.datagramReceived(QUERY, ("127.0.0.1", 4242))
    assert socket.sent == [(b"r:query", ("127.0.0.1", 4242))]
    assert (counts.udp, counts.silent) == (1, 0)


def test_a_datagram_that_gets_no_reply_is_counted() -> None:
    socket = Socket()
    server, counts = udp(socket)
    server.datagramReceived(b"!", ("127.0.0.1", 4242))
    assert socket.sent == []
    assert (counts.udp, counts.silent) == (1, 1)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINVAL, errno.EPERM, errno.ENOBUFS])
def test_a_reply_that_cannot_be_sent_disturbs_nobody(code: int) -> None:
    server, counts = udp(Socket(OSError(code, "no")))
    server.datagramReceived(QUERY, ("127.0.0.1", 0))
    assert counts.unsent == 1


class World:
    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.counts = Counts()
        self.factory = TcpFactory(respond, self.counts, Limits(**limits), self.clock.callLater)

    def connect(self, host: str = "127.0.0.1") -> tuple[TcpServer, StringTransport]:
        server = self.factory.buildProtocol(IPv4Address("TCP", host, 4242))
        assert server is not None
        transport = StringTransport()
        server.makeConnection(transport)
        return server, transport


def test_queries_are_answered_in_order_however_they_are_cut() -> None:
    messages = [b"a", b"bb", b"", b"c" * 300]
    expected = framed(*(b"r:" + one + b"/tcp" for one in messages))
    octets = framed(*messages)
    for size in (1, 2, 3, 7, len(octets)):
        server, transport = World().connect()
        for at in range(0, len(octets), size):
            server.dataReceived(octets[at : at + size])
        assert transport.value() == expected


def test_half_a_query_waits_for_its_rest() -> None:
    server, transport = World().connect()
    server.dataReceived(framed(b"a") + framed(b"bcd")[:-1])
    assert transport.value() == framed(b"r:a/tcp")
    server.dataReceived(b"d")
    assert transport.value() == framed(b"r:a/tcp", b"r:bcd/tcp")


def test_what_gets_no_reply_ends_the_connection_and_nothing_behind_it_is_answered() -> None:
    world = World()
    server, transport = world.connect()
    server.dataReceived(framed(b"a", b"!", b"b"))
    assert transport.value() == framed(b"r:a/tcp")
    assert transport.disconnecting
    server.dataReceived(framed(b"c"))
    server.resumeProducing()
    assert transport.value() == framed(b"r:a/tcp")
    assert world.counts.silent == 1


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    world = World()
    server, transport = world.connect()
    written: list[bytes] = []

    def write(data: bytes) -> None:
        """As a transport whose client reads nothing: its buffer is full after the first piece."""
        written.append(data)
        if len(written) == 1:
            server.pauseProducing()

    transport.write = write  # type: ignore[method-assign]
    server.dataReceived(framed(*[b"*"] * 500))
    assert len(written) == 1
    assert sum(map(len, written)) < 100_000, "one piece is held, not five hundred replies"
    assert transport.producerState == "paused"
    server.dataReceived(framed(b"more"))
    assert len(written) == 1
    server.resumeProducing()
    assert world.counts.tcp == 501
    assert b"".join(written).endswith(b"r:more/tcp")
    assert transport.producerState == "producing"


def test_a_connection_without_queries_is_closed() -> None:
    world = World(idle=15.0)
    server, transport = world.connect()
    world.clock.advance(10)
    server.dataReceived(framed(b"a"))
    world.clock.advance(10)
    assert not transport.disconnected
    server.dataReceived(b"\0")
    world.clock.advance(4)
    server.dataReceived(b"\1")
    world.clock.advance(2)
    assert transport.disconnected, "octets that make no query do not prolong it"
    assert world.counts.idle == 1


def test_a_connection_that_ended_leaves_nothing_behind() -> None:
    world = World(per_address=1)
    server, _ = world.connect()
    server.connectionLost()
    server.dataReceived(framed(b"a"))
    assert world.clock.getDelayedCalls() == []
    world.connect()


def test_connections_are_capped_in_all_and_for_each_address() -> None:
    world = World(connections=3, per_address=2)
    first, _ = world.connect("192.0.2.1")
    world.connect("192.0.2.1")
    assert world.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    world.connect("192.0.2.2")
    assert world.factory.buildProtocol(IPv4Address("TCP", "192.0.2.3", 1)) is None
    assert world.counts.refused == 2
    first.connectionLost()
    world.connect("192.0.2.3")


class Port:
    def __init__(self, ports: Ports, kind: str, interface: str, number: int) -> None:
        self.key = (kind, interface, number)
        self.ports = ports

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.key[1], self.key[2])

    def stopListening(self) -> Deferred[None] | None:
        del self.ports.open[self.key]
        return succeed(None) if self.key[0] == "tcp" else None


class Ports(Clock):
    """A reactor of ports: those in `taken` belong to others, port 0 draws from `drawn`."""

    def __init__(self, taken: set[tuple[str, int]] = frozenset(), drawn: tuple[int, ...] = ()) -> None:  # type: ignore[assignment]
        super().__init__()
        self.taken = taken
        self.drawn = list(drawn)
        self.why = errno.EADDRINUSE
        self.open: dict[tuple[str, str, int], Any] = {}

    def _listen(self, kind: str, number: int, what: Any, interface: str) -> Port:
        number = number or self.drawn.pop(0)
        if (kind, number) in self.taken or (kind, interface, number) in self.open:
            raise CannotListenError(interface, number, OSError(self.why, os.strerror(self.why)))
        port = Port(self, kind, interface, number)
        self.open[port.key] = what
        return port

    def listenTCP(self, number: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        return self._listen("tcp", number, factory, interface)

    def listenUDP(self, number: int, protocol: Any, interface: str = "", maxPacketSize: int = 0) -> Port:
        return self._listen("udp", number, protocol, interface)


LISTEN = [("127.0.0.1", 53), ("127.0.0.2", 53)]


def test_the_ports_are_open_before_rights_are_given_up() -> None:
    ports = Ports()
    service = NameServer(ports, respond, LISTEN)
    assert ports.open == {}
    service.privilegedStartService()
    wanted = {(kind, host, 53) for kind in ("tcp", "udp") for host, _ in LISTEN}
    assert set(ports.open) == wanted
    service.startService()
    assert set(ports.open) == wanted
    assert service.addresses == LISTEN
    assert service.stopService().called
    assert ports.open == {}
    assert service.addresses == []


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        (errno.EACCES, "Permission denied. Ports below 1024 are for root"),
        (errno.EADDRNOTAVAIL, "Cannot assign requested address. This machine has no such address"),
    ],
)
def test_what_cannot_be_listened_on_has_the_remedy_that_fits(why: int, remedy: str) -> None:
    ports = Ports(taken={("udp", 53)})
    ports.why = why
    with pytest.raises(BackendFailed, match=remedy):
        NameServer(ports, respond, LISTEN).privilegedStartService()


def test_started_without_rights_to_drop_it_opens_its_ports_too() -> None:
    ports = Ports()
    NameServer(ports, respond, LISTEN).startService()
    assert len(ports.open) == 4


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_taken_port_is_named_with_a_remedy_and_nothing_stays_open(kind: str) -> None:
    ports = Ports(taken={(kind, 5301)})
    service = NameServer(ports, respond, [("127.0.0.1", 5300), ("127.0.0.1", 5301)])
    with pytest.raises(BackendFailed) as caught:
        service.privilegedStartService()
    assert caught.value.text == (
        "The name server cannot listen on 127.0.0.1 port 5301: Address already in use. "
        "Find what listens there (ss -lntup 'sport = :5301') and stop it, or give names.listen another port"
    )
    assert ports.open == {}
    assert service.addresses == []


def test_any_port_is_one_that_is_free_for_both() -> None:
    ports = Ports(taken={("udp", 7001), ("udp", 7002)}, drawn=(7001, 7002, 7003))
    service = NameServer(ports, respond, [("127.0.0.1", 0)])
    service.privilegedStartService()
    assert service.addresses == [("127.0.0.1", 7003)]
    assert set(ports.open) == {("tcp", "127.0.0.1", 7003), ("udp", "127.0.0.1", 7003)}


def test_drawing_ports_ends() -> None:
    ports = Ports(taken={("udp", number) for number in range(7000, 7100)}, drawn=tuple(range(7000, 7100)))
    with pytest.raises(BackendFailed):
        NameServer(ports, respond, [("127.0.0.1", 0)]).privilegedStartService()
    assert ports.open == {}
    assert len(ports.drawn) == 80
