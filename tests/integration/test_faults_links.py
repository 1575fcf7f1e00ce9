"""A bridge over bad links to its brokers: whatever the link does, everything arrives, once, in order, unchanged.

What it says of itself meanwhile is the truth, and its own process goes on: nobody starts it anew.  The near broker is an
embedded one; the far one, behind the link, is another, or Apache Kafka.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.embedded import Embedded, StartEmbedded
from servers.kafka import Kafka
from servers.kafka_topics import Feed, Topics, bridge
from servers.proxy import Proxy

from eson.processors.launcher import SpawnLauncher
from eson.processors.port import ProcessorOrder, ProcessorStatus
from eson.processors.supervisor import Supervisor

EVENTS, SECONDS = 3000, 1.5
NOTICED = 50.0
"""Seconds after which a peer that says nothing is known to: 35 for a Fetch, and a look at it every 5."""
SIDES = ("source", "destination")
EMBEDDED, KAFKA = FAR = ("embedded broker", "Apache Kafka")


@dataclass
class Crossing:
    """A flow that a bridge carries from one broker to another; one of the two is behind `link`."""

    link: Proxy
    here: Topics
    there: Topics
    source: str
    copy: str
    order: ProcessorOrder
    supervisor: Supervisor

    def status(self) -> ProcessorStatus:
        found = self.supervisor.status(self.order.id)
        assert found is not None
        return found

    def feed(self) -> Feed:
        return Feed(self.here, self.source, EVENTS, SECONDS)

    def wait_state(self, *states: str, seconds: float = 20) -> ProcessorStatus:
        wait(lambda: self.status().state in states, lambda: self.status(), seconds)
        return self.status()

    def wait_equal(self, seconds: float = 40) -> None:
        wanted = self.here.digest(self.source)
        count = sum(events for events, _ in wanted.values())
        wait(
            lambda: sum(self.there.ends(self.copy).values()) >= count,
            lambda: (self.there.ends(self.copy), wanted, self.status()),
            seconds,
        )
        assert self.there.digest(self.copy) == wanted
        self.wait_state("running")


def wait(true: Callable[[], Any], show: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, show()
        time.sleep(0.05)


Cross = Callable[..., Crossing]


@pytest.fixture
def cross(
    open_embedded: Embedded,
    start_embedded: StartEmbedded,
    reactor_thread: Any,
    in_reactor: Callable[..., Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Cross]:
    """`cross("source")`: a bridge that runs, its source behind a link; several share one supervisor.

    `cross("source", KAFKA)`: it is Apache Kafka's; all that are share one link.
    """
    supervisor = Supervisor(reactor_thread, SpawnLauncher(reactor_thread), tmp_path / "journals")
    in_reactor(supervisor.start)
    links: list[Proxy] = []

    def embedded() -> tuple[Proxy, Topics]:
        link = Proxy()
        links.append(link)
        # the broker tells its clients where the link begins; the test itself takes the way behind it
        far = start_embedded(login=False, advertise=("127.0.0.1", link.port), internal=("127.0.0.1", 0))
        link.target = far.bound["listen"][0]
        host, port = far.bound["internal"]
        return link, Topics(f"{host}:{port}")

    def make(side: str, far: str = EMBEDDED) -> Crossing:
        link, behind = _kafka(request) if far == KAFKA else embedded()
        near = Topics(open_embedded.bootstrap())
        here, there = (behind, near) if side == "source" else (near, behind)
        source, copy = here.create("source"), there.create("copy")
        ends = {"source": here.end(source), "destination": there.end(copy)}
        through = Topics(f"127.0.0.1:{link.port}").access()
        ends[side] = replace(ends[side], access=through)
        order = bridge(ends["source"], ends["destination"])
        in_reactor(supervisor.create, order)
        return Crossing(link, here, there, source, copy, order, supervisor)

    yield make
    for link in links:
        link.heal()
    in_reactor(supervisor.stop)
    for link in links:
        link.close()


def _kafka(request: pytest.FixtureRequest) -> tuple[Proxy, Topics]:
    # only where it is asked for: it takes seconds to start
    kafka: Kafka = request.getfixturevalue("kafka")
    return request.getfixturevalue("kafka_link"), Topics(kafka.bootstrap())


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("side", SIDES)
def test_connections_that_are_reset_again_and_again(cross: Cross, side: str, far: str) -> None:
    """In the middle of frames, at random moments, while events are written."""
    crossing = cross(side, far)
    feed = crossing.feed()
    resets = 0
    while feed.running or resets < 12:
        time.sleep(random.uniform(0.05, 0.3))
        crossing.link.reset()
        resets += 1
    feed.join()
    crossing.wait_equal()
    assert crossing.status().restarts == 0


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("side", SIDES)
def test_connections_that_end_after_so_many_octets(cross: Cross, side: str, far: str) -> None:
    """Answers and batches are cut at every place, each time a little later."""
    crossing = cross(side, far)
    feed = crossing.feed()
    for octets in (0, 3, 50, 400, 1500, 5000, 40_000):
        crossing.link.cut_after = octets
        made = crossing.link.made
        crossing.link.reset()
        wait(lambda made=made: crossing.link.made > made, crossing.status, 20)  # type: ignore[misc]
    feed.join()
    crossing.link.heal()
    crossing.wait_equal()
    assert crossing.status().restarts == 0


def test_a_broker_that_cannot_be_reached_is_said_to_be(cross: Cross) -> None:
    crossing = cross("destination")
    began = datetime.now(UTC)
    crossing.link.refuses = True
    crossing.link.reset()
    crossing.feed().join()
    status = crossing.wait_state("unreachable")
    assert f"127.0.0.1:{crossing.link.port}" in status.last_error
    assert status.since is not None
    assert began - timedelta(seconds=1) < status.since <= datetime.now(UTC)
    crossing.link.heal()
    crossing.wait_equal()
    assert crossing.status().last_error == ""


@pytest.mark.parametrize("side", SIDES)
def test_a_far_link_is_slower_and_nothing_else(cross: Cross, side: str) -> None:
    """300 ms each way, and then ten times less than what is written fits through."""
    crossing = cross(side)
    crossing.link.delay = 0.3
    crossing.feed().join()
    crossing.wait_equal()
    crossing.link.heal()
    crossing.link.bandwidth = 400_000
    crossing.feed().join()
    assert crossing.status().state == "running"
    crossing.wait_equal()
    assert crossing.status().restarts == 0


def test_silence_and_links_that_are_open_on_one_side_only(cross: Cross) -> None:
    """All at the same time, because each takes as long as a peer may be silent."""
    silent = [cross(side) for side in SIDES]
    halves = [cross(side, far) for side in SIDES for far in FAR]
    neighbour = cross("source")
    feeds = [crossing.feed() for crossing in silent + halves]
    time.sleep(0.5)
    began = datetime.now(UTC)
    for crossing in silent:
        crossing.link.silent = True
    for crossing in halves:
        crossing.link.half_open()
    for feed in feeds:
        feed.join()
    for crossing in silent:
        status = crossing.wait_state("unreachable", seconds=NOTICED)
        assert "does not answer" in status.last_error
        assert status.since is not None
        assert status.since >= began
        crossing.link.heal()
    neighbour.feed().join()
    neighbour.wait_equal()
    for crossing in silent + halves:
        crossing.wait_equal()
    assert {crossing.status().restarts for crossing in silent + halves} == {0}
