"""A bridge between two topics of a real Apache Kafka: nothing lost, nothing twice, nothing out of order, whatever dies.

The kill tests are short by default.  `ESON_KILLS=300 ESON_BROKER_KILLS=50` (`make kill-test`) makes them long.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from servers.comparing import assert_same
from servers.kafka import ADMIN, PASSWORD, Kafka, StartKafka
from servers.kafka_topics import Feed, Topics, bridge, write
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.batches import split_entries
from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import create_message
from eson.processors.port import ProcessorOrder

KILLS = int(os.environ.get("ESON_KILLS", "10"))
BROKER_KILLS = int(os.environ.get("ESON_BROKER_KILLS", "1"))
pytestmark = pytest.mark.timeout(max(300, 8 * KILLS + 60 * BROKER_KILLS))

Start = Callable[..., ProcessorChild]


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    return Topics(kafka.bootstrap())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a processor for an order, with the journal of the test; those that still run are killed at the end."""
    started: list[ProcessorChild] = []

    def go(order: ProcessorOrder, journal: Path | None = None, **options: object) -> ProcessorChild:
        message = create_message(order, str(journal or tmp_path / "journal"), **options)  # type: ignore[arg-type]
        child = ProcessorChild(message=message)
        started.append(child)
        return child

    yield go
    for child in started:
        child.kill()


def wait_equal(topics: Topics, source: str, copy: str) -> None:
    """Waits until as much has arrived as was sent, then compares everything."""
    assert_same(topics, source, topics, copy)


def failure(child: ProcessorChild, timeout: float = 30) -> pb.Failure:
    return child.wait(lambda report: report.HasField("error"), timeout).error


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_arrives_as_it_left(topics: Topics, start: Start, codec: str) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    topics.fill(source, 2000, **{"compression.type": codec})
    child = start(bridge(topics.end(source), topics.end(copy)))
    assert child.wait_ready().guarantee == "exactly-once"
    child.wait_records(2000)
    wait_equal(topics, source, copy)


def test_kills_lose_nothing_and_repeat_nothing(topics: Topics, tmp_path: Path) -> None:
    """The processor is killed at random moments while events are written."""
    source, copy = topics.create("source"), topics.create("copy")
    order, chance = bridge(topics.end(source), topics.end(copy)), random.Random()
    feed = Feed(topics, source, 2000 * KILLS, 0.6 * KILLS)
    for _ in range(KILLS):
        child = ProcessorChild(order, tmp_path / "journal")
        time.sleep(chance.uniform(0.3, 0.9))
        child.kill()
    feed.join()
    child = ProcessorChild(order, tmp_path / "journal")
    try:
        wait_equal(topics, source, copy)
    finally:
        child.kill()


def test_killed_brokers_lose_nothing_and_repeat_nothing(
    topics: Topics, start_kafka: StartKafka, start: Start
) -> None:
    """The destination's only node dies by `kill -9` while it is written to; the processor lives on.

    At last it loses acknowledged batches, as after a power cut, and the last one that is left is torn.
    """
    other = start_kafka()
    there = Topics(other.bootstrap(), topics.tag)
    source, copy = topics.create("source"), there.create("copy")
    child = start(bridge(topics.end(source), there.end(copy)))
    child.wait_ready()
    feed = Feed(topics, source, 8000 * BROKER_KILLS, 4.0 * BROKER_KILLS)
    for _ in range(BROKER_KILLS):
        time.sleep(random.uniform(0.5, 1.5))
        other.kill()
        child.wait(lambda report: report.HasField("unreachable"))
        other.restart()
    feed.join()
    assert_same(topics, source, there, copy)
    other.kill()
    lost = _cut(next(other.node().directory.glob(f"data/{copy}-1/*.log")), 12)
    other.restart()
    assert_same(topics, source, there, copy)
    assert lost > 0


