"""What tests of carrying need of a Kafka: topics, streams of events to fill them, and digests to compare them."""

from __future__ import annotations

import hashlib
import random
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.port import ProcessorEnd, ProcessorOrder

BASE = int(time.time() - 3600) * 1000
"""Timestamps begin an hour ago: retention takes what is older than a week, also if it was written just now."""


@dataclass
class Topics:
    """Topics of a test's own at one Kafka; `bootstrap` is a PLAINTEXT listener, or one that takes `login`."""

    bootstrap: str
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    login: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, **self.login})

    def create(
        self, name: str, partitions: int = 4, config: Mapping[str, str] | None = None, replicas: int = 1
    ) -> str:
        topic = f"{name}.{self.tag}"
        made = self.admin.create_topics([NewTopic(topic, partitions, replicas, config=dict(config or {}))])
        made[topic].result(30)
        self._wait(topic, True)
        return topic

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(30)
        self._wait(topic, False)

    def recreate(self, topic: str, partitions: int = 4) -> None:
        self.delete(topic)
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)
        self._wait(topic, True)

    def _wait(self, topic: str, there: bool) -> None:
        end = time.monotonic() + 30
        while (topic in self.admin.list_topics(timeout=10).topics) != there:
            assert time.monotonic() < end, topic
            time.sleep(0.05)

    def access(self) -> Access:
        servers = [one.rpartition(":") for one in self.bootstrap.split(",")]
        return Access(tuple(Server(host, int(port)) for host, _, port in servers))

    def end(self, topic: str) -> ProcessorEnd:
        return ProcessorEnd(self.access(), topic, topic)

    def drop_before(self, topic: str, offsets: dict[int, int]) -> None:
        """Removes records from the beginning (DeleteRecords)."""
        gone = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for one in self.admin.delete_records(gone).values():
            one.result(30)

    def ends(self, topic: str) -> dict[int, int]:
        """Partition → end offset."""
        consumer, last = self.consumer(), time.monotonic() + 30
        try:
            while True:
                try:
                    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
                    return {
                        p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1]
                        for p in partitions
                    }
                except KafkaException:  # a leader that is not elected yet
                    if time.monotonic() > last:
                        raise
                    time.sleep(0.1)
        finally:
            consumer.close()

    def consumer(self, **settings: object) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"digest.{self.tag}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
                **self.login,
                **settings,  # type: ignore[dict-item]
            }
        )

    def read(self, topic: str, timestamps: bool = True) -> dict[int, list[bytes]]:
        """Partition → one octet string for each event: key, value, headers, timestamp."""
        return {
            partition: [repr(event[:4] if timestamps else (*event[:3], 0)).encode() for event in events]
            for partition, events in self.messages(topic).items()
        }

    def messages(self, topic: str) -> dict[int, list[tuple[Any, ...]]]:
        """Partition → (key, value, headers, timestamp, offset) of each event."""
        consumer = self.consumer()
        try:
            partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
            found: dict[int, list[tuple[Any, ...]]] = {p: [] for p in partitions}
            at_end: set[int] = set()
            deadline = time.monotonic() + 60
            while len(at_end) < len(partitions):
                assert time.monotonic() < deadline, f"{topic}: {at_end} of {set(partitions)}"
                for message in consumer.consume(5000, 0.2):
                    if message.error():
                        at_end.add(message.partition())
                        continue
                    stamp = message.timestamp()[1]
                    parts = (message.key(), message.value(), message.headers(), stamp, message.offset())
                    found[message.partition()].append(parts)
            return found
        finally:
            consumer.close()

    def digest(self, topic: str) -> dict[int, tuple[int, str]]:
        """Partition → (events, SHA-256 over key, value, headers and timestamp in order)."""
        return {
            partition: (len(events), hashlib.sha256(b"\n".join(events)).hexdigest())
            for partition, events in self.read(topic).items()
        }

    def fill(self, topic: str, count: int, seed: int = 0, partitions: int = 4, **settings: object) -> None:
        """`count` events of many sizes, some without key, some without value, some with headers."""
        producer = self.producer(**settings)
        write(producer, topic, count, seed, partitions)
        assert producer.flush(60) == 0

    def producer(self, **settings: object) -> Producer:
        """An idempotent one."""
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "log_level": 0,
                **self.login,
                **settings,  # type: ignore[dict-item]
            }
        )


def write(producer: Producer, topic: str, count: int, seed: int = 0, partitions: int = 4) -> None:
    chance = random.Random(seed)
    for number in range(count):
        key = None if chance.random() < 0.1 else f"key-{chance.randrange(1000)}".encode()
        value = None if chance.random() < 0.02 else chance.randbytes(chance.randrange(1, 400)).hex().encode()
        headers = [("ce_id", str(number).encode()), ("none", None)] if chance.random() < 0.3 else None
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    key,
                    partition=chance.randrange(partitions),
                    headers=headers,
                    timestamp=BASE + seed * 1000 + number,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)


class Feed:
    """Writes `total` events over `seconds`, in a thread, and says when it has."""

    def __init__(
        self,
        topics: Topics,
        topic: str,
        total: int,
        seconds: float,
        partitions: int = 4,
        **settings: object,
    ) -> None:
        self._topics, self._topic, self._total, self._seconds = topics, topic, total, seconds
        self._partitions = partitions
        self._settings = settings
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            steps = max(1, int(self._seconds * 5))
            producer = self._topics.producer(**self._settings)
            began = time.monotonic()
            for step in range(steps):
                count = self._total * (step + 1) // steps - self._total * step // steps
                write(producer, self._topic, count, step, self._partitions)
                time.sleep(max(0.0, began + (step + 1) * self._seconds / steps - time.monotonic()))
            assert producer.flush(60) == 0
        except BaseException as error:
            self.failed = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(120)
        assert not self.failed, self.failed


def bridge(source: ProcessorEnd, destination: ProcessorEnd, **options: object) -> ProcessorOrder:
    id = f"p-{secrets.token_hex(4)}"
    return ProcessorOrder(id, "bridge", (source,), (destination,), **options)  # type: ignore[arg-type]
