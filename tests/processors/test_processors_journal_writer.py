"""What a session writes into the journal while it carries, in which order, and when it is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eson.processors.child.journal_file import JournalFile
from eson.processors.child.journal_writer import JournalWriter
from eson.processors.child.lanes import Planned, RunningLane
from eson.processors.core.journal import Entry, Lane, LaneState

FIRST, SECOND = Entry(0, 9, 10, 1), Entry(10, 19, 20, 2)


class Written(JournalFile):
    """`whole` is what it holds, without its first line and end marks; `syncs` counts."""

    def __init__(self, path: Path) -> None:
        self.syncs = 0
        super().__init__(str(path), "p")
        self.syncs, self._file = 0, path

    def sync(self) -> None:
        self.syncs += 1
        super().sync()

    @property
    def whole(self) -> list[str]:
        return [line[:-9] for line in self._file.read_text("ascii").splitlines()[1:]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Written]:
    opened = Written(tmp_path / "journal")
    yield opened
    opened.close()


@pytest.fixture
def lane() -> RunningLane:
    return RunningLane(LaneState(Lane(3, 0, 0, "", 0, 0, "", 7, 0, 0, 0), 0), True, 1 << 20)


def planned(lane: RunningLane, entry: Entry, new: bool = True) -> Planned:
    return Planned(lane, entry, b"octets", 10, 0, new)


def acknowledge(lane: RunningLane, entry: Entry) -> None:
    lane.state.acknowledged = (entry.last, entry.last + 500)
    lane.unacknowledged -= 10


def test_what_is_planned_is_on_disk_at_once_behind_its_leader_epoch(file: Written, lane: RunningLane) -> None:
    lane.leader_epoch = 4
    JournalWriter(file).plan([planned(lane, FIRST), planned(lane, SECOND)], [lane])
    assert file.whole == ["E 3 4", "P 3 0 9 10 1", "P 3 10 19 20 2"]
    assert file.syncs == 1
    assert lane.unacknowledged == 20


def test_what_a_predecessor_planned_is_not_written_again(file: Written, lane: RunningLane) -> None:
    JournalWriter(file).plan([planned(lane, FIRST, new=False)], [lane])
    assert (file.whole, file.syncs, lane.unacknowledged) == ([], 0, 10)


def test_an_acknowledgement_is_written_once(file: Written, lane: RunningLane) -> None:
    writer = JournalWriter(file)
    writer.plan([planned(lane, FIRST)], [lane])
    acknowledge(lane, FIRST)
    writer.write([lane])
    writer.write([lane])
    assert file.whole == ["P 3 0 9 10 1", "A 3 9 509"]
    assert file.syncs == 1


def test_acknowledgements_go_along_with_the_next_plan(file: Written, lane: RunningLane) -> None:
    writer = JournalWriter(file)
    writer.plan([planned(lane, FIRST)], [lane])
    acknowledge(lane, FIRST)
    writer.plan([planned(lane, SECOND)], [lane])
    assert sorted(file.whole) == ["A 3 9 509", "P 3 0 9 10 1", "P 3 10 19 20 2"]


def test_nothing_is_skipped_before_all_that_was_sent_has_arrived(file: Written, lane: RunningLane) -> None:
    """The position would be behind events that may be sent again."""
    writer = JournalWriter(file)
    writer.plan([planned(lane, FIRST)], [lane])
    lane.planned_offset = 30
    writer.write([lane])
    assert file.whole == ["P 3 0 9 10 1"]
    acknowledge(lane, FIRST)
    lane.leader_epoch = 5
    writer.write([lane])
    assert file.whole[1:] == ["A 3 9 509", "E 3 5", "S 3 30"]
    assert lane.state.position() == 30


def test_a_predecessors_plan_that_may_arrive_is_not_skipped(file: Written, lane: RunningLane) -> None:
    lane.expected.append(FIRST)
    lane.planned_offset = 30
    JournalWriter(file).write([lane])
    assert file.whole == []


def test_the_leader_epoch_of_lost_events_is_unknown(file: Written, lane: RunningLane) -> None:
    lane.leader_epoch = lane.state.leader_epoch = 4
    lane.offset = 10
    writer = JournalWriter(file)
    writer.miss(lane, 50)
    writer.write([])
    assert file.whole == ["E 3 -1", "G 3 10 49"]
    assert (lane.leader_epoch, lane.state.start) == (-1, 50)
