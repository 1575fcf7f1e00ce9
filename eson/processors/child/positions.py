"""Where lanes go on: what the journal planned against what their destination says has arrived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eson.brokers.kafka.wire.batches import next_sequence
from eson.processors.child.cluster import EARLIEST
from eson.processors.child.ends import End
from eson.processors.child.fetcher import LARGEST_BATCH
from eson.processors.child.lanes import RunningLane
from eson.processors.child.scanning import newest_batch
from eson.processors.child.trouble import Failing, Stopped
from eson.processors.core.journal import LaneState
from eson.processors.core.resume import Active, Continue, NotActive, Scan, Stop, resume


async def running_lanes(
    states: Iterable[LaneState],
    destinations: Mapping[int, End],
    max_bytes: Mapping[int, int],
    exact: bool,
    settled: bool,
) -> list[RunningLane]:
    """The lanes at their positions; `max_bytes`: what destinations are known to take, beside what they say.

    `exact`: destinations tell what has arrived.  A lane that began without that stays as it began.
    Raises `Stopped` where going on could lose or repeat events, other `Trouble`.
    """
    states = list(states)
    counted = [state for state in states if state.lane.producer_id >= 0]
    if counted and not exact:
        raise Failing(
            "the destination does not tell any more what has arrived: going on could repeat events. It needs"
            " InitProducerId and DescribeProducers, as it had them"
        )
    answers = await ask_producers(counted, destinations)
    sizes = {
        number: min(await end.cluster.max_bytes(), max_bytes.get(number, LARGEST_BATCH))
        for number, end in destinations.items()
    }
    lanes = []
    for state in states:
        lane = RunningLane(state, state.lane.producer_id >= 0, sizes[state.lane.destination])
        if lane.exact:
            end = destinations[state.lane.destination]
            found = await _decide(state, answers.get(state.lane.number), end)
            lane.offset, lane.sequence = found.offset, found.sequence
            if settled:
                state.forget_behind(found.acknowledged)
            else:
                lane.expected.extend(found.expected)
        else:
            lane.offset = state.position()
            lane.sequence = 0 if state.acknowledged is None else next_sequence(state.acknowledged[0], 1)
        lane.end = lane.offset
        lanes.append(lane)
    return lanes


async def ask_producers(states: Iterable[LaneState], destinations: Mapping[int, End]) -> dict[int, Active]:
    """Lane → what its destination's leader knows of its producer."""
    states = list(states)
    found: dict[int, Active] = {}
    for number, end in destinations.items():
        mine = [state.lane for state in states if state.lane.destination == number]
        active: dict[int, dict[int, Active]] = {}
        for node, partitions in end.by_leader({one.destination_partition for one in mine}).items():
            active |= await end.cluster.producers(end.connections[node], partitions)
        for lane in mine:
            known = active.get(lane.destination_partition, {}).get(lane.producer_id)
            if known is not None:
                found[lane.number] = known
    return found


async def _decide(state: LaneState, active: Active | None, end: End) -> Continue:
    decision = resume(state, active or NotActive())
    if isinstance(decision, Scan):
        partition = state.lane.destination_partition
        connection = end.leader(partition)
        newest = await newest_batch(
            end.cluster, end.topic, connection, state.lane, decision.offset, decision.past
        )
        # asked afterwards: what went while the rest was read counts too
        begins = await end.offset(partition, EARLIEST)
        decision = resume(state, NotActive(True, None if newest is None else newest.last_sequence, begins))
    if isinstance(decision, Stop):
        raise Stopped(f"partition {state.lane.destination_partition}: {decision.reason}")
    assert isinstance(decision, Continue)
    return decision
