"""All four kinds of processors at once on one and on three nodes, producers running: whatever is killed, nothing is lost.

Nothing arrives twice either, or changed, or in another place.  Short by default; `ESON_KILLS=300 ESON_BROKER_KILLS=50`
(`make kill-test`) make it long: so many of each, half of them on one node, half on three.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from servers.comparing import Event, Expected, Found, differences
from servers.kafka import Kafka
from servers.kafka_topics import BASE, Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.port import Access
from eson.processors.port import ProcessorEnd, ProcessorOrder

KILLS = max(12, int(os.environ.get("ESON_KILLS", "0")) // 2)
BROKER_KILLS = max(1, int(os.environ.get("ESON_BROKER_KILLS", "0")) // 2)
SEED = int(os.environ.get("ESON_SEED", "0")) or random.randrange(1, 1 << 32)
PARTITIONS = 2
A_SECOND = 500
"""Events that are written in a second, all in all."""
pytestmark = pytest.mark.timeout(300 + 2 * KILLS + 60 * BROKER_KILLS)


class Load:
    """Events that no two are alike, written to two flows until it is left: CloudEvents, and some that are none."""

    def __init__(self, topics: Topics, sources: tuple[str, ...]) -> None:
        self._producer = topics.producer(**{"reconnect.backoff.max.ms": 500, "message.timeout.ms": 300_000})
        self._sources, self._ended = sources, threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.failed: list[object] = []
        self.confirmed = 0

    def _write(self) -> None:
        chance, number = random.Random(SEED), 0
        while not self._ended.wait(0.05):
            for _ in range(A_SECOND // 20):
                number += 1
                self._one(chance, number)
            self._producer.poll(0)
        self.left = self._producer.flush(90)

    def _one(self, chance: random.Random, number: int) -> None:
        headers = None
        if chance.random() < 0.8:
            kind = b"tick" if chance.random() < 0.5 else b"tock"
            headers = [("ce_specversion", b"1.0"), ("ce_id", b"%d" % number), ("ce_source", b"/load")]
            headers += [("ce_type", kind), ("none", None)]
        self._producer.produce(
            chance.choice(self._sources),
            b"%d:" % number + chance.randbytes(chance.randrange(200)).hex().encode(),
            None if chance.random() < 0.2 else b"key-%d" % chance.randrange(100),
            partition=chance.randrange(PARTITIONS),
            on_delivery=self._told,
            timestamp=BASE + number,
            headers=headers,
        )

    def _told(self, error: object, message: object) -> None:
        if error is not None:
            self.failed.append(error)
        else:
            self.confirmed += 1

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(120)


class Lives:
    """Processes of each order, one after the other on one journal; kills them at random until it is told to end."""

    def __init__(self, orders: list[ProcessorOrder], folder: Path) -> None:
        self.orders = orders
        self._folder, self._chance = folder, random.Random(SEED + 1)
        self._running: dict[str, ProcessorChild] = {}
        self.kills = dict.fromkeys((order.kind for order in orders), 0)
        self.ready = 0
        self.enough = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._kill_and_go_on)

    def begin(self) -> None:
        for order in self.orders:
            self._begin(order)

    def _begin(self, order: ProcessorOrder) -> None:
        self._running[order.id] = ProcessorChild(order, self._folder / order.id)

    def _kill_and_go_on(self) -> None:
        try:
            while not self.enough.is_set() or sum(self.kills.values()) < KILLS:
                order = self._chance.choice(self.orders)
                child = self._running[order.id]
                if self._chance.random() < 0.5:  # else most would die before they carry anything
                    with suppress(TimeoutError):
                        child.wait_ready(3.0)
                time.sleep(self._chance.uniform(0.0, 0.6))
                assert not any(one.error.stopped for one in child.reports), child.reports
                self.ready += any(one.HasField("ready") for one in child.reports)
                child.kill()
                self.kills[order.kind] += 1
                self._begin(order)
        except BaseException as error:
            self.failed = error

    def start(self) -> None:
        self.begin()
        self._thread.start()

    def join(self) -> None:
        """Until there were enough kills; then each lives on, in this thread's name."""
        self.enough.set()
        self._thread.join(60 + 2 * KILLS)
        self.end()
        assert self.failed is None, self.failed
        self.begin()

    def end(self) -> None:
        self.enough.set()
        for child in self._running.values():
            with suppress(ProcessLookupError):
                child.kill()