def _cut(log: Path, batches: int) -> int:
    """Cuts a log in the midst of one of its last batches; how many octets it lost."""
    octets = memoryview(log.read_bytes())
    starts = [0]
    for batch in split_entries(octets):
        starts.append(starts[-1] + len(batch))
    at = (starts[-batches] + starts[-batches + 1]) // 2
    with log.open("r+b") as file:
        file.truncate(at)
    return len(octets) - at


def test_what_was_aborted_is_not_carried(topics: Topics, start: Start) -> None:
    """Committed and aborted transactions, and events outside of any, mixed."""
    source, copy = topics.create("source", 2), topics.create("copy", 2)
    settings = {"bootstrap.servers": topics.bootstrap, "log_level": 0}
    producer = Producer({**settings, "transactional.id": topics.tag})
    producer.init_transactions(30)
    for number in range(12):
        producer.begin_transaction()
        write(producer, source, 60, number, 2)
        producer.flush(30)
        if number % 3 == 1:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
        if number % 4 == 0:
            topics.fill(source, 20, 100 + number, 2)
    child = start(bridge(topics.end(source), topics.end(copy)))
    child.wait_ready()
    wait_equal(topics, source, copy)
    child.wait(lambda report: report.HasField("progress") and report.progress.lag == 0)


def test_a_start_inside_a_batch_begins_exactly_there(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    topics.fill(source, 500, partitions=1, **{"linger.ms": 500})
    child = start(bridge(topics.end(source), topics.end(copy), start={0: 123}))
    child.wait_records(377)
    assert topics.read(copy)[0] == topics.read(source)[0][123:]


def test_start_now_carries_what_comes_later(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    topics.fill(source, 200)
    child = start(bridge(topics.end(source), topics.end(copy), start="now"))
    child.wait_ready()
    topics.fill(source, 300, 1)
    child.wait_records(300)
    assert sum(len(events) for events in topics.read(copy).values()) == 300


def test_the_time_of_the_sources_log_is_kept(topics: Topics, start: Start) -> None:
    source = topics.create("source", config={"message.timestamp.type": "LogAppendTime"})
    copy = topics.create("copy")
    topics.fill(source, 300)
    child = start(bridge(topics.end(source), topics.end(copy)))
    child.wait_records(300)
    wait_equal(topics, source, copy)


def test_larger_batches_than_the_destination_takes_are_split(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy", config={"max.message.bytes": "4000"})
    topics.fill(source, 2000, **{"linger.ms": 200})
    child = start(bridge(topics.end(source), topics.end(copy)))
    child.wait_records(2000)
    wait_equal(topics, source, copy)


def test_an_event_that_is_larger_than_the_destination_takes_is_named(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1, config={"max.message.bytes": "2000"})
    producer = Producer({"bootstrap.servers": topics.bootstrap, "log_level": 0})
    producer.produce(source, os.urandom(3000))
    producer.flush(30)
    child = start(bridge(topics.end(source), topics.end(copy)))
    assert "the event at offset 0 is as large alone" in failure(child).reason


def test_events_without_key_for_a_compacted_destination_are_named(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1, config={"cleanup.policy": "compact"})
    producer = Producer({"bootstrap.servers": topics.bootstrap, "log_level": 0})
    producer.produce(source, b"value", None)
    producer.flush(30)
    child = start(bridge(topics.end(source), topics.end(copy)))
    assert "without key" in failure(child).reason or "INVALID_RECORD" in failure(child).reason


def test_what_the_source_lost_is_reported_and_the_rest_is_carried(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    topics.fill(source, 100, partitions=1)
    order = bridge(topics.end(source), topics.end(copy), start={0: 0})
    first = start(order)
    first.wait_records(100)
    first.kill()
    topics.fill(source, 200, 1, partitions=1)
    gone = TopicPartition(source, 0, 250)
    topics.admin.delete_records([gone])[gone].result(30)
    second = start(order)
    second.wait_records(50)
    progress = second.wait(lambda report: bool(report.progress.gaps)).progress
    assert [(gap.partition, gap.first, gap.last) for gap in progress.gaps] == [(0, 100, 249)]
    assert topics.read(copy)[0][100:] == topics.read(source)[0]
    second.kill()
    third = start(order)
    progress = third.wait(lambda report: bool(report.progress.gaps)).progress
    assert len(progress.gaps) == 1


@pytest.mark.parametrize("which", ["source", "destination"])
def test_a_topic_made_anew_stops_the_processor(topics: Topics, start: Start, which: str) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    topics.fill(source, 100)
    order = bridge(topics.end(source), topics.end(copy))
    child = start(order)
    child.wait_records(100)
    topics.recreate(source if which == "source" else copy)
    topics.fill(source, 1, 1)
    found = failure(child)
    assert found.stopped
    assert f"{which} " in found.reason
    assert "created again" in found.reason


def test_a_twin_with_an_old_journal_stops_itself(topics: Topics, start: Start, tmp_path: Path) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    topics.fill(source, 100, partitions=1)
    order = bridge(topics.end(source), topics.end(copy))
    first = start(order)
    first.wait_records(100)
    first.kill()
    shutil.copy(tmp_path / "journal", tmp_path / "old")
    topics.fill(source, 100, 1, partitions=1)
    second = start(order)
    second.wait_records(100)
    twin = start(order, tmp_path / "old")
    found = failure(twin)
    assert found.stopped
    assert "another processor" in found.reason
    wait_equal(topics, source, copy)


def test_two_processes_never_use_one_journal(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = bridge(topics.end(source), topics.end(copy))
    start(order).wait_ready()
    second = start(order)
    reason = second.wait(lambda report: report.HasField("unreachable")).unreachable.reason
    assert "holds the journal" in reason


def test_pause_and_resume(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = bridge(topics.end(source), topics.end(copy))
    child = start(order)
    child.wait_ready()
    assert child.order(pause=pb.Named(processor=order.id)) == ""
    child.wait(lambda report: report.progress.paused)
    topics.fill(source, 100)
    time.sleep(0.5)  # many times what a running one needs
    assert sum(topics.ends(copy).values()) == 0
    assert child.order(resume=pb.Named(processor=order.id)) == ""
    child.wait_records(100)
    wait_equal(topics, source, copy)


def test_a_new_credential_is_taken_over_without_a_gap(kafka: Kafka, topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    user = f"user-{topics.tag}"

    def set_password(password: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        change = UserScramCredentialUpsertion(user, info, password.encode())
        topics.admin.alter_user_scram_credentials([change])[user].result(30)

    def access(name: str, password: str) -> Access:
        server = Server("127.0.0.1", kafka.port("SASL"))
        return Access((server,), "sasl_plaintext", "SCRAM-SHA-256", name, password)

    set_password("first")
    mine = replace(topics.end(source), access=access(ADMIN, PASSWORD))
    order = bridge(mine, replace(topics.end(copy), access=access(ADMIN, PASSWORD)))
    wrong = replace(order, sources=(replace(mine, access=access(user, "wrong")),))
    child = start(wrong)
    refused = child.wait(lambda report: report.HasField("unreachable")).unreachable
    assert refused.login_refused
    assert "wrong" not in refused.reason
    topics.fill(source, 100)
    assert child.order(update=pb.Update(create=create_message(order, "ignored"))) == ""
    child.wait_records(100)
    wait_equal(topics, source, copy)


def test_it_ends_with_its_supervisor(topics: Topics, start: Start) -> None:
    """By the end of descriptor 0, in good order."""
    source, copy = topics.create("source"), topics.create("copy")
    child = start(bridge(topics.end(source), topics.end(copy)))
    child.wait_ready()
    assert child.end() == 0


def test_a_stopped_process_goes_on(topics: Topics, start: Start) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    child = start(bridge(topics.end(source), topics.end(copy)))
    child.wait_ready()
    feed = Feed(topics, source, 3000, 2.0)
    for _ in range(3):
        child.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        child.process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    feed.join()
    wait_equal(topics, source, copy)
