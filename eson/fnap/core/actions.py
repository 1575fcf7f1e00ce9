"""What a server's session asks of its shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eson.fnap.core import commands as c
from eson.identity.mechanisms import AskPassword, AskVerifier


@dataclass(frozen=True)
class BeginTls:
    """Send the reply, then start the handshake; end the session if anything is buffered behind the command."""


@dataclass(frozen=True)
class Authorise:
    """May `username` act as `authorisation`?  Answer with `authorised`."""

    username: str
    authorisation: str
    mechanism: str


@dataclass(frozen=True)
class LoginFailed:
    """For the log and the throttle; `reason` never reaches the peer."""

    username: str
    mechanism: str
    reason: str


@dataclass(frozen=True)
class Execute:
    """Answer with `answered`."""

    command: c.AgentCommand


@dataclass(frozen=True)
class OpenReader:
    """Answer with `reading` or `answered` (an error)."""

    command: c.Read


@dataclass(frozen=True)
class StopReading:
    """The client ended FOLLOW: close the reader, then answer with `read_ended`."""


@dataclass(frozen=True)
class OpenWriter:
    """Answer with `writing` or `answered` (an error)."""

    command: c.Write


@dataclass(frozen=True)
class WriteEvent:
    """One CloudEvent of a WRITE.  If it is refused, call `event_refused`."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class FinishWriting:
    """Wait until all is synced; answer with `written` or `answered` (an error)."""


@dataclass(frozen=True)
class Close:
    """End the connection when all was sent; `outcome` names why, for the counters."""

    outcome: str


Action = (
    bytes
    | BeginTls
    | AskVerifier
    | AskPassword
    | Authorise
    | LoginFailed
    | Execute
    | OpenReader
    | StopReading
    | OpenWriter
    | WriteEvent
    | FinishWriting
    | Close
)
Actions = Sequence[Action]
