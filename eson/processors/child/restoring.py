"""A journal that was lost, made again from both ends: what has arrived is counted, and the source counted up to there.

Sequences count records from a lane's start.  The newest batch that the destination has of our producer says how many
arrived; planning the source anew from the same start, with the same decisions, gives the batch that ends there, octet for
octet the same.  Where the source does not reach back that far, or its batch is another (it was compacted meanwhile),
nothing is proved: the processor stops and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any

from eson.brokers.kafka.wire.batches import BatchHeader, next_sequence, parse_header
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.cluster import EARLIEST, LATEST, listed
from eson.processors.child.ends import End
from eson.processors.child.lanes import RunningLane
from eson.processors.child.planning import Planner
from eson.processors.child.remaking import Remake
from eson.processors.child.scanning import PATIENCE, STEP, HeaderScan, fetch_some
from eson.processors.child.trouble import Failing, Stopped, Unreachable
from eson.processors.core.journal import Journal, JournalError, LaneState, lanes_heard
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
    """Of one lane, over as many sessions as it takes: what was read stays read if a connection is lost meanwhile.

    `max_bytes`: what the destination takes in a batch; `keep`: how many entries are kept.
    """

    def __init__(self, state: LaneState, flow: str, remake: Remake | None, max_bytes: int, keep: int) -> None:
        self._keep = keep
        self.state = state
        """Its entries lead up to what has arrived, once `restore` has returned."""
        self._lane = RunningLane(state, True, max_bytes)
        self._planner = Planner([self._lane], flow, remake)
        self._scan = HeaderScan(state.lane, state.lane.floor)
        self._reached: int | None = None
        """The last sequence that both ends have."""

    async def restore(self, source: End, destination: End, active: Active | None) -> None:
        """Raises `Stopped`, `Failing`: it cannot go on then; `Unreachable`: it can."""
        newest = await self._newest(destination, active)
        patience = _patience()
        while newest is not None and self._reached != newest.last_sequence:
            if await self._advance(source, newest):
                patience = _patience()
            elif self._lane.offset >= self._lane.end and _now() > patience:
                raise lost("the source holds fewer events than have arrived")

    async def _newest(self, end: End, active: Active | None) -> BatchHeader | None:
        """The newest batch of ours at the destination; None if nothing of ours ever arrived.

        A new leader knows of more than it gives, until its high watermark has come that far.
        """
        lane, patience = self.state.lane, _patience()
        partition = lane.destination_partition
        while True:
            latest = await end.offset(partition, LATEST)
            if latest - lane.floor >= _ONE_ROUND:
                raise lost("more events arrived than can be counted")
            await self._scan.read(end.cluster, end.topic, end.leader(partition), latest)
            newest = self._scan.newest
            if newest is None and await end.offset(partition, EARLIEST) > lane.floor:
                raise lost("the destination does not hold any more what may have arrived")
            if latest >= lane.floor and (newest and newest.last_sequence) == (active and active.last):
                return newest
            if newest is not None and active is None:  # it forgets whom it has not heard for long
                return newest
            if newest is not None and active is not None and is_behind(active.last, newest.last_sequence):
                raise Unreachable("what was sent before its journal was lost still arrives")
            if _now() > patience:
                raise lost("the destination does not hold any more what arrived last")
            await asyncio.sleep(STEP)

    async def _advance(self, source: End, newest: BatchHeader) -> bool:
        """Plans one answer of the source; whether it held anything."""
        state, lane = self.state, self._lane
        part = await self._fetch(source)
        lane.end = part.last_stable_offset if part.last_stable_offset >= 0 else part.high_watermark
        before = lane.offset
        aborted = [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()]
        try:
            planned = self._planner.plan(part.records, aborted) if part.records else []
        except MalformedMessage as error:
            raise Failing(f"{source.topic.name} breaks Kafka's protocol: {error}") from None
        for batch in planned:
            state.plan(batch.entry)
            if batch.entry.last == newest.last_sequence:
                if parse_header(memoryview(batch.octets)).crc != newest.crc:
                    raise lost("the source holds something else now than what arrived")
                self._reached = batch.entry.last
                lane.offset, lane.sequence = batch.entry.next_offset, next_sequence(batch.entry.last, 1)
                break
            if is_behind(newest.last_sequence, batch.entry.last):
                raise lost("what arrived does not end where a batch of the source ends")
        _trim(state, self._keep)
        return lane.offset > before

    async def _fetch(self, source: End) -> Any:
        partition = self._lane.source_partition
        answer = await fetch_some(
            source.topic, source.leader(partition), partition, self._lane.offset, committed=True
        )
        for part in (part for topic in listed(answer.responses) for part in listed(topic.partitions)):
            if part.partition_index != partition:
                continue
            if part.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                raise lost("the source does not hold any more what it began with")
            if part.error_code:
                raise source.cluster.trouble(part.error_code, f"partition {partition}")
            return part
        # so answers a broker whose quota was passed
        raise Unreachable(f"source {source.topic.name} does not answer for partition {partition}")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _patience() -> float:
    return _now() + PATIENCE


def _trim(state: LaneState, keep: int) -> None:
    if len(state.entries) > keep:
        state.start = state.entries[-keep - 1].next_offset
        del state.entries[:-keep]
