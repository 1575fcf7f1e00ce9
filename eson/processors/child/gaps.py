"""Events that a source lost before they were carried: retention, or somebody who deleted them."""

from __future__ import annotations

from collections.abc import Sequence

from eson.processors.child.cluster import EARLIEST
from eson.processors.child.ends import End
from eson.processors.child.journal_writer import JournalWriter
from eson.processors.child.lanes import RunningLane
from eson.processors.child.planning import Changed
from eson.processors.child.trouble import Stopped


async def pass_gap(source: End, partition: int, lanes: Sequence[RunningLane], journal: JournalWriter) -> None:
    """Notes what one partition lost, so that lanes go on behind it; the journal is yet to be synced.

    `lanes`: all that carry that partition.
    Raises `Stopped` where it lost its end, `Changed` where what was lost was on its way, other `Trouble`.
    """
    first = await source.offset(partition, EARLIEST)
    position = min(lane.offset for lane in lanes)
    if position >= first:
        raise Stopped.for_good(
            f"source {source.topic.name} lost its end: partition {partition} was carried up to offset"
            f" {position - 1} and does not reach that far any more"
        )
    for lane in lanes:
        if lane.offset >= first:  # to another destination, which is ahead
            continue
        if lane.expected:
            raise Changed(lane)
        journal.miss(lane, first)
