"""Lanes for what the journal does not have yet: partitions that were added, destinations that never were reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from eson.processors.child.cluster import EARLIEST, LATEST
from eson.processors.child.ends import End
from eson.processors.child.journal_file import JournalFile
from eson.processors.core.journal import Lane, LaneState, lane_line, lanes_heard
from eson.processors.port import ProcessorOrder


class LaneMaking:
    """For the destinations of one session; others of the same journal may make theirs at the same time."""

    def __init__(
        self,
        order: ProcessorOrder,
        file: JournalFile,
        sources: Sequence[End],
        destinations: Mapping[int, End],
        exact: bool,
    ) -> None:
        self._order, self._file, self._exact = order, file, exact
        self._sources, self._destinations = sources, destinations

    async def make(self) -> None:
        """A lane for each partition of a source and each destination that the journal does not have yet, synced."""
        known = self._known()
        have = {(lane.source, lane.source_partition, lane.destination) for lane in known}
        made: list[Lane] = []
        for number, source in enumerate(self._sources):
            wanted = [
                (partition, destination)
                for partition in sorted(source.topic.leaders)
                for destination in self._destinations
                if (number, partition, destination) not in have
            ]
            starts = await self._starts(source, sorted({p for p, _ in wanted}), first_time=not known)
            for partition, destination in wanted:
                made.append(await self._lane(number, partition, destination, starts[partition], made))
        if made:
            self._note(made)

    def _known(self) -> list[Lane]:
        """Of this journal, and those that it is yet to be given again."""
        said, _ = lanes_heard(self._order.lanes)
        return said + [state.lane for state in self._file.journal.lanes.values()]

    def _note(self, made: list[Lane]) -> None:
        """Into the journal, in one go: numbers and starts are settled against what others made meanwhile."""
        lanes, known = self._file.journal.lanes, self._known()
        number = max((lane.number for lane in known), default=-1)
        begun = {(lane.source, lane.source_partition): lane.start for lane in known}
        for lane in made:
            number += 1
            start = lane.start
            if self._order.start == "now":  # there is one now for all destinations
                start = begun.get((lane.source, lane.source_partition), start)
            numbered = replace(lane, number=number, start=start)
            lanes[number] = LaneState(numbered, start)
            self._file.add(lane_line(numbered))
        self._file.sync()

    async def _lane(
        self, source: int, partition: int, destination: int, start: int, made: list[Lane]
    ) -> Lane:
        """Its number is not settled yet."""
        end = self._destinations[destination]
        partitions = sorted(end.topic.leaders)
        target = partitions[partition % len(partitions)]
        producer, epoch = -1, -1
        if self._exact:
            producer, epoch = await self._producer_for(made, source, destination, target)
        floor = await end.offset(target, LATEST)
        return Lane(
            -1,
            source,
            partition,
            self._sources[source].topic.id,
            destination,
            target,
            end.topic.id,
            producer,
            epoch,
            start,
            floor,
        )

    async def _producer_for(
        self, made: list[Lane], source: int, destination: int, target: int
    ) -> tuple[int, int]:
        """A producer id that no other lane uses on the target partition: sequences belong to one lane."""
        lanes = [state.lane for state in self._file.journal.lanes.values()] + made
        taken = {
            lane.producer_id
            for lane in lanes
            if lane.destination == destination and lane.destination_partition == target
        }
        for lane in lanes:
            if (lane.source, lane.destination) == (source, destination) and lane.producer_id not in taken:
                return lane.producer_id, lane.epoch
        return await self._destinations[destination].cluster.producer_id()

    async def _starts(self, source: End, partitions: list[int], first_time: bool) -> dict[int, int]:
        """Where new lanes begin.  A partition that was added later is carried from its beginning."""
        start = self._order.start
        given = dict(start) if not isinstance(start, str) else {}
        when = LATEST if start == "now" and first_time else EARLIEST
        asked: Iterable[int] = [partition for partition in partitions if partition not in given]
        found = await source.offsets(asked, when)
        return {partition: given.get(partition, found.get(partition, 0)) for partition in partitions}
