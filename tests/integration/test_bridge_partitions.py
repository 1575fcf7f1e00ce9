"""Partition for partition: destinations with fewer partitions than their source, and sources that grow."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions
from servers.distribution import until
from servers.embedded import Embedded
from servers.kafka_topics import Feed, Topics, bridge
from servers.processor import ProcessorChild

from eson.processors.core import processor_pb2 as pb
from eson.processors.port import ProcessorOrder

Children = list[ProcessorChild]
NOTICED = 45.0
"""Seconds: a processor looks at its queues each half minute."""


@pytest.fixture
def topics(open_embedded: Embedded) -> Topics:
    return Topics(open_embedded.bootstrap())


def grow(topics: Topics, topic: str, partitions: int) -> None:
    topics.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(10)


def said(child: ProcessorChild, text: str, timeout: float = 30.0) -> pb.Failure:
    return child.wait(lambda report: text in report.error.reason, timeout).error


def wait_ready_again(child: ProcessorChild, lanes: int) -> None:
    child.wait(lambda report: report.ready.lanes.count(b"\n") == lanes)


def wait_equal(topics: Topics, source: str, copy: str) -> None:
    wanted = topics.digest(source)
    count = sum(events for events, _ in wanted.values())
    until(lambda: sum(topics.ends(copy).values()) >= count, lambda: (topics.ends(copy), wanted))
    got = topics.digest(copy)
    assert {partition: got[partition] for partition in wanted} == wanted
    assert sum(events for events, _ in got.values()) == count


def test_fewer_from_the_beginning_carry_nothing_until_there_are_as_many(
    topics: Topics, tmp_path: Path, children: Children
) -> None:
    """It says so with both numbers, and goes on by itself."""
    source, copy = topics.create("source", 4), topics.create("copy", 2)
    topics.fill(source, 400)
    children.append(ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"))
    failure = said(children[0], f"destination {copy} has 2 partitions, its source 4: partitions 2 to 3 wait")
    assert not failure.stopped
    assert f"UPDATE FLOW {copy} partitions=4" in failure.reason
    assert not any(report.HasField("ready") for report in children[0].reports)
    assert sum(topics.ends(copy).values()) == 0
    grow(topics, copy, 4)
    children[0].wait_ready(60)
    wait_equal(topics, source, copy)


def test_more_at_the_destination_stay_empty(topics: Topics, tmp_path: Path, children: Children) -> None:
    source, copy = topics.create("source", 2), topics.create("copy", 5)
    topics.fill(source, 200, partitions=2)
    children.append(ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"))
    children[0].wait_records(200)
    wait_equal(topics, source, copy)


def test_a_source_that_grows_is_carried_as_far_as_there_is_room(
    topics: Topics, tmp_path: Path, children: Children
) -> None:
    """Nothing stops meanwhile, not over a kill either, and nothing of the new partitions is lost."""
    source, copy = topics.create("source", 2), topics.create("copy", 2)
    order, journal = bridge(topics.end(source), topics.end(copy), start="now"), tmp_path / "journal"
    children.append(ProcessorChild(order, journal))
    children[0].wait_ready()
    grow(topics, source, 4)
    topics.fill(source, 400)
    said(children[0], "partitions 2 to 3 wait", NOTICED)
    old = sum(count for partition, (count, _) in topics.digest(source).items() if partition < 2)
    children[0].wait_records(old)
    topics.fill(source, 400, 1)
    old = sum(count for partition, (count, _) in topics.digest(source).items() if partition < 2)
    children[0].wait_records(old)
    children[0].kill()
    children.append(ProcessorChild(order, journal))
    said(children[1], "partitions 2 to 3 wait")
    feed = Feed(topics, source, 600, 2.0)
    grow(topics, copy, 4)
    wait_ready_again(children[1], 4)
    feed.join()
    wait_equal(topics, source, copy)


def test_one_destination_without_room_holds_up_no_other(
    topics: Topics, tmp_path: Path, children: Children
) -> None:
    source, wide, narrow = topics.create("source", 4), topics.create("wide", 4), topics.create("narrow", 3)
    order = ProcessorOrder(
        "p-distribute", "distributor", (topics.end(source),), (topics.end(wide), topics.end(narrow))
    )
    topics.fill(source, 400)
    children.append(ProcessorChild(order, tmp_path / "journal"))
    failure = said(children[0], "partition 3 waits")
    assert failure.reason.startswith(f"{narrow}: ")
    wait_equal(topics, source, wide)
    assert sum(topics.ends(narrow).values()) == 0
    grow(topics, narrow, 4)
    children[0].wait_ready(60)
    wait_equal(topics, source, narrow)


def test_lanes_that_an_old_journal_has_go_on_as_they_are(
    topics: Topics, tmp_path: Path, children: Children
) -> None:
    """Earlier bridges took the number modulo, as a signal still does: the order of each partition is kept."""
    source, copy = topics.create("source", 4), topics.create("copy", 1)
    order = bridge(topics.end(source), topics.end(copy))
    children.append(ProcessorChild(replace(order, kind="signal", when="true"), tmp_path / "journal"))
    lanes = children[0].wait_ready().lanes
    children[0].kill()
    topics.fill(source, 400)
    children.append(ProcessorChild(order, tmp_path / "journal"))
    assert children[1].wait_ready().lanes == lanes
    children[1].wait_records(400)
    time.sleep(0.3)  # what were too much would come now
    got = topics.read(copy)[0]
    assert len(got) == 400
    for events in topics.read(source).values():
        mine = set(events)
        assert [event for event in got if event in mine] == events


def test_a_paused_one_without_room_is_paused(topics: Topics, tmp_path: Path, children: Children) -> None:
    source, copy = topics.create("source", 2), topics.create("copy", 2)
    order, journal = bridge(topics.end(source), topics.end(copy)), tmp_path / "journal"
    children.append(ProcessorChild(order, journal))
    children[0].wait_ready()
    children[0].kill()
    grow(topics, source, 3)
    children.append(ProcessorChild(order, journal))
    said(children[1], "partition 2 waits")
    assert children[1].order(pause=pb.Named(processor=order.id)) == ""
    children[1].wait_ready()
    assert children[1].order(resume=pb.Named(processor=order.id)) == ""
    children[1].wait(lambda _: len([one for one in children[1].reports if one.HasField("error")]) == 2)
