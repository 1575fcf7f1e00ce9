"""What carrying costs: a bridge beside a confluent-kafka consume/produce loop, on one Apache Kafka, in one run.

CPU is user and system time of the process, its start-up (the same program with nothing to do) taken out; memory is the
private part (USS) at its peak.  Wall-clock time says little: brokers and bridges share the machine.
"""

from __future__ import annotations

import base64
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from confluent_kafka import Producer  # noqa: E402
from servers.kafka import Kafka  # noqa: E402
from servers.kafka_jars import fetch  # noqa: E402
from servers.kafka_topics import Topics, bridge  # noqa: E402
from servers.processor import ProcessorChild  # noqa: E402

PARTITIONS = 4
RUNS = 3
MOST_USS = 60.0

LOOP = """
import sys
from confluent_kafka import Consumer, Producer, TopicPartition
bootstrap, source, copy, count, codec, batch, partitions = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": copy, "auto.offset.reset": "earliest", "log_level": 0})
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True, "log_level": 0,
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


@dataclass(frozen=True)
class Case:
    """`gate`: how many times fewer CPU seconds than the loop are promised; None: it is only told."""

    name: str
    count: int
    size: int
    batch: int
    codec: str
    gate: float | None


CASES = (
    Case("1 kB, lz4, 40 kB batches", 300_000, 1000, 64_000, "lz4", 4.0),
    Case("1 kB, lz4, 600 kB batches", 300_000, 1000, 950_000, "lz4", 7.0),
    Case("100 B, lz4, 55 kB batches", 2_000_000, 100, 90_000, "lz4", 12.0),
    Case("1 kB, uncompressed, 1 MB batches", 300_000, 1000, 990_000, "none", None),
)


@dataclass
class Cost:
    """CPU in seconds per million messages, the smallest and the median of the runs; peak USS in MB."""

    cpu: list[float] = field(default_factory=list)
    uss: float = 0.0

    def __str__(self) -> str:
        return f"{min(self.cpu):6.2f} / {statistics.median(self.cpu):5.2f} CPU-s, {self.uss:5.1f} MB"


def run(cases: tuple[Case, ...] = CASES, runs: int = RUNS, report: Callable[[str], None] = print) -> bool:
    """Measures and prints; whether every gate is kept."""
    kept = True
    with _kafka() as topics:
        report(f"CPU-seconds per million messages (smallest / median of {runs} runs) and peak USS")
        for case in cases:
            source = _source(topics, case)
            ours, theirs = Cost(), Cost()
            for _ in range(runs):
                _measure(ours, case, partial(_bridge, topics, source))
                _measure(theirs, case, partial(_loop, topics, case, source))
            ratio = statistics.median(theirs.cpu) / statistics.median(ours.cpu)
            good = (case.gate is None or ratio >= case.gate) and ours.uss <= MOST_USS
            kept = kept and good
            gate = (
                f"gate {case.gate:.0f}×, {MOST_USS:.0f} MB: {'kept' if good else 'MISSED'}"
                if case.gate
                else ""
            )
            report(f"{case.name:34} eson {ours}   confluent-kafka {theirs}   {ratio:5.1f}× {gate}")
            topics.delete(source)
    return kept


@contextmanager
def _kafka() -> Iterator[Topics]:
    with tempfile.TemporaryDirectory() as folder:
        kafka = Kafka(fetch(), Path(folder), properties={"log.segment.bytes": "268435456"})
        kafka.start()
        try:
            yield Topics(kafka.bootstrap())
        finally:
            kafka.stop()


def _source(topics: Topics, case: Case) -> str:
    """A topic filled with JSON, a part of it noise, which lz4 makes about 1.6 times smaller."""
    topic = topics.create("source", PARTITIONS)
    producer = Producer(
        {
            "bootstrap.servers": topics.bootstrap,
            "compression.type": case.codec,
            "batch.size": case.batch,
            "batch.num.messages": 1_000_000,
            "linger.ms": 100,
            "queue.buffering.max.kbytes": 400_000,
            "log_level": 0,
        }
    )
    noise = base64.b64encode(random.Random(1).randbytes(6_000_000)).decode()
    rest = "sensor reading of the day " * 40
    part = case.size * 6 // 10
    for number in range(case.count):
        at = number * part % (len(noise) - part)
        value = f'{{"n":{number:08},"d":"{noise[at : at + part]}","t":"{rest}'[: case.size - 2] + '"}'
        while True:
            try:
                # a run of neighbours goes to one partition, so that batches fill
                producer.produce(
                    topic, value, f"{number % 1000000:06}", partition=number // 2000 % PARTITIONS
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0
    return topic


def _measure(cost: Cost, case: Case, once: Callable[[int], tuple[float, float]]) -> None:
    nothing, _ = once(0)
    cpu, uss = once(case.count)
    cost.cpu.append(max(1e-6, cpu - nothing) / case.count * 1e6)
    cost.uss = max(cost.uss, uss)


def _bridge(topics: Topics, source: str, count: int) -> tuple[float, float]:
    if not count:
        source = topics.create(f"empty-{time.monotonic_ns()}", PARTITIONS)
    copy = topics.create(f"copy-{time.monotonic_ns()}", PARTITIONS)
    with tempfile.TemporaryDirectory() as folder:
        child = ProcessorChild(bridge(topics.end(source), topics.end(copy)), Path(folder) / "journal")
        with _watched(child.pid) as peak:
            child.wait_ready()
            child.wait_records(count, 300)
            cpu = _cpu(child.pid)
        child.end()
    _check(topics, copy, count)
    return cpu, peak[0]


def _loop(topics: Topics, case: Case, source: str, count: int) -> tuple[float, float]:
    copy = topics.create(f"loop-{time.monotonic_ns()}", PARTITIONS)
    words = (topics.bootstrap, source, copy, str(count), case.codec, str(case.batch), str(PARTITIONS))
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with _watched(child.pid) as peak:
        assert child.stdout.readline() == b"done\n"
        cpu = _cpu(child.pid)
    child.stdin.close()
    child.wait(60)
    _check(topics, copy, count)
    return cpu, peak[0]


def _check(topics: Topics, copy: str, count: int) -> None:
    found = sum(topics.ends(copy).values())
    assert found == count, f"{found} of {count} arrived"
    topics.delete(copy)


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Samples the USS of a process; the list's only value is the peak in MB."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                return
            private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
            peak[0] = max(peak[0], private / 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _cpu(pid: int) -> float:
    """User and system time of all threads of a process, in seconds: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


if __name__ == "__main__":
    chosen = tuple(case for case in CASES if not sys.argv[1:] or any(w in case.name for w in sys.argv[1:]))
    sys.exit(0 if run(chosen, int(os.environ.get("ESON_BENCH_RUNS", RUNS))) else 1)
