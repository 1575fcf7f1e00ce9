"""What is known of a journal elsewhere, against what the file holds."""

from __future__ import annotations

import pytest

from eson.processors.child.restoring import missing
from eson.processors.child.trouble import Stopped
from eson.processors.core.journal import (
    MOST_SAID,
    Journal,
    JournalError,
    Lane,
    LaneState,
    lane_line,
    lanes_heard,
    lanes_said,
)

ONE = (0,)


def lane(number: int, producer: int = 7, destination: int = 0) -> Lane:
    return Lane(number, 0, number, "source-id", destination, number, "destination-id", producer, 0, 100, 5)


def journal(*lanes: Lane) -> Journal:
    return Journal("p", {one.number: LaneState(one, one.start) for one in lanes}, 0)


LANES = [lane(0), lane(1)]
SAID = lanes_said(LANES)


def test_what_is_said_is_heard() -> None:
    assert lanes_heard(SAID) == (LANES, True)
    assert lanes_heard(b"") == ([], True)


def test_of_too_many_lanes_it_is_known_that_there_are_more() -> None:
    many = [lane(number) for number in range(MOST_SAID // 60)]
    octets = lanes_said(many)
    lanes, whole = lanes_heard(octets)
    assert len(octets) <= MOST_SAID + 1
    assert not whole
    assert lanes == many[: len(lanes)]
    assert len(lanes) > 1000


@pytest.mark.parametrize("octets", [SAID[:-1], SAID[:10], b"H 0 0 0\n", SAID.replace(b"H 0", b"H 9")])
def test_damage_is_noticed(octets: bytes) -> None:
    """Or at least gives fewer lanes, never others."""
    try:
        lanes, _ = lanes_heard(octets)
    except JournalError:
        return
    assert lanes == LANES[: len(lanes)]


def test_a_journal_that_holds_them_misses_nothing() -> None:
    assert missing(journal(*LANES), SAID, ONE) == []
    assert missing(journal(*LANES, lane(2)), SAID, ONE) == []
    assert missing(journal(), b"", ONE) == []


def test_an_empty_journal_misses_all() -> None:
    assert [state.lane for state in missing(journal(), SAID, ONE)] == LANES


@pytest.mark.parametrize(
    ("found", "said", "why"),
    [
        (journal(lane(0)), SAID, "is another"),
        (journal(lane(0, 8), lane(1, 8)), SAID, "is another"),
        (journal(), b"\n" + SAID, "more partitions"),
        (journal(), b"H 0 nonsense 00000000\n", "damaged"),
        (journal(), lane_line(lane(0)).replace(b"source", b"sorcue"), "damaged"),
    ],
)
def test_where_nothing_is_proved_it_stops(found: Journal, said: bytes, why: str) -> None:
    with pytest.raises(Stopped, match=why):
        missing(found, said, ONE)


def test_each_destination_misses_its_own() -> None:
    """One was made again already, the other was not reached yet."""
    mine, others = lane(0), lane(1, 8, 1)
    said = lanes_said([mine, others])
    assert [state.lane for state in missing(journal(mine), said, (1,))] == [others]
    assert missing(journal(mine), said, (0,)) == []
    assert missing(journal(mine, lane(2, 9, 2)), said, (2,)) == []
    with pytest.raises(Stopped, match="more partitions"):
        missing(journal(mine), b"\n" + said, (2,))
