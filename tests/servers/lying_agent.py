"""An agent that answers what a test tells it to, however wrong that is."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from eson.identity.tls import ServerTls

Answer = bytes | Callable[[str], bytes]
GREETING = b"220 fnaa.unix.ar FNAA\r\n"
HONEST: Mapping[str, Answer] = {
    "EHLO": b"250-fnaa.unix.ar\r\n250-STARTTLS\r\n250-AUTH PLAIN ANONYMOUS\r\n250 FORMAT JSON\r\n",
    "STARTTLS": b"220 Ready to start TLS\r\n",
    "AUTHENTICATE": b"220 Authenticated\r\n",
    "FORMAT": b"220 OK\r\n",
    "QUIT": b"220 Bye\r\n",
}


class _Talk(LineReceiver):
    """One connection.  An answer is found by the longest beginning of the line that has one."""

    factory: LyingAgent
    MAX_LENGTH = 1 << 20

    def connectionMade(self) -> None:
        self.factory.connections += 1
        self.factory.open.append(self)
        self.transport.write(self.factory.greeting)

    def lineReceived(self, line: bytes) -> None:
        said = line.decode()
        self.factory.heard.append(said)
        fitting = [begin for begin in self.factory.answers if said.startswith(begin)]
        answer = self.factory.answers[max(fitting, key=len)] if fitting else b"500 Unknown command\r\n"
        self.transport.write(answer(said) if callable(answer) else answer)
        if said == "STARTTLS" and self.factory.tls is not None:
            self.transport.startTLS(self.factory.tls)
        if said == "QUIT":
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open.remove(self)


class LyingAgent(Factory):
    """`answers`: what a line that begins so is answered with, on top of `HONEST`; `heard`: all lines that came."""

    protocol = _Talk
    noisy = False

    def __init__(self, answers: Mapping[str, Answer] = {}, greeting: bytes = GREETING) -> None:
        self.answers: dict[str, Answer] = {**HONEST, **answers}
        self.greeting = greeting
        self.heard: list[str] = []
        self.open: list[Any] = []
        self.connections = 0
        self.tls: ServerTls | None = None

    def over_tls(self, certificate: tuple[Path, Path]) -> TLSMemoryBIOFactory:
        """The factory that speaks TLS from the first byte."""
        return TLSMemoryBIOFactory(ServerTls(*certificate), False, self)

    def with_starttls(self, certificate: tuple[Path, Path]) -> LyingAgent:
        self.tls = ServerTls(*certificate)
        return self

    def sasl(self) -> list[bytes]:
        """The SASL messages that came with AUTHENTICATE, decoded."""
        found = [line.split() for line in self.heard if line.startswith("AUTHENTICATE ")]
        return [base64.b64decode(words[2]) for words in found if len(words) == 3]


def body(*lines: str) -> bytes:
    """A whole reply with these lines as its body."""
    return "".join(f"{line}\r\n" for line in ("220 DATA", *lines, "220 OK")).encode()
