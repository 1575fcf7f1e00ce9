"""The bridge on the embedded broker: to it that *is* a Kafka."""

from __future__ import annotations

import random
import time
from pathlib import Path

from servers.embedded import Embedded, StartEmbedded
from servers.kafka_topics import Feed, Topics, bridge
from servers.processor import ProcessorChild
from servers.proxy import Proxy

KILLS = 5
MOST_GROWTH = 12 << 10
"""Private kilobytes that what waits may take, far below what an answer's memory for each of it would."""


def _wait(here: Topics, source: str, there: Topics, copy: str) -> None:
    wanted, end = here.digest(source), time.monotonic() + 60
    while sum(there.ends(copy).values()) < sum(count for count, _ in wanted.values()):
        assert time.monotonic() < end, there.ends(copy)
        time.sleep(0.05)
    assert there.digest(copy) == wanted


def test_kills_of_bridge_and_broker_lose_nothing_and_repeat_nothing(
    open_embedded: Embedded, start_embedded: StartEmbedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    other = start_embedded(login=False)
    here, there = Topics(open_embedded.bootstrap()), Topics(other.bootstrap())
    source, copy = here.create("source"), there.create("copy")
    order = bridge(here.end(source), there.end(copy))
    feed = Feed(here, source, 2000 * KILLS, 1.2 * KILLS)
    for turn in range(2 * KILLS):
        child = ProcessorChild(order, tmp_path / "journal")
        children.append(child)
        time.sleep(random.uniform(0.3, 0.7))
        if turn % 2:
            other.kill()
            other.start()
            time.sleep(random.uniform(0.1, 0.4))
        child.kill()
    feed.join()
    children.append(ProcessorChild(order, tmp_path / "journal"))
    _wait(here, source, there, copy)


def test_it_says_that_it_is_exactly_once(
    open_embedded: Embedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    topics = Topics(open_embedded.bootstrap())
    source, copy = topics.create("source"), topics.create("copy")
    topics.fill(source, 500)
    child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), tmp_path / "journal")
    children.append(child)
    assert child.wait_ready().guarantee == "exactly-once"
    child.wait_records(500)
    _wait(topics, source, topics, copy)


def test_what_trickles_in_before_a_slow_destination_takes_little_memory(
    open_embedded: Embedded, start_embedded: StartEmbedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    link = Proxy()
    far = start_embedded(login=False, advertise=("127.0.0.1", link.port), internal=("127.0.0.1", 0))
    link.target = far.bound["listen"][0]
    host, port = far.bound["internal"]
    here, there = Topics(open_embedded.bootstrap()), Topics(f"{host}:{port}")
    source, copy = here.create("source", 1), there.create("copy", 1)
    slow = Topics(f"127.0.0.1:{link.port}")
    child = ProcessorChild(bridge(here.end(source), slow.end(copy)), tmp_path / "journal")
    children.append(child)
    child.wait_ready()
    before = child.private()
    link.delay = 2.0
    producer = here.producer(**{"linger.ms": 0})
    for number in range(200):
        producer.produce(source, b"%d" % number)
        assert producer.flush(10) == 0
    most = child.private()
    assert there.ends(copy) != here.ends(source)
    link.heal()
    _wait(here, source, there, copy)
    assert most - before < MOST_GROWTH
    link.close()
