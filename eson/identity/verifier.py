"""Verifiers of passwords: what SCRAM-SHA-256 keeps instead of a password (RFC 5802 section 3, RFC 7677)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from eson.identity.saslprep import saslprep

PEOPLE_ITERATIONS = 210_000
ISSUED_ITERATIONS = 4_096
"""For long random passwords that were issued: stretching adds nothing to them."""
MIN_ITERATIONS, MAX_ITERATIONS = 4_096, 2_000_000
"""At the most it is somebody else who sets them: a client may be kept busy for less than a second."""
BROKERS_ITERATIONS = 100_000
"""At most for a broker, whose clients compute in their loop.  Kafka itself takes no more than 16,384."""
_SCHEME = "SCRAM-SHA-256"
_NONCE = 12


@dataclass(frozen=True)
class Verifier:
    """Salt, count, StoredKey and ServerKey (32 octets each); the password cannot be had from it."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the parts in base64."""
        salt, stored, server = (
            base64.b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{_SCHEME}${self.iterations}:{salt}${stored}:{server}"


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """Hi() of RFC 5802.  Blocks for its iterations.  Raises `ValueError` for a password that SASLprep refuses."""
    return hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)


def make_verifier(password: str, iterations: int = PEOPLE_ITERATIONS, salt: bytes | None = None) -> Verifier:
    """A verifier of `password`.  Blocks for its iterations: about 40 ms for people's."""
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = salted_password(password, salt, iterations)
    client_key = hmac_sha256(salted, b"Client Key")
    return Verifier(salt, iterations, hashlib.sha256(client_key).digest(), hmac_sha256(salted, b"Server Key"))


def check_password(verifier: Verifier, password: str) -> bool:
    """Whether `password` is the verified one, in constant time.  Blocks for the verifier's iterations."""
    try:
        salted = salted_password(password, verifier.salt, verifier.iterations)
    except ValueError:
        hashlib.pbkdf2_hmac("sha256", b"", verifier.salt, verifier.iterations)
        return False
    client_key = hmac_sha256(salted, b"Client Key")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)


def parse_verifier(text: str) -> Verifier:
    """Reads what `str` gives.  Raises `ValueError`."""
    try:
        scheme, count_salt, keys = text.split("$")
        count, salt = count_salt.split(":")
        stored, server = keys.split(":")
        parts = [base64.b64decode(part, validate=True) for part in (salt, stored, server)]
        iterations = int(count)
    except (ValueError, binascii.Error):
        raise ValueError("is no verifier") from None
    if scheme != _SCHEME or not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError("is no verifier of SCRAM-SHA-256 with a count that is allowed")
    if len(parts[1]) != 32 or len(parts[2]) != 32 or not parts[0]:
        raise ValueError("is no verifier: its keys have a wrong length")
    return Verifier(parts[0], iterations, parts[1], parts[2])


def seal(secret: bytes, key: bytes, label: str) -> bytes:
    """Encrypts what is at rest (AES-256-GCM, `key` of 32 octets); `label` says where it belongs and is authenticated."""
    # here, not above: 8 MB that a processor, which logs in and seals nothing, does without
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, secret, label.encode())


def unseal(sealed: bytes, key: bytes, label: str) -> bytes:
    """Undoes `seal`.  Raises `ValueError` for a wrong key, another label or changed octets."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], label.encode())
    except (InvalidTag, ValueError):
        raise ValueError("cannot be decrypted with this key") from None
