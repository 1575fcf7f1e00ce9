"""What a session writes into the journal while it carries: plans before they are sent, acknowledgements soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from eson.processors.child.journal_file import JournalFile
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.core.journal import (
    acknowledged_line,
    entry_line,
    gap_line,
    leader_epoch_line,
    skip_line,
)

WRITE_EVERY = 1.0


class JournalWriter:
    """For the lanes of one session; others write into the same file.  What writes raises `DiskRefuses`."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file

    def plan(self, planned: Iterable[Planned], lanes: Iterable[RunningLane]) -> None:
        """Of what is about to be sent on some of the lanes; what the file did not have yet is on disk then."""
        new, add = False, self._file.add
        for batch in planned:
            lane = batch.lane
            lane.unacknowledged += batch.records
            if batch.new:
                new = True
                lane.state.plan(batch.entry)
                if lane.leader_epoch != lane.state.leader_epoch:
                    self._leader_epoch(lane)
                add(entry_line(lane.number, batch.entry))
        if new:
            self._acknowledged(lanes)
            self._file.sync()

    def miss(self, lane: RunningLane, first: int) -> None:
        """The source lost what stood from the lane's offset on before offset `first`.  Not on disk yet."""
        lane.state.miss(lane.offset, first - 1)
        lane.leader_epoch = -1  # that of the lost ones is unknown
        self._leader_epoch(lane)
        self._file.add(gap_line(lane.number, lane.offset, first - 1))

    def write(self, lanes: Iterable[RunningLane]) -> None:
        """Hands what was acknowledged since to the operating system."""
        self._acknowledged(lanes)
        self._file.write()

    async def run(self, lanes: Iterable[RunningLane]) -> None:
        """Acknowledgements reach the file soon, also when nothing follows.  Until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY)
            self.write(lanes)

    def _acknowledged(self, lanes: Iterable[RunningLane]) -> None:
        for lane in lanes:
            acknowledged = lane.state.acknowledged
            if acknowledged != lane.noted and acknowledged is not None:
                lane.noted = acknowledged
                self._file.add(acknowledged_line(lane.number, *acknowledged))
            self._skip(lane)

    def _skip(self, lane: RunningLane) -> None:
        """Notes that nothing was left to carry up to the position, once everything before it has arrived."""
        if lane.unacknowledged or lane.expected:
            return
        at = lane.state.entries[-1].next_offset if lane.state.entries else lane.state.start
        if lane.planned_offset > at:
            lane.state.skip(lane.planned_offset)
            self._leader_epoch(lane)
            self._file.add(skip_line(lane.number, lane.planned_offset))

    def _leader_epoch(self, lane: RunningLane) -> None:
        """Never after the position that it belongs to: an older one would look like a source that lost its end."""
        if lane.leader_epoch != lane.state.leader_epoch:
            lane.state.leader_epoch = lane.leader_epoch
            self._file.add(leader_epoch_line(lane.number, lane.leader_epoch))
