"""Lanes for partitions and destinations that the journal does not know yet, against what the destinations have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eson.brokers.port import Access
from eson.processors.child.cluster import LATEST, Topic
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.lane_making import LaneMaking
from eson.processors.child.trouble import Failing
from eson.processors.port import ProcessorEnd, ProcessorOrder


class Queue:
    """An end whose partitions all begin at 0 and end at 100."""

    def __init__(self, name: str, partitions: int) -> None:
        self.topic = Topic(name, "", dict.fromkeys(range(partitions), 1))

    async def offset(self, partition: int, when: int) -> int:
        return 100 if when == LATEST else 0

    async def offsets(self, partitions: Iterable[int], when: int) -> dict[int, int]:
        return {partition: await self.offset(partition, when) for partition in partitions}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[JournalFile]:
    opened = JournalFile(str(tmp_path / "journal"), "p")
    yield opened
    opened.close()


def make(
    file: JournalFile, source: int, *destinations: int, kind: str = "bridge", only: int | None = None
) -> str:
    """What it says, for queues with so many partitions; `only`: for the destination of that number alone."""
    ends: Any = {number: Queue(f"d{number}", count) for number, count in enumerate(destinations)}
    order = ProcessorOrder(
        "p",
        kind,  # type: ignore[arg-type]
        (ProcessorEnd(Access(()), "s", "s.flows.unix.ar"),),
        tuple(ProcessorEnd(Access(()), f"d{number}", f"d{number}.flows.unix.ar") for number in ends),
        start="now",
    )
    sources: Any = [Queue("s", source)]
    mine = ends if only is None else {only: ends[only]}
    return asyncio.run(LaneMaking(order, file, sources, mine, exact=False).make())


def lanes(file: JournalFile) -> list[tuple[int, int, int, int]]:
    """(source partition, destination, its partition, start)."""
    found = (state.lane for state in file.journal.lanes.values())
    return [(one.source_partition, one.destination, one.destination_partition, one.start) for one in found]


@pytest.mark.parametrize("kind", ["bridge", "distributor"])
def test_partition_n_goes_to_partition_n(file: JournalFile, kind: str) -> None:
    assert make(file, 2, 2, 5, kind=kind) == ""
    assert sorted(lanes(file)) == [(0, 0, 0, 100), (0, 1, 0, 100), (1, 0, 1, 100), (1, 1, 1, 100)]


@pytest.mark.parametrize("kind", ["bridge", "distributor"])
def test_a_destination_that_lacks_them_from_the_beginning_gets_nothing(file: JournalFile, kind: str) -> None:
    """Not even the first partitions: where the others begin is settled together, once."""
    with pytest.raises(Failing) as failed:
        make(file, 4, 2, kind=kind)
    assert failed.value.reason == (
        "destination d0 has 2 partitions, its source 4: partitions 2 to 3 wait until it has as many."
        " Where the agent does not add them: UPDATE FLOW d0.flows.unix.ar partitions=4"
    )
    assert lanes(file) == []
    assert make(file, 4, 4, kind=kind) == ""
    assert [start for *_, start in lanes(file)] == [100] * 4


def test_a_source_that_grew_goes_on_with_what_has_its_place(file: JournalFile) -> None:
    """None of the new ones has a lane until all have, and all are carried from their beginning."""
    make(file, 2, 2)
    before = lanes(file)
    assert "partitions 2 to 3 wait" in make(file, 4, 2)
    assert "partition 3 waits" in make(file, 4, 3)
    assert lanes(file) == before
    assert make(file, 4, 4) == ""
    assert lanes(file) == [*before, (2, 0, 2, 0), (3, 0, 3, 0)]


def test_destinations_of_a_distributor_lack_them_each_for_itself(file: JournalFile) -> None:
    assert make(file, 2, 2, 1, kind="distributor", only=0) == ""
    with pytest.raises(Failing, match="d1 has 1 partition, "):
        make(file, 2, 2, 1, kind="distributor", only=1)
    assert make(file, 2, 2, 2, kind="distributor", only=1) == ""
    # one moment is now for all
    assert sorted(lanes(file)) == [(0, 0, 0, 100), (0, 1, 0, 100), (1, 0, 1, 100), (1, 1, 1, 100)]


@pytest.mark.parametrize("kind", ["collector", "signal"])
def test_what_makes_a_new_flow_takes_the_number_modulo(file: JournalFile, kind: str) -> None:
    assert make(file, 4, 3, kind=kind) == ""
    assert [(partition, target) for partition, _, target, _ in lanes(file)] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 0),
    ]


def test_lanes_of_an_old_journal_stay_where_they_go(file: JournalFile) -> None:
    """They were made when a bridge took the number modulo: what went to partition 0 still does."""
    make(file, 3, 1, kind="signal")
    before = lanes(file)
    assert make(file, 3, 1) == ""
    assert "partition 3 waits" in make(file, 4, 1)
    assert lanes(file) == before
    assert make(file, 4, 4) == ""
    assert lanes(file) == [*before, (3, 0, 3, 0)]


def test_lanes_are_on_disk_before_anything_is_sent(
    file: JournalFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a producer that nobody remembers would have written."""
    synced: list[int] = []
    sync = file.sync
    monkeypatch.setattr(file, "sync", lambda: (synced.append(len(file.journal.lanes)), sync()))
    make(file, 2, 2)
    assert synced == [2]
