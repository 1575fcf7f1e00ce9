"""What a source lost stands in the audit log: once, also after the agent was started again."""

from __future__ import annotations

import asyncio
from typing import Any

from eson.agent.audit import Audit
from eson.agent.clock import SystemClock
from eson.agent.gaps import Gaps
from eson.processors.port import ProcessorStatus
from eson.store.memory import MemoryStore

ID = "ksdj898.time.flows.unix.ar"


def run(work: Any) -> Any:
    return asyncio.run(work)


def status(*gaps: tuple[int, int, int]) -> ProcessorStatus:
    return ProcessorStatus(ID, "bridge", "running", gaps=gaps)


def test_each_gap_is_written_down_once() -> None:
    store = MemoryStore()
    for _ in range(2):
        gaps = Gaps(store, Audit(SystemClock()))
        for seen in ((), ((0, 3, 9),), ((0, 3, 9), (1, 0, 0)), ((0, 3, 9), (1, 0, 0))):
            run(gaps.note(status(*seen)))
    entries = run(store.audit())
    assert [(one.actor, one.act, one.object, one.outcome, one.detail) for one in entries] == [
        ("agent", "miss events", ID, "failed", "partition 0: offsets 3 to 9"),
        ("agent", "miss events", ID, "failed", "partition 1: offsets 0 to 0"),
    ]


def test_what_is_missing_is_counted_from_what_was_written_down() -> None:
    """Also what the process has forgotten, and after the agent was started again."""
    store = MemoryStore()
    gaps = Gaps(store, Audit(SystemClock()))
    assert gaps.missing(ID) is None
    run(gaps.note(status((0, 3, 9), (1, 0, 0))))
    assert gaps.missing(ID) == 8
    run(gaps.note(status((2, 5, 6))))
    assert gaps.missing(ID) == 10
    again = Gaps(store, Audit(SystemClock()))
    run(again.note(status((2, 5, 6))))
    assert again.missing(ID) == 10
