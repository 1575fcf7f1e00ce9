"""What is told of a processor's branches together: nothing of one in trouble is hidden by others that carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eson.processors.child.branch import Complaint
from eson.processors.child.lanes import RunningLane
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.journal import LaneState

MOST_REASON = 400
MOST_NAMED = 3


def complaint_report(
    processor: str, complaints: Sequence[tuple[str, Complaint]], branches: int, lanes: bytes
) -> pb.Report:
    """`complaints` with the queues that they are of; of `branches` branches.

    It is failing if one is, and has stopped if all have.
    A credential that was refused is said before anything else: whoever hears it can mend it.
    """
    said = [complaint for _, complaint in complaints]
    reason = reasons(complaints, branches)
    refused = any(one.login_refused for one in said)
    if refused or all(one.state == "unreachable" for one in said):
        unreachable = pb.Unreachable(
            processor=processor,
            since=int(min(one.since for one in said).timestamp() * 1000),
            reason=reason,
            login_refused=refused,
            lanes=lanes,
        )
        return pb.Report(unreachable=unreachable)
    stopped = len(said) == branches and all(one.state == "stopped" for one in said)
    failure = pb.Failure(processor=processor, reason=reason, stopped=stopped, lanes=lanes)
    return pb.Report(error=failure)


def reasons(complaints: Sequence[tuple[str, Complaint]], branches: int) -> str:
    """One line that names the queues in trouble, unless all branches are in the same."""
    # what an operator must look at comes first
    queues: dict[str, list[str]] = {}
    for queue, complaint in sorted(complaints, key=lambda one: one[1].state == "unreachable"):
        queues.setdefault(complaint.reason, []).append(queue)
    if len(queues) == 1 and len(complaints) == branches:
        return next(iter(queues))
    text = "; ".join(f"{_names(names)}: {reason}" for reason, names in queues.items())
    return text if len(text) <= MOST_REASON else text[: MOST_REASON - 1] + "…"


def _names(queues: Sequence[str]) -> str:
    more = len(queues) - MOST_NAMED
    return ", ".join(queues[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def lag(branches: Iterable[Sequence[RunningLane]]) -> int:
    """Events that the slowest branch has yet to deliver.

    A branch that does not read does not see that the source goes on: the others do.  One that never was reached has
    everything before it.
    """
    branches = list(branches)
    ends = _ends(lane for lanes in branches for lane in lanes)
    starts = {_key(lane.state): lane.state.lane.start for lanes in branches for lane in lanes}
    nothing = sum(end - starts[key] for key, end in ends.items())
    lags = [sum(_lag(lane, ends) for lane in lanes) if lanes else nothing for lanes in branches]
    return max(lags, default=0)


def _lag(lane: RunningLane, ends: Mapping[tuple[int, int], int]) -> int:
    return max(0, ends[_key(lane.state)] - lane.offset) + lane.unacknowledged


def _ends(lanes: Iterable[RunningLane]) -> dict[tuple[int, int], int]:
    ends: dict[tuple[int, int], int] = {}
    for lane in lanes:
        key = _key(lane.state)
        ends[key] = max(ends.get(key, 0), lane.end)
    return ends


def _key(state: LaneState) -> tuple[int, int]:
    return state.lane.source, state.lane.source_partition


def positions(
    states: Iterable[LaneState], lanes: Iterable[RunningLane], destinations: int
) -> list[tuple[int, int, int, int]]:
    """(source, partition, offset before which every destination has acknowledged all, end) of each source partition.

    A destination that was never reached has acknowledged nothing.
    """
    ends = _ends(lanes)
    found: dict[tuple[int, int], list[LaneState]] = {}
    for state in states:
        found.setdefault(_key(state), []).append(state)
    rows = []
    for key, mine in sorted(found.items()):
        offset = min(one.position() for one in mine)
        if len(mine) < destinations:
            offset = min(offset, *(one.lane.start for one in mine))
        rows.append((*key, offset, max(offset, ends.get(key, offset))))
    return rows