@pytest.fixture(params=["kafka", "kafka_cluster"], ids=["one node", "three nodes"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """Shared with other tests: all nodes are up again afterwards."""
    found: Kafka = request.getfixturevalue(request.param)
    yield found
    for node in found.nodes:
        if not node.alive:
            found.restart(node.id)


def _orders(topics: Topics, sources: tuple[str, ...], replicas: int) -> list[ProcessorOrder]:
    ends = [topics.end(one) for one in sources]
    copies = [
        topics.end(topics.create(f"copy-{number}", PARTITIONS, replicas=replicas)) for number in range(6)
    ]
    both = tuple(ends)
    return [
        bridge(ends[0], copies[0]),
        ProcessorOrder(f"p-collect-{topics.tag}", "collector", both, (copies[1],)),
        ProcessorOrder(f"p-distribute-{topics.tag}", "distributor", (ends[1],), (copies[2], copies[3])),
        ProcessorOrder(
            f"p-signal-{topics.tag}", "signal", both, (copies[4], copies[5]), when="type = 'tick'"
        ),
    ]


def test_kills_of_processors_and_brokers(cluster: Kafka, tmp_path: Path) -> None:
    """Processors die all the time, also while a broker is away; brokers die by `kill -9`, any of three."""
    print(f"seed {SEED}")
    chance = random.Random(SEED + 2)
    topics = Topics(cluster.bootstrap())
    sources = tuple(topics.create(f"source-{n}", PARTITIONS, replicas=cluster.size) for n in range(2))
    lives = Lives(_orders(topics, sources, cluster.size), tmp_path)
    with Load(topics, sources) as load:
        try:
            lives.start()
            for _ in range(BROKER_KILLS):
                time.sleep(chance.uniform(0.5, 3.0))
                victim = chance.randrange(cluster.size) + 1
                cluster.kill(victim)
                time.sleep(chance.uniform(0.0, 1.0))
                cluster.restart(victim)
            lives.join()
        except BaseException:
            lives.end()
            raise
    try:
        assert load.failed == []
        assert load.left == 0
        found, expected = Found(), Expected(topics, sources)
        try:
            for order in lives.orders:
                expected.compare(order, found)
        finally:
            kills = ", ".join(f"{kind} {count}" for kind, count in lives.kills.items())
            print(f"{cluster.size} node(s), {BROKER_KILLS} kills of brokers, kills of processors: {kills}")
            print(f"{lives.ready} of them after recovery; {load.confirmed} events written; {found}")
            for copy, digest in found.digests.items():
                print(f"{copy}: {digest}")
        assert found.events > load.confirmed
        assert (found.lost, found.twice, found.strange) == (0, 0, 0)
    finally:
        lives.end()


EVENTS = [(b"key", b"%d" % number, [("ce_id", b"1")], BASE) for number in range(5)]


@pytest.mark.parametrize(
    "got, counts, told",
    [
        (EVENTS, (0, 0, 0), ""),
        (EVENTS[:2] + EVENTS[3:], (1, 0, 0), "event 2 of 5 should be (b'key', b'2'"),
        (EVENTS[:3] + EVENTS[2:], (0, 1, 0), "event 3 of 5 should be (b'key', b'3'"),
        (EVENTS + EVENTS[:1], (0, 1, 0), "event 5 of 5 should be nothing more"),
        (EVENTS[:1] + EVENTS[:0:-1], (0, 0, 4), "event 1 of 5"),
        ([*EVENTS[:4], (*EVENTS[4][:3], BASE + 1)], (1, 0, 1), "event 4 of 5"),
    ],
    ids=["equal", "lost", "twice", "too much", "out of order", "another time"],
)
def test_comparing_sees(got: list[Event], counts: tuple[int, int, int], told: str) -> None:
    found = Found()
    order = bridge(ProcessorEnd(Access(()), "f", "f"), ProcessorEnd(Access(()), "g", "g"))
    said = differences("here", order, {("f", 0): EVENTS}, got, found)
    assert (found.lost, found.twice, found.strange) == counts
    assert told in "".join(said)
    assert bool(said) == (got != EVENTS)
