"""A certificate of the agent's own CA, kept in files and made anew before it ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from eson.identity.certificates import SERVER_LIFE, KeyPair, make_ca, make_certificate
from eson.identity.keys import KeyFileError

RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class OwnCertificate:
    """Paths of PEM files: the CA that clients must trust, the agent's chain, and its key."""

    ca: Path
    certificate: Path
    key: Path


def own_certificate(
    directory: Path,
    names: Sequence[str],
    addresses: Sequence[str],
    life: timedelta = SERVER_LIFE,
    now: datetime | None = None,
) -> OwnCertificate:
    """The files in `directory`, made or made anew if they are missing, end soon, or are for other names.

    Raises `KeyFileError`.
    """
    paths = OwnCertificate(directory / "ca.pem", directory / "agent.pem", directory / "agent.key")
    when = now or datetime.now(UTC)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = _ca(paths.ca, directory / "ca.key", when)
        if not _serves(paths, ca, names, addresses, when):
            made = make_certificate(ca, names, addresses, when, life)
            write_private(paths.key, made.key)
            write_public(paths.certificate, made.certificate)
    except OSError as error:
        raise KeyFileError(
            f"{error.filename} cannot be read or made: {error.strerror}. "
            "It must belong to the user that the agent runs as"
        ) from None
    except ValueError as error:
        raise KeyFileError(
            f"The agent's own CA in {directory} cannot be used: {error}. Restore it from a backup, or move "
            "ca.pem and ca.key away for a new one"
        ) from None
    return paths


def _ca(certificate: Path, key: Path, now: datetime) -> KeyPair:
    if certificate.exists() and key.exists():
        return KeyPair(certificate.read_text("ascii"), key.read_text("ascii"))
    made = make_ca(now=now)
    write_private(key, made.key)
    write_public(certificate, made.certificate)
    return made


def _serves(
    paths: OwnCertificate, ca: KeyPair, names: Sequence[str], addresses: Sequence[str], now: datetime
) -> bool:
    """Whether the agent's certificate is whole, of this CA, for these names, and does not end soon."""
    try:
        chain = paths.certificate.read_text("ascii")
        key = load_pem_private_key(paths.key.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(chain.encode())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return (
        chain.endswith(ca.certificate)
        and key.public_key().public_bytes(*spki) == certificate.public_key().public_bytes(*spki)
        and set(found.get_values_for_type(x509.DNSName)) == set(names)
        and {str(ip) for ip in found.get_values_for_type(x509.IPAddress)} == set(addresses)
        and certificate.not_valid_after_utc - now > RENEW_BEFORE
    )


def write_private(path: Path, text: str) -> None:
    """Replaces a file, whole or not at all; only its owner can read it.  Raises `OSError`."""
    _write(path, text, 0o600)


def write_public(path: Path, text: str) -> None:
    """As `write_private`, for everybody to read."""
    _write(path, text, 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
