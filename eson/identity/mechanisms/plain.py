"""PLAIN (RFC 4616): authorisation identity NUL user NUL password, only where nobody listens."""

from __future__ import annotations

from eson.identity.mechanisms import AskPassword, Challenge, Failed, ServerStep, Succeeded
from eson.identity.saslprep import saslprep
from eson.identity.verifier import Verifier

MAX_PART = 255


class PlainServer:
    """One PLAIN login.  The empty challenge asks for the message."""

    name = "PLAIN"
    __slots__ = ("_authorisation", "_username")

    def __init__(self) -> None:
        self._username = self._authorisation = ""

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Failed("PLAIN: not three parts")
        if not parts[1] or not parts[2] or max(map(len, parts)) > MAX_PART:
            return Failed("PLAIN: a part is empty or too long")
        try:
            authorisation, username, password = (part.decode("utf-8") for part in parts)
            self._username, self._authorisation = saslprep(username), authorisation
        except ValueError:
            return Failed("PLAIN: not UTF-8 or prohibited characters")
        return AskPassword(self._username, password)

    def verifier(self, found: Verifier | None) -> ServerStep:
        return Failed("PLAIN: asks for no verifier", self._username)

    def checked(self, right: bool) -> ServerStep:
        if right:
            return Succeeded(self._username, self._authorisation)
        return Failed("wrong user or password", self._username)


class PlainClient:
    """Sends everything in the initial response.  Raises `ValueError` for a NUL, which PLAIN cannot carry."""

    name = "PLAIN"

    def __init__(self, username: str, password: str, authorisation: str = "") -> None:
        if "\0" in authorisation + username + password:
            raise ValueError("holds a NUL")
        self._message = b"\0".join(part.encode() for part in (authorisation, username, password))

    def initial(self) -> bytes | None:
        return self._message

    def answer(self, challenge: bytes) -> bytes:
        return self._message

    def finished(self) -> bool:
        return True
