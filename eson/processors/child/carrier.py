"""The life of one processor: orders reach its branches, and what is told of them is told as one."""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from eson.processors.child.branch import Branch, Course
from eson.processors.child.lanes import Counters
from eson.processors.child.shared_journal import SharedJournal
from eson.processors.child.telling import complaint_report, lag, positions
from eson.processors.child.window import Windows
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.journal import JournalError, Lane, lanes_heard, lanes_said
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorOrder

TELL_CHANGES, TELL_ALIVE = 1.0, 10.0
RATE_OVER = 5.0
_MOST_LAG = (1 << 64) - 1
"""What the message holds: where partitions end is what a foreign source claims."""
_MOST_GAPS = 10_000
"""Told of all lanes together, the newest of each: they fit into a message."""

Tell = Callable[[pb.Report], None]


class Carrier:
    """Follows one order until `end`.  `tell` gets every report; `windows` are those of the process."""

    def __init__(
        self, order: ProcessorOrder, journal: str, reach: Reach, paused: bool, tell: Tell, windows: Windows
    ) -> None:
        self._course, self._tell = Course(order, reach, paused), tell
        self._journal = SharedJournal(journal, order.id)
        self._counters, self._windows = Counters(), windows
        self._ready = False
        self._lanes = b""
        self._branches: list[Branch] = []
        self._ending: set[asyncio.Future[Any]] = set()
        self._branch_out()
        self._task = asyncio.get_running_loop().create_task(self._report())

    # Orders

    def update(self, order: ProcessorOrder, reach: Reach) -> None:
        self._course.order, self._course.reach = order, reach
        self._ready = False
        self._branch_out()
        for branch in self._branches:
            branch.renewed()

    def pause(self) -> None:
        self._ordered(True)

    def resume(self) -> None:
        self._ordered(False)

    def _ordered(self, paused: bool) -> None:
        self._course.paused, self._ready = paused, False
        for branch in self._branches:
            branch.ordered()

    def _branch_out(self) -> None:
        """A distributor gets a branch for each destination, any other processor one for all."""
        order = self._course.order
        numbers = range(len(order.destinations))
        wanted = [(number,) for number in numbers] if order.kind == "distributor" else [tuple(numbers)]
        have = {branch.numbers: branch for branch in self._branches}
        for gone in have.keys() - set(wanted):
            end = have[gone].end()
            self._ending.add(end)
            end.add_done_callback(self._ending.discard)
        self._branches = [have.get(one) or self._branch(one) for one in wanted]

    def _branch(self, numbers: tuple[int, ...]) -> Branch:
        return Branch(
            self._course,
            numbers,
            self._journal,
            self._counters,
            self._windows,
            self._changed,
            self._leave_journal,
            self._ending,
        )

    def _leave_journal(self) -> None:
        for branch in self._branches:
            branch.leave()

    async def end(self, remove_journal: bool) -> None:
        """Returns when nothing of it runs any more; what was sent gets a moment to be acknowledged."""
        self._task.cancel()
        ends = [branch.end() for branch in self._branches]
        await asyncio.gather(self._task, *ends, *self._ending, return_exceptions=True)
        self._journal.close(remove_journal)

    # Reports

    def _changed(self) -> None:
        """A branch reached both ends or complains."""
        complaints = [
            (self._queue(branch), branch.complaint)
            for branch in self._branches
            if branch.complaint is not None
        ]
        if complaints:
            self._ready = False
            lanes = lanes_said(self._journal.known_lanes(self._said())) if len(self._branches) > 1 else b""
            self._tell(complaint_report(self._course.order.id, complaints, len(self._branches), lanes))
        elif all(branch.ready for branch in self._branches):
            self._say_ready()

    def _say_ready(self) -> None:
        lanes = lanes_said(self._journal.known_lanes([]))
        if not self._ready or lanes != self._lanes:
            self._ready, self._lanes = True, lanes
            exact = all(branch.exact for branch in self._branches)
            guarantee = "exactly-once" if exact else "at-least-once"
            ready = pb.Ready(processor=self._course.order.id, guarantee=guarantee, lanes=lanes)
            self._tell(pb.Report(ready=ready))

    def _queue(self, branch: Branch) -> str:
        return ", ".join(self._course.order.destinations[number].queue for number in branch.numbers)

    def _said(self) -> list[Lane]:
        try:
            return lanes_heard(self._course.order.lanes)[0]
        except JournalError:  # whoever needs them stops
            return []

    async def _report(self) -> None:
        """Tells of progress when something changed, and now and then that we are alive."""
        loop = asyncio.get_running_loop()
        last: object = None
        told = 0.0
        seen: deque[tuple[float, int]] = deque([(loop.time(), 0)])
        said = pb.Report(progress=pb.Progress(processor=self._course.order.id))
        while True:
            await asyncio.sleep(TELL_CHANGES)
            now, records = loop.time(), self._counters.records
            seen.append((now, records))
            while len(seen) > 2 and seen[1][0] < now - RATE_OVER:
                seen.popleft()
            carried = records - seen[0][1]
            try:
                behind = lag(branch.lanes for branch in self._branches)
                state = (records, behind, carried, self._course.paused, self._ready)
                if state != last or now - told >= TELL_ALIVE - TELL_CHANGES / 2:
                    last, told = state, now
                    report = pb.Report(progress=self._progress(carried / (now - seen[0][0])))
                    self._tell(report)
                    said = report
            except Exception:  # a fault of ours: silence would be taken for a hang
                traceback.print_exc()
                self._tell(said)

    def _progress(self, rate: float) -> pb.Progress:
        progress = pb.Progress(
            processor=self._course.order.id,
            records=self._counters.records,
            bytes=self._counters.octets,
            rate=round(rate, 1),
            last_event=max(0, self._counters.last_event),
            paused=self._course.paused,
            lag=min(lag(branch.lanes for branch in self._branches), _MOST_LAG),
        )
        lanes = [lane for branch in self._branches for lane in branch.lanes]
        destinations = len(self._course.order.destinations)
        for source, partition, offset, end in positions(self._journal.lanes, lanes, destinations):
            progress.positions.add(source=source, partition=partition, offset=offset, end=end)
        states = list(self._journal.lanes)
        each = max(1, _MOST_GAPS // max(1, len(states)))
        gaps = {
            (state.lane.source, state.lane.source_partition, first, final)
            for state in states
            for first, final in state.gaps[-each:]
        }
        for source, partition, first, final in sorted(gaps):
            progress.gaps.add(source=source, partition=partition, first=first, last=final)
        return progress
