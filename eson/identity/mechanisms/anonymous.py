"""ANONYMOUS (RFC 4505): a stranger with at most a trace."""

from __future__ import annotations

from eson.identity.mechanisms import Challenge, Failed, ServerStep, Succeeded
from eson.identity.verifier import Verifier

MAX_TRACE = 255


class AnonymousServer:
    name = "ANONYMOUS"
    __slots__ = ()

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"")
        try:
            trace = response.decode("utf-8")
        except ValueError:
            return Failed("ANONYMOUS: the trace is not UTF-8")
        if len(trace) > MAX_TRACE:
            return Failed("ANONYMOUS: the trace is longer than 255 characters")
        return Succeeded("")

    def verifier(self, found: Verifier | None) -> ServerStep:
        return Failed("ANONYMOUS: asks for no verifier")

    def checked(self, right: bool) -> ServerStep:
        return Failed("ANONYMOUS: asks for no password")


class AnonymousClient:
    name = "ANONYMOUS"

    def __init__(self, trace: str = "") -> None:
        self._trace = trace.encode()[:MAX_TRACE]

    def initial(self) -> bytes | None:
        return self._trace

    def answer(self, challenge: bytes) -> bytes:
        return self._trace

    def finished(self) -> bool:
        return True
