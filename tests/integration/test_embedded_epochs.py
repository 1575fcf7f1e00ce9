"""An older data folder of the embedded broker is put back and written on: whoever carried what was lost says so."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from servers.comparing import assert_same
from servers.embedded import Embedded, StartEmbedded
from servers.kafka_jars import CONSOLE_CONSUMER, Jars
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild


class Backup:
    """A copy of a broker's data folder, as it is now."""

    def __init__(self, broker: Embedded) -> None:
        self._broker = broker
        self._copy = broker.directory / "backup"
        shutil.copytree(broker.settings.data, self._copy)

    def put_back(self) -> None:
        self._broker.kill()
        shutil.rmtree(self._broker.settings.data)
        self._copy.rename(self._broker.settings.data)
        second = int(time.time())  # nobody puts a backup back within the second of the last start
        while int(time.time()) == second:
            time.sleep(0.01)
        self._broker.start()


@pytest.mark.parametrize("restarted", [False, True], ids=["one life", "two lives"])
def test_a_processor_notices_a_source_that_was_put_back_and_grew_past_it(
    start_embedded: StartEmbedded,
    open_embedded: Embedded,
    tmp_path: Path,
    children: list[ProcessorChild],
    restarted: bool,
) -> None:
    """Also where the lost log and the one that was put back were both started once behind the backup."""
    broker = start_embedded(login=False)
    here, there = Topics(broker.bootstrap()), Topics(open_embedded.bootstrap())
    source, copy = here.create("source", 1), there.create("copy", 1)
    order, journal = bridge(here.end(source), there.end(copy)), tmp_path / "journal"

    def begin() -> ProcessorChild:
        children.append(ProcessorChild(order, journal))
        return children[-1]

    here.fill(source, 200, 0, 1)
    child = begin()
    child.wait_records(200)
    # a start of the broker is no loss
    broker.kill()
    broker.start()
    here.fill(source, 10, 1, 1)
    child.wait_records(210)
    assert_same(here, source, there, copy)
    backup = Backup(broker)
    if restarted:
        broker.kill()
        broker.start()
    here.fill(source, 40, 2, 1)
    child.wait_records(250)
    child.kill()
    begin().wait_ready()
    children[-1].kill()

    backup.put_back()
    assert here.ends(source) == {0: 210}
    here.fill(source, 300, 9, 1)
    failed = begin().wait(lambda report: report.HasField("error")).error
    assert failed.stopped
    assert "lost its end: offsets 210 to 249 of partition 0" in failed.reason
    assert there.ends(copy) == {0: 250}


def test_a_consumer_reads_on_over_starts_and_notices_a_log_that_was_put_back(
    start_embedded: StartEmbedded,
) -> None:
    broker = start_embedded(login=False)
    topics = Topics(broker.bootstrap())
    topic = topics.create("source", 1)
    quick = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50, "enable.partition.eof": False}
    consumer = topics.consumer(**{"auto.offset.reset": "error", **quick})
    consumer.assign([TopicPartition(topic, 0, 0)])
    backup, turns = None, 4
    for turn in range(turns):
        topics.fill(topic, 50, turn, 1)
        assert offsets(consumer, 50) == list(range(50 * turn, 50 * turn + 50))
        if turn == 1:
            backup = Backup(broker)
        if turn < turns - 1:
            broker.kill()
            broker.start()
    assert backup is not None
    backup.put_back()
    topics.fill(topic, 150, 9, 1)
    error = first_error(consumer)
    assert error.code() in (KafkaError._LOG_TRUNCATION, KafkaError._AUTO_OFFSET_RESET), error
    consumer.close()


def offsets(consumer: Consumer, count: int) -> list[int]:
    found: list[int] = []
    end = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < end, found
        for message in consumer.consume(count, 0.2):
            if message.error() is None:
                found.append(message.offset())
    return found


def first_error(consumer: Consumer) -> KafkaError:
    """The first one that is said of the partition; what is read before is none."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None and message.error() is not None and message.topic():
            return message.error()
        assert message is None or message.error() is not None, message.offset()
    raise AssertionError("nothing was noticed")


def test_javas_consumer_reads_on_over_starts(start_embedded: StartEmbedded, kafka_jars: Jars) -> None:
    broker = start_embedded(login=False)
    topics = Topics(broker.bootstrap())
    topic = topics.create("source", 1)
    topics.fill(topic, 50, 0, 1)
    reader = kafka_jars.start(
        CONSOLE_CONSUMER, "--bootstrap-server", broker.bootstrap(), "--topic", topic, "--partition", "0", "--offset", "earliest",
        *("--max-messages", "200", "--timeout-ms", "60000", "--formatter-property", "print.offset=true"),
        *("--formatter-property", "print.value=false"),
    )  # fmt: skip
    assert reader.stdout is not None
    read: list[str] = []
    try:
        for turn in range(1, 5):
            read += [reader.stdout.readline().strip() for _ in range(50)]
            if turn < 4:
                broker.kill()
                broker.start()
                topics.fill(topic, 50, turn, 1)
        rest, errors = reader.communicate(timeout=60)
    finally:
        reader.kill()
    assert (read, rest) == ([f"Offset:{offset}" for offset in range(200)], ""), errors[-2000:]
