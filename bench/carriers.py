"""Who carries: our processor, a confluent-kafka loop, MirrorMaker 2.  Each is run once over a topic and weighed.

CPU is user and system time of the process in seconds per million events, its start-up taken out; memory is private
(USS) at its peak.  Every run is checked for its count.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from servers.kafka_jars import Jars
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from bench.kafkas import Arrivals, Load
from bench.processes import cpu, peak_private
from eson.processors.port import ProcessorEnd

TIMEOUT = 600.0
MOST_MEMORY = 60.0
"""MB of private memory (USS) that a processor may take."""

LOOP = """
import sys
from confluent_kafka import Consumer, Producer, TopicPartition
here, there, source, copy, count, codec, batch, partitions = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": here, "group.id": copy, "auto.offset.reset": "earliest", "log_level": 0})
producer = Producer({"bootstrap.servers": there, "linger.ms": 5, "enable.idempotence": True, "log_level": 0,
                     "compression.type": codec, "batch.size": int(batch), "batch.num.messages": 1000000})
consumer.assign([TopicPartition(source, p, 0) for p in range(int(partitions))])
left = int(count)
while left > 0:
    for message in consumer.consume(1000, 0.5):
        if message.error():
            continue
        left -= 1
        while True:
            try:
                producer.produce(copy, message.value(), message.key(), partition=message.partition(),
                                 headers=message.headers(), timestamp=message.timestamp()[1])
                break
            except BufferError:
                producer.poll(0.05)
    producer.poll(0)
producer.flush(60)
print("done", flush=True)
sys.stdin.read()
"""


@dataclass
class Cost:
    """CPU in seconds per million events, one value a run; peak USS in MB."""

    cpu: list[float] = field(default_factory=list)
    memory: float = 0.0

    def add(self, seconds: float, count: int, memory: float) -> None:
        self.cpu.append(max(1e-6, seconds) / count * 1e6)
        self.memory = max(self.memory, memory)


@dataclass(frozen=True)
class Way:
    """From a topic at one Kafka into new ones at another.  `source` other than `here.end` leads over a proxy."""

    here: Topics
    there: Topics
    topic: str
    load: Load

    def new_copy(self) -> str:
        return self.there.create(f"copy-{time.monotonic_ns()}", self.load.partitions)

    def check(self, copy: str, count: int) -> None:
        """The copy holds so many events; then it is removed."""
        found = sum(self.there.ends(copy).values())
        assert found == count, f"{found} of {count} arrived"
        self.there.delete(copy)


@contextmanager
def processor(source: ProcessorEnd, copy: ProcessorEnd) -> Iterator[ProcessorChild]:
    """Our processor, ready."""
    with tempfile.TemporaryDirectory() as folder:
        child = ProcessorChild(bridge(source, copy), Path(folder) / "journal")
        try:
            child.wait_ready()
            yield child
        finally:
            child.end()


@contextmanager
def loop(
    here: str, there: str, source: str, copy: str, count: int, load: Load
) -> Iterator[subprocess.Popen[bytes]]:
    """The confluent-kafka loop; it says `done` when it has carried `count` events."""
    words = (here, there, source, copy, str(count), load.codec, str(load.batch_octets), str(load.partitions))
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def run_processor(cost: Cost, way: Way) -> None:
    empty = way.here.create(f"empty-{time.monotonic_ns()}", way.load.partitions)
    idle, _ = _processor_once(way, empty, 0)
    way.here.delete(empty)
    spent, memory = _processor_once(way, way.topic, way.load.count)
    cost.add(spent - idle, way.load.count, memory)


def _processor_once(way: Way, topic: str, count: int) -> tuple[float, float]:
    copy = way.new_copy()
    with tempfile.TemporaryDirectory() as folder:
        child = ProcessorChild(bridge(way.here.end(topic), way.there.end(copy)), Path(folder) / "journal")
        with peak_private(child.pid) as peak:
            child.wait_ready()
            child.wait_records(count, TIMEOUT)
            spent = cpu(child.pid)
        child.end()
    way.check(copy, count)
    return spent, peak[0]


def run_loop(cost: Cost, way: Way) -> None:
    idle, _ = _loop_once(way, 0)
    spent, memory = _loop_once(way, way.load.count)
    cost.add(spent - idle, way.load.count, memory)


def _loop_once(way: Way, count: int) -> tuple[float, float]:
    copy = way.new_copy()
    with loop(way.here.bootstrap, way.there.bootstrap, way.topic, copy, count, way.load) as child:
        with peak_private(child.pid) as peak:
            assert child.stdout is not None
            assert child.stdout.readline() == b"done\n"
            spent = cpu(child.pid)
    way.check(copy, count)
    return spent, peak[0]


# MirrorMaker 2 as its start script runs it; topics of its own have one replica, as there is one node
JVM = (
    *("java", "-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *(
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:+ExplicitGCInvokesConcurrent",
        "-Djava.awt.headless=true",
    ),
)
MIRROR = """\
clusters=a,b
a.bootstrap.servers={here}
b.bootstrap.servers={there}
a->b.enabled=true
b->a.enabled=false
a->b.topics={topic}
replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy
tasks.max=2
replication.factor=1
offset-syncs.topic.replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
emit.checkpoints.enabled=false
emit.heartbeats.enabled=false
sync.topic.acls.enabled=false
sync.topic.configs.enabled=false
refresh.groups.enabled=false
a.consumer.max.poll.records=2000
a.consumer.fetch.max.bytes=52428800
a.consumer.max.partition.fetch.bytes=4194304
b.producer.batch.size=655360
b.producer.linger.ms=100
b.producer.compression.type={codec}
"""
WARM_FROM, WARM_TO = 0.40, 0.95


def run_mirror_maker(cost: Cost, way: Way, jars: Jars) -> None:
    """CPU is the slope between 40 % and 95 % of the run: without the start, and without most of the JVM's warming up."""
    load, seen = way.load, [(0, 0.0)]
    arrivals = Arrivals(way.there.bootstrap, way.topic, load.partitions)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mm2.properties"
        values = {"here": way.here.bootstrap, "there": way.there.bootstrap, "topic": way.topic}
        file.write_text(MIRROR.format(**values, codec=load.codec))
        child = subprocess.Popen(
            [
                *JVM,
                f"-Dlog4j2.configurationFile={jars.root / 'log4j2.properties'}",
                *("-cp", f"{jars.root / 'lib'}/*", "org.apache.kafka.connect.mirror.MirrorMaker", str(file)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        end = time.monotonic() + TIMEOUT
        try:
            with peak_private(child.pid, 0.5) as peak:
                while seen[-1][0] < load.count:
                    assert child.poll() is None, f"MirrorMaker 2 ended with status {child.returncode}"
                    assert time.monotonic() < end, f"MirrorMaker 2 carried {seen[-1][0]} of {load.count}"
                    time.sleep(0.1)
                    seen.append((arrivals.count(), cpu(child.pid)))
        finally:
            child.kill()
            child.wait(30)
    from_, to = (min(seen, key=lambda one: abs(one[0] - part * load.count)) for part in (WARM_FROM, WARM_TO))
    assert to[0] > from_[0], f"too few events for a slope: {seen[-5:]}"
    cost.add(to[1] - from_[1], to[0] - from_[0], peak[0])
    way.check(way.topic, load.count)
    for topic in set(way.there.admin.list_topics(timeout=30).topics) - {"__consumer_offsets"}:
        with suppress(Exception):  # its own topics know this run: the next begins anew
            way.there.delete(topic)
