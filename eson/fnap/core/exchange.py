"""A SASL exchange as FNAP frames it: the server's last word goes in a challenge that the client answers with nothing."""

from __future__ import annotations

from dataclasses import replace

from eson.identity.mechanisms import Challenge, Failed, ServerMechanism, ServerStep, Succeeded
from eson.identity.verifier import Verifier


class Exchange:
    """A mechanism whose success has nothing left to send."""

    __slots__ = ("_mechanism", "_proven")

    def __init__(self, mechanism: ServerMechanism) -> None:
        self._mechanism = mechanism
        self._proven: Succeeded | None = None

    @property
    def name(self) -> str:
        return self._mechanism.name

    def respond(self, response: bytes | None) -> ServerStep:
        if self._proven is None:
            return self._step(self._mechanism.respond(response))
        if response:
            return Failed("the answer to the server's proof is not empty", self._proven.username)
        return self._proven

    def verifier(self, found: Verifier | None) -> ServerStep:
        return self._step(self._mechanism.verifier(found))

    def checked(self, right: bool) -> ServerStep:
        return self._step(self._mechanism.checked(right))

    def _step(self, step: ServerStep) -> ServerStep:
        if not isinstance(step, Succeeded) or step.final is None:
            return step
        self._proven = replace(step, final=None)
        return Challenge(step.final)
