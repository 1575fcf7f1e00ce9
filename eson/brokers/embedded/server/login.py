"""SaslHandshake and SaslAuthenticate: SCRAM-SHA-256 by ESON's own mechanism, which answers unknown users like known."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from eson.brokers.embedded.server.client import Broker
from eson.brokers.kafka.wire.apis import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request
from eson.identity.mechanisms import AskVerifier, Challenge, ServerStep, Succeeded
from eson.identity.mechanisms.scram import NAME, ScramServer
from eson.identity.verifier import ISSUED_ITERATIONS

HANDSHAKE, AUTHENTICATE = int(SaslHandshakeRequest.API_KEY), int(SaslAuthenticateRequest.API_KEY)
_FAILED = (
    "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
)


class Entering(Protocol):
    """What a login needs of its connection."""

    def entered(self, principal: str) -> None: ...

    def end_after_answer(self, why: str) -> None:
        """Refuses everything from now on, and closes when what was answered is sent."""


class Login:
    """The login of one connection.  It gives one try: after a failure the connection ends."""

    log = Logger()

    def __init__(self, broker: Broker, decoy_secret: bytes, host: str = "") -> None:
        self._broker, self._secret = broker, decoy_secret
        self._scram: ScramServer | None = None
        self.expects_token = False

    def answer(self, connection: Entering, request: Request) -> Any:
        """The answer to SaslHandshake or SaslAuthenticate."""
        if request.api_key == HANDSHAKE:
            return self._handshake(connection, request)
        response = SaslAuthenticateResponse(
            version=request.version, error_code=0, error_message=None, auth_bytes=b"", session_lifetime_ms=0
        )
        if self._scram is None:
            response.error_code = ErrorCode.ILLEGAL_SASL_STATE
            response.error_message = "SaslAuthenticate request received before SaslHandshake"
            connection.end_after_answer("SaslAuthenticate before SaslHandshake")
            return response
        answer = self._step(connection, request.body.auth_bytes)
        if answer is None:
            response.error_code, response.error_message = ErrorCode.SASL_AUTHENTICATION_FAILED, _FAILED
        else:
            response.auth_bytes = answer
        return response

    def token(self, connection: Entering, message: bytes) -> bytes | None:
        """The answer to a message without a header; None if the login failed."""
        return self._step(connection, message)

    def _handshake(self, connection: Entering, request: Request) -> Any:
        response = SaslHandshakeResponse(version=request.version, error_code=0, mechanisms=[NAME])
        if self._scram is not None:
            response.error_code, response.mechanisms = ErrorCode.ILLEGAL_SASL_STATE, []
            connection.end_after_answer("a second SaslHandshake")
        elif request.body.mechanism != NAME:
            response.error_code = ErrorCode.UNSUPPORTED_SASL_MECHANISM
            connection.end_after_answer("a mechanism that is not offered")
        else:
            # users of a broker have issued credentials: another count would tell who is none
            self._scram = ScramServer(self._secret, iterations=ISSUED_ITERATIONS, doubled_nonce=True)
            self.expects_token = request.version == 0
        return response

    def _step(self, connection: Entering, message: bytes) -> bytes | None:
        assert self._scram is not None
        step: ServerStep = self._scram.respond(message)
        if isinstance(step, AskVerifier):
            step = self._scram.verifier(self._broker.verifier(step.username))
        if isinstance(step, Challenge):
            return step.data
        if isinstance(step, Succeeded):
            if step.authorisation in ("", step.username):
                connection.entered(f"User:{step.username}")
                return step.final or b""
            connection.end_after_answer("login as somebody else")
            return None
        connection.end_after_answer(f"login refused: {getattr(step, 'reason', '')}")
        return None
