"""What a journal is known to have had and lacks, made again for the destinations of one session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eson.processors.child.ends import End
from eson.processors.child.fetcher import LARGEST_BATCH
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.positions import ask_producers
from eson.processors.child.recreation import check_topics
from eson.processors.child.remaking import remaking
from eson.processors.child.restoring import Restoring, lost, missing
from eson.processors.child.trouble import Unreachable
from eson.processors.core.journal import LaneState, kept, lane_records
from eson.processors.port import ProcessorOrder


class Recovery:
    """`restoring`: lanes that sessions before this one began with; what this one does not finish stays there.

    `exact`: destinations tell what has arrived.
    """

    def __init__(
        self,
        order: ProcessorOrder,
        file: JournalFile,
        sources: Sequence[End],
        destinations: Mapping[int, End],
        exact: bool,
        restoring: dict[int, Restoring],
    ) -> None:
        self._order, self._file, self._exact = order, file, exact
        self._sources, self._destinations = sources, destinations
        self._restoring = restoring

    async def recover(self) -> None:
        """All lanes together, synced; a journal that lacks nothing stays as it is.

        Raises `Stopped` where both ends prove nothing, other `Trouble`.
        """
        states = missing(self._file.journal, self._order.lanes, self._destinations)
        if not states:
            return
        check_topics(self._order, states, self._sources, self._destinations)
        if not self._exact or any(state.lane.producer_id < 0 for state in states):
            raise lost("the destination does not tell what has arrived")
        active = await ask_producers(states, self._destinations)
        for state in states:
            lane = state.lane
            one = self._restoring.get(lane.number)
            if one is None or one.state.lane != lane:
                one = self._restoring[lane.number] = await self._begin(state, kept(len(states)))
            try:
                await one.restore(
                    self._sources[lane.source], self._destinations[lane.destination], active.get(lane.number)
                )
            except Unreachable:  # the next session goes on there
                raise
            except Exception:
                del self._restoring[lane.number]
                raise
        for state in [self._restoring.pop(state.lane.number).state for state in states]:
            self._file.journal.lanes[state.lane.number] = state
            for record in lane_records(state):
                self._file.add(record)
        self._file.sync()

    async def _begin(self, state: LaneState, keep: int) -> Restoring:
        source, destination = state.lane.source, self._destinations[state.lane.destination]
        largest = min(await destination.cluster.max_bytes(), LARGEST_BATCH)
        flow, remake = self._sources[source].topic.name, remaking(self._order, source)
        return Restoring(state, flow, remake, largest, keep)
