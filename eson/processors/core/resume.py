"""Where a processor goes on: what the destination says has arrived, looked up in the journal.  Never a guess.

The producer's id, epoch and sequences stay those of the predecessor.  Whatever of it is still on its way is thereby
either recognised as what we send again, or was counted already.
"""

from __future__ import annotations

from dataclasses import dataclass

from eson.brokers.kafka.wire.batches import next_sequence
from eson.processors.core.journal import Entry, LaneState
from eson.processors.core.sequences import is_behind


@dataclass(frozen=True)
class Active:
    """What the partition's leader says of our producer id (DescribeProducers)."""

    last: int
    epoch: int


@dataclass(frozen=True)
class NotActive:
    """The leader knows nothing of our producer id.

    `scanned`: whether the headers of the destination's batches were read too; `last` is then the newest sequence of
    ours among them, None if there is none, and `begins` the first offset that the destination holds.
    """

    scanned: bool = False
    last: int | None = None
    begins: int = 0


@dataclass(frozen=True)
class Continue:
    """Fetch from `offset` and send with sequences from `sequence` on.

    `expected`: what was planned behind it and may still arrive; the first batches must equal it.
    `acknowledged`: the sequence that is known to have arrived, None if none.  It counts only once a later
    batch is acknowledged: it may lie above the high watermark and go with its leader.
    """

    offset: int
    sequence: int
    expected: tuple[Entry, ...] = ()
    acknowledged: int | None = None


@dataclass(frozen=True)
class Scan:
    """Read the headers of the destination's batches from `offset` on, once its end is past `past`; then ask again."""

    offset: int
    past: int


@dataclass(frozen=True)
class Stop:
    """Going on could lose or repeat events: an operator must look.  `reason` is one line."""

    reason: str


def resume(state: LaneState, answer: Active | NotActive) -> Continue | Scan | Stop:
    """The decision for one lane of which nothing is being sent."""
    if isinstance(answer, Active):
        if answer.epoch != state.lane.epoch:
            return Stop(
                f"the destination knows our producer with epoch {answer.epoch}, the journal with {state.lane.epoch}:"
                " somebody else uses our producer id"
            )
        return _at(state, answer.last)
    if not state.entries and state.acknowledged is None:
        return Continue(state.start, 0)
    if not answer.scanned:
        if state.acknowledged is None:
            return Scan(state.lane.floor, state.lane.floor - 1)
        return Scan(state.acknowledged[1], state.acknowledged[1])
    if answer.last is not None:
        return _at(state, answer.last)
    if state.acknowledged is None:
        decision: Continue | Stop = Continue(state.start, state.entries[0].first, tuple(state.entries))
    else:
        # its records went with retention, and the producer's state with them
        decision = _at(state, state.acknowledged[0])
    if isinstance(decision, Continue) and decision.expected and answer.begins > _behind(state):
        return Stop(
            f"the destination forgot our producer and begins at offset {answer.begins}: what was under way may have"
            f" arrived before it, and gone: the source's events from offset {decision.offset} on. End this, and begin anew"
            " FROM that offset, or from a later one if they had arrived"
        )
    return decision


def _behind(state: LaneState) -> int:
    """The offset of the destination before which nothing lies that was planned and not acknowledged."""
    if state.acknowledged is None:
        return state.lane.floor
    last, offset = state.acknowledged
    at = state.find(last)
    return offset if at is None else offset + next_sequence(last, 1 - state.entries[at].first)


def _at(state: LaneState, last: int) -> Continue | Stop:
    at = state.find(last)
    if at is not None:
        entry = state.entries[at]
        return Continue(entry.next_offset, next_sequence(last, 1), tuple(state.entries[at + 1 :]), last)
    newest = state.entries[-1].last if state.entries else -1
    if state.entries and is_behind(last, state.entries[0].last):
        return Stop(
            f"the destination lost what it had acknowledged, back to sequence {last}; the journal begins at"
            f" {state.entries[0].first}"
        )
    return Stop(
        f"the destination has sequence {last} of our producer, the journal knows {newest}: another processor with"
        " this journal runs, or the journal is an old copy"
    )
