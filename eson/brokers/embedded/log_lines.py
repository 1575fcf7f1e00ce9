"""The child's log on its way to the parent's: one JSON line an event, so that level and line breaks survive the pipe.

The time is the parent's: the child writes none.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import InvalidLogLevelError, LogEvent, LogLevel, eventAsText

MAX_TEXT = 8000
"""Characters of an event that are kept, a traceback included."""
_CHATTER = ("log_legacy", "twisted.python.log")


def dump(event: LogEvent) -> str | None:
    """The line of an event, None for one without text: a `FileLogObserver`'s format."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not text:
        return None
    return json.dumps({"level": _level(event).name, "text": text[:MAX_TEXT]}) + "\n"


def _level(event: LogEvent) -> Any:
    """Twisted's older parts tell of ports and factories without meaning much by it."""
    if event.get("log_namespace") in _CHATTER and not event.get("isError"):
        return LogLevel.debug
    level = event.get("log_level")
    return level if level is not None else LogLevel.info


def parse(line: bytes) -> tuple[LogLevel, str]:
    """Undoes `dump`.  What did not come from there, such as an interpreter's last words, is a warning."""
    try:
        said = json.loads(line)
        return LogLevel.levelWithName(said["level"]), str(said["text"])
    except (ValueError, KeyError, TypeError, InvalidLogLevelError):
        return LogLevel.warn, line[:MAX_TEXT].decode("utf-8", "replace")
