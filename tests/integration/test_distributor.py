"""A distributor whose destinations come and go: none holds up the others, and each gets everything, once, in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.distribution import Copy, Distribution, until
from servers.embedded import StartEmbedded
from servers.kafka_topics import Feed, bridge
from servers.processor import ProcessorChild

from eson.model.rates import RateLimit
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import create_message
from eson.processors.launcher import SpawnLauncher
from eson.processors.port import ProcessorOrder, ProcessorStatus
from eson.processors.supervisor import Supervisor

MOST_PRIVATE = 60 << 10

Start = Callable[..., ProcessorChild]


@pytest.fixture
def flow(start_embedded: StartEmbedded) -> Iterator[Distribution]:
    made = Distribution(start_embedded, copies=3)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[ProcessorChild] = []

    def go(order: ProcessorOrder, lanes: bytes = b"") -> ProcessorChild:
        message = create_message(order, str(tmp_path / "journal"))
        message.lanes = lanes
        started.append(ProcessorChild(message=message))
        return started[-1]

    yield go
    for child in started:
        child.kill()


def distributor(flow: Distribution, **options: object) -> ProcessorOrder:
    ends = tuple(copy.end for copy in flow.copies)
    return ProcessorOrder("p-distribute", "distributor", (flow.source,), ends, **options)  # type: ignore[arg-type]


def grown(copy: Copy, than: int, seconds: float) -> None:
    until(lambda: copy.events() > than, lambda: (copy.events(), than), seconds)


def test_a_broker_that_stops_holds_up_nobody(flow: Distribution, start: Start) -> None:
    child = start(distributor(flow))
    child.wait_ready()
    first, second, third = flow.copies
    feed = Feed(flow.topics, flow.queue, 6000, 3.0)
    for copy in flow.copies:
        grown(copy, 0, 10)
    third.freeze()
    while feed.running:
        for copy in (first, second):
            had = copy.events()
            until(lambda: copy.events() > had or not feed.running, copy.events, 1.0)  # noqa: B023
    feed.join()
    flow.wait_equal(first, second, seconds=3)
    behind = child.wait(lambda report: report.progress.lag > 0 and report.progress.records >= 12_000).progress
    assert sum(position.end - position.offset for position in behind.positions) > 0
    third.thaw()
    flow.wait_equal()
    child.wait(lambda report: report.progress.records == 18_000 and not report.progress.lag)


def test_copies_that_keep_up_cost_one_read(flow: Distribution, start: Start) -> None:
    """Also while one does not: what it missed it reads by itself, later."""
    child = start(distributor(flow))
    child.wait_ready()
    before = flow.link.carried
    Feed(flow.topics, flow.queue, 12_000, 2.0).join()
    flow.wait_equal()
    one_read = sum(len(event) for events in flow.topics.read(flow.queue).values() for event in events)
    assert flow.link.carried - before < 1.3 * one_read
    flow.copies[2].freeze()
    before = flow.link.carried
    Feed(flow.topics, flow.queue, 12_000, 2.0).join()
    flow.wait_equal(*flow.copies[:2])
    assert flow.link.carried - before < 1.3 * one_read
    flow.copies[2].thaw()
    flow.wait_equal()
    assert child.private() < MOST_PRIVATE


def test_what_falls_far_behind_reads_for_itself_and_joins_again(flow: Distribution, start: Start) -> None:
    child = start(distributor(flow))
    child.wait_ready()
    third = flow.copies[2]
    third.freeze()
    for seed in range(3):
        flow.topics.fill(flow.queue, 30_000, seed, **{"linger.ms": 50})
    flow.wait_equal(*flow.copies[:2])
    assert child.private() < MOST_PRIVATE
    third.thaw()
    flow.wait_equal()
    before, had = flow.link.carried, third.events()
    Feed(flow.topics, flow.queue, 6000, 1.0).join()
    grown(third, had + 5999, 10)
    one_read = sum(len(event) for events in flow.topics.read(flow.queue).values() for event in events)
    assert flow.link.carried - before < 1.3 * one_read * 6000 / (had + 6000)


def test_the_one_in_trouble_is_named_and_the_others_go_on(flow: Distribution, start: Start) -> None:
    """Its broker is gone from the beginning; what the others have is known elsewhere all the same."""
    third = flow.copies[2]
    third.broker.kill()
    flow.topics.fill(flow.queue, 500)
    child = start(distributor(flow, start="now"))
    known = child.wait(lambda report: len(report.unreachable.lanes.splitlines()) == 8).unreachable
    assert known.reason.startswith(f"{third.queue}: ")
    flow.topics.fill(flow.queue, 300, 1)
    progress = child.wait(lambda report: report.progress.records == 600 and report.progress.lag == 300)
    assert not any(report.HasField("ready") for report in child.reports)
    assert sum(one.end - one.offset for one in progress.progress.positions) == 300
    third.broker.start()
    ready = child.wait_ready()
    assert len(ready.lanes.splitlines()) == 12
    child.wait_records(900)
    # one moment was now for all
    assert third.topics.read(third.queue) == flow.copies[0].topics.read(flow.copies[0].queue)


def test_one_that_stopped_for_good_leaves_the_others_alone(flow: Distribution, start: Start) -> None:
    first, second, third = flow.copies
    flow.topics.fill(flow.queue, 300)
    child = start(distributor(flow))
    child.wait_records(900)
    child.kill()
    second.topics.recreate(second.queue)
    child = start(distributor(flow))
    failure = child.wait(lambda report: report.HasField("error")).error
    assert failure.reason.startswith(f"{second.queue}: ")
    assert "created again" in failure.reason
    assert not failure.stopped
    flow.topics.fill(flow.queue, 300, 1)
    flow.wait_equal(first, third)
    assert second.events() == 0


def test_a_journal_is_made_again_for_each_that_is_reached(
    flow: Distribution, start: Start, tmp_path: Path
) -> None:
    """The journal is lost while one broker is away, which learns of it later; nothing comes twice."""
    flow.topics.fill(flow.queue, 600)
    child = start(distributor(flow))
    lanes = child.wait_ready().lanes
    child.wait_records(1800)
    child.kill()
    (tmp_path / "journal").unlink()
    third = flow.copies[2]
    third.broker.kill()
    flow.topics.fill(flow.queue, 300, 1)
    child = start(distributor(flow), lanes)
    said = child.wait(lambda report: report.HasField("unreachable")).unreachable
    assert said.lanes == lanes
    flow.wait_equal(*flow.copies[:2])
    child.kill()
    child = start(distributor(flow), lanes)
    third.broker.start()
    assert child.wait_ready().lanes == said.lanes == lanes
    flow.wait_equal()


def test_pause_and_resume_hold_for_all(flow: Distribution, start: Start) -> None:
    order = distributor(flow)
    child = start(order)
    child.wait_ready()
    assert child.order(pause=pb.Named(processor=order.id)) == ""
    child.wait(lambda report: report.progress.paused)
    flow.topics.fill(flow.queue, 100)
    time.sleep(0.5)  # many times what running ones need
    assert [copy.events() for copy in flow.copies] == [0, 0, 0]
    assert child.order(resume=pb.Named(processor=order.id)) == ""
    flow.wait_equal()
    assert child.order(stop=pb.Named(processor=order.id)) == ""


def test_each_keeps_a_limit_of_its_own(flow: Distribution, start: Start, tmp_path: Path) -> None:
    """One is filled as fast as it goes, two no faster than each may, until their limits are taken away."""
    whole = distributor(flow)
    first, *others = flow.copies
    limits = (100, 300)
    ends = [replace(copy.end, limit=RateLimit(limit)) for copy, limit in zip(others, limits, strict=True)]
    flow.topics.fill(flow.queue, 8000, **{"batch.num.messages": 10})
    child = start(replace(whole, destinations=(first.end, *ends)))
    child.wait_ready()
    flow.wait_equal(first, seconds=10)
    began, before = time.monotonic(), [copy.events() for copy in others]
    time.sleep(3.0)  # the time over which a rate is measured
    grew = [copy.events() - count for copy, count in zip(others, before, strict=True)]
    seconds = time.monotonic() - began
    for events, limit in zip(grew, limits, strict=True):
        assert 0.6 * limit * seconds <= events <= limit * seconds + 20, (grew, seconds)
    update = pb.Update(create=create_message(whole, str(tmp_path / "journal")))
    assert child.order(update=update) == ""
    flow.wait_equal(seconds=10)


def test_kills_lose_nothing_and_repeat_nothing(flow: Distribution, start: Start) -> None:
    """One broker is stopped now and then as well."""
    order = distributor(flow)
    feed = Feed(flow.topics, flow.queue, 8000, 4.0)
    while feed.running:
        child = start(order)
        time.sleep(0.4)
        flow.copies[1].freeze()
        time.sleep(0.2)
        child.kill()
        flow.copies[1].thaw()
    feed.join()
    start(order)
    flow.wait_equal()


def test_bridges_of_one_flow_are_one_process_and_one_read(
    flow: Distribution, reactor_thread: Any, in_reactor: Callable[..., Any], tmp_path: Path
) -> None:
    """Each keeps its own state; what kills their process again and again ends with them apart."""
    supervisor = Supervisor(reactor_thread, SpawnLauncher(reactor_thread), tmp_path / "journals")
    in_reactor(supervisor.start)

    def status(order: ProcessorOrder) -> ProcessorStatus:
        found = supervisor.status(order.id)
        assert found is not None
        return found

    def pids() -> set[int | None]:
        return {status(order).pid for order in orders}

    orders = [bridge(flow.source, copy.end) for copy in flow.copies]
    try:
        for order in orders:
            in_reactor(supervisor.create, order)
        assert len(pids()) == 1
        before = flow.link.carried
        Feed(flow.topics, flow.queue, 12_000, 2.0).join()
        flow.wait_equal()
        one_read = sum(len(event) for events in flow.topics.read(flow.queue).values() for event in events)
        assert flow.link.carried - before < 1.3 * one_read
        in_reactor(supervisor.pause, orders[2].id)
        for round in range(3):
            until(lambda: len(pids() - {None}) == 1 and None not in pids(), pids)
            (pid,) = pids()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: pid not in pids(), pids)  # type: ignore[misc]
            flow.topics.fill(flow.queue, 200, 100 + round)
        until(lambda: None not in pids() and len(pids()) == 3, pids)
        flow.wait_equal(*flow.copies[:2])
        assert status(orders[2]).state == "paused"
        assert flow.copies[2].events() == 12_000
        in_reactor(supervisor.resume, orders[2].id)
        flow.wait_equal()
    finally:
        in_reactor(supervisor.stop)
