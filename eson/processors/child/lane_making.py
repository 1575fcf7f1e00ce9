"""Lanes for what the journal does not have yet: partitions that were added, destinations that never were reached."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from eson.processors.child.cluster import EARLIEST, LATEST, Topic
from eson.processors.child.ends import End
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.trouble import Failing
from eson.processors.core.journal import Lane, LaneState, lane_line, lanes_heard
from eson.processors.port import BY_PARTITION, ProcessorOrder


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

    async def make(self) -> str:
        """A lane for each partition of a source and each destination that the journal does not have yet, synced.

        Where a destination lacks partitions that the source has got since, none is made, and the answer says why.
        Raises `Failing` where it lacks them from the beginning, other `Trouble`.
        """
        known = self._known()
        have = {(lane.source, lane.source_partition, lane.destination) for lane in known}
        if narrow := self._narrow(have):
            if not any(lane.destination in self._destinations for lane in known):
                raise Failing(narrow)
            return narrow
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
        return ""

    def _narrow(self, have: Collection[tuple[int, int, int]]) -> str:
        """Which partitions of the source have no place at a destination; "" if none, or where n need not go to n.

        `have`: (source, its partition, destination) of lanes that exist; those of old journals may go elsewhere, and stay.
        """
        if self._order.kind not in BY_PARTITION:
            return ""
        for number, source in enumerate(self._sources):
            for destination, end in self._destinations.items():
                places = end.topic.leaders
                lacking = [
                    partition
                    for partition in sorted(source.topic.leaders)
                    if partition not in places and (number, partition, destination) not in have
                ]
                if lacking:
                    return _too_few(self._order.destinations[destination].flow, end.topic, lacking)
        return ""

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
        # partition n where there is one: `_narrow` found it where it must be
        target = partition if partition in end.topic.leaders else partitions[partition % len(partitions)]
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


def _too_few(flow: str, destination: Topic, lacking: Sequence[int]) -> str:
    have, needed, waiting = len(destination.leaders), lacking[-1] + 1, f"partition {lacking[0]} waits"
    if len(lacking) > 1:
        waiting = f"partitions {lacking[0]} to {lacking[-1]} wait"
    return (
        f"destination {destination.name} has {have} partition{'s' if have > 1 else ''}, its source {needed}: {waiting}"
        f" until it has as many. Where the agent does not add them: UPDATE FLOW {flow} partitions={needed}"
    )
