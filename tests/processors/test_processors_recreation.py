"""Whether the queues at both ends are those that the journal is of."""

from __future__ import annotations

from typing import Any, cast

import pytest

from eson.processors.child.cluster import Cluster, Topic
from eson.processors.child.ends import End
from eson.processors.child.recreation import check_topics
from eson.processors.child.trouble import Stopped, Unreachable
from eson.processors.core.journal import Lane, LaneState
from eson.processors.port import ProcessorOrder


class Order:
    """As many ends as an order of one source and one destination has."""

    sources = destinations = (None,)


def end(name: str, id: str, partitions: int) -> End:
    return End(cast(Cluster, None), Topic(name, id, dict.fromkeys(range(partitions), 1)))


def check(source: End, copy: End, *lanes: Lane) -> None:
    check_topics(
        cast(ProcessorOrder, cast(Any, Order)), [LaneState(one, 0) for one in lanes], [source], {0: copy}
    )


def lane(partition: int, source: str = "s", copy: str = "c", to: int = 0) -> Lane:
    return Lane(partition, 0, partition, source, to, partition, copy, 7, 0, 0, 0)


def test_the_same_queues() -> None:
    check(end("time", "s", 2), end("copy", "c", 3), lane(0), lane(1))


def test_a_broker_without_ids_is_believed() -> None:
    check(end("time", "", 1), end("copy", "c", 1), lane(0), lane(0, source=""))


@pytest.mark.parametrize(
    ("source", "copy", "why"),
    [
        ("other", "c", "source time was deleted and created"),
        ("s", "other", "destination copy was deleted and"),
    ],
)
def test_another_queue_of_that_name(source: str, copy: str, why: str) -> None:
    with pytest.raises(Stopped, match=why):
        check(end("time", source, 1), end("copy", copy, 1), lane(0))


def test_a_partition_that_is_not_there_any_more() -> None:
    with pytest.raises(Unreachable, match="source time has no partition 1 any more"):
        check(end("time", "", 1), end("copy", "c", 2), lane(0), lane(1))
    with pytest.raises(Unreachable, match="destination copy has no partition 1 any more"):
        check(end("time", "s", 2), end("copy", "", 1), lane(0), lane(1))


def test_more_ends_than_the_order_has() -> None:
    with pytest.raises(Stopped, match="more ends than the order"):
        check(end("time", "s", 1), end("copy", "c", 1), lane(0, to=1))
