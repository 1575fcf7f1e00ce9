"""The lines of one WRITE: events up to the first that is refused, and the reply that ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eson.errors import EsonError, TryLater, Usage, WriteStopped
from eson.fnap.core import render
from eson.fnap.core.event_text import parse_event
from eson.fnap.core.lines import LineFault


class WriteBody:
    """Counts lines from 1.  After a refusal nothing more is given to it: what follows is dropped."""

    __slots__ = ("_line", "_refused")

    def __init__(self) -> None:
        self._line = 0
        self._refused: EsonError | None = None

    def event(self, line: bytes | LineFault) -> Mapping[str, Any]:
        """The event of the next line.  Raises `Usage` if it is none."""
        self._line += 1
        if isinstance(line, LineFault):
            raise Usage("lines end in CR LF" if line is LineFault.BARE_LINE_END else "too long")
        return parse_event(line)

    def refuse(self, why: EsonError) -> None:
        """The event of the last line is not taken."""
        self._refused = why

    def reply(self, count: int) -> bytes:
        """What WRITE is answered with when `count` events are synced."""
        why = self._refused
        if why is None:
            return f"220 OK {count}\r\n".encode()
        if isinstance(why, TryLater | WriteStopped):
            return render.line(f"451 {why.text}; {count} written")
        return render.line(f"501 Line {self._line}: {why.text}; {count} written")
