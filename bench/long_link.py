"""How fast one partition is carried where one end is far: 50 ms each way, by a proxy before one of two Apache Kafkas."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from servers.kafka import Kafka, free_ports
from servers.kafka_topics import Topics

from bench import Effort, Row
from bench.carriers import MOST_MEMORY, loop, processor
from bench.delay import delaying
from bench.kafkas import PROPERTIES, Arrivals, FarKafka, Load, fill, jars, running
from bench.processes import peak_private

ONE_WAY = 50
OURS = Load(400_000, 1000, 950, "none", 1)
THEIRS = replace(OURS, count=80_000)
FROM, TO = 0.1, 0.95
_PEER = "confluent-kafka"


def long_link(effort: Effort) -> Iterator[Row]:
    """Megabytes (10^6) a second between 10 % and 95 % of the run; first the source far, then the destination."""
    ours, theirs = OURS, THEIRS
    if effort is Effort.QUICK:
        ours, theirs = replace(OURS, count=80_000), replace(OURS, count=20_000)
    (behind,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        delaying(behind, ONE_WAY) as proxy,
    ):
        far = FarKafka(jars(), Path(folder) / "far", properties=PROPERTIES, far=(behind, proxy))
        near = Kafka(jars(), Path(folder) / "near", properties=PROPERTIES)
        with running(far, near):
            there, here = Topics(f"127.0.0.1:{proxy}"), Topics(near.bootstrap())
            filler = Topics(far.bootstrap(), there.tag)
            what = f"one partition, {2 * ONE_WAY} ms round trip,"
            found = _both(there, here, filler, here, ours, theirs)
            yield from _rows(f"{what} source far", found, 50)
            found = _both(here, there, here, filler, ours, theirs)
            yield from _rows(f"{what} destination far", found, None)


@dataclass
class Found:
    """MB/s of both; our peak USS in MB."""

    ours: float = 0.0
    theirs: float = 0.0
    memory: float = 0.0


def _rows(what: str, found: Found, bound: float | None) -> Iterator[Row]:
    yield Row(what, "MB/s", found.ours, _PEER, found.theirs, bound=bound)
    what = "  peak private memory (USS) meanwhile"
    yield Row(what, "MB", found.memory, less=True, bound=MOST_MEMORY, gate=True)


def _both(
    source: Topics, destination: Topics, near_source: Topics, near: Topics, ours: Load, theirs: Load
) -> Found:
    """`near_source` and `near` lead to the same brokers without the delay."""
    found = Found()
    for load in (ours, theirs):
        topic = fill(near_source, load)
        copy = near.create(f"far-{time.monotonic_ns()}", 1)
        arrivals = Arrivals(near.bootstrap, copy, 1)
        if load is ours:
            with (
                processor(source.end(topic), destination.end(copy)) as child,
                peak_private(child.pid) as peak,
            ):
                found.ours = _rate(arrivals, load)
            found.memory = peak[0]
        else:
            with loop(source.bootstrap, destination.bootstrap, topic, copy, load.count, load):
                found.theirs = _rate(arrivals, load)
        near_source.delete(topic)
        near.delete(copy)
    return found


def _rate(arrivals: Arrivals, load: Load) -> float:
    seen = [(time.monotonic(), 0)]
    end = time.monotonic() + 300
    while seen[-1][1] < load.count:
        assert time.monotonic() < end, f"{seen[-1][1]} of {load.count} arrived"
        time.sleep(0.02)
        seen.append((time.monotonic(), arrivals.count()))
    assert seen[-1][1] == load.count, f"{seen[-1][1]} of {load.count} arrived"
    first, last = (min(seen, key=lambda one: abs(one[1] - part * load.count)) for part in (FROM, TO))
    return (last[1] - first[1]) * load.size / 1e6 / (last[0] - first[0])
