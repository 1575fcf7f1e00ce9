"""Octets into lines.  Only CRLF ends a line; limits count octets without it (interface section 4)."""

from __future__ import annotations

import enum


class LineFault(enum.Enum):
    """What can be wrong with a line before it is read; the value is the reply."""

    BARE_LINE_END = "501 Lines end in CR LF (openssl s_client: add -crlf -quiet)"
    TOO_LONG = "500 Line too long"


class LineBuffer:
    """Takes octets in any pieces and gives lines.

    A line that is too long is dropped up to its end, so that at most `limit` octets and one piece are held.
    """

    __slots__ = ("_buffer", "_dropping", "_start", "_tail")

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0
        self._dropping = False
        self._tail: bytearray | None = None
        """What came behind `_buffer` and ends no line: it grows without being copied for each small piece."""

    def feed(self, data: bytes) -> None:
        """Takes more octets."""
        buffer = self._buffer
        if buffer and b"\n" not in data and b"\r" not in data and buffer[-1] != 13:
            if self._tail is None:
                self._tail = bytearray()
            self._tail += data
            return
        if self._start:
            buffer = buffer[self._start :]
            self._start = 0
        if self._tail is not None:
            buffer += self._tail
            self._tail = None
        self._buffer = buffer + data if buffer else data

    def __len__(self) -> int:
        return len(self._buffer) - self._start + len(self._tail or b"")

    def clear(self) -> None:
        """Forgets everything, a line that is being dropped included."""
        self._buffer = b""
        self._start = 0
        self._dropping = False
        self._tail = None

    def next_line(self, limit: int) -> bytes | LineFault | None:
        """The next line without CRLF, a fault, or None if there is no whole line yet."""
        if self._dropping and not self._drop():
            return None
        buffer, start = self._buffer, self._start
        feed = buffer.find(b"\n", start)
        carriage = buffer.find(b"\r", start, feed if feed >= 0 else len(buffer))
        end = carriage if carriage >= 0 else feed
        if (end - start if end >= 0 else len(self)) > limit:
            self._dropping = True
            if end >= 0:
                self._consume(end)
            else:
                self._drop()
            return LineFault.TOO_LONG
        if end < 0 or carriage == len(buffer) - 1:
            return None
        if carriage >= 0 and feed == carriage + 1:
            self._consume(feed + 1)
            return buffer[start:carriage]
        # a bare LF, or a CR that no LF follows: what comes after it is a new line
        self._consume(end + 1)
        return LineFault.BARE_LINE_END

    def _drop(self) -> bool:
        """Forgets the rest of a line that is too long; whether its end was found."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", self._start)
        if end < 0:
            self._buffer, self._start, self._tail = (b"\r" if buffer[-1:] == b"\r" else b""), 0, None
            return False
        self._dropping = False
        self._consume(end + 2)
        return True

    def next_loose_line(self, limit: int) -> bytes | LineFault | None:
        """As `next_line`, but a bare LF ends a line too: only for bodies of servers that know no better."""
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", start)
        if end < 0:
            return LineFault.TOO_LONG if len(self) > limit + 1 else None
        self._consume(end + 1)
        line = buffer[start:end].removesuffix(b"\r")
        return line if len(line) <= limit else LineFault.TOO_LONG

    def _consume(self, end: int) -> None:
        """Lets go of everything before `end`."""
        if end < len(self._buffer):
            self._start = end
        else:
            self._buffer, self._start = bytes(self._tail or b""), 0
            self._tail = None
