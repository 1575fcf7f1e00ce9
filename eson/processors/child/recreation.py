"""Queues that were deleted and created again under their name: offsets and producers of the old ones mean nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eson.processors.child.ends import End
from eson.processors.child.trouble import Stopped, Unreachable
from eson.processors.core.journal import LaneState
from eson.processors.port import ProcessorOrder


def check_topics(
    order: ProcessorOrder,
    states: Iterable[LaneState],
    sources: Sequence[End],
    destinations: Mapping[int, End],
) -> None:
    """Raises `Stopped` where lanes are of other queues than a session's ends have now, or of more than the order.

    `Unreachable` where a queue lacks a partition that it had.
    """
    for lane in (state.lane for state in states):
        if lane.source >= len(order.sources) or lane.destination >= len(order.destinations):
            raise Stopped.for_good("the journal knows more ends than the order")
        if lane.destination not in destinations:
            continue
        source, destination = sources[lane.source], destinations[lane.destination]
        _check("source", source, lane.source_topic, lane.source_partition)
        _check("destination", destination, lane.destination_topic, lane.destination_partition)


def _check(what: str, end: End, id: str, partition: int) -> None:
    if id and end.topic.id and id != end.topic.id:
        raise Stopped.for_good(f"{what} {end.topic.name} was deleted and created again")
    if partition not in end.topic.leaders:
        raise Unreachable(f"{what} {end.topic.name} has no partition {partition} any more")
