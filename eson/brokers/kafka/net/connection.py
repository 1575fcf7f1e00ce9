"""One connection to one server of a broker: requests out, responses in, in order, each with its deadline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from eson.brokers.kafka.failures import Unreachable
from eson.brokers.kafka.wire.apis import response_class, schema_versions
from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import decode_response, encode_request, response_correlation_id

FRAME_CAP = 64 * 1024 * 1024
MAX_CORRELATION = 0x7FFFFFFF
CLIENT_ID = "eson"

NEWEST = {0: 13, 1: 13, 2: 7, 3: 12, 9: 7, 10: 3, 16: 4, 18: 3, 20: 5, 22: 4}
"""The newest version of an API that ESON speaks, by key, where that is not the newest with a schema.

Produce and Fetch by topic id; ListOffsets, Metadata, OffsetFetch and FindCoordinator for one group; DeleteTopics
by name; InitProducerId without two-phase commit.
"""


@dataclass
class _Pending:
    correlation_id: int
    api_key: int
    version: int
    deadline: Any
    answer: Deferred[Any] = field(default_factory=Deferred)


class KafkaConnection(Protocol):
    """An open connection.  `versions` (API key → first, last) is filled by `net.opening`.

    A response that does not come in time ends the connection, because the ones behind it would not come either.
    """

    def __init__(self, clock: Any, name: str, frame_cap: int = FRAME_CAP) -> None:
        self.name = name
        self.versions: dict[int, tuple[int, int]] = {}
        self.expires: float | None = None
        """When (by `clock`) the login should be made again, on another connection."""
        self._clock = clock
        self._frames = FrameReader(frame_cap)
        self._pending: deque[_Pending] = deque()
        self._correlation_id = 0
        self._lost: Unreachable | None = None
        self._retiring = False

    @property
    def usable(self) -> bool:
        """Whether new requests may be sent."""
        expired = self.expires is not None and self._clock.seconds() >= self.expires
        return self._lost is None and not self._retiring and not expired

    async def request(self, request: Any, timeout: float = 30.0, version: int | None = None) -> Any:
        """Sends `request` and waits for the response.  Raises `Unreachable`, also after `timeout` seconds."""
        answer = self.send(request, timeout, version)
        return await answer

    def send(self, request: Any, timeout: float = 30.0, version: int | None = None) -> Deferred[Any]:
        """As `request`; what is sent leaves in the order of the calls.  Whoever cancels does without the response."""
        if version is None:
            version = self.version(request)
        if self._lost is not None:
            raise self._lost
        self._correlation_id = (self._correlation_id + 1) & MAX_CORRELATION
        frame = encode_request(request, version, self._correlation_id, CLIENT_ID)
        deadline = self._clock.callLater(timeout, self._end, f"no answer within {timeout:g} s")
        pending = _Pending(self._correlation_id, request.API_KEY, version, deadline)
        self._pending.append(pending)
        self._write(frame)
        return pending.answer

    def version(self, request: Any) -> int:
        """The newest version of `request`'s API that both sides speak.  Raises `Unreachable` if there is none."""
        key = request.API_KEY
        low, high = schema_versions(key)
        first, last = self.versions.get(key, (0, -1))
        version = min(high, last, NEWEST.get(key, high))
        if version < max(low, first):
            raise Unreachable(f"Broker {self.name} does not speak {type(request).__name__}", api=key)
        return int(version)

    def retire(self) -> None:
        """Closes when the last response came; no new request is accepted by `usable`."""
        self._retiring = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        self._end("closed")

    # Twisted

    def connectionMade(self) -> None:
        # requests are whole when they are written: one that waits for the peer's acknowledgement loses 40 ms
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        if self._lost is not None:
            return
        try:
            for frame in self._frames.feed(data):
                self._response(frame)
        except MalformedMessage as error:
            self._end(f"breaks Kafka's protocol: {error}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason.getErrorMessage())

    def _write(self, frame: bytes) -> None:
        transport: Any = self.transport
        transport.write(frame)

    def _response(self, frame: memoryview) -> None:
        if not self._pending:
            raise MalformedMessage("a response that nobody asked for")
        pending = self._pending[0]
        if response_correlation_id(frame) != pending.correlation_id:
            raise MalformedMessage("a response out of order")
        response = decode_response(response_class(pending.api_key), pending.version, frame)
        self._pending.popleft()
        pending.deadline.cancel()
        if not pending.answer.called:
            pending.answer.callback(response)
        if self._retiring and not self._pending:
            self.close()

    def _end(self, why: str) -> None:
        if self._lost is not None:
            return
        self._lost = Unreachable(f"Broker {self.name} cannot be reached", why=why)
        if self.transport is not None:
            self.transport.abortConnection()
        pending, self._pending = self._pending, deque()
        for one in pending:
            if one.deadline.active():
                one.deadline.cancel()
            if not one.answer.called:
                one.answer.errback(Failure(self._lost))
