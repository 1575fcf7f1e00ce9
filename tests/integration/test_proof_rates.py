"""Limits of rate hold against a real Kafka: in events and in octets a second, of what comes now and of what had piled up."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from servers.kafka import Kafka
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.model.rates import RateLimit

OCTETS = 1000
"""Of each event's value; what a batch adds is little beside it."""
FIRST, SECONDS = 1.5, 6.0
"""The bucket is full at first, so the measurement begins a little later."""
NEAR = 0.25
STEADY = {"compression.type": "none", "batch.num.messages": 50, "linger.ms": 2}
PARTITIONS = 2


@dataclass
class Flow:
    """What one bridge carries: `limit` in events a second, which is what the destination says in `unit`."""

    topics: Topics
    unit: str
    limit: int
    piled_up: int
    source: str = ""
    copy: str = ""
    seen: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = self.topics.producer(**STEADY)

    def begin(self, journal: Path) -> ProcessorChild:
        self.source = self.topics.create(f"source-{self.unit}", PARTITIONS)
        self.copy = self.topics.create(f"copy-{self.unit}", PARTITIONS)
        self.produce(self.piled_up)
        octets = self.unit == "octets"
        limit = RateLimit(octets=self.limit * OCTETS) if octets else RateLimit(self.limit)
        end = replace(self.topics.end(self.copy), limit=limit)
        return ProcessorChild(bridge(self.topics.end(self.source), end), journal)

    def produce(self, count: int) -> None:
        for number in range(count):
            self.producer.produce(self.source, bytes(OCTETS), partition=number % PARTITIONS)
        assert self.producer.flush(30) == 0

    def rate(self) -> float:
        """Events a second that arrived while it was looked at, from `FIRST` seconds on."""
        first_arrival = next(at for at, count in self.seen if count)
        window = [one for one in self.seen if one[0] >= first_arrival + FIRST]
        (began, before), (ended, after) = window[0], window[-1]
        return (after - before) / (ended - began)


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap())


def test_limits_are_kept_within_a_quarter(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """Two catch up with twenty seconds' worth, two are given twice as much as they may carry, all at the same time."""
    flows = [
        Flow(Topics(topics.bootstrap), unit, limit, piled_up)
        for unit, limit, piled_up in (
            ("records", 200, 4000),
            ("octets", 150, 3000),
            ("records", 150, 0),
            ("octets", 200, 0),
        )
    ]
    for number, flow in enumerate(flows):
        children.append(flow.begin(tmp_path / f"journal-{number}"))
    for child in children:
        child.wait_ready()
    feeding = threading.Event()
    feeder = threading.Thread(target=_feed, args=([one for one in flows if not one.piled_up], feeding))
    feeder.start()
    try:
        _watch(topics, {flow.copy: flow for flow in flows})
    finally:
        feeding.set()
        feeder.join(30)
    found = [(flow.unit, flow.limit, flow.piled_up, round(flow.rate(), 1)) for flow in flows]
    print(found)
    for flow in flows:
        assert abs(flow.rate() - flow.limit) <= NEAR * flow.limit, found


def test_the_lag_under_a_limit_counts_what_the_source_got_since_it_was_read(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """One answer is carried for longer than the test takes."""
    flow = Flow(topics, "records", 1, 600)
    child = flow.begin(tmp_path / "journal")
    children.append(child)
    child.wait_records(1)
    flow.produce(1000)
    child.wait(lambda report: 1500 <= report.progress.lag <= 1600)


def _feed(flows: list[Flow], ended: threading.Event) -> None:
    """Twice as much as each may carry, until told to end."""
    while not ended.wait(0.25):
        for flow in flows:
            flow.produce(flow.limit // 2)


def _watch(topics: Topics, flows: dict[str, Flow]) -> None:
    """Counts what arrives, as consumers of the destinations find it."""
    consumer = topics.consumer()
    consumer.assign([TopicPartition(copy, partition, 0) for copy in flows for partition in range(PARTITIONS)])
    counts = dict.fromkeys(flows, 0)
    end = time.monotonic() + FIRST + SECONDS + 0.5
    while time.monotonic() < end:
        for message in consumer.consume(500, 0.05):
            if not message.error():
                counts[message.topic()] += 1
        for copy, flow in flows.items():
            flow.seen.append((time.monotonic(), counts[copy]))
    consumer.close()
