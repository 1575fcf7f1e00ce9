"""What a session makes of what its source lost, without a broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.child.cluster import Topic
from eson.processors.child.ends import End
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.lanes import Counters, RunningLane
from eson.processors.child.session import Session
from eson.processors.child.trouble import Stopped
from eson.processors.child.window import Windows
from eson.processors.core.journal import Lane, LaneState
from eson.processors.port import ProcessorEnd, ProcessorOrder

END = ProcessorEnd(Access((Server("localhost", 1),)), "queue", "flow")


class Beginning(End):
    """A source that begins at an offset."""

    def __init__(self, offset: int) -> None:
        super().__init__(cast(Any, None), Topic("source", "source", {0: 1}))
        self._offset = offset

    async def offset(self, partition: int, when: int) -> int:
        return self._offset


def gaps(folder: Path, begins: int, *offsets: int) -> list[list[tuple[int, int]]]:
    """Those of the lanes to several destinations, after the source did not hold the position furthest behind."""
    order = ProcessorOrder("p", "signal", (END,), (END,) * len(offsets))
    file = JournalFile(str(folder / "journal"), "p")
    lanes = []
    for number, offset in enumerate(offsets):
        state = LaneState(Lane(number, 0, 0, "source", number, 0, "copy", 7, 0, 0, 0), offset)
        lanes.append(RunningLane(state, True, 1 << 20))

    async def test() -> None:
        session = Session(order, file, [], {}, Counters(), {}, {}, Windows(), {})
        session._sources, session.lanes = [Beginning(begins)], lanes
        await session._gap(0, 0)

    try:
        asyncio.run(test())
    finally:
        file.close()
    return [lane.state.gaps for lane in lanes]


def test_one_destination_is_behind_what_the_source_still_holds_and_another_is_not(tmp_path: Path) -> None:
    assert gaps(tmp_path, 100, 40, 150, 100) == [[(40, 99)], [], []]


def test_a_source_that_begins_before_every_position_lost_its_end(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"lost its end.*begin anew FROM"):
        gaps(tmp_path, 100, 140, 150)
