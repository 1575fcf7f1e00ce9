"""Sources that lost their end and grew again: offsets that were carried stand for other events now.

Every change of a partition's leader has an epoch of its own, which batches carry and the journal keeps.  Where the log
left the epoch of the newest batch that was carried before our position, the rest of what was carried is not there any
more (KIP-320): an unclean election, a power cut, a backup that was put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eson.processors.child.ends import End
from eson.processors.child.lanes import RunningLane
from eson.processors.child.trouble import Stopped


async def check_ends(sources: Sequence[End], lanes: Iterable[RunningLane]) -> None:
    """Raises `Stopped` for a source that does not hold any more what was carried last, other `Trouble`."""
    groups: dict[tuple[int, int], list[RunningLane]] = {}
    for lane in lanes:
        if lane.leader_epoch >= 0:
            groups.setdefault((lane.state.lane.source, lane.leader_epoch), []).append(lane)
    for (number, epoch), mine in groups.items():
        source = sources[number]
        ends: dict[int, int] = {}
        for node, partitions in source.by_leader({lane.source_partition for lane in mine}).items():
            ends |= await source.cluster.epoch_ends(source.connections[node], partitions, epoch)
        for lane in mine:
            end = ends.get(lane.source_partition, lane.offset)
            if end < lane.offset:
                raise Stopped.for_good(_lost(source.topic.name, lane.source_partition, end, lane.offset - 1))


def _lost(queue: str, partition: int, first: int, last: int) -> str:
    return (
        f"source {queue} lost its end: offsets {first} to {last} of partition {partition} were carried, and do not stand"
        " there any more; what was written since then has their numbers"
    )
