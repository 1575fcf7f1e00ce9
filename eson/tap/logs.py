"""The log: text for people or a JSON object a line, from a level on."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.logfile import LogFile

from eson.config.values import Log

DAEMONS_FILE = "twistd.log"
_CHATTER = ("log_legacy", "twisted.python.log")


def observer(log: Log, out: TextIO) -> Any:
    """An `ILogObserver` that writes events to `out` as the configuration says."""
    writer: Any = FileLogObserver(out, text_lines) if log.format == "text" else json_observer(out)
    by_level: Any = LogLevelFilterPredicate(LogLevel.levelWithName(log.level))
    predicates: list[Any] = [by_level]
    if log.level != "debug":
        predicates.insert(0, no_chatter)
    return FilteringLogObserver(writer, predicates)


def no_chatter(event: LogEvent) -> Any:
    """Twisted's older parts tell of each port that opens and of each page that is fetched, without a level."""
    if event.get("log_namespace") in _CHATTER and not event.get("isError"):
        return PredicateResult.no
    return PredicateResult.maybe


def text_lines(event: LogEvent) -> str | None:
    """What Twisted shows, a line or more; None for an event without text."""
    text = formatEventAsClassicLogText(event)
    return None if text is None else _escaped(text)


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def _escaped(text: str) -> str:
    """What peers and children said must not steer a terminal or reorder a line: it is shown as JSON would write it."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def json_observer(out: TextIO) -> FileLogObserver:
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `system`, `message`, and `traceback` where there is one."""
    return FileLogObserver(out, lambda event: json_line(event) + "\n")


def json_line(event: LogEvent) -> str:
    when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    level = event.get("log_level")
    shown: dict[str, Any] = {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": getattr(level, "name", "info"),
        "system": str(event.get("log_namespace") or event.get("log_system") or "-"),
        "message": formatEvent(event),
    }
    if "log_failure" in event:
        shown["traceback"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return _escaped(json.dumps(shown, ensure_ascii=False))


def open_log(logfile: str, nodaemon: bool) -> TextIO:
    """Where twistd would write: stdout, or a file that SIGUSR1 rotates."""
    if logfile == "-" or (nodaemon and not logfile):
        return sys.stdout
    path = Path(logfile or DAEMONS_FILE).absolute()
    file: Any = LogFile.fromFullPath(str(path))
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, _rotate_with(file.rotate))
    return file  # type: ignore[no-any-return]


def _rotate_with(rotate: Callable[[], None]) -> Callable[[int, Any], None]:
    def received(_number: int, _frame: Any) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(rotate)

    return received
