"""From the records of a Fetch to batches that may be sent, once their entries stand in the journal.  The hot path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eson.brokers.kafka.wire.batches import (
    CURRENT_MAGIC,
    BatchHeader,
    check_crc,
    magic_of,
    next_sequence,
    parse_header,
    readdress,
    split_entries,
)
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.child.remaking import Remake
from eson.processors.child.trouble import Failing, Trouble
from eson.processors.core.batches import LAST_OFFSET, Verdict, judge
from eson.processors.core.journal import Entry
from eson.processors.core.transactions import AbortedFilter

MOST_STUCK = 50
"""Answers in a row without a whole batch: a broker may give none when its answer is full."""


class Changed(Trouble):
    """What was planned before is not what the source holds now (compaction): nothing may be sent blindly."""

    def __init__(self, lane: RunningLane) -> None:
        super().__init__(f"the source changed behind offset {lane.offset} while events were on their way")
        self.lane = lane


class Planner:
    """Plans for the lanes of one partition.  Positions move; what the journal says does not, so that a plan may fail.

    `remake` makes other records of those of the source; no batch then passes as octets.
    """

    def __init__(self, lanes: Sequence[RunningLane], flow: str, remake: Remake | None = None) -> None:
        self.lanes = tuple(lanes)
        self._flow, self._remake = flow, remake
        self._stuck = 0
        self._recoded = False
        self.beside = 0
        """How many other partitions are asked for together with this one: only the first has a batch whole for certain."""

    @property
    def position(self) -> int:
        """Where to fetch from: the lane that is furthest behind decides."""
        return min(lane.offset for lane in self.lanes)

    @property
    def caught_up(self) -> bool:
        return all(lane.caught_up for lane in self.lanes)

    def settle(self) -> None:
        """What was planned is handed on, and what was left out may count as done."""
        for lane in self.lanes:
            lane.planned_offset = lane.offset

    def plan(self, records: memoryview, aborted: Sequence[tuple[int, int]]) -> list[Planned]:
        """The batches of every lane, in order.  Positions move on.

        Raises `MalformedMessage` and `Failing` for what no destination may get, `Changed`.
        """
        return [batch for turn in self.turns(records, aborted, lambda: False) for batch in turn]

    def turns(
        self, records: memoryview, aborted: Sequence[tuple[int, int]], over: Callable[[], bool]
    ) -> Iterator[list[Planned]]:
        """As `plan`, in parts: one ends behind a batch that was made anew, where `over` says so, and with the last."""
        planned: list[Planned] = []
        position = self.position
        for lane in self.lanes:
            before = lane.offset
            # the octets are changed in place: all but the last lane work on a copy
            last = lane is self.lanes[-1]
            mine = records if last or self._remake is not None else memoryview(bytearray(records))
            filter = AbortedFilter(aborted)
            for batch in split_entries(mine):
                self._one(lane, batch, filter, planned)
                if self._recoded:
                    self._recoded = False
                    if over():
                        yield planned
                        planned = []
            self._stuck = self._stuck + 1 if lane.offset == before == position else 0
        if self._stuck > (MOST_STUCK + self.beside) * len(self.lanes):
            raise Failing(f"{self._flow} answers again and again with nothing behind offset {position}")
        yield planned

    def _one(
        self,
        lane: RunningLane,
        batch: memoryview,
        aborted: AbortedFilter,
        planned: list[Planned],
    ) -> None:
        if magic_of(batch) < CURRENT_MAGIC:
            self._recode(lane, batch, None, planned)
            return
        header = parse_header(batch)
        if header.leader_epoch > lane.leader_epoch:
            lane.leader_epoch = header.leader_epoch
        verdict = judge(header, batch, lane.offset, lane.max_bytes, aborted)
        if verdict is Verdict.PASS and self._remake is None:
            self._pass(lane, batch, header, planned)
        elif verdict is Verdict.PASS or verdict.recodes:
            self._recode(lane, batch, header, planned)
        elif verdict.refuses:
            raise Failing(f"{self._flow}: the batch at offset {header.base_offset} {verdict.value}")
        else:
            if not check_crc(batch):
                raise Failing(f"{self._flow}: the batch at offset {header.base_offset} has a wrong CRC")
            lane.offset = max(lane.offset, header.last_offset + 1)

    def _pass(
        self,
        lane: RunningLane,
        batch: memoryview,
        header: BatchHeader,
        planned: list[Planned],
    ) -> None:
        sequence, count = lane.sequence, header.record_count
        wire_sequence = sequence if lane.exact else -1
        if not readdress(batch, header, lane.producer, lane.epoch, wire_sequence):
            raise Failing(f"{self._flow}: the batch at offset {header.base_offset} has a wrong CRC")
        next_offset = header.base_offset + count
        entry = Entry(sequence, (sequence + count - 1) & 0x7FFFFFFF, next_offset, header.crc)
        new = self._is_new(lane, entry)
        planned.append(Planned(lane, entry, batch, count, header.max_timestamp, new))
        lane.offset = next_offset

    def _recode(
        self,
        lane: RunningLane,
        batch: memoryview,
        header: BatchHeader | None,
        planned: list[Planned],
    ) -> None:
        from eson.brokers.kafka.wire.message_sets import crc_of_entry
        from eson.brokers.kafka.wire.records import encode_batch
        from eson.processors.child.recoding import chunks, records_of

        self._recoded = True
        records = records_of(batch, header, lane.offset)
        end = header.last_offset + 1 if header is not None else records[-1].offset + 1 if records else 0
        if end > LAST_OFFSET:
            raise Failing(f"{self._flow}: a batch {Verdict.REFUSE_OFFSET.value}")
        crc = header.crc if header is not None else crc_of_entry(batch)
        codec = header.codec if header is not None else 0
        if self._remake is not None:
            records = self._remake(lane.source_partition, records)
        parts = list(chunks(records, lane.max_bytes))
        for part in parts:
            sequence, count = lane.sequence, len(part)
            wire_sequence = sequence if lane.exact else -1
            octets = encode_batch(part, codec, lane.producer, lane.epoch, wire_sequence)
            next_offset = end if part is parts[-1] else part[-1].offset + 1
            entry = Entry(sequence, next_sequence(sequence, count - 1), next_offset, crc)
            newest = max(record.timestamp for record in part)
            planned.append(Planned(lane, entry, octets, count, newest, self._is_new(lane, entry)))
            lane.offset = next_offset
        lane.offset = max(lane.offset, end)

    def _is_new(self, lane: RunningLane, entry: Entry) -> bool:
        """Whether it must go into the journal: a predecessor did not plan the very same."""
        lane.sequence = (entry.last + 1) & 0x7FFFFFFF
        if not lane.expected:
            return True
        wanted = lane.expected.popleft()
        if (wanted.first, wanted.last, wanted.crc) != (entry.first, entry.last, entry.crc):
            raise Changed(lane)
        return False
