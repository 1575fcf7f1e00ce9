"""The state directory: one agent at a time, and where it listens."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from typing import Any

from eson.config import Places
from eson.errors import EsonError
from eson.identity.own_certificate import write_public


class StateError(EsonError):
    """The state directory cannot be used; the text says why and what to do.  Retry: after that."""


class StateDirectory:
    """Holds the directory's lock from `take` to `release`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock: int | None = None

    def take(self) -> None:
        """Makes the directory if it is missing.  Raises `StateError` if it cannot be written or another agent has it."""
        places = self._places
        try:
            places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(
                f"The state directory {places.state} cannot be written: {error.strerror}. "
                f"Make it and give it to the user that the agent runs as (chown), or change `state:`"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise StateError(
                f"Another agent (pid {holder}) runs in {places.state}. Stop it, or give this one a `state:` of its own"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock
        self.forget_listeners()

    def release(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def tell_listeners(self, listeners: Mapping[str, Any]) -> None:
        """Writes `listeners.json`, whole or not at all.  Raises `StateError`."""
        text = json.dumps({"pid": os.getpid(), **listeners}) + "\n"
        try:
            write_public(self._places.listeners, text)
        except OSError as error:
            raise StateError(
                f"{self._places.listeners} cannot be written: {error.strerror}. Free space, or mend the directory"
            ) from None

    def forget_listeners(self) -> None:
        self._places.listeners.unlink(missing_ok=True)
