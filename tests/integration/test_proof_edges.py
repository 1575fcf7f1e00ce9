"""Edges of exactly once: queues that lose their beginning or end, and strangers who write as we do.

Each on Apache Kafka and on the embedded broker where both may do it.  What a producer that was forgotten needs is in
`test_bridge_state.py`; topics made anew, gaps and twins are in `test_bridge.py`.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from uuid import UUID

import pytest
from servers.comparing import assert_same
from servers.embedded import Embedded, StartEmbedded
from servers.kafka import Kafka
from servers.kafka_jars import CONSOLE_CONSUMER, VERIFIABLE_CONSUMER, Jars
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.produce import ProduceCodec
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.processors.core.journal import parse
from eson.processors.port import ProcessorOrder

BY_NAME = 12
"""A version of Produce that says the topic's name."""


@pytest.fixture(params=["kafka", "open_embedded"], ids=["Apache Kafka", "embedded broker"])
def topics(request: pytest.FixtureRequest) -> Topics:
    broker: Kafka | Embedded = request.getfixturevalue(request.param)
    return Topics(broker.bootstrap())


def _carry(
    order: ProcessorOrder, journal: Path, count: int, children: list[ProcessorChild]
) -> ProcessorChild:
    child = ProcessorChild(order, journal)
    children.append(child)
    child.wait_ready()
    child.wait_records(count)
    return child


def test_a_destination_whose_events_are_removed(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """By retention or DeleteRecords, all of them, while the processor is away: it goes on behind them."""
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order, journal = bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"
    topics.fill(source, 300, partitions=1)
    _carry(order, journal, 300, children).kill()
    topics.drop_before(copy, {0: 300})
    topics.fill(source, 200, 1, partitions=1)
    _carry(order, journal, 200, children)
    assert topics.ends(copy) == {0: 500}
    assert topics.read(copy)[0] == topics.read(source)[0][300:]


def test_a_stranger_who_writes_with_our_producer_id(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """It is noticed, said, and nothing more is carried: neither the stranger's epoch nor his sequences are taken over."""
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order, journal = bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"
    topics.fill(source, 100, partitions=1)
    child = _carry(order, journal, 100, children)
    (state,) = parse(journal.read_bytes()).lanes.values()
    stranger = [BatchRecord(0, int(time.time() * 1000), None, b"stranger", ())]
    octets = encode_batch(stranger, 0, state.lane.producer_id, state.lane.epoch + 1, 0)
    _write(topics, copy, octets)
    assert topics.ends(copy) == {0: 101}, "the broker took it"
    topics.fill(source, 100, 1, partitions=1)
    failed = child.wait(lambda report: report.HasField("error")).error
    assert failed.stopped
    assert "somebody else uses our producer id" in failed.reason
    assert topics.ends(copy) == {0: 101}


def _write(topics: Topics, topic: str, octets: bytes) -> None:
    """One batch to partition 0, as it is."""
    host, _, port = topics.bootstrap.rpartition(":")
    parts = ProduceCodec(BY_NAME, topic, UUID(int=0), 10_000).request(1, [(0, octets)])
    with socket.create_connection((host, int(port)), 10) as wire:
        wire.sendall(b"".join(parts))
        assert wire.recv(4)


def test_a_source_that_lost_its_end(
    start_embedded: StartEmbedded, open_embedded: Embedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """As after a power cut: what was carried does not stand there any more, and offsets would be given a second time."""
    broker = start_embedded(login=False)
    here, there = Topics(broker.bootstrap()), Topics(open_embedded.bootstrap())
    source, copy = here.create("source", 1), there.create("copy", 1)
    order = bridge(here.end(source), there.end(copy))
    for turn in range(4):
        here.fill(source, 50, turn, partitions=1)
    child = _carry(order, tmp_path / "journal", 200, children)
    broker.kill()
    (log,) = (path for path in Path(broker.settings.data).glob("log/*/0/*.log") if path.stat().st_size)
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size // 2)
    broker.start()
    failed = child.wait(lambda report: report.HasField("error")).error
    assert failed.stopped
    assert "lost its end" in failed.reason
    assert there.ends(copy) == {0: 200}


def test_javas_consumers_read_what_we_wrote_to_an_embedded_broker(
    open_embedded: Embedded, kafka_jars: Jars, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """As octets of the source's batches; on Apache Kafka `test_participant_kafka.py` does the same."""
    topics, count = Topics(open_embedded.bootstrap()), 500
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    topics.fill(source, count, partitions=1)
    _carry(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal", count, children)
    assert_same(topics, source, topics, copy)
    server = ("--bootstrap-server", topics.bootstrap)
    shows = [f"--formatter-property=print.{one}=true" for one in ("partition", "key", "headers", "timestamp")]
    limit = ("--max-messages", str(count))
    consoles = [
        kafka_jars.start(
            CONSOLE_CONSUMER,
            *(*server, "--topic", topic, "--from-beginning", *limit, "--timeout-ms", "30000", *shows),
        )
        for topic in (source, copy)
    ]
    group = ("--group-id", f"verified-{copy}", "--reset-policy", "earliest")
    verifying = kafka_jars.start(VERIFIABLE_CONSUMER, *server, "--topic", copy, *group, *limit)
    shown, again = (child.communicate(timeout=60)[0].splitlines() for child in consoles)
    assert shown == again
    assert len(shown) == count
    verified, errors = verifying.communicate(timeout=60)
    assert verifying.returncode == 0, errors
    said = [json.loads(line) for line in verified.splitlines() if line.startswith("{")]
    assert sum(one["count"] for one in said if one["name"] == "records_consumed") == count
