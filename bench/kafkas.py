"""Two Apache Kafkas for measurements, as they run in production, and topics filled with batches of a known shape."""

from __future__ import annotations

import base64
import mmap
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from servers.kafka import Kafka
from servers.kafka_jars import Jars, fetch
from servers.kafka_topics import Topics

from eson.brokers.kafka.wire.batches import parse_header, split_entries


@dataclass(frozen=True)
class ServerJars(Jars):
    """The JVM compiles all it can and has 1 GB: the jars of the tests start quickly instead, and stay slow."""

    def command(self, main: str, *arguments: str, heap: str = "1g") -> list[str]:
        return [
            *("java", "-Xms256m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
            f"-Dlog4j2.configurationFile={self.root / 'log4j2.properties'}",
            *("-cp", f"{self.root / 'lib'}/*", main, *arguments),
        ]


@dataclass
class FarKafka(Kafka):
    """Has one listener more, FAR on port `far[0]`, which is told to clients as `far[1]`: a proxy's port."""

    far: tuple[int, int] = (0, 0)

    def _settings(self, node: object) -> dict[str, str]:
        settings = super()._settings(node)  # type: ignore[arg-type]
        settings["listeners"] += f",FAR://127.0.0.1:{self.far[0]}"
        settings["advertised.listeners"] += f",FAR://127.0.0.1:{self.far[1]}"
        settings["listener.security.protocol.map"] += ",FAR:PLAINTEXT"
        return settings


PROPERTIES = {"log.segment.bytes": "268435456", "log.segment.delete.delay.ms": "1000"}


def jars() -> ServerJars:
    return ServerJars(fetch().root)


@contextmanager
def running(*clusters: Kafka) -> Iterator[None]:
    try:
        for one in clusters:
            one.start()
        yield
    finally:
        for one in clusters:
            one.stop()


@contextmanager
def two_kafkas() -> Iterator[tuple[Kafka, Kafka]]:
    """A source and a destination, one node each."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, destination = (Kafka(jars(), Path(folder) / n, properties=PROPERTIES) for n in ("a", "b"))
        with running(source, destination):
            yield source, destination


@dataclass(frozen=True)
class Load:
    """`count` events with values of `size` octets, `batch` of them in each batch; a part `noise` of a value is random."""

    count: int
    size: int
    batch: int
    codec: str
    partitions: int = 4
    noise: float = 0.6

    @property
    def batch_octets(self) -> int:
        """Of a whole batch before it is compressed."""
        return self.batch * (self.size + 20)


def fill(topics: Topics, load: Load) -> str:
    """A new topic that holds the load: JSON text, some of it base64 noise, which lz4 makes about 1.6 times smaller."""
    topic = topics.create("source", load.partitions)
    feed(topics, topic, load)
    return topic


def feed(topics: Topics, topic: str, load: Load) -> None:
    """Writes the load into a topic that is there."""
    producer = Producer(
        {
            "bootstrap.servers": topics.bootstrap,
            "compression.type": load.codec,
            "batch.num.messages": load.batch,
            "batch.size": 1_040_000,
            "linger.ms": 1000,
            "queue.buffering.max.kbytes": 400_000,
            "log_level": 0,
        }
    )
    noise = base64.b64encode(random.Random(1).randbytes(6_000_000)).decode()
    rest = "sensor reading of the day " * 40
    part = int(load.size * load.noise)
    for number in range(load.count):
        at = number * part % (len(noise) - part)
        value = f'{{"n":{number:08},"d":"{noise[at : at + part]}","t":"{rest}'[: load.size - 2] + '"}'
        while True:
            try:
                # a batch of neighbours goes to one partition
                target = number // load.batch % load.partitions
                producer.produce(topic, value, f"{number % 1000000:06}", partition=target)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0


def shape(kafka: Kafka, topic: str) -> tuple[float, float]:
    """Octets and events of a batch, on average, as the broker's log holds them."""
    batches = octets = events = 0
    for path in (kafka.node().directory / "data").glob(f"{topic}-*/*.log"):
        if not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
            view = memoryview(log)
            for batch in split_entries(view):
                header = parse_header(batch)
                batches, octets, events = batches + 1, octets + header.size, events + header.record_count
                batch.release()
            view.release()
    return octets / batches, events / batches


class Arrivals:
    """How many events a topic holds, asked of its broker by one request."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}

    def count(self) -> int:
        """0 while there is no such topic."""
        from confluent_kafka import KafkaException

        total = 0
        for future in self._admin.list_offsets(self._asked, request_timeout=10).values():
            try:
                total += max(0, future.result().offset)
            except KafkaException:
                return 0
        return total
