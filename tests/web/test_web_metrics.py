"""Metrics and health, asked over HTTP in memory."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.testing import StringTransport

from eson.brokers.port import Access
from eson.processors.memory import MemoryProcessors
from eson.processors.port import STATES, ProcessorEnd, ProcessorOrder
from eson.web.metrics import Observed, metrics_site

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
END = ProcessorEnd(Access(()), "q", "f.example.org")


def order(id: str) -> ProcessorOrder:
    return ProcessorOrder(id, "bridge", (END,), (END,))


@pytest.fixture
def processors() -> MemoryProcessors:
    found = MemoryProcessors()
    for id in ("a.f.example.org", "b.f.example.org"):
        asyncio.run(found.create(order(id)))
    return found


def get(
    path: str, processors: MemoryProcessors, failing: tuple[str, ...] = (), **gaps: Any
) -> tuple[int, str]:
    missing: dict[str, int] = gaps.get("missing", {})
    site = metrics_site(
        Observed(
            processors,
            lambda id: missing.get(id),
            lambda: 3,
            lambda: {"quit": 5, "gone": 1},
            lambda: {"udp": 7},
            lambda: failing,
        )
    )
    site.timeOut = None
    channel = site.buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = transport.value().decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset(pairs.items())


def test_what_a_processor_says_is_what_metrics_show(processors: MemoryProcessors) -> None:
    """Lag, rate, last event, restarts and missing records of each; states counted, also those that nobody is in."""
    when = datetime(2026, 11, 16, tzinfo=UTC)
    processors.change("a.f.example.org", lag=12, rate=3.5, last_event=when, restarts=2, gaps=((0, 15, 19),))
    status, text = get("/metrics", processors, missing={"a.f.example.org": 10})
    found = samples(text)
    mine = labels(processor="a.f.example.org", kind="bridge")
    assert status == 200
    assert found["eson_processor_lag_records", mine] == 12
    assert found["eson_processor_records_per_second", mine] == 3.5
    assert found["eson_processor_last_event_timestamp_seconds", mine] == when.timestamp()
    assert found["eson_processor_restarts_total", mine] == 2
    assert found["eson_processor_missing_records_total", mine] == 10
    assert found["eson_processors", labels(state="running")] == 2
    assert found["eson_processors", labels(state="failing")] == 0


def test_a_counter_of_missing_records_never_begins_anew(processors: MemoryProcessors) -> None:
    """No sample before it is known, rather than a zero behind which all would be counted again."""
    name, mine = "eson_processor_missing_records_total", labels(processor="a.f.example.org", kind="bridge")
    assert (name, mine) not in samples(get("/metrics", processors)[1])
    processors.change("a.f.example.org", lag=0)
    assert samples(get("/metrics", processors)[1])[name, mine] == 0
    processors.change("a.f.example.org", gaps=((0, 15, 19),))
    assert (name, mine) not in samples(get("/metrics", processors)[1]), "not read yet"
    assert samples(get("/metrics", processors, missing={"a.f.example.org": 10})[1])[name, mine] == 10


def test_an_alarm_can_name_who_fails(processors: MemoryProcessors) -> None:
    """Each processor has a sample for every state, of which one is 1: none vanishes while an alarm looks at it."""
    processors.change("b.f.example.org", state="failing", last_error="its disk is full")
    _, text = get("/metrics", processors)
    said = {
        (pairs["processor"], pairs["state"]): value
        for (name, of), value in samples(text).items()
        if name == "eson_processor_state"
        for pairs in [dict(of)]
    }
    assert len(said) == 2 * len(STATES)
    assert {who for who, value in said.items() if value} == {
        ("a.f.example.org", "running"),
        ("b.f.example.org", "failing"),
    }
    assert "disk" not in text, "an error is text without end, which no label may be"


def test_the_metrics_on_the_operators_page_are_those_that_are_exported(processors: MemoryProcessors) -> None:
    """Under their whole names, with what a counter's name ends with."""
    processors.change(
        "a.f.example.org", lag=1, gaps=(), rate=1.0, last_event=datetime(2026, 11, 16, tzinfo=UTC)
    )
    exported = {name for name, _ in samples(get("/metrics", processors)[1])}
    assert exported == set(re.findall(r"\beson_\w+", PAGE.read_text()))


def test_a_lag_that_nobody_knows_is_not_shown_as_none(processors: MemoryProcessors) -> None:
    """No sample rather than a zero that would be a lie."""
    _, text = get("/metrics", processors)
    assert not any(name == "eson_processor_lag_records" for name, _ in samples(text))


def test_sessions_and_queries_are_counted(processors: MemoryProcessors) -> None:
    found = samples(get("/metrics", processors)[1])
    assert found["eson_sessions", labels()] == 3
    assert found["eson_sessions_ended_total", labels(outcome="quit")] == 5
    assert found["eson_names_answers_total", labels(transport="udp")] == 7


@pytest.mark.parametrize(
    ("change", "broken", "status", "failing"),
    [
        ({}, (), 200, []),
        ({"state": "failing"}, (), 503, ["processor b.f.example.org"]),
        ({"state": "unreachable"}, ("broker local",), 503, ["broker local"]),
    ],
)
def test_health_names_what_fails(
    processors: MemoryProcessors,
    change: dict[str, Any],
    broken: tuple[str, ...],
    status: int,
    failing: list[str],
) -> None:
    """200 while nothing fails; a peer that cannot be reached is not our failure."""
    processors.change("b.f.example.org", **change)
    answer, text = get("/health", processors, broken)
    assert (answer, json.loads(text)) == (status, {"healthy": not failing, "failing": failing})


def test_nothing_else_is_there(processors: MemoryProcessors) -> None:
    assert get("/", processors)[0] == 404
