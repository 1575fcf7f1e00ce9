"""The disk of a broker or of a processor runs full while events are carried: they wait, and then all arrive, once, in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from servers.comparing import assert_same
from servers.embedded import Embedded, StartEmbedded
from servers.kafka import StartKafka
from servers.kafka_topics import Topics, bridge, write
from servers.processor import ProcessorChild
from servers.small_disk import SmallDisk, small_disk

from eson.processors.core import processor_pb2 as pb

MEGABYTE = 1 << 20
EVENTS = 500


@dataclass
class Full:
    """Two brokers; the disk of the second, whose process is `pid`, runs full.  `again` makes it work when there is room."""

    near: Topics
    full: Topics
    disk: SmallDisk
    pid: int
    again: Callable[[], None]


def _carry_through(brokers: Full, folder: Path, children: list[ProcessorChild]) -> None:
    near, full = brokers.near, brokers.full
    ways = [
        Way(near, near.create("to-full", 2), full, full.create("from-near", 2)),
        Way(full, full.create("to-near", 2), near, near.create("from-full", 2)),
    ]
    junk = full.create("junk", 1)
    for number, way in enumerate(ways):
        order = bridge(way.here.end(way.source), way.there.end(way.copy))
        way.child = _begin(order, folder / f"journal-{number}", children)
        way.write(1)
        way.same()
    into, out = ways
    brokers.disk.fill(brokers.pid)
    _wait(lambda: _is_refused(full, junk), "the disk is not full")
    before = len(into.child.reports)
    into.write(2)
    _wait(lambda: any(map(_is_trouble, into.child.reports[before:])), "its bridge says nothing")
    out.try_to_write(3)
    brokers.disk.free()
    brokers.again()
    for way in ways:
        way.write(4)
        way.same()
        assert way.child.process.poll() is None, "it lives on"


@dataclass
class Way:
    """What one bridge carries."""

    here: Topics
    source: str
    there: Topics
    copy: str
    child: ProcessorChild = field(init=False)

    def write(self, seed: int) -> None:
        self.here.fill(self.source, EVENTS, seed, 2)

    def try_to_write(self, seed: int) -> None:
        """Some or all of it is refused."""
        producer = self.here.producer(**{"message.timeout.ms": 1000, "enable.idempotence": False})
        write(producer, self.source, EVENTS, seed, 2)
        producer.flush(10)

    def same(self) -> None:
        assert_same(self.here, self.source, self.there, self.copy)


def test_the_disk_of_a_processor(
    open_embedded: Embedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """Nothing is sent that its journal does not hold; it says why it waits, and goes on by itself."""
    topics = Topics(open_embedded.bootstrap())
    way = Way(topics, topics.create("source", 2), topics, topics.create("copy", 2))
    with small_disk(tmp_path / "disk", MEGABYTE) as disk:
        order = bridge(topics.end(way.source), topics.end(way.copy))
        way.child = _begin(order, disk.path / "journal", children)
        way.write(1)
        way.same()
        disk.fill(way.child.pid)
        producer = topics.producer(**{"linger.ms": 0})
        end = time.monotonic() + 20
        while not (said := [one for one in way.child.reports if one.HasField("unreachable")]):
            write(producer, way.source, 10, int(time.monotonic()), 2)
            producer.flush(10)
            assert time.monotonic() < end, "it says nothing"
        assert "the journal cannot be" in said[0].unreachable.reason
        disk.free()
        way.same()
        assert way.child.process.poll() is None, "it lives on"


def _begin(order: object, journal: Path, children: list[ProcessorChild]) -> ProcessorChild:
    child = ProcessorChild(order, journal)  # type: ignore[arg-type]
    children.append(child)
    child.wait_ready()
    return child


def _is_refused(topics: Topics, topic: str) -> bool:
    """Whether a broker takes no more; what it was given stands in the queue or not, and nobody was told that it does."""
    producer = topics.producer(**{"message.timeout.ms": 1000, "enable.idempotence": False})
    refused: list[object] = []
    producer.produce(
        topic, bytes(MEGABYTE // 2), partition=0, on_delivery=lambda error, _: refused.append(error)
    )
    producer.flush(10)
    return not refused or refused[0] is not None


def _is_trouble(report: pb.Report) -> bool:
    assert not report.error.stopped, report
    return report.HasField("unreachable") or report.HasField("error")


def _wait(true: Callable[[], bool], else_say: str) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, else_say
        time.sleep(0.05)


def test_the_disk_of_an_embedded_broker(
    open_embedded: Embedded, start_embedded: StartEmbedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """It is the source of one bridge and the destination of another; its process lives on."""
    with small_disk(tmp_path / "disk", 24 * MEGABYTE) as disk:
        full = start_embedded(data=str(disk.path / "data"), login=False)
        here, there = Topics(open_embedded.bootstrap()), Topics(full.bootstrap())
        _carry_through(Full(here, there, disk, full.pid, lambda: None), tmp_path, children)


def test_the_disk_of_apache_kafka(
    open_embedded: Embedded, start_kafka: StartKafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """The same; Kafka itself ends when its only disk is full, and is started again when there is room."""
    with small_disk(tmp_path / "disk", 96 * MEGABYTE) as disk:
        properties = {"log.dirs": str(disk.path / "data"), "log.segment.bytes": str(8 * MEGABYTE)}
        full = start_kafka(properties=properties)
        here, there = Topics(open_embedded.bootstrap()), Topics(full.bootstrap())
        process = full.node().process
        assert process is not None

        def again() -> None:
            _wait(lambda: not full.node().alive, "it goes on without a disk")
            full.restart()

        _carry_through(Full(here, there, disk, process.pid, again), tmp_path, children)
