"""The log's forms and levels."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from eson.config.values import Log
from eson.tap.logs import observer, open_log


def written(log: Log, *events: tuple[str, str, dict[str, Any]]) -> str:
    out = io.StringIO()
    publisher = LogPublisher(observer(log, out))
    for namespace, level, more in events:
        getattr(Logger(namespace, observer=publisher), level)("{what} happened", **more)
    return out.getvalue()


def test_text_shows_level_and_room() -> None:
    text = written(Log(), ("eson.agent", "warn", {"what": "something"}))
    assert text.endswith(" [eson.agent#warn] something happened\n")


def test_json_is_one_object_a_line() -> None:
    text = written(Log(format="json"), ("eson.agent", "warn", {"what": "ä\nb"}))
    assert text.count("\n") == 1
    event = json.loads(text)
    assert list(event) == ["time", "level", "system", "message"]
    assert (event["level"], event["system"], event["message"]) == ("warn", "eson.agent", "ä\nb happened")
    assert event["time"].endswith("Z")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "sign", ["\x1b[2J", "\r", "\x00", "\x7f", "\x9b2J", "\u202e", "\u2066", "\u200b", "\u2028"]
)
def test_what_steers_a_terminal_or_hides_is_shown(form: Any, sign: str) -> None:
    text = written(Log(format=form), ("eson.agent", "warn", {"what": f"a{sign}b ñ"}))
    assert sign not in text
    assert f"a\\u{ord(sign[0]):04x}" in text or f"a{json.dumps(sign)[1:-1]}b" in text
    assert "ñ happened" in text
    if form == "json":
        assert json.loads(text)["message"] == f"a{sign}b ñ happened"


def test_json_shows_where_a_failure_came_from() -> None:
    try:
        raise ValueError("lost")
    except ValueError:
        failure = Failure()
    event = json.loads(
        written(Log(format="json"), ("eson", "critical", {"what": "it", "log_failure": failure}))
    )
    assert "ValueError: lost" in event["traceback"]
    assert event["level"] == "critical"


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", 5), ("info", 4), ("warn", 3), ("error", 2), ("critical", 1)],
)
def test_what_is_below_the_level_is_left_out(level: Any, shown: int) -> None:
    levels = ("debug", "info", "warn", "error", "critical")
    text = written(Log(level=level), *(("eson", one, {"what": one}) for one in levels))
    assert len(text.splitlines()) == shown


@pytest.mark.parametrize("level", ["debug", "info"])
def test_chatter_of_old_code_is_only_for_debugging(level: Any) -> None:
    out = io.StringIO()
    publisher = LogPublisher(observer(Log(level=level), out))
    for more in ({}, {"isError": 1}):
        Logger("log_legacy", observer=publisher).info("Factory starting on 80", **more)
    assert len(out.getvalue().splitlines()) == (2 if level == "debug" else 1)


@pytest.fixture
def no_usr1() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_the_log_goes_where_twistd_would_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_usr1: None
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_log("-", nodaemon=True) is sys.stdout
    assert open_log("", nodaemon=True) is sys.stdout
    for name, told in (("twistd.log", ""), ("mine.log", "mine.log")):
        file = open_log(told, nodaemon=False)
        file.write("line\n")
        file.close()
        assert (tmp_path / name).read_text() == "line\n"
    assert callable(signal.getsignal(signal.SIGUSR1)), "SIGUSR1 rotates"
