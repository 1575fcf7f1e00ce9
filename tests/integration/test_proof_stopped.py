"""A processor's process is stopped for a while (SIGSTOP), and a successor is started meanwhile.

Five seconds by default; `ESON_STOP_SECONDS=60` (`make kill-test`) is longer than all that waits for an answer.  That the
supervisor kills a process that hangs before it starts another is in `test_supervised_bridge.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.comparing import assert_same
from servers.kafka import Kafka
from servers.kafka_topics import Feed, Topics, bridge
from servers.processor import ProcessorChild

from eson.processors.core.journal import parse

SECONDS = float(os.environ.get("ESON_STOP_SECONDS", "5"))
EVENTS = 6000
pytestmark = pytest.mark.timeout(300 + 4 * SECONDS)


@dataclass
class Stopped:
    """A bridge whose process was stopped while it carried."""

    topics: Topics
    folder: Path
    children: list[ProcessorChild]

    def __post_init__(self) -> None:
        self.source, self.copy = self.topics.create("source", 2), self.topics.create("copy", 2)
        self.order = bridge(self.topics.end(self.source), self.topics.end(self.copy))
        self.journal = self.folder / self.order.id
        self.first = self.begin(self.journal)
        self.first.wait_ready()
        self.feed = Feed(self.topics, self.source, EVENTS, SECONDS + 3, partitions=2)
        self.first.wait_records(100)
        self.first.process.send_signal(signal.SIGSTOP)

    def begin(self, journal: Path) -> ProcessorChild:
        child = ProcessorChild(self.order, journal)
        self.children.append(child)
        return child

    def wake(self) -> None:
        self.first.process.send_signal(signal.SIGCONT)


def test_a_successor_of_a_stopped_process(
    kafka: Kafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """On its journal, which a process that is stopped still holds; and, as on another machine, on a copy of it."""
    same, other = (Stopped(Topics(kafka.bootstrap()), tmp_path, children) for _ in range(2))
    began = time.monotonic()
    waiting = same.begin(same.journal)
    moved = other.begin(Path(shutil.copy(other.journal, tmp_path / "moved")))

    reason = waiting.wait(lambda report: report.HasField("unreachable")).unreachable.reason
    assert "another process still holds the journal" in reason
    moved.wait_ready()
    held = same.topics.ends(same.copy)
    moved.wait_records(EVENTS // 4)
    time.sleep(max(0.0, began + SECONDS - time.monotonic()))
    assert same.topics.ends(same.copy) == held, "whoever does not hold the journal carries nothing"

    for one in (same, other):
        one.wake()
    for one in (same, other):
        one.feed.join()
        assert_same(one.topics, one.source, one.topics, one.copy)
    assert not any(report.HasField("ready") for report in waiting.reports)

    same.first.kill()
    waiting.wait_ready()
    for one in (same, other):
        one.topics.fill(one.source, 200, 10_000, partitions=2)
        assert_same(one.topics, one.source, one.topics, one.copy)
    assert parse(same.journal.read_bytes()).lanes[0].gaps == []
