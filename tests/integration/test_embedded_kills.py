"""The embedded broker is killed under load, again and again: what it confirmed is there, in order, once.

`ESON_EMBEDDED_KILLS=100` makes it the long form of the gate (`make kill-test`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from random import Random
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from servers.embedded import Embedded, StartEmbedded

KILLS = int(os.environ.get("ESON_EMBEDDED_KILLS", "10"))
PARTITIONS = 3
TOPIC = "load.flows.unix.ar"


class Load(threading.Thread):
    """Writes numbered records to each partition until told to end; `confirmed` is (partition, offset) → number."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        self.confirmed: dict[tuple[int, int], int] = {}
        self.failed: list[Any] = []
        self.ending = threading.Event()
        self.left = -1
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 1,
                "batch.num.messages": 50,
                "message.timeout.ms": 120_000,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
                "retry.backoff.ms": 10,
                "retry.backoff.max.ms": 50,
                "log_level": 0,
            }
        )

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.failed.append(error)
        else:
            self.confirmed[message.partition(), message.offset()] = int(message.value())

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            for partition in range(PARTITIONS):
                self._producer.produce(
                    TOPIC, b"%d" % number, partition=partition, on_delivery=self._delivered
                )
            number += 1
            self._producer.poll(0)
            if number % 50 == 0 or len(self._producer) > 5000:
                self._producer.poll(0.02)
        self.left = self._producer.flush(60)


def everything(broker: Embedded) -> dict[int, list[tuple[int, int]]]:
    """Offset and number of each record, by partition, as a consumer finds them."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap(), "group.id": "check", "check.crcs": True})
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    ends = {p: consumer.get_watermark_offsets(TopicPartition(TOPIC, p), 10)[1] for p in range(PARTITIONS)}
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    end = time.monotonic() + 60
    while sum(map(len, found.values())) < sum(ends.values()) and time.monotonic() < end:
        for message in consumer.consume(10_000, 1.0):
            assert message.error() is None
            found[message.partition()].append((message.offset(), int(message.value())))
    consumer.close()
    assert {p: len(found[p]) for p in range(PARTITIONS)} == ends
    return found


def test_every_confirmed_record_is_there_in_order_and_once(start_embedded: StartEmbedded) -> None:
    broker = start_embedded(login=False)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap(), "log_level": 0})
    small = {"segment.bytes": "200000"}  # so that segments roll under the kills too
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=small)])[TOPIC].result(10)
    load, random = Load(broker.bootstrap()), Random(1)
    load.start()
    for _ in range(KILLS):
        confirmed = len(load.confirmed)
        while len(load.confirmed) < confirmed + 500:
            time.sleep(0.01)
        time.sleep(random.random() * 0.2)
        broker.kill()
        broker.start()
    load.ending.set()
    load.join(90)
    assert load.left == 0
    assert load.failed == []
    found = everything(broker)
    for partition, records in found.items():
        assert [offset for offset, _ in records] == list(range(len(records)))
        assert [number for _, number in records] == list(range(len(records))), "lost, twice or out of order"
        assert {offset: number for (p, offset), number in load.confirmed.items() if p == partition} == dict(
            records
        )
    assert len(load.confirmed) > 500 * KILLS


def test_topics_users_rights_and_positions_survive_a_kill(start_embedded: StartEmbedded) -> None:
    """Each was confirmed, and the broker was killed the moment after."""
    broker = start_embedded()
    names = []
    for number in range(3):
        name = f"t{number}.flows.unix.ar"
        admin = AdminClient(broker.login())
        admin.create_topics([NewTopic(name, number + 1, 1, config={"retention.ms": "60000"})])[name].result(
            10
        )
        consumer = Consumer(broker.login() | {"group.id": f"g{number}", "enable.auto.commit": False})
        consumer.commit(offsets=[TopicPartition(name, 0, 100 + number)], asynchronous=False)
        broker.kill()
        broker.start()
        names.append(name)
        seen = AdminClient(broker.login()).list_topics(timeout=10).topics
        assert {topic: len(seen[topic].partitions) for topic in seen} == {
            n: i + 1 for i, n in enumerate(names)
        }
        again = Consumer(broker.login() | {"group.id": f"g{number}"})
        assert again.committed([TopicPartition(name, 0)], 10)[0].offset == 100 + number


def test_it_ends_with_its_parent_and_on_request(start_embedded: StartEmbedded) -> None:
    broker = start_embedded(login=False)
    assert broker.process is not None
    assert broker.process.stdin is not None
    broker.process.stdin.close()
    assert broker.process.wait(10) == 0
    broker.start()
    assert broker.stop() == 0


def test_it_is_ready_within_a_second(start_embedded: StartEmbedded) -> None:
    broker = start_embedded(login=False)
    seconds = [broker.seconds_to_ready]
    for _ in range(2):
        broker.kill()
        broker.start()
        seconds.append(broker.seconds_to_ready)
    assert min(seconds) < 1.0
