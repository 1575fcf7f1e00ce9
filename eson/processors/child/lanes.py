"""One lane while it runs: a partition of a source on its way to a partition of a destination."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from eson.processors.core.journal import Entry, LaneState


@dataclass
class Counters:
    """Since this process began.  `last_event` in milliseconds since 1970."""

    records: int = 0
    octets: int = 0
    last_event: int = 0


class RunningLane:
    """`offset`: next source offset to take; `sequence`: next to send; `expected`: planned by a predecessor.

    `exact`: the destination keeps our producer's sequences, and what is sent carries them.
    """

    __slots__ = (
        "caught_up",
        "end",
        "epoch",
        "exact",
        "expected",
        "known",
        "leader_epoch",
        "max_bytes",
        "noted",
        "number",
        "offset",
        "partition",
        "planned_offset",
        "producer",
        "sequence",
        "source_partition",
        "state",
        "unacknowledged",
    )

    def __init__(self, state: LaneState, exact: bool, max_bytes: int) -> None:
        lane = state.lane
        self.state = state
        self.exact = exact
        self.max_bytes = max_bytes
        self.number = lane.number
        self.source_partition = lane.source_partition
        self.partition = lane.destination_partition
        self.producer = lane.producer_id if exact else -1
        self.epoch = lane.epoch if exact else -1
        self.leader_epoch = state.leader_epoch
        """Of the source's newest batch before `offset`, -1 if unknown."""
        self.offset = self.end = self.planned_offset = state.start
        """`planned_offset`: up to here everything was handed on; `offset` may run ahead of it in an answer that fails."""
        self.known = -math.inf
        """When the destination last acknowledged a batch: before that it takes any sequence, however far ahead."""
        self.sequence = 0
        self.expected: deque[Entry] = deque()
        self.unacknowledged = 0
        self.noted: tuple[int, int] | None = state.acknowledged
        """The acknowledgement that the journal's file knows."""
        self.caught_up = False

    @property
    def lag(self) -> int:
        return max(0, self.end - self.offset) + self.unacknowledged


class Memory:
    """What one answer lies in; it goes back to `pool` when the last batch in it was acknowledged."""

    __slots__ = ("_buffer", "_pool", "_uses")

    def __init__(self, buffer: bytearray, uses: int, pool: list[bytearray]) -> None:
        self._buffer, self._uses, self._pool = buffer, uses, pool
        if not uses:
            pool.append(buffer)

    def hold(self, uses: int) -> None:
        self._uses += uses

    def release(self) -> None:
        self._uses -= 1
        if not self._uses:
            self._pool.append(self._buffer)


class Planned:
    """A batch on its way: the octets to send, their journal entry, lane, and what they lie in.

    `new`: the entry must be written before the octets are sent.  `memory`: None if the octets lie alone.
    """

    __slots__ = ("entry", "lane", "memory", "new", "newest", "octets", "records", "size")

    def __init__(
        self,
        lane: RunningLane,
        entry: Entry,
        octets: memoryview | bytes,
        records: int,
        newest: int,
        new: bool,
    ) -> None:
        self.lane, self.entry, self.octets = lane, entry, octets
        self.records, self.newest, self.new = records, newest, new
        self.size = len(octets)
        self.memory: Memory | None = None
