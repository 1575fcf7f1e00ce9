"""A source that lost its end and grew past it: its offsets are given a second time, which nothing else would show."""

from __future__ import annotations

from pathlib import Path

from servers.comparing import assert_same
from servers.kafka import StartKafka
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.batches import split_entries


def test_a_source_that_lost_its_end_and_grew_past_it_is_noticed(
    start_kafka: StartKafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """As after a power cut, for Kafka does not sync: batches that were carried are cut off while the node is down."""
    kafka = start_kafka()
    topics = Topics(kafka.bootstrap())
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order, journal = bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"

    def begin() -> ProcessorChild:
        children.append(ProcessorChild(order, journal))
        return children[-1]

    for turn in range(4):
        topics.fill(source, 50, turn, 1)
    child = begin()
    child.wait_records(200)
    # a clean change of the leader's epoch is no loss
    kafka.kill()
    kafka.restart()
    topics.fill(source, 50, 4, 1)
    child.wait_records(250)
    assert_same(topics, source, topics, copy)
    child.kill()
    begin().wait_ready()
    children[-1].kill()

    kafka.kill()
    (log,) = kafka.node().directory.glob(f"data/{source}-0/*.log")
    entries = list(split_entries(memoryview(log.read_bytes())))
    with log.open("r+b") as file:
        file.truncate(sum(map(len, entries[:3])))
    kafka.restart()
    (left,) = topics.ends(source).values()
    assert left < 200
    topics.fill(source, 300, 9, 1)
    failed = begin().wait(lambda report: report.HasField("error")).error
    assert failed.stopped
    assert f"lost its end: offsets {left} to 249 of partition 0" in failed.reason
    assert topics.ends(copy) == {0: 250}
