"""A journal that is gone: made again where both ends prove what has arrived, never begun anew."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions
from servers.embedded import Embedded, StartEmbedded
from servers.kafka import Kafka
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild
from servers.proxy import Proxy

from eson.processors.port import ProcessorOrder

Children = list[ProcessorChild]


@pytest.fixture
def topics(open_embedded: Embedded) -> Topics:
    return Topics(open_embedded.bootstrap())


@pytest.fixture(params=["kafka", "open_embedded"], ids=["Apache Kafka", "embedded broker"])
def anywhere(request: pytest.FixtureRequest) -> Topics:
    broker: Kafka | Embedded = request.getfixturevalue(request.param)
    return Topics(broker.bootstrap())


class Life:
    """One order carried by one process after the other."""

    def __init__(self, order: ProcessorOrder, journal: Path, children: Children) -> None:
        self.order, self.journal, self._children = order, journal, children

    def begin(self) -> ProcessorChild:
        child = ProcessorChild(self.order, self.journal)
        self._children.append(child)
        return child

    def carry(self, count: int) -> None:
        """Until so many were carried; what it said of its journal is kept, as the agent does."""
        child = self.begin()
        self.order = replace(self.order, lanes=child.wait_ready().lanes)
        child.wait_records(count)
        child.kill()

    def stops(self) -> str:
        """Why it does not go on."""
        failed = self.begin().wait(lambda report: report.HasField("error"))
        assert failed.error.stopped
        return failed.error.reason


def _equal(topics: Topics, source: str, copy: str) -> None:
    wanted, end = topics.digest(source), time.monotonic() + 30
    while sum(topics.ends(copy).values()) < sum(count for count, _ in wanted.values()):
        assert time.monotonic() < end, topics.ends(copy)
        time.sleep(0.05)
    time.sleep(0.3)  # what were too much would come now
    assert topics.digest(copy) == wanted


@pytest.mark.parametrize(
    ("anywhere", "left"),
    [("kafka", "nothing"), ("open_embedded", "nothing"), ("open_embedded", "an empty file")],
    indirect=["anywhere"],
)
def test_it_is_made_again_and_nothing_comes_twice(
    anywhere: Topics, tmp_path: Path, children: Children, left: str
) -> None:
    source, copy = anywhere.create("source"), anywhere.create("copy")
    life = Life(bridge(anywhere.end(source), anywhere.end(copy)), tmp_path / "journal", children)
    anywhere.fill(source, 3000)
    life.carry(3000)
    for round in range(2):
        anywhere.fill(source, 500, round + 1)
        life.journal.unlink()
        if left == "an empty file":
            life.journal.touch()
        life.carry(500)
    _equal(anywhere, source, copy)


def test_a_journal_that_nothing_followed_from_is_no_loss(
    anywhere: Topics, tmp_path: Path, children: Children
) -> None:
    """Ready once, killed before the first event: the destination holds nothing of ours, so it begins where it should."""
    source, copy = anywhere.create("source"), anywhere.create("copy")
    life = Life(bridge(anywhere.end(source), anywhere.end(copy)), tmp_path / "journal", children)
    life.carry(0)
    life.journal.unlink()
    anywhere.fill(source, 100)
    life.carry(100)
    _equal(anywhere, source, copy)


def test_where_the_source_lost_its_beginning_nothing_is_proved(
    anywhere: Topics, tmp_path: Path, children: Children
) -> None:
    source, copy = anywhere.create("source", 1), anywhere.create("copy", 1)
    life = Life(bridge(anywhere.end(source), anywhere.end(copy)), tmp_path / "journal", children)
    anywhere.fill(source, 500, partitions=1)
    life.carry(500)
    anywhere.drop_before(source, {0: 100})
    life.journal.unlink()
    reason = life.stops()
    assert "its journal is lost" in reason
    assert "the source does not hold any more what it began with" in reason
    assert "FROM" in reason, "what to do"
    assert sum(anywhere.ends(copy).values()) == 500


def test_the_journal_of_another_life_is_not_taken(
    topics: Topics, start_embedded: StartEmbedded, tmp_path: Path, children: Children
) -> None:
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order = bridge(topics.end(source), topics.end(copy))
    life = Life(order, tmp_path / "journal", children)
    topics.fill(source, 10, partitions=1)
    life.carry(10)
    other = Life(order, tmp_path / "other", children)
    other.begin().wait_records(10)
    other._children[-1].kill()
    other.journal.rename(life.journal)
    assert "is another" in life.stops()


def test_a_signal_is_made_again_with_what_it_left_out(
    topics: Topics, tmp_path: Path, children: Children
) -> None:
    """Its condition is evaluated anew up to where the destination is."""
    source, copy = topics.create("source", 1), topics.create("copy", 1)
    order = replace(bridge(topics.end(source), topics.end(copy)), kind="signal", when="esonoffset % 3 = 0")
    life = Life(order, tmp_path / "journal", children)
    topics.fill(source, 300, partitions=1)
    life.carry(100)
    life.journal.unlink()
    topics.fill(source, 30, 1, partitions=1)
    life.carry(10)
    time.sleep(0.3)
    assert sum(topics.ends(copy).values()) == 110


def test_partitions_that_come_later_are_known_too(
    start_embedded: StartEmbedded, tmp_path: Path, children: Children
) -> None:
    """They are told though nothing else happened: a connection ended, and the next one found more."""
    link = Proxy()
    far = start_embedded(login=False, advertise=("127.0.0.1", link.port), internal=("127.0.0.1", 0))
    link.target = far.bound["listen"][0]
    host, port = far.bound["internal"]
    topics, behind = Topics(f"127.0.0.1:{link.port}"), Topics(f"{host}:{port}")
    source, copy = behind.create("source", 1), behind.create("copy", 2)
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal")
    children.append(child)
    assert child.wait_ready().lanes.count(b"\n") == 1
    behind.admin.create_partitions([NewPartitions(source, 2)])[source].result(10)
    link.reset()
    child.wait(lambda report: report.ready.lanes.count(b"\n") == 2)
    assert not any(report.HasField("unreachable") for report in child.reports)
    link.close()
