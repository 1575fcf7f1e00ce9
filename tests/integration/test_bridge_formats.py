"""What cannot pass as it is, from logs of a real Apache Kafka: what librdkafka reads at both ends is the same.

Old formats are planted into a stopped node's log, made by kafka-python: Kafka itself writes them no more.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from servers.comparing import assert_same
from servers.kafka import Kafka, StartKafka
from servers.kafka_topics import BASE, Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.batches import DELETE_HORIZON, magic_of, split_entries

QUICK = {"log.cleaner.backoff.ms": "200"}
GZIP, LZ4 = 1, 3


def _log(kafka: Kafka, topic: str) -> Path:
    (log,) = kafka.node().directory.glob(f"data/{topic}-0/*.log")
    return log


def _plant(log: Path, octets: bytes) -> None:
    """The log of a node that is down holds these octets and nothing else; the node makes its indexes anew."""
    for other in log.parent.glob("0*"):
        other.unlink()
    log.write_bytes(octets)


def _message_sets() -> bytes:
    """Twenty events in both old formats, alone and in compressed message sets, some without key or value."""
    made, offset = b"", 0
    for magic, codecs in ((0, (0, GZIP)), (1, (0, GZIP, LZ4))):
        for codec in codecs:
            builder = LegacyRecordBatchBuilder(magic, codec, batch_size=1 << 20)
            first = offset if magic == 0 or not codec else 0
            for number in range(4):
                key = None if number == 1 else b"key-%d" % number
                value = None if number == 2 else b"%d %d %d" % (magic, codec, number)
                builder.append(first + number, timestamp=BASE + offset + number, key=key, value=value)
            octets = bytearray(builder.build())
            if codec:
                # the outer message has the offset of the last inner one
                octets[:8] = (offset + 3).to_bytes(8, "big")
            made += octets
            offset += 4
    return made


def test_message_sets_of_old_formats_are_carried(
    start_kafka: StartKafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    old = start_kafka()
    topics = Topics(old.bootstrap())
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    old.kill()
    log = _log(old, source)
    _plant(log, _message_sets())
    assert {magic_of(entry) for entry in split_entries(memoryview(log.read_bytes()))} == {0, 1}
    old.restart()
    assert topics.ends(source) == {0: 20}
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal")
    children.append(child)
    child.wait_records(20)
    sent, arrived = topics.messages(source)[0], topics.messages(copy)[0]
    assert [event[:3] for event in arrived] == [event[:3] for event in sent]
    # format 0 has no timestamps, which format 2 says as -1; those of format 1 stay each event's own
    assert [event[3] for event in arrived] == [-1] * 8 + [BASE + number for number in range(8, 20)]


def test_batches_with_a_date_of_deletion_are_carried_without_it(
    start_kafka: StartKafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """The cleaner writes it into the base timestamp of batches with tombstones: events keep their own."""
    hasty = start_kafka(properties=QUICK)
    topics = Topics(hasty.bootstrap())
    often = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "200"}
    source, copy = topics.create("source", 1, often), topics.create("copy", 1)
    producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 50, "log_level": 0})
    end = time.monotonic() + 60
    while not _has_delete_horizon(hasty, source):
        assert time.monotonic() < end, "the cleaner never came"
        for number in range(20):
            value = None if number % 3 == 0 else b"value"
            producer.produce(source, value, b"key-%d" % number)
        producer.flush(30)
        time.sleep(0.3)
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal")
    children.append(child)
    child.wait(lambda report: report.HasField("progress") and report.progress.lag == 0)
    now, arrived = set(topics.read(source)[0]), topics.read(copy)[0]
    # the cleaner goes on, at the source alone
    assert now <= set(arrived)
    assert not _has_delete_horizon(hasty, copy)
    assert any(not event[1] for event in topics.messages(copy)[0])


def _has_delete_horizon(kafka: Kafka, topic: str) -> bool:
    return any(header.attributes & DELETE_HORIZON for header in kafka.batches(topic))


@pytest.mark.parametrize(("codec", "other"), [("lz4", "gzip"), ("none", "zstd"), ("zstd", "uncompressed")])
def test_a_destination_that_compresses_otherwise_gets_the_same_events(
    kafka: Kafka, tmp_path: Path, children: list[ProcessorChild], codec: str, other: str
) -> None:
    topics = Topics(kafka.bootstrap())
    source, copy = topics.create("source"), topics.create("copy", config={"compression.type": other})
    topics.fill(source, 2000, **{"compression.type": codec})
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal")
    children.append(child)
    child.wait_records(2000)
    assert_same(topics, source, topics, copy)
