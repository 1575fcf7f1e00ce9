"""A bridge finds its position where the destination forgot our producer, and stays exact where the source changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from servers.kafka import Kafka
from servers.kafka_jars import Jars
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.batches import BatchHeader
from eson.processors.core.journal import parse

HASTY = {
    "producer.id.expiration.ms": "600",
    "producer.id.expiration.check.interval.ms": "100",
    "log.cleaner.backoff.ms": "200",
}


@pytest.fixture(scope="module")
def kafka(kafka_jars: Jars, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A node that forgets idle producers and compacts in a moment."""
    hasty = Kafka(kafka_jars, tmp_path_factory.mktemp("hasty"), properties=HASTY)
    hasty.start()
    yield hasty
    hasty.stop()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_an_expired_producer_is_found_in_the_headers(
    kafka: Kafka, journal: Path, children: list[ProcessorChild]
) -> None:
    """The broker would append an old batch again without a word; killed before and after acknowledgements were noted."""
    topics = Topics(kafka.bootstrap())
    source, copy = topics.create("source", 2), topics.create("copy", 2)
    order = bridge(topics.end(source), topics.end(copy))
    for round in range(4):
        topics.fill(source, 300, round, 2)
        child = ProcessorChild(order, journal)
        children.append(child)
        wanted = 300 * (round + 1)
        while sum(topics.ends(copy).values()) < wanted:
            time.sleep(0.02)
        child.kill()
        _wait_forgotten(topics, copy)
    assert topics.digest(copy) == topics.digest(source)


def _wait_forgotten(topics: Topics, copy: str) -> None:
    """Until the leader does not know any producer of the topic any more."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=topics.bootstrap)
    try:
        end = time.monotonic() + 30
        while any(_producers(admin, copy, partition) for partition in range(2)):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        admin.close()


def _producers(admin: object, copy: str, partition: int) -> list[object]:
    from kafka import TopicPartition

    found = admin.describe_producers([TopicPartition(copy, partition)])  # type: ignore[attr-defined]
    (state,) = found.values()
    return list(state.active_producers if hasattr(state, "active_producers") else state)


def test_compacted_batches_are_carried_without_holes(
    kafka: Kafka, journal: Path, children: list[ProcessorChild]
) -> None:
    """The cleaner of the source takes events out of batches; what is left arrives, once, in order."""
    topics = Topics(kafka.bootstrap())
    quick = {"min.cleanable.dirty.ratio": "0.01", "segment.ms": "200", "delete.retention.ms": "0"}
    source = topics.create("source", 1, {"cleanup.policy": "compact", **quick})
    copy = topics.create("copy", 1)
    producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 50, "log_level": 0})
    end, turn = time.monotonic() + 90, 0
    while not any(map(_has_holes, kafka.batches(source))):
        assert time.monotonic() < end, "the cleaner never came"
        for key in range(40):
            producer.produce(
                source, f"{turn}-{key}".encode(), f"key-{key if turn % 2 else key + turn}".encode()
            )
        producer.flush(30)
        turn += 1
        time.sleep(0.1)
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), journal)
    children.append(child)
    child.wait(lambda report: report.HasField("progress") and report.progress.records >= 40)
    child.wait(lambda report: report.HasField("progress") and report.progress.lag == 0)
    got = topics.read(copy)[0]
    assert len(got) == len(set(got))
    now = topics.read(source)[0]
    carried = set(got)
    assert [event for event in now if event in carried] == [event for event in got if event in set(now)]
    assert set(now) <= carried
    made = list(kafka.batches(copy))
    assert sum(header.record_count for header in made) == len(got)
    assert not any(map(_has_holes, made))
    assert parse(journal.read_bytes()).lanes[0].gaps == []


def _has_holes(header: BatchHeader) -> bool:
    return header.last_offset_delta + 1 != header.record_count
