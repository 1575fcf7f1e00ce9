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

    __slots__ = ("_buffer", "_dropping", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        self._start = 0
        self._dropping = False

    def feed(self, data: bytes) -> None:
        """Takes more octets."""
        if self._start:
            self._buffer = self._buffer[self._start :]
            self._start = 0
        self._buffer = self._buffer + data if self._buffer else data

    def __len__(self) -> int:
        return len(self._buffer) - self._start

    def clear(self) -> None:
        """Forgets everything, a line that is being dropped included."""
        self._buffer = b""
        self._start = 0
        self._dropping = False

    def next_line(self, limit: int) -> bytes | LineFault | None:
        """The next line without CRLF, a fault, or None if there is no whole line yet."""
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", start)
        if end < 0:
            return self._unfinished(limit)
        line_end = end - 1
        carriage = buffer.find(b"\r", start, end)
        if carriage == line_end and end > start:
            self._start = end + 1
            if self._start == len(buffer):
                self._buffer, self._start = b"", 0
            if self._dropping:
                self._dropping = False
                return self.next_line(limit)
            return buffer[start:line_end] if line_end - start <= limit else LineFault.TOO_LONG
        # a bare LF, or a CR that no LF follows: what comes after it is a new line
        self._start = (carriage if carriage >= 0 else end) + 1
        if self._dropping:
            return self.next_line(limit)
        return LineFault.BARE_LINE_END

    def next_loose_line(self, limit: int) -> bytes | LineFault | None:
        """As `next_line`, but a bare LF ends a line too: only for bodies of servers that know no better."""
        buffer, start = self._buffer, self._start
        end = buffer.find(b"\n", start)
        if end < 0:
            return LineFault.TOO_LONG if len(buffer) - start > limit + 1 else None
        self._start = end + 1
        line = buffer[start:end].removesuffix(b"\r")
        return line if len(line) <= limit else LineFault.TOO_LONG

    def _unfinished(self, limit: int) -> LineFault | None:
        buffer, start = self._buffer, self._start
        carriage = buffer.find(b"\r", start)
        if 0 <= carriage < len(buffer) - 1:
            self._start = carriage + 1
            if self._dropping:
                return self._unfinished(limit)
            return LineFault.BARE_LINE_END
        if len(buffer) - start <= limit + 1:
            return None
        first = not self._dropping
        self._dropping = True
        self._buffer, self._start = (b"\r" if carriage >= 0 else b""), 0
        return LineFault.TOO_LONG if first else None
