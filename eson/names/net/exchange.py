"""One query and its reply over UDP or TCP.

Each UDP query leaves from a socket of its own, whose port the system draws, so that a forger must guess port and id;
what comes from another address, is no message, or answers another question is dropped, and the wait goes on.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import BindError, ConnectError, MessageLengthError
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from eson.names.core.query import Query, Reply, Verdict

MAX_FOREIGN = 200
"""After so many packets that are no reply, the query is given up: somebody is guessing."""


class ExchangeFailed(Exception):
    """The server did not reply to this query: time-out, refused, closed.  Retry: elsewhere, or later."""


class UdpExchange(DatagramProtocol):
    """Sends one query and waits for its reply."""

    noisy = False

    def __init__(self, reactor: Any, host: str, port: int, query: Query, timeout: float) -> None:
        self._server = (host, port)
        self._query = query
        self._foreign = 0
        self._done: Deferred[Reply] | None = Deferred(self._cancelled)
        self._timer = reactor.callLater(timeout, self._fail, "no reply in time")
        self._reactor = reactor

    def run(self) -> Deferred[Reply]:
        """Fires with a reply that is not FOREIGN.  Fails with `ExchangeFailed`."""
        done = self._done
        assert done is not None
        interface = "::" if ":" in self._server[0] else ""
        try:
            transport = self._reactor.listenUDP(0, self, interface=interface, maxPacketSize=65535)
            # connected: the kernel drops other senders, and tells when nobody listens
            transport.connect(*self._server)
            transport.write(self._query.wire)
        except (OSError, BindError, MessageLengthError) as error:
            self._fail(str(error))
        return done

    def datagramReceived(self, datagram: bytes, addr: tuple[Any, ...]) -> None:
        if tuple(addr[:2]) == self._server:
            reply = self._query.judge(datagram)
            if reply.verdict is not Verdict.FOREIGN:
                self._finish(reply)
                return
        self._foreign += 1
        if self._foreign >= MAX_FOREIGN:
            self._fail("too many packets that are no reply")

    def _cancelled(self, done: Deferred[Reply]) -> None:
        self._finish(None)

    def connectionRefused(self) -> None:
        self._fail("nobody listens there")

    def stopProtocol(self) -> None:
        # some reactors close a socket that the system reports an error for, instead of telling connectionRefused
        self._fail("nobody listens there")

    def _fail(self, why: str) -> None:
        done = self._finish(None)
        if done is not None:
            done.errback(ExchangeFailed(why))

    def _finish(self, reply: Reply | None) -> Deferred[Reply] | None:
        """Ends the exchange once; gives the Deferred back if there is no reply to fire it with."""
        done, self._done = self._done, None
        if self._timer.active():
            self._timer.cancel()
        port: Any = self.transport
        if done is not None and port is not None:
            port.stopListening()
        if done is not None and reply is not None:
            done.callback(reply)
            return None
        return done


class TcpExchange(Protocol):
    """Sends one query over TCP and waits for its reply (RFC 7766)."""

    def __init__(self, query: Query, done: Deferred[Reply]) -> None:
        self._query = query
        self._reply = done
        self._buffer = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(struct.pack("!H", len(self._query.wire)) + self._query.wire)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                return
            reply = self._query.judge(self._buffer[2:end])
            self._buffer = self._buffer[end:]
            if reply.verdict not in (Verdict.FOREIGN, Verdict.TRUNCATED):
                self._end(reply)
                return

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._buffer = b""
        if not self._reply.called:
            self._reply.errback(ExchangeFailed("the connection closed without a reply"))

    def _end(self, reply: Reply) -> None:
        transport: Any = self.transport
        transport.abortConnection()
        if not self._reply.called:
            self._reply.callback(reply)


class _TcpFactory(ClientFactory):
    noisy = False

    def __init__(self, query: Query, done: Deferred[Reply]) -> None:
        self._query = query
        self._done = done

    def buildProtocol(self, addr: object) -> TcpExchange:
        return TcpExchange(self._query, self._done)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        if not self._done.called:
            why = str(reason.value) if reason.check(ConnectError) else "no connection"
            self._done.errback(ExchangeFailed(why))


def exchange_tcp(reactor: Any, host: str, port: int, query: Query, timeout: float) -> Deferred[Reply]:
    """Fires with a reply that is neither FOREIGN nor TRUNCATED.  Fails with `ExchangeFailed`."""
    done: Deferred[Reply] = Deferred()
    connector = reactor.connectTCP(host, port, _TcpFactory(query, done), timeout=timeout)

    def give_up() -> None:
        if not done.called:
            done.errback(ExchangeFailed("no reply in time"))

    timer = reactor.callLater(timeout, give_up)

    def tidy(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        if connector.state != "disconnected":
            connector.disconnect()
        return result

    return done.addBoth(tidy)
