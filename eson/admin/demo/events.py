"""The events of the demo: from the user's file or our sample, and the digest that both sides must share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eson.admin.sample_events import sample_events
from eson.errors import EsonError, Usage
from eson.model.events import READ_ATTRIBUTES, record_of


class EventsError(EsonError):
    """The file given with --events cannot be used; the text names the line.  Retry: after mending it."""


def load(path: Path | None, count: int) -> list[dict[str, Any]]:
    """All events of a file of JSON lines, or `count` of the sample.  Raises `EventsError`."""
    if path is None:
        return list(sample_events(count))
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EventsError(
            f"{path} cannot be read: {error}. Give a file of CloudEvents, one JSON object a line"
        ) from None
    events = [_event(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not events:
        raise EventsError(f"{path} is empty. Give a file of CloudEvents, one JSON object a line")
    return events


def _event(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if not isinstance(event, dict):
            raise Usage("is no JSON object")
        record_of(event, "binary")
    except ValueError:
        raise EventsError(f"{path}:{number}: is no JSON. Write one CloudEvent a line") from None
    except Usage as error:
        raise EventsError(f"{path}:{number}: {error.text}. Write one CloudEvent a line") from None
    return event


def as_written(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what reading adds to it."""
    return {key: value for key, value in event.items() if key not in READ_ATTRIBUTES}


class Digest:
    """Count and SHA-256 of events in their order, whatever reading added."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.count += 1
            event = as_written(json.loads(line))
            self._hash.update(json.dumps(event, sort_keys=True, separators=(",", ":")).encode() + b"\n")

    def __str__(self) -> str:
        return self._hash.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digest):
            return NotImplemented
        return (self.count, str(self)) == (other.count, str(other))

    __hash__ = None  # type: ignore[assignment]  # it changes
