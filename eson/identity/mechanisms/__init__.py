"""SASL mechanisms as pure steps, server and client side (RFC 4422).

A server mechanism is fed the client's responses and answers with what to do next.  What it needs to know it asks
for: `AskVerifier` and `AskPassword` are answered by the session's shell, which may wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from eson.identity.verifier import Verifier


@dataclass(frozen=True)
class Challenge:
    """Send these octets and wait for a response."""

    data: bytes


@dataclass(frozen=True)
class AskVerifier:
    """Which verifier has `username`?  Answer with `ServerMechanism.verifier`."""

    username: str


@dataclass(frozen=True)
class AskPassword:
    """Is this the user's password?  Answer with `ServerMechanism.checked`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Succeeded:
    """The client is `username` ("" for ANONYMOUS) and wants to act as `authorisation` ("" for itself)."""

    username: str
    authorisation: str = ""
    final: bytes | None = None
    """What must still be sent in a last challenge, which the client answers with nothing."""


@dataclass(frozen=True)
class Failed:
    """The login failed; `reason` is for the operator's log only.  `username` as claimed, "" if unknown."""

    reason: str
    username: str = ""


ServerStep = Challenge | AskVerifier | AskPassword | Succeeded | Failed


class ServerMechanism(Protocol):
    """One login, server side."""

    @property
    def name(self) -> str: ...

    def respond(self, response: bytes | None) -> ServerStep:
        """The client's next response; None first if it sent no initial one."""

    def verifier(self, found: Verifier | None) -> ServerStep: ...

    def checked(self, right: bool) -> ServerStep: ...


class ClientMechanism(Protocol):
    """One login, client side."""

    @property
    def name(self) -> str: ...

    def initial(self) -> bytes | None:
        """The initial response, None if the mechanism has none."""

    def answer(self, challenge: bytes) -> bytes:
        """The response to a challenge.  Raises `MechanismError`."""

    def finished(self) -> bool:
        """Whether the server may say now that the login succeeded."""


class MechanismError(Exception):
    """The server broke the mechanism's rules or failed to prove itself: end the connection.  Retry: no."""
