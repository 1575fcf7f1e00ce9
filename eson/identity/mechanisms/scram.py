"""SCRAM-SHA-256 (RFC 5802, RFC 7677), server and client, without channel binding."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from eson.identity.mechanisms import AskVerifier, Challenge, Failed, MechanismError, ServerStep, Succeeded
from eson.identity.saslprep import saslprep
from eson.identity.verifier import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    PEOPLE_ITERATIONS,
    Verifier,
    hmac_sha256,
    salted_password,
)

NAME = "SCRAM-SHA-256"
MAX_MESSAGE = 4096
MAX_NAME = 255
"""Octets of a user name, as PLAIN has it (RFC 4616 section 2)."""


def decoy_verifier(username: str, secret: bytes, iterations: int = PEOPLE_ITERATIONS) -> Verifier:
    """What an unknown user is answered with: always the same salt, made from `secret`, and keys that fit nothing."""
    salt = hmac_sha256(secret, b"salt:" + username.encode())[:16]
    return Verifier(salt, iterations, hmac_sha256(secret, b"stored"), hmac_sha256(secret, b"server"))


class ScramServer:
    """One SCRAM-SHA-256 login; `plus_offered` tells a client that wrongly believes there is no channel binding.

    `doubled_nonce`: the last message may have the client's part of the nonce twice, as librdkafka before 2.6.1 sends it.
    The server's part is checked as ever, and nothing else is let through.
    """

    name = NAME
    __slots__ = (
        *("_authorisation", "_bare", "_client_nonce", "_count", "_decoy", "_doubled", "_found", "_gs2"),
        *("_known", "_nonce", "_plus", "_server_first", "_username"),
    )

    def __init__(
        self,
        decoy_secret: bytes,
        nonce: str | None = None,
        plus_offered: bool = False,
        iterations: int = PEOPLE_ITERATIONS,
        doubled_nonce: bool = False,
    ) -> None:
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._client_nonce, self._doubled = "", doubled_nonce
        self._decoy = decoy_secret
        self._count = iterations
        self._plus = plus_offered
        self._username = self._authorisation = self._gs2 = self._bare = self._server_first = ""
        self._found: Verifier | None = None
        self._known = False

    def respond(self, response: bytes | None) -> ServerStep:
        if response is None:
            return Challenge(b"")
        if len(response) > MAX_MESSAGE:
            return self._failed("message too long")
        try:
            message = response.decode("utf-8")
            return self._final(message) if self._server_first else self._first(message)
        except ValueError as error:
            return self._failed(str(error))

    def _first(self, message: str) -> ServerStep:
        flag, authorisation, bare = _split(message, 2)
        if flag.startswith("p="):
            raise ValueError("channel binding asked of a mechanism without it")
        if flag not in ("n", "y"):
            raise ValueError("GS2 flag")
        if flag == "y" and self._plus:
            raise ValueError("downgrade: the client supports channel binding and did not see it offered")
        if authorisation:
            if not authorisation.startswith("a="):
                raise ValueError("authorisation identity")
            self._authorisation = _unescape(authorisation[2:])
        fields = bare.split(",")
        if len(fields) < 2 or not fields[0].startswith("n=") or not fields[1].startswith("r="):
            raise ValueError("first message")
        client_nonce = fields[1][2:]
        if not client_nonce or not all(33 <= ord(c) <= 126 for c in client_nonce):
            raise ValueError("nonce")
        username = _unescape(fields[0][2:])
        if len(username.encode()) > MAX_NAME:
            raise ValueError("user name too long")
        self._username = saslprep(username)
        self._gs2, self._bare = f"{flag},{authorisation},", bare
        self._client_nonce, self._nonce = client_nonce, client_nonce + self._nonce
        if not self._username:
            raise ValueError("no user name")
        return AskVerifier(self._username)

    def verifier(self, found: Verifier | None) -> ServerStep:
        self._known = found is not None
        self._found = found or decoy_verifier(self._username, self._decoy, self._count)
        salt = base64.b64encode(self._found.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={self._found.iterations}"
        return Challenge(self._server_first.encode())

    def _final(self, message: str) -> ServerStep:
        without_proof, mark, proof_text = message.rpartition(",p=")
        fields = without_proof.split(",")
        if not mark or len(fields) < 2 or not fields[0].startswith("c="):
            raise ValueError("final message")
        proof = _decode(proof_text)
        binding = _decode(fields[0][2:])
        right = hmac.compare_digest(binding, self._gs2.encode())
        right &= self._is_nonce(fields[1])
        found = self._found
        if found is None or len(proof) != 32:
            raise ValueError("proof")
        signed = f"{self._bare},{self._server_first},{without_proof}".encode()
        signature = hmac_sha256(found.stored_key, signed)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        right &= hmac.compare_digest(hashlib.sha256(client_key).digest(), found.stored_key)
        server_signature = base64.b64encode(hmac_sha256(found.server_key, signed))
        if right and self._known:
            return Succeeded(self._username, self._authorisation, b"v=" + server_signature)
        return self._failed("wrong user or password")

    def _is_nonce(self, field: str) -> bool:
        right = hmac.compare_digest(field.encode(), f"r={self._nonce}".encode())
        twice = hmac.compare_digest(field.encode(), f"r={self._client_nonce}{self._nonce}".encode())
        return right or (self._doubled and twice)

    def checked(self, right: bool) -> ServerStep:
        return self._failed("asks for no password")

    def _failed(self, reason: str) -> Failed:
        return Failed(f"{NAME}: {reason}", self._username)


class ScramClient:
    """One SCRAM-SHA-256 login, client side; it refuses counts outside `MIN_ITERATIONS` to `max_iterations`."""

    name = NAME

    def __init__(
        self,
        username: str,
        password: str,
        authorisation: str = "",
        nonce: str | None = None,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self._password, self._max = password, max_iterations
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._gs2 = f"n,{'a=' + _escape(authorisation) if authorisation else ''},"
        self._bare = f"n={_escape(saslprep(username))},r={self._nonce}"
        self._signature: bytes | None = None
        self._finished = False

    def initial(self) -> bytes | None:
        return (self._gs2 + self._bare).encode()

    def answer(self, challenge: bytes) -> bytes:
        try:
            text = challenge.decode("utf-8")
            if self._signature is None:
                return self._proof(text)
            if not text.startswith("v=") or not hmac.compare_digest(_decode(text[2:]), self._signature):
                raise ValueError("the server did not prove that it knows the account")
        except ValueError as error:
            raise MechanismError(f"{NAME}: {error}") from None
        self._finished = True
        return b""

    def _proof(self, server_first: str) -> bytes:
        if server_first.startswith("e="):
            raise ValueError("the server refused")
        fields = dict(part.split("=", 1) for part in server_first.split(",") if "=" in part)
        nonce, salt = fields.get("r", ""), _decode(fields.get("s", ""))
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce) or not salt:
            raise ValueError("the server's nonce or salt is wrong")
        count_text = fields.get("i", "")
        count = int(count_text) if count_text.isdigit() and len(count_text) < 10 else 0
        if not MIN_ITERATIONS <= count <= self._max:
            raise ValueError(f"the server asks for {count_text[:20]} iterations")
        salted = salted_password(self._password, salt, count)
        client_key = hmac_sha256(salted, b"Client Key")
        without_proof = f"c={base64.b64encode(self._gs2.encode()).decode()},r={nonce}"
        signed = f"{self._bare},{server_first},{without_proof}".encode()
        signature = hmac_sha256(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._signature = hmac_sha256(hmac_sha256(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def finished(self) -> bool:
        return self._finished


def _split(message: str, commas: int) -> list[str]:
    parts = message.split(",", commas)
    if len(parts) != commas + 1:
        raise ValueError("too few parts")
    return parts


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("base64") from None


def _escape(text: str) -> str:
    return text.replace("=", "=3D").replace(",", "=2C")


def _unescape(text: str) -> str:
    if text.replace("=2C", "").replace("=3D", "").count("="):
        raise ValueError("an equals sign that is not escaped")
    return text.replace("=2C", ",").replace("=3D", "=")
