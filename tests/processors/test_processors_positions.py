"""Where lanes go on, by what their destination tells: over a cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from eson.processors.child.cluster import Cluster, Topic
from eson.processors.child.connection import Connection
from eson.processors.child.ends import End
from eson.processors.child.lanes import RunningLane
from eson.processors.child.positions import running_lanes
from eson.processors.child.trouble import Failing
from eson.processors.core.journal import Entry, Lane, LaneState
from eson.processors.core.resume import Active

EXACT = Lane(0, 0, 0, "source", 0, 0, "copy", 77, 0, 100, 0)
PLAIN = Lane(1, 0, 1, "source", 0, 1, "copy", -1, -1, 100, 0)


class Destination:
    """Knows each producer of `active`, on every partition that is asked for."""

    def __init__(self, active: dict[int, Active]) -> None:
        self.active = active
        self.asked: list[int] = []

    async def producers(
        self, connection: Connection, partitions: Iterable[int]
    ) -> dict[int, dict[int, Active]]:
        asked = list(partitions)
        self.asked += asked
        return dict.fromkeys(asked, self.active)

    async def max_bytes(self) -> int:
        return 1 << 20


def state(lane: Lane) -> LaneState:
    """One batch was acknowledged, another one was under way."""
    made = LaneState(lane, lane.start)
    made.plan(Entry(0, 9, 110, 1))
    made.plan(Entry(10, 19, 120, 2))
    made.acknowledge(9, 0)
    return made


def lanes(cluster: Destination, exact: bool, *begun: Lane) -> list[RunningLane]:
    topic = Topic("copy", "copy", {0: 1, 1: 1})
    end = End(cast(Cluster, cluster), topic, {1: cast(Any, None)})
    return asyncio.run(running_lanes(map(state, begun), {0: end}, {}, exact, False))


def test_a_lane_that_began_without_numbers_goes_on_without() -> None:
    """Batches without producer, of others too, have the id -1: what the destination says of it is not ours."""
    cluster = Destination({77: Active(19, 0), -1: Active(5, -1)})
    exact, plain = lanes(cluster, True, EXACT, PLAIN)
    assert (exact.exact, exact.producer, exact.offset, exact.sequence) == (True, 77, 120, 20)
    assert (plain.exact, plain.producer, plain.offset, plain.sequence) == (False, -1, 110, 10)
    assert cluster.asked == [0]


def test_a_lane_that_has_numbers_does_not_go_on_without() -> None:
    """What it sent meanwhile would come again once the destination tells again."""
    with pytest.raises(Failing, match="does not tell any more"):
        lanes(Destination({}), False, EXACT)
    (plain,) = lanes(Destination({}), False, PLAIN)
    assert not plain.exact
