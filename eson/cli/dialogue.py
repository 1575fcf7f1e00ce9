"""`fnua -d`: what is done and said, in the words of the draft (section 6.4), credentials as `***`."""

from __future__ import annotations

from typing import Literal, TextIO

from eson.cli.output import printable
from eson.fnap.core.client import SECRET


class DraftDialogue:
    """Writes to `out`: `line` what goes over the wire, `tell` what is done beside it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._command = ""

    def tell(self, text: str) -> None:
        self._out.write(f"{printable(text)}\n")
        self._out.flush()

    def line(self, direction: Literal["C", "S"], text: str) -> None:
        """One line, sent (`C`) or received (`S`); the session has masked what is secret."""
        if direction == "S":
            self._received(text)
        elif text in (SECRET, ""):
            self.tell(f"C: Authentication string sent: {text}")
        else:
            self._command = text
            if text.startswith("AUTHENTICATE "):
                self.tell(f"Authenticating with {text.split()[1]} mechanism")
            self.tell(f"C: Sending command {text}")
            if SECRET not in text:
                self.tell(f"C: Wrote ({len(text.encode()) + 2} bytes written)")

    def _received(self, text: str) -> None:
        done = text == "220 OK" or text.startswith("220 OK ")
        if done and not self._command.startswith("AUTHENTICATE"):
            self.tell(f"C: Server sent OK for command {self._command}{text[6:] and ':'}{text[6:]}")
        else:
            self.tell(f"C: Got a response: {text}")
            if text.startswith("220 ") and text.rstrip().endswith(" FNAA"):
                self.tell("Connected to FNAA")
