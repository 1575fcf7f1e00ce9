"""Frames: a length of four octets in network order, then so many octets.  Sans I/O."""

from __future__ import annotations

from collections.abc import Iterator

from eson.brokers.kafka.wire.malformed import MalformedMessage

PREFIX = 4


class FrameReader:
    """Cuts a stream of octets into frames of at most `cap` octets, prefix not counted.

    A length that is negative or above the cap is refused before anything of its frame is kept, and what a peer only
    claims costs nothing: memory grows with what arrived.  Frames are writable memoryviews of memory of their own.
    """

    __slots__ = ("_body", "_cap", "_head", "_missing")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._head = b""
        self._body = bytearray()
        self._missing = 0

    @property
    def cap(self) -> int:
        return self._cap

    @cap.setter
    def cap(self, octets: int) -> None:
        """Holds from the next frame on: a server raises it after the login."""
        self._cap = octets

    @property
    def buffered(self) -> int:
        """Octets that are kept of a frame that is not complete."""
        return len(self._head) + len(self._body)

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Yields each frame that is complete with `data`; consume the iterator.  Raises `MalformedMessage`.

        After an error the stream cannot be cut any more: close the connection.
        """
        view, pos, end = memoryview(data), 0, len(data)
        while pos < end:
            if not self._missing:
                pos = self._read_head(data, pos)
                if len(self._head) < PREFIX:
                    return
                self._missing = self._length()
                if self._missing:
                    continue
            else:
                taken = min(self._missing, end - pos)
                self._body += view[pos : pos + taken]
                pos += taken
                self._missing -= taken
            if not self._missing:
                frame, self._body, self._head = self._body, bytearray(), b""
                yield memoryview(frame)

    def _read_head(self, data: bytes, pos: int) -> int:
        taken = data[pos : pos + PREFIX - len(self._head)]
        self._head += taken
        return pos + len(taken)

    def _length(self) -> int:
        length = int.from_bytes(self._head, "big", signed=True)
        if not 0 <= length <= self._cap:
            raise MalformedMessage(f"a frame of {length} octets, allowed are {self._cap}")
        return length
