"""What carrying costs: our processor beside a confluent-kafka consume/produce loop and MirrorMaker 2, in one run.

Two Apache Kafkas of one node each, topics filled beforehand, one carrier at a time, every run's count checked.  The
processor has all its promises on: CRCs checked, journal synced, idempotent sequences, acknowledged by all; the loop is
idempotent with linger 5 ms and not exactly once; MirrorMaker 2 is set up for volume (`carriers.py`), its figure is the
slope when warm.  Wall-clock time says little: brokers and carriers share the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from servers.kafka import Kafka
from servers.kafka_topics import Topics

from bench import Effort, Row
from bench.carriers import MOST_MEMORY, Cost, Way, run_loop, run_mirror_maker, run_processor
from bench.kafkas import Load, fill, jars, shape, two_kafkas
from bench.latency import latency
from bench.long_link import long_link

LOOP, MIRROR = "confluent-kafka", "MirrorMaker 2, warm"
UNIT = "CPU-s/M"


@dataclass(frozen=True)
class Case:
    """`loop` and `mirror`: how many times fewer CPU seconds than theirs are promised; `rate`: events per CPU-second."""

    name: str
    load: Load
    loop: float | None = None
    mirror: float | None = None
    gate: bool = False
    rate: float | None = None


CASES = (
    Case("1 kB, lz4, ~40 kB batches", Load(1_000_000, 1000, 64, "lz4"), 4, 6, True),
    Case("1 kB, lz4, ~600 kB batches", Load(1_000_000, 1000, 950, "lz4"), 7, 10, True),
    Case("1 kB, uncompressed, ~1 MB batches", Load(1_000_000, 1000, 950, "none"), rate=1e6),
    Case("100 B, lz4, ~8 kB batches", Load(2_000_000, 100, 100, "lz4")),
    Case("100 B, lz4, ~55 kB batches", Load(3_000_000, 100, 700, "lz4"), 12, 25, True),
    Case("1 kB, lz4, 16 a batch, 200 partitions", Load(400_000, 1000, 16, "lz4", 200, 0.0), 2.5),
)


@dataclass
class Costs:
    """Of one case, by carrier."""

    ours: Cost
    loop: Cost
    mirror: Cost


def run(effort: Effort = Effort.USUAL) -> Iterator[Row]:
    """About sixteen minutes."""
    runs, part = (1, 50) if effort is Effort.QUICK else (3, 1)
    found: dict[str, Costs] = {}
    with two_kafkas() as (here, there):
        for case in CASES:
            load = replace(case.load, count=case.load.count // part)
            found[case.name] = costs = Costs(Cost(), Cost(), Cost())
            name = _measure(here, there, case.name, load, costs, runs)
            yield from _rows(case, name, costs)
        yield from _memory(found)
        yield from latency(Topics(here.bootstrap()), Topics(there.bootstrap()), effort)
        if effort is Effort.LONG:
            yield from _flat(here, there)
    yield from long_link(effort)


def _measure(here: Kafka, there: Kafka, name: str, load: Load, costs: Costs, runs: int) -> str:
    """Runs all carriers; gives the name with the batches' shape as it was."""
    source, destination = Topics(here.bootstrap()), Topics(there.bootstrap())
    topic = fill(source, load)
    octets, events = shape(here, topic)
    way = Way(source, destination, topic, load)
    for _ in range(runs):
        run_processor(costs.ours, way)
        run_loop(costs.loop, way)
        run_mirror_maker(costs.mirror, way, jars())
    source.delete(topic)
    told = f"{name} ({events:.0f} events, {octets / 1000:.1f} kB)"
    print(
        f"{told}: eson {_told(costs.ours)}; loop {_told(costs.loop)}; MM2 {_told(costs.mirror)}",
        file=sys.stderr,
    )
    return told


def _told(cost: Cost) -> str:
    return " ".join(f"{one:.2f}" for one in cost.cpu) + f" CPU-s/M, {cost.memory:.0f} MB"


def _rows(case: Case, name: str, costs: Costs) -> Iterator[Row]:
    ours = median(costs.ours.cpu)
    for peer, cost, times in ((LOOP, costs.loop, case.loop), (MIRROR, costs.mirror, case.mirror)):
        theirs = median(cost.cpu)
        yield Row(name, UNIT, ours, peer, theirs, less=True, times=times, gate=case.gate)
    if case.rate is not None:
        note = "best published peer: 345,000 (Redpanda Connect)"
        yield Row("  of those, events per CPU-second", "1/CPU-s", 1e6 / ours, bound=case.rate, note=note)


def _memory(found: dict[str, Costs]) -> Iterator[Row]:
    """The largest peaks of all cases."""
    ours = max(one.ours.memory for one in found.values())
    for peer in ("loop", "mirror"):
        theirs = max(getattr(one, peer).memory for one in found.values())
        name = LOOP if peer == "loop" else "MirrorMaker 2"
        what = "peak private memory (USS), all cases"
        yield Row(what, "MB", ours, name, theirs, less=True, bound=MOST_MEMORY, gate=True)


def _flat(here: Kafka, there: Kafka) -> Iterator[Row]:
    """Memory after ten times as many events."""
    source, destination = Topics(here.bootstrap()), Topics(there.bootstrap())
    peaks = []
    for count in (1_000_000, 10_000_000):
        load = Load(count, 100, 700, "lz4")
        topic, cost = fill(source, load), Cost()
        run_processor(cost, Way(source, destination, topic, load))
        source.delete(topic)
        peaks.append(cost.memory)
    what = "peak private memory over 10 M events"
    yield Row(what, "MB", peaks[1], "eson, 1 M events", peaks[0], less=True, bound=MOST_MEMORY, gate=True)
