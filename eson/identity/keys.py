"""Secret keys that the agent makes for itself and keeps in files of its own."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from eson.errors import EsonError

OCTETS = 32


class KeyFileError(EsonError):
    """A key file cannot be read, made or trusted; the text says what to do.  Retry: after that was done."""


def secret_key(path: Path) -> bytes:
    """The 32 octets in `path`, made at random, for the owner alone, if the file is missing.  Raises `KeyFileError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} is a key, and others can read it. Run: chmod 600 {path}")
        key = path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read or made: {error.strerror}. It must belong to the user that the agent runs as"
        ) from None
    if len(key) != OCTETS:
        raise KeyFileError(f"{path} does not hold {OCTETS} octets. Restore it from a backup")
    return key


def _make(path: Path) -> None:
    """Whole or not at all; who comes second takes the first one's."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(OCTETS))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
