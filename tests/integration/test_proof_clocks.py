"""The clock of a machine is moved by an hour, forward and back, while events are carried: nothing waits, nothing is lost."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, TopicPartition
from servers.comparing import assert_same
from servers.embedded import StartEmbedded
from servers.false_clock import HOUR, FalseClock
from servers.kafka import Kafka
from servers.kafka_topics import Feed, Topics, bridge
from servers.pair import Member, Pair, differences
from servers.participant import eventually
from servers.processor import ProcessorChild

MOVES = (HOUR, -HOUR, 0)
SOON = 15.0
"""Seconds, far less than an hour."""


@dataclass
class Way:
    """What one bridge carries."""

    here: Topics
    there: Topics

    def __post_init__(self) -> None:
        self.source, self.copy = self.here.create("source", 2), self.there.create("copy", 2)
        self.order = bridge(self.here.end(self.source), self.there.end(self.copy))

    def moving(self, clock: FalseClock) -> None:
        """Events are written all the time; after each move they go on arriving, and so do answers without events."""
        for seed, seconds in enumerate(MOVES):
            feed = Feed(self.here, self.source, 600, 1.0, partitions=2)
            time.sleep(0.4)
            clock.move(seconds)
            feed.join()
            self.here.fill(self.source, 100, 100 + seed, 2)
            began = time.monotonic()
            assert_same(self.here, self.source, self.there, self.copy, SOON)
            assert time.monotonic() - began < SOON


def test_the_clock_of_a_processor(kafka: Kafka, tmp_path: Path, children: list[ProcessorChild]) -> None:
    topics, clock = Topics(kafka.bootstrap()), FalseClock(tmp_path / "clock")
    way = Way(topics, topics)
    child = ProcessorChild(way.order, tmp_path / "journal", environment=clock.environment)
    children.append(child)
    child.wait_ready()
    before = len(child.reports)
    way.moving(clock)
    for report in child.reports[before:]:
        assert report.WhichOneof("report") in ("ready", "progress", "answer"), report


def test_the_clock_of_an_embedded_broker(
    start_embedded: StartEmbedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """Of one that is source and destination; who waits for an event waits no longer than he asked for."""
    clock = FalseClock(tmp_path / "clock")
    topics = Topics(start_embedded(login=False, environment=clock.environment).bootstrap())
    way = Way(topics, topics)
    child = ProcessorChild(way.order, tmp_path / "journal")
    children.append(child)
    child.wait_ready()
    before = len(child.reports)
    way.moving(clock)
    for report in child.reports[before:]:
        assert report.WhichOneof("report") in ("ready", "progress", "answer"), report


def test_who_waits_at_an_embedded_broker(start_embedded: StartEmbedded, tmp_path: Path) -> None:
    """Its clock is moved back while it holds a Fetch for two seconds, which stay two."""
    clock = FalseClock(tmp_path / "clock")
    topics = Topics(start_embedded(login=False, environment=clock.environment).bootstrap())
    empty = topics.create("empty", 1)
    consumer = topics.consumer(**{"fetch.wait.max.ms": 2000})
    consumer.assign([TopicPartition(empty, 0, 0)])
    assert consumer.poll(1.0) is None
    clock.move(-HOUR)
    message = consumer.poll(SOON)
    assert message is not None
    assert message.error().code() == KafkaError._PARTITION_EOF
    consumer.close()


F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"


def write(member: Member, *numbers: int) -> None:
    with member.session() as wire:
        assert wire.reply(f"WRITE {F}")[0].startswith("354 ")
        for number in numbers:
            wire.send(json.dumps({"source": "/test", "type": "test", "data": number}))
        assert wire.reply(".") == [f"220 OK {len(numbers)}"]


def test_the_clock_of_an_agent(tmp_path: Path) -> None:
    """Of a provider, by more than its leases last: the subscription stays, and both sides hear of each other."""
    pair, clock = Pair(tmp_path), FalseClock(tmp_path / "clock")
    # read once a second: an agent asks for the time all the while
    del clock.environment["FAKETIME_NO_CACHE"]
    pair.provider.environment = clock.environment | {"FAKETIME_CACHE_DURATION": "1"}
    pair.provider.settings["copies"] = {"lease": "30m"}
    # a name server that knows nothing of it, and says so at once
    names = pair.provider.settings["names"]
    names["resolve"]["nowhere.ar"] = names["listen"][0]
    with pair:
        assert pair.provider.ask(f"CREATE FLOW {F} visibility=public") == [f"220 OK {F}"]
        reply = pair.subscriber.ask(f"SUBSCRIBE {F} LOCAL {G} AS once")
        copy = reply[1].split()[-1]
        for number, seconds in enumerate(MOVES):
            clock.move(seconds)
            time.sleep(1.1)
            # what fails makes the agent look soon at what is due, leases among it
            failed = pair.provider.ask("SUBSCRIBE x.flows.nowhere.ar LOCAL x.flows.unix.ar")
            assert failed[0].startswith("456 ")
            write(pair.provider, number)
            eventually(lambda: len(pair.subscriber.items(f"READ {G}")) == number + 1, SOON)  # noqa: B023
        assert [one["data"] for one in pair.subscriber.items(f"READ {G}")] == [0, 1, 2]
        assert pair.subscriber.ask(f"SUBSCRIBE {F} LOCAL {G} AS once") == reply, "it is the same as ever"
        assert pair.provider.ask(f"PAUSE SUBSCRIPTION {copy}") == ["220 OK"]
        assert pair.subscriber.ask(f"UNSUBSCRIBE {copy}") == ["220 OK"]
        eventually(lambda: differences(pair) == [], SOON)
        for one in pair.both:
            assert "Traceback" not in one.log()
