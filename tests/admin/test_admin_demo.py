"""What the demo decides and shows, without its participants."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from eson.admin.demo.events import Digest, EventsError, load
from eson.admin.demo.keeping import how_to_go_on
from eson.admin.demo.narrator import Narrator
from eson.admin.demo.play import tells
from eson.admin.demo.stage import Stage
from eson.config.loading import load as load_config

EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def digest(*events: dict[str, object]) -> Digest:
    found = Digest()
    found.add(json.dumps(event).encode() for event in events)
    return found


def test_a_digest_ignores_what_reading_adds_and_nothing_else() -> None:
    """Offsets differ on both sides; order, data and attributes may not."""
    other = {**EVENT, "id": "2"}
    assert digest(EVENT, other) == digest({**EVENT, "esonoffset": 7, "esonpartition": 0}, other)
    assert digest(EVENT, other) != digest(other, EVENT)
    assert digest(EVENT) != digest({**EVENT, "data": 1})
    assert digest(EVENT) != digest(EVENT, EVENT)


def test_a_file_of_events_is_checked_before_anything_starts(tmp_path: Path) -> None:
    """A fault names its line and what to write instead."""
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps(EVENT) + "\n\n" + json.dumps({**EVENT, "id": "2"}) + "\n")
    assert [event["id"] for event in load(path, 0)] == ["1", "2"]
    for bad, why in (("no json", "is no JSON"), ("[1]", "is no JSON object"), ('{"id": "1"}', "source")):
        path.write_text(json.dumps(EVENT) + f"\n{bad}\n")
        with pytest.raises(EventsError, match=f"events.jsonl:2: .*{why}"):
            load(path, 0)
    path.write_text("")
    with pytest.raises(EventsError, match="is empty"):
        load(path, 0)
    with pytest.raises(EventsError, match="cannot be read"):
        load(tmp_path / "missing", 0)


def test_where_there_is_no_terminal_progress_is_plain_lines() -> None:
    out = io.StringIO()
    narrator = Narrator(Console(file=out, width=80))
    narrator.wire("unix.ar", "S", "x" * 200)
    narrator.wire("unix.ar", "S", "250 noise", important=False)
    with narrator.carrying(100) as carriage:
        for arrived in range(0, 101, 10):
            carriage.moved(written=100, arrived=arrived)
    text = out.getvalue()
    assert "\x1b" not in text
    assert "noise" not in text
    assert "100 of 100 arrived, lag 0" in text
    assert text.count("arrived") == 4


def test_only_lines_that_say_something_are_shown() -> None:
    """SCRAM ends with an empty line, which would stand there as a bare `C:`."""
    said = ["220 fnaa.unix.ar FNAA", "DESCRIBE FLOW time.flows.unix.ar", "flow=time.flows.unix.ar", "220 OK"]
    noise = ["", "EHLO", "250-STARTTLS", "334 ***", "***", "354 Send events, end with .", '{"id":"1"}']
    assert [line for line in [*said, *noise] if tells(line)] == said


def test_both_configurations_are_valid(tmp_path: Path) -> None:
    """What the demo writes, the agent reads without a fault; secrets are for their owner alone."""
    stage = Stage(tmp_path / "stage")
    stage.write()
    for one in stage.both:
        config = load_config(one.directory / "eson.yaml")
        assert config.participant == one.domain
        assert all(not path.stat().st_mode & 0o077 for path in one.directory.glob("*.password"))
        assert yaml.safe_load((one.directory / "fnua.yaml").read_text())["default"] == one.domain
    assert str(stage.provider.ports["names"]) in how_to_go_on(stage)
    stage.remove()
    assert not stage.directory.exists()
