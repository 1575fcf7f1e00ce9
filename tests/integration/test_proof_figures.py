"""Figures that are promised, measured on a real Kafka: how soon a killed processor carries again, and what memory it takes.

Short by default, with bounds that another program on the machine does not break; `ESON_RECOVERIES=100 ESON_MILLIONS=10`
(`make kill-test`) measures and demands what is promised.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from servers.kafka import Kafka
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from bench.kafkas import Load, feed, fill
from eson.processors.child.fetcher import FETCH_BYTES
from eson.processors.core import processor_pb2 as pb
from eson.processors.launcher import SpawnLauncher
from eson.processors.supervisor import Supervisor

RECOVERIES = int(os.environ.get("ESON_RECOVERIES", "3"))
MILLIONS = float(os.environ.get("ESON_MILLIONS", "1"))
BETWEEN = 0.005
"""Seconds between two events: the measurement is as fine as that."""
PATIENCE = 10.0
RECOVERED = 1.0 if RECOVERIES >= 20 else 5.0
"""Seconds in which the 99th percentile of the killed carry again."""
MOST_PRIVATE = 60 << 10
MOST_MORE = 2 * FETCH_BYTES >> 10
"""Kilobytes by which all events may take more than their first half: memory comes and goes by whole answers."""
pytestmark = pytest.mark.timeout(300 + 10 * RECOVERIES + 60 * MILLIONS)


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap())


class Clockwork:
    """Writes the time into a flow every few milliseconds, and hears when it arrives in a copy."""

    def __init__(self, topics: Topics, source: str, copy: str) -> None:
        self._producer = topics.producer(**{"linger.ms": 0})
        self._source = source
        self._consumer = topics.consumer(**{"fetch.wait.max.ms": 50, "enable.partition.eof": False})
        self._consumer.assign([TopicPartition(copy, 0, 0)])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._ended.wait(BETWEEN):
            self._producer.produce(self._source, b"%.6f" % time.monotonic(), partition=0)
            self._producer.poll(0)

    def arrival(self, after: float) -> float:
        """When the first event arrived that was written after that moment."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._consumer.poll(0.1)
            if message is not None and not message.error() and float(message.value()) > after:
                return time.monotonic()
        raise AssertionError(f"nothing arrived within {PATIENCE:.0f} s")

    def __enter__(self) -> Clockwork:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._consumer.close()


def test_how_soon_a_killed_processor_carries_again(
    topics: Topics, reactor_thread: Any, in_reactor: Callable[..., Any], tmp_path: Path
) -> None:
    """Under its supervisor, from `kill -9` to the first event that was written later and arrived."""
    supervisor = Supervisor(reactor_thread, SpawnLauncher(reactor_thread), tmp_path / "journals")
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order = bridge(topics.end(source), topics.end(copy))
    seconds = []
    in_reactor(supervisor.start)
    try:
        in_reactor(supervisor.create, order)
        with Clockwork(topics, source, copy) as clockwork:
            for _ in range(RECOVERIES):
                clockwork.arrival(time.monotonic())
                time.sleep(
                    random.uniform(1.0, 2.0)
                )  # until it has told of its progress, as any that lives longer
                status = supervisor.status(order.id)
                assert status is not None
                assert status.pid is not None
                killed = time.monotonic()
                os.kill(status.pid, signal.SIGKILL)
                seconds.append(clockwork.arrival(killed) - killed)
    finally:
        in_reactor(supervisor.stop)
    seconds.sort()
    p50, p99 = statistics.median(seconds), seconds[-1 - len(seconds) // 100]
    print(
        f"recovery after {len(seconds)} kills: p50 {p50:.2f} s, p99 {p99:.2f} s; at most {seconds[-1]:.2f} s"
    )
    assert p99 <= RECOVERED


def test_memory_stays_flat(topics: Topics, tmp_path: Path, children: list[ProcessorChild]) -> None:
    """Private memory over so many million events of 100 octets, as fast as they go through: half of them, then the rest."""
    half = Load(int(MILLIONS * 1e6) // 2, 100, 700, "lz4")
    source, copy = fill(topics, half), topics.create("copy", half.partitions)
    order = bridge(topics.end(source), topics.end(copy))
    child = ProcessorChild(order, tmp_path / "journal")
    children.append(child)
    first = _peak(child, half.count)
    assert child.order(pause=pb.Named(processor=order.id)) == ""
    feed(topics, source, half)
    assert child.order(resume=pb.Named(processor=order.id)) == ""
    second = _peak(child, 2 * half.count)
    print(
        f"{half.count} events: at most {first / 1024:.1f} MB private; {2 * half.count}: {second / 1024:.1f} MB"
    )
    assert sum(topics.ends(copy).values()) == 2 * half.count
    assert second <= first + MOST_MORE
    assert max(first, second) <= MOST_PRIVATE
    topics.delete(source)
    topics.delete(copy)


def _peak(child: ProcessorChild, count: int) -> int:
    """The most private memory that it is seen to take (kilobytes) until it has carried `count` events."""
    peak, began = 0, time.monotonic()
    while not any(report.progress.records == count for report in child.reports[-5:]):
        assert child.process.poll() is None
        assert time.monotonic() - began < 60 + 60 * MILLIONS, child.reports[-1]
        peak = max(peak, child.private())
        time.sleep(0.005)
    return peak
