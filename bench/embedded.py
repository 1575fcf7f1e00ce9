"""What the embedded broker costs beside Apache Kafka: CPU per GB in and out, memory, time to ready; one run, one machine.

The load (librdkafka, 1 kB records) is the same for both and is not counted: CPU is user and system time of the broker's
process alone.  Each broker is warmed first, so that the JVM's compiler has done its work.  The embedded broker syncs before
it confirms, Apache Kafka does not.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import Effort, Row  # first: it finds the servers of the tests

# isort: split
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from servers.embedded import Embedded
from servers.kafka import Kafka

from bench.kafkas import jars
from bench.processes import cpu
from eson.brokers.embedded.settings import Settings

PARTITIONS = 4
RECORD = 1000
WARM, MEASURED = 150_000, 400_000
BATCH = 64_000
MOST_RESIDENT_MB, MOST_READY = 80.0, 1.0


@dataclass
class Cost:
    """CPU seconds per GB, MB, seconds."""

    cpu_in: float
    cpu_out: float
    resident: float
    ready: float


def run(effort: Effort = Effort.USUAL) -> Iterator[Row]:
    """CPU seconds per GB (1e9 octets of records), MB, seconds."""
    scale = {Effort.QUICK: 0.1, Effort.USUAL: 1.0, Effort.LONG: 4.0}[effort]
    with tempfile.TemporaryDirectory(prefix="eson-bench-") as folder:
        theirs = _kafka(Path(folder), scale)
        ours = _embedded(Path(folder), scale)
    peer = "Apache Kafka"
    yield Row("CPU per GB in, 64 kB batches", "s", ours.cpu_in, peer, theirs.cpu_in, less=True, times=1.0)
    yield Row("CPU per GB out, 64 kB batches", "s", ours.cpu_out, peer, theirs.cpu_out, less=True, times=1.0)
    resident, ready = MOST_RESIDENT_MB, MOST_READY
    yield Row("resident, at most", "MB", ours.resident, peer, theirs.resident, less=True, bound=resident)
    yield Row("time to ready", "s", ours.ready, peer, theirs.ready, less=True, bound=ready)


def _embedded(folder: Path, scale: float) -> Cost:
    directory = folder / "embedded"
    directory.mkdir()
    broker = Embedded(directory, Settings(str(directory / "data"), (("127.0.0.1", 0),), login=False))
    broker.start()
    try:
        return _measure(broker.bootstrap(), broker.pid, broker.seconds_to_ready, scale)
    finally:
        broker.kill()


def _kafka(folder: Path, scale: float) -> Cost:
    kafka = Kafka(jars(), folder / "kafka")
    kafka.start()
    try:
        kafka.stop_node()
        began = time.monotonic()
        kafka.restart()
        ready = time.monotonic() - began
        process = kafka.node().process
        assert process is not None
        return _measure(kafka.bootstrap(), process.pid, ready, scale)
    finally:
        kafka.stop()


def _measure(bootstrap: str, pid: int, ready: float, scale: float) -> Cost:
    warm, measured = int(WARM * scale), int(MEASURED * scale)
    _write(bootstrap, "warm", warm)
    _read(bootstrap, "warm", warm)
    before = cpu(pid)
    _write(bootstrap, "load", measured)
    between = cpu(pid)
    _read(bootstrap, "load", measured)
    after = cpu(pid)
    gigabytes = measured * RECORD / 1e9
    return Cost((between - before) / gigabytes, (after - between) / gigabytes, _resident(pid), ready)


def _write(bootstrap: str, topic: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 500,
            "batch.size": BATCH,
            "log_level": 0,
            "batch.num.messages": 1_000_000,
            "queue.buffering.max.kbytes": 200_000,
        }
    )
    value = os.urandom(RECORD)
    for number in range(count):
        while True:
            try:
                producer.produce(topic, value, partition=number // 64 % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def _read(bootstrap: str, topic: str, count: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "log_level": 0})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    while count > 0:
        for message in consumer.consume(5000, 10.0):
            assert message.error() is None, message.error()
            count -= 1
    consumer.close()


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000
