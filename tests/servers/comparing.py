"""What must have arrived, made from the sources without the processors' code, and what did: equal, or the first difference."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servers.kafka_topics import Topics

from eson.processors.port import ProcessorOrder

Event = tuple[Any, ...]
"""(key, value, headers, timestamp in milliseconds)."""
Lane = tuple[str, int]
"""(flow, partition) of a source."""
_OWN = ("ce_id", "ce_source", "ce_esoncauseid", "ce_esoncausesource")


@dataclass
class Found:
    """What comparing counted: `events` wanted, and those that went wrong."""

    events: int = 0
    lost: int = 0
    twice: int = 0
    strange: int = 0
    """Not what was sent, or in another place."""
    digests: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.events} events: {self.lost} lost, {self.twice} twice, {self.strange} changed or out of order"


class Expected:
    """What the destinations of processors hold in the end, if every event of the sources was carried once, in order.

    A signal's condition is `type = 'tick'` here, and its sources' events are binary CloudEvents or none.
    """

    def __init__(self, topics: Topics, sources: Iterable[str]) -> None:
        self._topics = topics
        self._events = {source: topics.messages(source) for source in sources}

    def lanes(self, order: ProcessorOrder, partitions: int) -> dict[int, dict[Lane, list[Event]]]:
        """Partition of a destination → what comes to it from each partition of a source."""
        found: dict[int, dict[Lane, list[Event]]] = defaultdict(dict)
        for end in order.sources:
            for partition, events in self._events[end.queue].items():
                lane = (end.flow, partition)
                found[partition % partitions][lane] = _made(order, lane, events)
        return found

    def compare(
        self, order: ProcessorOrder, found: Found, timeout: float = 120, there: Topics | None = None
    ) -> None:
        """Waits for all of them to arrive.  Raises `AssertionError` with the first difference of each partition."""
        there = there or self._topics
        for end in order.destinations:
            partitions = len(there.ends(end.queue))
            lanes = self.lanes(order, partitions)
            wanted = sum(len(events) for of in lanes.values() for events in of.values())
            last = time.monotonic() + timeout
            while sum(there.ends(end.queue).values()) < wanted and time.monotonic() < last:
                time.sleep(0.1)
            got = there.messages(end.queue)
            wrong = []
            for partition, events in got.items():
                mine = [event[:4] for event in events]
                where = f"{order.kind} to {end.queue}, partition {partition}"
                wrong += differences(where, order, lanes.get(partition, {}), mine, found)
            assert not wrong, "\n".join(wrong)
            found.digests[end.queue] = digest(
                event[:4] for partition in sorted(got) for event in got[partition]
            )


def _made(order: ProcessorOrder, lane: Lane, events: Sequence[Event]) -> list[Event]:
    flow, partition = lane
    if order.kind == "collector":
        mark = ("eson-source", f"flow://{flow}".encode())
        return [(key, value, [*(headers or ()), mark], time) for key, value, headers, time, _ in events]
    if order.kind == "signal":
        return [_signal(order.id, flow, partition, event) for event in events if _is_tick(event)]
    return [event[:4] for event in events]


def _is_tick(event: Event) -> bool:
    return ("ce_type", b"tick") in (event[2] or ())


def _signal(processor: str, flow: str, partition: int, event: Event) -> Event:
    key, value, headers, time, offset = event
    cause = dict(headers)
    own = (f"{processor}-{partition}-{offset}".encode(), f"flow://{flow}".encode(), cause["ce_id"])
    mine = [*zip(_OWN, (*own, cause["ce_source"]), strict=True)]
    return (key, value, [one for one in headers if one[0] not in _OWN] + mine, time)


def _lane_of(order: ProcessorOrder, event: Event, lanes: Iterable[Lane]) -> Lane | None:
    """Where an event says that it comes from; bridges and distributors have one source, and say nothing."""
    lanes = list(lanes)
    if order.kind in ("bridge", "distributor"):
        return lanes[0]
    named = dict(event[2] or ()).get("eson-source" if order.kind == "collector" else "ce_source", b"")
    return next((lane for lane in lanes if f"flow://{lane[0]}".encode() == named), None)


def assert_same(here: Topics, source: str, there: Topics, copy: str, timeout: float = 60) -> None:
    """What a bridge carried from partitions to the same partitions: waits for its end, then compares everything."""
    end = ProcessorOrder("p", "bridge", (here.end(source),), (there.end(copy),))
    Expected(here, [source]).compare(end, Found(), timeout, there)


def differences(
    where: str,
    order: ProcessorOrder,
    wanted: Mapping[Lane, list[Event]],
    events: Sequence[Event],
    found: Found,
) -> list[str]:
    got: dict[Lane | None, list[Event]] = {lane: [] for lane in wanted}
    for event in events:
        got.setdefault(_lane_of(order, event, wanted), []).append(event)
    said = []
    for lane, mine in got.items():
        should = wanted.get(lane, []) if lane is not None else []
        found.events += len(should)
        if digest(mine) != digest(should):
            said.append(f"{where}, from {lane}: {first_difference(should, mine)}")
            _count(should, mine, found)
    return said


def digest(events: Iterable[Event]) -> str:
    """SHA-256 over keys, values, headers and timestamps, in order."""
    whole = hashlib.sha256()
    for event in events:
        whole.update(repr(event).encode() + b"\n")
    return whole.hexdigest()


def first_difference(wanted: Sequence[Event], got: Sequence[Event]) -> str:
    """Where the two part, in words; "" where they are equal."""
    both = min(len(wanted), len(got))
    at = next((n for n in range(both) if wanted[n] != got[n]), both)
    if at == len(wanted) == len(got):
        return ""
    should = repr(wanted[at])[:300] if at < len(wanted) else "nothing more"
    there = repr(got[at])[:300] if at < len(got) else "nothing more"
    return f"event {at} of {len(wanted)} should be {should} and is {there}; {len(got)} are there"


def _count(wanted: Sequence[Event], got: Sequence[Event], found: Found) -> None:
    should, there = Counter(map(repr, wanted)), Counter(map(repr, got))
    found.lost += (should - there).total()
    found.twice += sum(count for event, count in (there - should).items() if event in should)
    found.strange += sum(count for event, count in (there - should).items() if event not in should)
    if should == there:
        found.strange += sum(1 for one, other in zip(wanted, got, strict=True) if one != other)
