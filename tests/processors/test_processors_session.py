"""What a session does with what was planned, before anything of it reaches a destination."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from processors.test_processors_journal_writer import FIRST, SECOND, Written, planned

from eson.processors.child.lanes import Counters, Planned, RunningLane
from eson.processors.child.session import Session
from eson.processors.child.window import Windows
from eson.processors.core.journal import Lane, LaneState
from eson.processors.port import ProcessorOrder


def test_what_is_sent_stands_in_the_journal_already(tmp_path: Path) -> None:
    """Else what arrived just before a kill would not be known afterwards."""
    file = Written(tmp_path / "journal")
    lane = RunningLane(LaneState(Lane(3, 0, 0, "", 0, 0, "", 7, 0, 0, 0), 0), True, 1 << 20)
    known: list[tuple[list[str], int]] = []

    async def send(batches: Sequence[Planned]) -> None:
        known.append((file.whole, file.syncs))

    async def test() -> None:
        order = cast(ProcessorOrder, None)
        session = Session(order, file, [], {}, Counters(), {}, {}, Windows(), {})
        session._send = send
        await session._carry([planned(lane, FIRST)])
        await session._carry([planned(lane, SECOND)])

    asyncio.run(test())
    file.close()
    assert known == [(["P 3 0 9 10 1"], 1), (["P 3 0 9 10 1", "P 3 10 19 20 2"], 2)]


@pytest.mark.parametrize(
    ("inherited", "answered", "settled"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_it_has_settled_when_nothing_can_arrive_any_more(
    tmp_path: Path, inherited: bool, answered: bool, settled: bool
) -> None:
    """What a session before this one sent may be on its way, though all that this one sent is answered."""

    class Sent:
        async def answered(self) -> None:
            if not answered:
                await asyncio.sleep(60)

    async def test() -> bool:
        session = Session(cast(ProcessorOrder, None), file, [], {}, Counters(), {}, {}, Windows(), {})
        session._producers[0, 1] = cast(Any, Sent())
        session._inherited = inherited
        return await session.settle(0.01)

    file = Written(tmp_path / "journal")
    assert asyncio.run(test()) == settled
    file.close()
