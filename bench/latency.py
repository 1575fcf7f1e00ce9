"""How much later events arrive behind a carrier: 10,000 a second, joined event by event with their arrival at the source.

A feeder and two consumers, each in a process of its own; their clock is the machine's.  What is told is when the consumer
of the copy had an event, less when the consumer of the source had it: what the carrier and the second broker add.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers.kafka_topics import Topics

from bench import Effort, Row
from bench.carriers import loop, processor
from bench.kafkas import Load

RATE, SECONDS, WARM = 10_000, 12, 3
LOAD = Load(0, 100, 1000, "lz4")

FEED = """
import sys, time
from confluent_kafka import Producer
bootstrap, topic, partitions, rate, seconds = sys.argv[1:]
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "compression.type": "lz4", "log_level": 0})
filler, began, number, total = b"x" * 92, time.monotonic(), 0, int(rate) * int(seconds)
while number < total:
    due = min(total, int((time.monotonic() - began) * int(rate)))
    while number < due:
        producer.produce(topic, number.to_bytes(8, "big") + filler, partition=number % int(partitions))
        number += 1
    producer.poll(0)
    time.sleep(0.001)
producer.flush(30)
"""
WATCH = """
import sys, time
from array import array
from confluent_kafka import Consumer, TopicPartition
bootstrap, topic, partitions, count, file = sys.argv[1:]
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "watch", "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "fetch.min.bytes": 1, "log_level": 0})
consumer.assign([TopicPartition(topic, p, 0) for p in range(int(partitions))])
consumer.poll(1)
print("ready", flush=True)
arrived, left, end = array("d", bytes(8 * int(count))), int(count), time.monotonic() + 120
while left and time.monotonic() < end:
    message = consumer.poll(0.5)
    if message is not None and not message.error():
        arrived[int.from_bytes(message.value()[:8], "big")] = time.monotonic()
        left -= 1
with open(file, "wb") as out:
    arrived.tofile(out)
sys.exit(left != 0)
"""


def latency(here: Topics, there: Topics, effort: Effort) -> Iterator[Row]:
    """Rows for the median and the 99th percentile."""
    seconds = 4 if effort is Effort.QUICK else SECONDS
    count = RATE * seconds

    @contextmanager
    def ours(source: str, copy: str) -> Iterator[None]:
        with processor(here.end(source), there.end(copy)):
            yield

    @contextmanager
    def theirs(source: str, copy: str) -> Iterator[None]:
        with loop(here.bootstrap, there.bootstrap, source, copy, count, LOAD):
            yield

    mine: list[float] = []
    peers: list[float] = []
    # whoever comes later finds brokers that are warmer: each comes first and last once
    for carrier, found in ((ours, mine), (theirs, peers), (theirs, peers), (ours, mine)):
        found += _added(here, there, carrier, seconds)
    mine.sort()
    peers.sort()
    for part, times in ((50, None), (99, 2.0)):
        what = f"latency added at {RATE:,} events/s, p{part}"
        figures = [one[len(one) * part // 100] * 1e3 for one in (mine, peers)]
        yield Row(what, "ms", figures[0], "confluent-kafka, linger 5 ms", figures[1], less=True, times=times)


def _added(here: Topics, there: Topics, carrier: object, seconds: int) -> list[float]:
    """Seconds for each event, those of the first moments left out."""
    count = RATE * seconds
    source, copy = here.create("latency", LOAD.partitions), there.create("latency", LOAD.partitions)
    partitions = str(LOAD.partitions)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(carrier(source, copy))  # type: ignore[operator]
        files, watchers = [], []
        for topics, topic in ((here, source), (there, copy)):
            files.append(Path(folder) / topic)
            words = (topics.bootstrap, topic, partitions, str(count), str(files[-1]))
            watcher = subprocess.Popen(
                [sys.executable, "-c", WATCH, *words], stdout=subprocess.PIPE, text=True
            )
            watchers.append(stack.enter_context(watcher))
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "ready\n"
        time.sleep(1)
        words = (here.bootstrap, source, partitions, str(RATE), str(seconds))
        subprocess.run([sys.executable, "-c", FEED, *words], check=True, timeout=seconds + 60)
        for watcher in watchers:
            assert watcher.wait(120) == 0, "events are missing"
        first, second = (array("d", file.read_bytes()) for file in files)
    here.delete(source)
    there.delete(copy)
    skip = RATE * min(WARM, seconds // 2)
    return [b - a for a, b in zip(first[skip:], second[skip:], strict=True)]
