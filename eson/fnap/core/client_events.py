"""What a client's session tells its shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ClientLimits:
    """What a server may make a client hold.  All in octets but `body_lines`."""

    line: int = 65536
    event: int = 4 << 20
    """Longest line of a READ: an event, and what READ adds to it."""
    body_lines: int = 200_000
    body: int = 32 << 20
    """Of a reply that is collected; READ hands its lines on and is bounded by its reader."""


@dataclass(frozen=True)
class Reply:
    """A final reply.  `lines`: the body's, if it had one; `text` is then that of the body's last line, `OK`."""

    code: int
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Greeted:
    """The server greeted; `hostname` is what it calls itself."""

    hostname: str


@dataclass(frozen=True)
class Hello:
    """The answer to EHLO: its words; None from a server that knows no EHLO."""

    words: tuple[str, ...] | None


@dataclass(frozen=True)
class BeginTls:
    """Start the handshake, then call `tls_started`."""


@dataclass(frozen=True)
class Challenged:
    """Compute the mechanism's answer, then call `respond`."""

    challenge: bytes


@dataclass(frozen=True)
class LoggedIn:
    pass


@dataclass(frozen=True)
class Answered:
    """The end of what was asked.  `had_body`: lines came before; with an error they are not all."""

    reply: Reply
    had_body: bool = False


@dataclass(frozen=True)
class BodyBegan:
    """The body of a READ begins."""


@dataclass(frozen=True)
class BodyLine:
    """A line of a READ."""

    line: bytes


@dataclass(frozen=True)
class GoAhead:
    """Events of a WRITE may be sent."""


@dataclass(frozen=True)
class ServerCloses:
    """A `421`: the server ends the session."""

    reply: Reply


@dataclass(frozen=True)
class Broken:
    """The server broke the protocol: drop the connection."""

    reason: str


Event = (
    Greeted
    | Hello
    | BeginTls
    | Challenged
    | LoggedIn
    | Answered
    | BodyBegan
    | BodyLine
    | GoAhead
    | ServerCloses
    | Broken
)
Events = Sequence[Event]
