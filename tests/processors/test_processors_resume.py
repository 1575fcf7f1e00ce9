"""Where a processor goes on after a crash: each case of the algorithm is one row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eson.processors.core.journal import Entry, Lane, LaneState
from eson.processors.core.resume import Active, Continue, NotActive, Scan, Stop, resume

LANE = Lane(0, 0, 3, "source-id", 0, 3, "destination-id", 77, 0, 100, 40)
# three batches of ten records were planned: sequences 0-9, 10-19, 20-29
ENTRIES = [Entry(0, 9, 110, 1), Entry(10, 19, 120, 2), Entry(20, 29, 130, 3)]


def state(acknowledged: tuple[int, int] | None = None, entries: list[Entry] | None = None) -> LaneState:
    return LaneState(
        LANE, LANE.start, [replace(one) for one in (ENTRIES if entries is None else entries)], acknowledged
    )


NEW, PLANNED, KNOWN = state(entries=[]), state(), state((9, 55))
CASES = {
    "nothing was ever sent": (NEW, NotActive(), Continue(100, 0)),
    "planned, never acknowledged, unknown there: look": (PLANNED, NotActive(), Scan(40, 39)),
    "looked, nothing ever arrived": (PLANNED, NotActive(True, None), Continue(100, 0, tuple(ENTRIES))),
    "looked, one arrived": (PLANNED, NotActive(True, 9), Continue(110, 10, tuple(ENTRIES[1:]), 9)),
    "the leader knows the first": (PLANNED, Active(9, 0), Continue(110, 10, tuple(ENTRIES[1:]), 9)),
    "the leader knows the last": (KNOWN, Active(29, 0), Continue(130, 30, (), 29)),
    "the leader knows less than was acknowledged": (
        state((29, 75)),
        Active(9, 0),
        Continue(110, 10, tuple(ENTRIES[1:]), 9),
    ),
    "acknowledged once, unknown now: look from there": (KNOWN, NotActive(), Scan(55, 55)),
    "looked, the newest arrived": (KNOWN, NotActive(True, 29), Continue(130, 30, (), 29)),
    "looked, retention removed all: what was acknowledged stands": (
        KNOWN,
        NotActive(True, None),
        Continue(110, 10, tuple(ENTRIES[1:]), 9),
    ),
    "looked, all before what was under way went: it did not arrive": (
        KNOWN,
        NotActive(True, None, 65),
        Continue(110, 10, tuple(ENTRIES[1:]), 9),
    ),
    "looked, all went, nothing was under way": (
        state((29, 75)),
        NotActive(True, None, 5000),
        Continue(130, 30, (), 29),
    ),
    "looked, much went, but the newest is there": (
        KNOWN,
        NotActive(True, 29, 70),
        Continue(130, 30, (), 29),
    ),
    "nothing was ever planned, and much went": (NEW, NotActive(False, None, 5000), Continue(100, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_resume(name: str) -> None:
    known, answer, decision = CASES[name]
    assert resume(known, answer) == decision


@pytest.mark.parametrize(
    ("known", "answer", "word"),
    [
        (KNOWN, Active(39, 0), "another processor"),
        (NEW, Active(9, 0), "another processor"),
        (KNOWN, Active(14, 0), "another processor"),
        (state((29, 75), ENTRIES[1:]), Active(5, 0), "lost"),
        (KNOWN, Active(9, 1), "somebody else"),
        (KNOWN, NotActive(True, 39), "another processor"),
        (KNOWN, NotActive(True, None, 66), "may have arrived"),
        (PLANNED, NotActive(True, None, 41), "may have arrived"),
    ],
)
def test_what_cannot_be_explained_stops(known: LaneState, answer: Active | NotActive, word: str) -> None:
    decision = resume(known, answer)
    assert isinstance(decision, Stop)
    assert word in decision.reason


def test_the_sequence_wraps() -> None:
    top = 2**31 - 1
    wrapped = state((top, 55), [Entry(top - 9, top, 110, 1), Entry(0, 9, 120, 2)])
    assert resume(wrapped, Active(top, 0)) == Continue(110, 0, (Entry(0, 9, 120, 2),), top)
    assert resume(wrapped, Active(9, 0)) == Continue(120, 10, (), 9)
    assert isinstance(resume(wrapped, Active(top - 20, 0)), Stop)
    inside = state((4, 55), [Entry(top - 4, 4, 110, 1)])
    assert resume(inside, Active(4, 0)) == Continue(110, 5, (), 4)


def test_what_was_skipped_is_not_fetched_again() -> None:
    known = state((29, 75))
    known.skip(500)
    assert resume(known, Active(29, 0)) == Continue(500, 30, (), 29)
    assert resume(known, Active(19, 0)) == Continue(120, 20, (Entry(20, 29, 500, 3),), 19)
