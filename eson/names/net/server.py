"""The sockets of the embedded name server: UDP and TCP on the same port (RFC 7766)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import BindError
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.errors import BackendFailed

_LENGTH = struct.Struct("!H")
_PIECE = 65536
_PORT_TRIES = 20


class Respond(Protocol):
    """The reply to one message, or None for what gets none."""

    def __call__(self, data: bytes, stream: bool = False, /) -> bytes | None: ...


@dataclass(frozen=True)
class Limits:
    """Connections over TCP, in all and from one address, and seconds without a query after which one is closed."""

    connections: int = 1000
    per_address: int = 100
    idle: float = 15.0


@dataclass
class Counts:
    """What the server did since it started."""

    udp: int = 0
    tcp: int = 0
    silent: int = 0
    """Messages that got no reply."""
    unsent: int = 0
    """Replies that the system did not take."""
    refused: int = 0
    """Connections beyond a limit."""
    idle: int = 0
    """Connections that were closed because nothing came."""


class UdpServer(DatagramProtocol):
    """Answers datagrams."""

    noisy = False

    def __init__(self, respond: Respond, counts: Counts) -> None:
        self._respond = respond
        self._counts = counts
        self._send: Callable[[bytes, Any], object] = lambda _data, _address: None

    def startProtocol(self) -> None:
        transport: Any = self.transport
        # the socket itself: Port.write checks each address anew, at half the cost of an answer
        self._send = transport.getHandle().sendto

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._counts.udp += 1
        reply = self._respond(datagram)
        if reply is None:
            self._counts.silent += 1
            return
        try:
            self._send(reply, addr)
        except OSError:
            # full, or an address that cannot be sent to: the client asks again
            self._counts.unsent += 1


@implementer(IPushProducer)
class TcpServer(TwistedProtocol):
    """One connection: any number of queries, each behind its length.

    Replies leave in the order of the queries.  While the client does not read, nothing more is read from it.
    """

    def __init__(self, factory: TcpFactory, address: str) -> None:
        self._factory = factory
        self._address = address
        self._buffer = b""
        self._paused = False
        self._closed = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._timer = self._factory.call_later(self._factory.limits.idle, self._idle)

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if not self._paused:
            self._answer()

    def pauseProducing(self) -> None:
        self._paused = True
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._closed:
            return
        self._answer()
        if not self._paused and not self._closed:
            transport: Any = self.transport
            transport.resumeProducing()

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closed = True
        self._buffer = b""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._factory.gone(self._address)

    def _answer(self) -> None:
        """Answers whole messages in the buffer, until there is none left or the client is slow."""
        transport: Any = self.transport
        buffer, at, answered = self._buffer, 0, 0
        respond = self._factory.respond
        while not self._paused:
            replies: list[bytes] = []
            size = 0
            while size < _PIECE and len(buffer) - at >= 2:
                end = at + 2 + (buffer[at] << 8 | buffer[at + 1])
                if end > len(buffer):
                    break
                reply = respond(buffer[at + 2 : end], True)
                at = end
                answered += 1
                if reply is None:
                    self._end(replies)
                    return
                replies += (_LENGTH.pack(len(reply)), reply)
                size += len(reply)
            if not replies:
                break
            transport.write(b"".join(replies))
        self._buffer = buffer[at:]
        if answered:
            self._factory.counts.tcp += answered
            self._timer.reset(self._factory.limits.idle)

    def _end(self, replies: list[bytes]) -> None:
        """Ends a connection over which something came that is no query; what was answered before still leaves."""
        self._factory.counts.silent += 1
        self._closed = True
        self._buffer = b""
        transport: Any = self.transport
        transport.write(b"".join(replies))
        transport.unregisterProducer()
        transport.loseConnection()

    def _idle(self) -> None:
        self._factory.counts.idle += 1
        transport: Any = self.transport
        transport.abortConnection()


class TcpFactory(Factory):
    """Accepts connections up to the limits."""

    noisy = False

    def __init__(
        self, respond: Respond, counts: Counts, limits: Limits, call_later: Callable[..., Any]
    ) -> None:
        self.respond = respond
        self.counts = counts
        self.limits = limits
        self.call_later = call_later
        self._connections = 0
        self._by_address: dict[str, int] = {}

    def buildProtocol(self, addr: IAddress | None) -> TcpServer | None:
        host: str = getattr(addr, "host", "")
        here = self._by_address.get(host, 0)
        if self._connections >= self.limits.connections or here >= self.limits.per_address:
            self.counts.refused += 1
            return None
        self._connections += 1
        self._by_address[host] = here + 1
        return TcpServer(self, host)

    def gone(self, host: str) -> None:
        self._connections -= 1
        left = self._by_address[host] - 1
        if left:
            self._by_address[host] = left
        else:
            del self._by_address[host]


class NameServer(Service):
    """Listens on each address of `names.listen`, over UDP and TCP on the same port.

    The ports are opened in `privilegedStartService`, before the process gives up its rights; `addresses` says where,
    once that is done.  Port 0 stands for any port that is free for both.
    """

    name = "names"
    _log = Logger()

    def __init__(
        self, reactor: Any, respond: Respond, listen: Sequence[tuple[str, int]], limits: Limits | None = None
    ) -> None:
        self._reactor = reactor
        self._listen = listen
        self.counts = Counts()
        self._respond = respond
        self._factory = TcpFactory(respond, self.counts, limits or Limits(), reactor.callLater)
        self._ports: list[Any] = []
        self.addresses: list[tuple[str, int]] = []

    def privilegedStartService(self) -> None:
        """Raises `BackendFailed` if an address cannot be listened on; none is left open then."""
        if self._ports:
            return
        try:
            for host, port in self._listen:
                self.addresses.append((host, self._open(host, port)))
        except BindError as error:
            self._close()
            raise _cannot_listen(error) from error
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        if self.addresses:
            self._log.info(
                "Name server listens on {addresses} (UDP and TCP)",
                addresses=", ".join(f"{host} port {port}" for host, port in self.addresses),
            )

    def stopService(self) -> Deferred[Any]:
        super().stopService()  # type: ignore[no-untyped-call]
        return self._close()

    def _open(self, host: str, port: int) -> int:
        for tries in range(_PORT_TRIES):
            tcp = self._reactor.listenTCP(port, self._factory, interface=host, backlog=128)
            number: int = tcp.getHost().port
            try:
                udp = UdpServer(self._respond, self.counts)
                self._ports.append(self._reactor.listenUDP(number, udp, interface=host, maxPacketSize=4096))
            except BindError:
                # another program has the UDP port of this number: draw again, if it was drawn
                tcp.stopListening()
                if port or tries == _PORT_TRIES - 1:
                    raise
                continue
            self._ports.append(tcp)
            return number
        raise AssertionError("unreachable")

    def _close(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        self.addresses = []
        stopped = [port.stopListening() for port in ports]
        return DeferredList([one for one in stopped if one is not None])


def _cannot_listen(error: BindError) -> BackendFailed:
    interface, port, why = getattr(error, "interface", ""), getattr(error, "port", 0), error
    reason = getattr(error, "socketError", why)
    remedy = f"Find what listens there (ss -lntup 'sport = :{port}') and stop it, or give names.listen another port"
    if isinstance(reason, PermissionError):
        remedy = "Ports below 1024 are for root: start as root with --uid, or give names.listen another port"
    elif getattr(reason, "errno", None) == errno.EADDRNOTAVAIL:
        remedy = "This machine has no such address (ip -brief address): give names.listen another one"
    said = getattr(reason, "strerror", None) or reason
    return BackendFailed(f"The name server cannot listen on {interface} port {port}: {said}. {remedy}")
