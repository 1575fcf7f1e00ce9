"""A connection: frames in, answers out in order, nothing unbounded in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection as Connected
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.brokers.embedded.log.files import Buffer
from eson.brokers.embedded.server.apis import APIS, BEFORE_LOGIN, PRODUCE, Api, api_versions, unsupported
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.fetching import FileRange
from eson.brokers.embedded.server.login import Login
from eson.brokers.embedded.settings import Address
from eson.brokers.kafka.wire.apis import API_VERSIONS
from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import (
    Request,
    UnsupportedVersion,
    decode_request,
    decode_request_header,
    encode_response_parts,
)

LARGE, LARGE_PRODUCE = 64 << 10, 2 << 20
"""Frames above are decoded in a thread: so many octets can hold so many things that others would notice."""
RECEIVE = 256 << 10
CHUNK = 128 << 10
"""As much as Twisted hands to the kernel at once."""


@dataclass(frozen=True)
class Caps:
    """Octets and counts that a connection may hold."""

    before_login: int = 64 << 10
    produce: int = 16 << 20
    others: int = 1 << 20
    output: int = 1 << 20
    in_flight: int = 64
    in_flight_octets: int = 32 << 20
    login_seconds: float = 30.0
    idle_seconds: float = 600.0


class _Slot:
    """A request that is being worked on: `parts` None until its answer is there."""

    __slots__ = ("octets", "parts")

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self.parts: list[Buffer | FileRange] | None = None


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """One client.  `client` and `login` are made when the connection is; `closed` is called when it is over.

    Requests are worked on as they come, answered in their order.  As soon as too much is under way or waits to be
    sent, nothing more is read.
    """

    log = Logger()
    transport: Any

    def __init__(
        self,
        broker: Broker,
        caps: Caps,
        login: Login | None,
        closed: Callable[[Connection], None],
        advertise: Address | None = None,
    ) -> None:
        self.broker = broker
        self._caps = caps
        self._login = login
        self._closed = closed
        self._advertise = advertise
        self._reader = FrameReader(caps.before_login if login else max(caps.produce, caps.others))
        self._chunks: deque[bytes] = deque()
        self._frames: Iterator[memoryview] | None = None
        self._slots: deque[_Slot] = deque()
        self._octets = 0
        self._output: deque[Buffer | FileRange] = deque()
        self._queued = 0
        self._paused = self._reading_paused = self._working = self._decoding = False
        self._ending = self._closing = self._ended = False
        self._waiting: set[Deferred[Any]] = set()
        self._timeout: Any = None

    def connectionMade(self) -> None:
        peer, host = self.transport.getPeer(), self.transport.getHost()
        self.client = Client(peer.host, self._advertise or (host.host, host.port))
        if ITCPTransport.providedBy(
            self.transport
        ):  # else a pipelined answer waits 40 ms for the client's ACK
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        if self.logged_in:
            self._read_much()
        seconds = self._caps.login_seconds if self._login else self._caps.idle_seconds
        self._timeout = self.broker.reactor.callLater(seconds, self._timed_out)

    def handshakeCompleted(self) -> None:
        """Who asked for a host name (SNI) is told that name: it is what the certificate holds, often without an address."""
        name = self.transport.getHandle().get_servername()
        if name is not None and name.isascii() and self._advertise is None:
            self.client.told = (name.decode(), self.client.told[1])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended = True
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        waiting, self._waiting = self._waiting, set()
        for deferred in waiting:
            deferred.cancel()
        self._chunks.clear()
        self._frames = None
        self._slots.clear()
        self._output.clear()
        self._closed(self)

    def _read_much(self) -> None:
        """Takes more from the socket at once: what comes now may be large."""
        if isinstance(self.transport, Connected):
            self.transport.bufferSize = RECEIVE

    @property
    def logged_in(self) -> bool:
        return self._login is None

    def abort(self, why: str) -> None:
        """Ends the connection at once; nothing that waits is sent any more."""
        if self._ended:
            return
        self._ended = True
        self.log.info("{host}: closed: {why}", host=self.client.host, why=why)
        self._output.clear()
        self.transport.abortConnection()

    def _timed_out(self) -> None:
        if not self.logged_in:
            self.abort("no login in time")
        elif self._slots or self._output:
            self._timeout = self.broker.reactor.callLater(self._caps.idle_seconds, self._timed_out)
        else:
            self.abort("idle")

    # In

    def dataReceived(self, data: bytes) -> None:
        if self._ended or self._ending:
            return
        self._chunks.append(data)
        if self.logged_in and self._timeout.active():
            self._timeout.reset(self._caps.idle_seconds)
        self._work()

    def _work(self) -> None:
        """Takes what has come, frame by frame, as long as there is room."""
        if self._working:
            return
        self._working = True
        try:
            while not self._ended and self._has_room():
                frame = self._next_frame()
                if frame is None:
                    break
                self._received(frame)
        except MalformedMessage as error:
            self.abort(str(error))
        finally:
            self._working = False
        self._pace()

    def _next_frame(self) -> memoryview | None:
        while True:
            if self._frames is None:
                if not self._chunks:
                    return None
                self._frames = self._reader.feed(self._chunks.popleft())
            frame = next(self._frames, None)
            if frame is not None:
                return frame
            self._frames = None

    def _has_room(self) -> bool:
        if self._ending or self._decoding:
            return False
        if not self.logged_in:
            return not self._slots and not self._output
        return (
            len(self._slots) < self._caps.in_flight
            and self._octets < self._caps.in_flight_octets
            and self._queued < self._caps.output
        )

    def _pace(self) -> None:
        """Reads from the socket only while there is room for what may come."""
        # one that ends is read on, and nothing of it kept: else nobody notices that the peer has left
        paused = not self._has_room() and not self._ended and not self._ending
        if paused != self._reading_paused:
            self._reading_paused = paused
            if paused:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _received(self, frame: memoryview) -> None:
        if self._login is not None and self._login.expects_token:
            self._token(frame)
            return
        try:
            header = decode_request_header(frame)
            api = APIS.get(header.api_key)
            if api is None or not api.first <= header.version <= api.last:
                raise UnsupportedVersion(header)
        except UnsupportedVersion as error:
            if error.header.api_key != API_VERSIONS:
                raise
            self._answer(self._new_slot(0), unsupported(), 0, error.header.correlation_id)
            return
        if not self.logged_in and header.api_key not in BEFORE_LOGIN:
            raise MalformedMessage(f"API {header.api_key} before the login")
        if header.api_key != PRODUCE and len(frame) > self._caps.others:
            raise MalformedMessage(f"a frame of {len(frame)} octets for API {header.api_key}")
        self.client.client_id = header.client_id
        slot = self._new_slot(len(frame))
        if len(frame) <= (LARGE_PRODUCE if header.api_key == PRODUCE else LARGE):
            self._perform(api, decode_request(frame, trailing=True), slot)
            return
        # many small things, perhaps: what follows waits until a thread has taken them apart
        self._decoding = True
        decoded = self.broker.in_thread(decode_request, frame, True)
        decoded.addCallback(self._decoded, api, slot).addErrback(self._undecoded)

    def _decoded(self, request: Request, api: Api, slot: _Slot) -> None:
        self._decoding = False
        if not self._ended:
            self._perform(api, request, slot)
            if not self._working:
                self._work()

    def _undecoded(self, failure: Failure) -> None:
        if failure.check(MalformedMessage) is None:
            self.log.failure("a request", failure=failure)
        self.abort(failure.getErrorMessage())

    def _perform(self, api: Api, request: Request, slot: _Slot) -> None:
        if self._login is not None and request.api_key != API_VERSIONS:
            answer = self._login.answer(self, request)
        elif request.api_key == API_VERSIONS:
            answer = api_versions(self.client, request)
        else:
            answer = api.perform(self.broker, self.client, request)
        if isinstance(answer, Deferred):
            self._waiting.add(answer)
            answer.addBoth(self._performed, answer, slot, request)
        else:
            self._answer(slot, answer, request.version, request.correlation_id)

    def _performed(self, result: Any, waited: Deferred[Any], slot: _Slot, request: Request) -> None:
        self._waiting.discard(waited)
        if self._ended:
            return
        if isinstance(result, Failure):
            self.log.failure("API {key}", failure=result, key=request.api_key)
            self.abort("an error of the broker")
            return
        self._answer(slot, result, request.version, request.correlation_id)

    def _token(self, frame: memoryview) -> None:
        """A SASL message without a header, as SaslHandshake v0 wants it."""
        slot = self._new_slot(0)
        login = self._login
        assert login is not None
        answer = login.token(self, bytes(frame))
        if answer is None:
            self.abort("login failed")
            return
        slot.parts = [len(answer).to_bytes(4, "big"), answer]
        self._flush_slots()

    def _new_slot(self, octets: int) -> _Slot:
        slot = _Slot(octets)
        self._slots.append(slot)
        self._octets += octets
        return slot

    def entered(self, principal: str) -> None:
        """The login succeeded."""
        self.client.principal = principal
        self._login = None
        self._read_much()
        self._reader.cap = max(self._caps.produce, self._caps.others)
        self._timeout.reset(self._caps.idle_seconds)

    def end_after_answer(self, why: str) -> None:
        """Nothing more is taken; when what was answered is sent the connection ends."""
        self.log.info("{host}: ends: {why}", host=self.client.host, why=why)
        self._ending = True

    # Out

    def _answer(self, slot: _Slot, response: Any, version: int, correlation_id: int) -> None:
        if response is None:
            slot.parts = []
        elif isinstance(response, list):
            slot.parts = response  # large ones come encoded
        else:
            slot.parts = list(encode_response_parts(response, version, correlation_id))
        self._flush_slots()

    def _flush_slots(self) -> None:
        """Hands over the answers that are next in order."""
        while self._slots and self._slots[0].parts is not None:
            slot = self._slots.popleft()
            self._octets -= slot.octets
            for part in slot.parts or ():
                self._output.append(part)
                self._queued += len(part)
        self._flush()
        if not self._working:
            self._work()

    def _flush(self) -> None:
        while self._output and not self._paused and not self._ended:
            self.transport.write(self._next_chunk())
        if self._ending and not self._closing and not self._output and not self._slots:
            self._closing = True
            self.transport.unregisterProducer()  # TLS waits for a producer before it closes
            self.transport.loseConnection()

    def _next_chunk(self) -> bytes:
        """The next octets to send, about `CHUNK` of them."""
        first = self._output[0]
        if isinstance(first, FileRange):
            data = self._from_file(first)
            self._queued -= len(data)
            return data
        parts: list[Buffer] = []
        size = 0
        while self._output and size < CHUNK:
            part = self._output[0]
            if isinstance(part, FileRange):
                if len(part) + size > CHUNK:
                    break
                data = self._from_file(part)
                parts.append(data)
                size += len(data)
                continue
            self._output.popleft()
            if size + len(part) > CHUNK and len(part) > 1:
                view = memoryview(part)
                taken = min(len(part), CHUNK - size)
                if taken < len(part):
                    self._output.appendleft(view[taken:])
                part = view[:taken]
            parts.append(part)
            size += len(part)
        self._queued -= size
        return b"".join(parts)

    def _from_file(self, part: FileRange) -> bytes:
        try:
            data = part.take(CHUNK)
        except OSError as error:
            self.abort(f"the log cannot be read: {error}")
            return b""
        if not part.size:
            self._output.popleft()
        return data

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._flush()
        self._work()

    def stopProducing(self) -> None:
        self._paused = True
