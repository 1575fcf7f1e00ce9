"""The sample event log."""

from __future__ import annotations

import io
import json

from eson.admin.sample_events import sample_events, write_sample


def test_the_sample_is_the_same_each_time_and_in_order() -> None:
    """Ids are unique, times rise, and a seed fixes everything."""
    events = list(sample_events(500))
    assert events == list(sample_events(500))
    assert events != list(sample_events(500, seed=2))
    assert len({event["id"] for event in events}) == 500
    times = [event["time"] for event in events]
    assert times == sorted(times)


def test_each_line_is_one_json_object() -> None:
    """The file is what WRITE takes: one CloudEvent a line."""
    out = io.StringIO()
    write_sample(out, 20)
    lines = out.getvalue().splitlines()
    assert len(lines) == 20
    assert all(json.loads(line)["specversion"] == "1.0" for line in lines)
