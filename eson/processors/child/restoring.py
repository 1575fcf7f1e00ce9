"""A journal that was lost, made again from both ends: what has arrived is counted, and the source counted up to there.

Sequences count records from a lane's start.  The newest batch that the destination has of our producer says how many
arrived; planning the source anew from the same start, with the same decisions, gives the batch that ends there, octet for
octet the same.  Where the source does not reach back that far, or its batch is another (it was compacted meanwhile),
nothing is proved: the processor stops and says so.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from eson.brokers.kafka.wire.batches import BatchHeader, parse_header
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.cluster import EARLIEST, LATEST, listed
from eson.processors.child.ends import End
from eson.processors.child.lanes import RunningLane
from eson.processors.child.planning import Planner
from eson.processors.child.remaking import Remake
from eson.processors.child.scanning import fetch_some, newest_batch
from eson.processors.child.trouble import Failing, Stopped
from eson.processors.core.journal import KEEP, Journal, JournalError, LaneState, lanes_heard
from eson.processors.core.resume import Active
from eson.processors.core.sequences import is_behind

_ONE_ROUND = 1 << 31
"""Sequences begin again after so many records."""


def lost(why: str) -> Stopped:
    return Stopped(
        f"its journal is lost, and {why}. Going on could lose or repeat events: put the journal back from a backup, or end"
        " this and begin anew FROM the position where it shall go on"
    )


def missing(journal: Journal, said: bytes, destinations: Container[int]) -> list[LaneState]:
    """The lanes of some destinations that the journal is known to have had and lacks.

    Raises `Stopped` for a journal that is another one.
    """
    try:
        lanes, whole = lanes_heard(said)
    except JournalError as error:
        raise Stopped(str(error)) from None
    found = [journal.lanes.get(lane.number) for lane in lanes]
    if any(state is not None and state.lane != lane for state, lane in zip(found, lanes, strict=True)):
        raise lost("the one that is there is another")
    absent = [lane for state, lane in zip(found, lanes, strict=True) if state is None]
    mine = [lane for lane in absent if lane.destination in destinations]
    # what one destination has is written in one go: a part of it is a journal of another time
    if mine and any(state.lane.destination in destinations for state in journal.lanes.values()):
        raise lost("the one that is there is another")
    if absent and not whole:
        raise lost("it had more partitions than are known elsewhere")
    return [LaneState(lane, lane.start) for lane in mine]


class Restoring:
    """For one lane at a time.  `max_bytes`: what the destination takes in a batch."""

    def __init__(self, source: End, destination: End, remake: Remake | None, max_bytes: int) -> None:
        self._source, self._destination = source, destination
        self._remake, self._max_bytes = remake, max_bytes

    async def restore(self, state: LaneState, active: Active | None) -> None:
        """Fills in the entries that lead up to what has arrived.  Raises `Stopped`, other `Trouble`."""
        newest = await self._newest(state, active)
        if newest is None:
            return
        lane = RunningLane(state, True, self._max_bytes)
        planner = Planner([lane], self._source.topic.name, self._remake)
        while not await self._advance(state, lane, planner, newest):
            pass

    async def _newest(self, state: LaneState, active: Active | None) -> BatchHeader | None:
        """The newest batch of ours at the destination; None if nothing of ours ever arrived."""
        lane, end = state.lane, self._destination
        partition = lane.destination_partition
        if await end.offset(partition, LATEST) - lane.floor >= _ONE_ROUND:
            raise lost("more events arrived than can be counted")
        leader = end.leader(partition)
        newest = await newest_batch(end.cluster, end.topic, leader, lane, lane.floor, lane.floor - 1)
        if newest is None and (active or await end.offset(partition, EARLIEST) > lane.floor):
            raise lost("the destination does not hold any more what may have arrived")
        if newest is not None and active is not None and newest.last_sequence != active.last:
            raise lost("the destination does not hold any more what arrived last")
        return newest

    async def _advance(
        self, state: LaneState, lane: RunningLane, planner: Planner, newest: BatchHeader
    ) -> bool:
        """Plans one answer of the source; whether the destination's newest batch was among it."""
        part = await self._fetch(lane)
        before = lane.offset
        aborted = [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()]
        try:
            planned = planner.plan(part.records, aborted) if part.records else []
        except MalformedMessage as error:
            raise Failing(f"{self._source.topic.name} breaks Kafka's protocol: {error}") from None
        for batch in planned:
            state.plan(batch.entry)
            if batch.entry.last == newest.last_sequence:
                if parse_header(memoryview(batch.octets)).crc != newest.crc:
                    raise lost("the source holds something else now than what arrived")
                _trim(state)
                return True
            if is_behind(newest.last_sequence, batch.entry.last):
                raise lost("what arrived does not end where a batch of the source ends")
        _trim(state)
        end = part.last_stable_offset if part.last_stable_offset >= 0 else part.high_watermark
        if lane.offset == before and lane.offset >= end:
            raise lost("the source holds fewer events than have arrived")
        return False

    async def _fetch(self, lane: RunningLane) -> Any:
        source, partition = self._source, lane.source_partition
        answer = await fetch_some(
            source.topic, source.leader(partition), partition, lane.offset, committed=True
        )
        for part in (part for topic in listed(answer.responses) for part in listed(topic.partitions)):
            if part.partition_index != partition:
                continue
            if part.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                raise lost("the source does not hold any more what it began with")
            if part.error_code:
                raise source.cluster.trouble(part.error_code, f"partition {partition}")
            return part
        raise Failing(f"{source.topic.name} does not answer for partition {partition}")


def _trim(state: LaneState) -> None:
    if len(state.entries) > KEEP:
        state.start = state.entries[-KEEP - 1].next_offset
        del state.entries[:-KEEP]
