"""One connection to a broker: frames in and out without a copy, answers in order, a deadline for each.

Whatever a peer sends, memory is bounded by what arrived and by one cap for a frame, and every end has a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from eson.brokers.kafka.wire.apis import RESPONSES
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import decode_response, encode_request_parts
from eson.processors.child.trouble import Failing, Silent, Trouble, Unreachable

CONTROL_CAP = 4 << 20
"""Octets of a frame that is not the answer to a Fetch."""
MOST_ELEMENTS = 100_000
"""Of all lists of an answer: a queue of ten thousand partitions has fewer."""
TIMEOUT = 30.0
SLOWEST = 16384
"""Octets a second that an answer must make beyond its deadline."""
_START = 64 << 10
_MOST_PARTS = 512
_CHECK = 5.0
_LARGE = 1 << 20
_LENGTH = struct.Struct(">i")

Answer = Callable[[memoryview], None]
Parts = Sequence[bytes | bytearray | memoryview]


class Connection:
    """An open socket.  `name` says in reasons whom it leads to; `lost` is called once, with the reason it ended."""

    def __init__(self, sock: socket.socket, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.versions: dict[int, tuple[int, int]] = {}
        self.lifetime: float | None = None
        """Seconds for which the login holds, from its moment on; None without an end."""
        self.lost: Callable[[Trouble], None] | None = None
        self.trouble: Trouble | None = None
        self.cap = CONTROL_CAP
        self.round_trip = math.inf
        """Seconds that the quickest answer took."""
        self._sock, self._loop, self._fd = sock, loop, sock.fileno()
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._buffer = bytearray(_START)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._waiting: deque[tuple[int, float, float, Answer]] = deque()
        self._unsent: deque[memoryview] = deque()
        self._correlation = 0
        self._low = 1
        self._futures: set[asyncio.Future[Any]] = set()
        loop.add_reader(self._fd, self._readable)
        self._timer = loop.call_later(_CHECK, self._check)

    # Asking

    async def ask(self, request: Any, version: int | None = None) -> Any:
        """Sends a request in the newest version that both sides know, or in `version`, and waits for the answer.

        Raises `Unreachable` (also for APIs that the broker lacks) and `Failing`.
        """
        key = request.API_KEY
        chosen = self.version(key, request.max_version) if version is None else version
        if chosen is None:
            raise Unreachable(f"{self.name} does not offer {type(request).__name__}")
        future: asyncio.Future[Any] = self._loop.create_future()

        def answered(frame: memoryview) -> None:
            if not future.done():
                future.set_result(decode_response(RESPONSES[key], chosen, frame, MOST_ELEMENTS))

        self.send(encode_request_parts(request, chosen, self.next_correlation()), answered)
        self.ends(future)
        return await future

    def version(self, key: int, newest: int, oldest: int = 0) -> int | None:
        """The newest version of an API that both sides know, None if there is none."""
        low, high = self.versions.get(key, (0, -1))
        chosen = min(high, newest)
        return chosen if chosen >= max(low, oldest) else None

    def next_correlation(self) -> int:
        self._correlation = (self._correlation + 1) & 0x7FFFFFFF
        return self._correlation

    def send(self, parts: Parts, answered: Answer, timeout: float = TIMEOUT) -> None:
        """Sends a whole frame whose correlation id is the one last taken; `answered` gets the answer's frame.

        The view that `answered` gets holds until it returns, or on and on after `detach`.
        """
        if self.trouble is not None:
            return
        now = self._loop.time()
        self._waiting.append((self._correlation, now, now + timeout, answered))
        if self._tls:
            parts = (b"".join(parts),)
        if self._unsent:
            self._unsent.extend(memoryview(part) for part in parts)
        else:
            self._write(parts)

    @property
    def waiting(self) -> int:
        """How many answers are due."""
        return len(self._waiting)

    @property
    def arriving(self) -> bool:
        """Whether a part of an answer is here."""
        return self._filled > 0

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    def detach(self, replacement: bytearray | None = None) -> bytearray:
        """Called by an `answered`: the memory of its frame is the caller's now.

        `replacement` is memory for the next frames, which nothing looks at any more.
        """
        buffer, view, filled = self._buffer, self._view, self._filled
        (length,) = _LENGTH.unpack_from(buffer)
        rest = view[4 + length : filled]
        if replacement is None or len(replacement) < len(rest):
            replacement = bytearray(max(_START, len(rest)))
        self._buffer, self._view = replacement, memoryview(replacement)
        self._view[: len(rest)] = rest
        self._filled = len(rest)
        return buffer

    # Socket

    def _write(self, parts: Parts) -> None:
        at, count, sent = 0, len(parts), 0
        try:
            while at < count:
                some, sent = parts[at : at + _MOST_PARTS], 0
                sent = self._sock.send(some[0]) if self._tls else self._sock.sendmsg(some)
                for part in some:
                    size = len(part)
                    if sent < size:
                        raise BlockingIOError
                    sent -= size
                    at += 1
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._unsent.append(memoryview(parts[at])[sent:])
            self._unsent.extend(memoryview(part) for part in parts[at + 1 :])
            self._loop.add_writer(self._fd, self._writable)
        except OSError as error:
            self.close(Unreachable(f"{self.name}: {_text(error)}"))

    def _writable(self) -> None:
        parts = tuple(self._unsent)
        self._unsent.clear()
        self._loop.remove_writer(self._fd)
        self._write(parts)

    def _readable(self) -> None:
        try:
            while True:
                if self._filled == len(self._buffer):
                    self._grow()
                taken = self._sock.recv_into(self._view[self._filled :])
                if not taken:
                    self.close(Unreachable(f"{self.name} closed the connection"))
                    return
                self._filled += taken
                if self._filled >= 4:
                    self._frames()
                if not self._tls or self.trouble is not None:
                    return
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except MalformedMessage as error:
            self.close(Failing(f"{self.name} breaks Kafka's protocol: {error}"))
        except OSError as error:
            self.close(Unreachable(f"{self.name}: {_text(error)}"))
        except Trouble as trouble:  # what awaited the answer cannot use it
            self.close(trouble)

    def _grow(self) -> None:
        """Memory for the whole frame under way, in steps of what arrived: a claim alone costs nothing."""
        (length,) = _LENGTH.unpack_from(self._buffer)
        larger = bytearray(min(4 + length, 4 * len(self._buffer)))
        larger[: self._filled] = self._view[: self._filled]
        self._buffer, self._view = larger, memoryview(larger)

    def _frames(self) -> None:
        while self._filled >= 4:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 4 <= length <= self.cap:
                raise MalformedMessage(f"a frame of {length} octets, allowed are {self.cap}")
            end = 4 + length
            if self._filled < end:
                self._wait_for(end - self._filled)
                return
            buffer = self._buffer
            self._answered(self._view[4:end])
            if self.trouble is not None:
                return
            if self._low > 1:
                self._wait_for(1)
            if self._buffer is not buffer:
                continue
            rest = self._filled - end
            self._view[:rest] = self._view[end : self._filled]
            self._filled = rest

    def _wait_for(self, missing: int) -> None:
        """Wakes for a large part of a large frame, not for each packet.  Never for more than is certain to come."""
        low = min(missing, _LARGE)
        if low != self._low and not self._tls and (low == _LARGE or self._low > low):
            self._low = low
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low)

    def _answered(self, frame: memoryview) -> None:
        if not self._waiting:
            raise MalformedMessage("an answer that nobody asked for")
        correlation, sent, _, answered = self._waiting.popleft()
        (got,) = _LENGTH.unpack_from(frame)
        if got != correlation:
            raise MalformedMessage(f"the answer to request {got}, awaited is that to {correlation}")
        self.round_trip = min(self.round_trip, self._loop.time() - sent)
        answered(frame)

    def _check(self) -> None:
        self._timer = self._loop.call_later(_CHECK, self._check)
        if self._low > 1:  # what trickles in counts as well
            self._readable()
        if self._waiting and self._loop.time() > self._waiting[0][2] + self._filled / SLOWEST:
            self.close(Silent(f"{self.name} does not answer"))

    # End

    def ends(self, future: asyncio.Future[Any]) -> None:
        if self.trouble is not None:
            if not future.done():
                future.set_exception(self.trouble)
            return
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def close(self, trouble: Trouble | None = None) -> None:
        """Closes; whoever waits for an answer gets `trouble`.  Idempotent."""
        if self.trouble is not None:
            return
        self.trouble = trouble or Unreachable(f"{self.name}: closed here")
        self._timer.cancel()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError):
            self._sock.close()
        self._waiting.clear()
        self._unsent.clear()
        # whoever remembers the trouble remembers this connection, but not its megabytes
        self._buffer, self._view, self._filled = bytearray(), memoryview(b""), 0
        for future in list(self._futures):
            if not future.done():
                future.set_exception(self.trouble)
        if self.lost is not None and trouble is not None:
            self.lost(trouble)


def _text(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).strip()
