"""What becomes of events that a source lost before they were carried."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from eson.processors.child.cluster import Topic
from eson.processors.child.ends import End
from eson.processors.child.gaps import pass_gap
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.journal_writer import JournalWriter
from eson.processors.child.lanes import RunningLane
from eson.processors.child.planning import Changed
from eson.processors.child.trouble import Stopped
from eson.processors.core.journal import Entry, Lane, LaneState


class Beginning(End):
    """A source that begins at an offset."""

    def __init__(self, offset: int) -> None:
        super().__init__(cast(Any, None), Topic("source", "source", {0: 1}))
        self._offset = offset

    async def offset(self, partition: int, when: int) -> int:
        return self._offset


def lanes(*offsets: int) -> list[RunningLane]:
    """Of one partition, to several destinations."""
    states = [
        LaneState(Lane(number, 0, 0, "source", number, 0, "copy", 7, 0, 0, 0), offset)
        for number, offset in enumerate(offsets)
    ]
    return [RunningLane(state, True, 1 << 20) for state in states]


def gaps(folder: Path, begins: int, carrying: list[RunningLane]) -> list[list[tuple[int, int]]]:
    """Those of the lanes, after the source did not hold the position furthest behind."""
    file = JournalFile(str(folder / "journal"), "p")
    try:
        asyncio.run(pass_gap(Beginning(begins), 0, carrying, JournalWriter(file)))
    finally:
        file.close()
    return [lane.state.gaps for lane in carrying]


def test_one_destination_is_behind_what_the_source_still_holds_and_another_is_not(tmp_path: Path) -> None:
    assert gaps(tmp_path, 100, lanes(40, 150, 100)) == [[(40, 99)], [], []]


def test_a_source_that_begins_before_every_position_lost_its_end(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"lost its end.*begin anew FROM"):
        gaps(tmp_path, 100, lanes(140, 150))


def test_what_may_still_arrive_is_not_passed_by(tmp_path: Path) -> None:
    """Whether it has arrived is not known yet: only what never was sent is a gap."""
    (lane,) = carrying = lanes(40)
    lane.expected.append(Entry(0, 9, 50, 1))
    with pytest.raises(Changed):
        gaps(tmp_path, 100, carrying)
    assert lane.state.gaps == []
