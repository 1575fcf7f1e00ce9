"""What several branches of one processor share: the journal, and what is told of them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.child import branch, carrier
from eson.processors.child.branch import Branch, Complaint, Course
from eson.processors.child.carrier import Carrier
from eson.processors.child.journal_file import DiskRefuses
from eson.processors.child.lanes import Counters, Planned, RunningLane
from eson.processors.child.planning import Changed
from eson.processors.child.producer import TooLarge
from eson.processors.child.shared_journal import SharedJournal
from eson.processors.child.telling import MOST_REASON, complaint_report, lag, positions, reasons
from eson.processors.child.trouble import Trouble
from eson.processors.child.window import Windows
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.framing import frame
from eson.processors.core.journal import Entry, Lane, LaneState, lane_line
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd, ProcessorOrder

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY = Complaint("unreachable", "kf3 does not answer", NOON)
BROKEN = Complaint("failing", "kf2 breaks Kafka's protocol", NOON - timedelta(hours=2))
ENDED = Complaint("stopped", "destination copy was deleted and created again", NOON)
REFUSED = Complaint("unreachable", "kf1 refuses the credential of user", NOON - timedelta(hours=1), True)

NOWHERE = ProcessorEnd(Access((Server("localhost", 1),)), "queue", "flow")
BRIDGE = ProcessorOrder("p", "bridge", (NOWHERE,), (NOWHERE,))


def lane(number: int, destination: int, partition: int = 0, start: int = 100) -> Lane:
    return Lane(number, 0, partition, "source", destination, partition, "copy", 7, 0, start, 0)


def running(lane: Lane, offset: int, end: int, unacknowledged: int = 0) -> RunningLane:
    made = RunningLane(LaneState(lane, lane.start), True, 1 << 20)
    made.offset, made.end, made.unacknowledged = offset, end, unacknowledged
    return made


def test_one_of_three_is_named() -> None:
    report = complaint_report("p", [("copy-3", AWAY)], 3, b"lanes")
    assert report.unreachable.reason == "copy-3: kf3 does not answer"
    assert report.unreachable.since == int(NOON.timestamp() * 1000)
    assert report.unreachable.lanes == b"lanes"
    assert not report.unreachable.login_refused


def test_what_all_suffer_is_said_once() -> None:
    assert reasons([("copy-1", AWAY), ("copy-2", AWAY)], 2) == AWAY.reason
    assert reasons([("copy-1", AWAY), ("copy-2", AWAY)], 3) == f"copy-1, copy-2: {AWAY.reason}"
    assert reasons([("copy", AWAY)], 1) == AWAY.reason


def test_failures_come_first_and_are_failures() -> None:
    report = complaint_report("p", [("copy-1", AWAY), ("copy-2", BROKEN)], 3, b"")
    assert report.error.reason == f"copy-2: {BROKEN.reason}; copy-1: {AWAY.reason}"
    assert not report.error.stopped


def test_it_stopped_when_all_have() -> None:
    assert complaint_report("p", [("copy", ENDED)] * 2, 2, b"").error.stopped
    assert not complaint_report("p", [("copy", ENDED)] * 2, 3, b"").error.stopped
    assert not complaint_report("p", [("copy", ENDED), ("other", BROKEN)], 2, b"").error.stopped


def test_a_refused_credential_is_heard_among_failures() -> None:
    report = complaint_report("p", [("copy-1", REFUSED), ("copy-2", BROKEN)], 2, b"")
    assert report.unreachable.login_refused
    assert BROKEN.reason in report.unreachable.reason


def test_a_reason_stays_one_line_of_bounded_length() -> None:
    many = [(f"copy-{number}", Complaint("failing", f"reason {number}", NOON)) for number in range(200)]
    assert len(reasons(many, 300)) == MOST_REASON
    same = [(f"copy-{number}", AWAY) for number in range(200)]
    assert reasons(same, 300) == f"copy-0, copy-1, copy-2 and 197 more: {AWAY.reason}"


def test_lag_is_that_of_the_slowest_by_what_any_of_them_saw() -> None:
    quick = [running(lane(0, 0), 500, 500, 5), running(lane(1, 0, 1), 200, 200)]
    frozen = [running(lane(2, 1), 300, 350), running(lane(3, 1, 1), 200, 200)]
    assert lag([quick]) == 5
    assert lag([quick, frozen]) == 200
    assert lag([quick, frozen, ()]) == 400 + 100
    assert lag([(), ()]) == 0


def test_a_position_counts_what_every_destination_acknowledged() -> None:
    ahead, behind = LaneState(lane(0, 0), 100), LaneState(lane(1, 1), 100)
    for state, next_offset in ((ahead, 180), (behind, 150)):
        state.plan(Entry(0, 9, next_offset, 1))
        state.acknowledge(9, 0)
    lanes = [running(ahead.lane, 180, 200), running(behind.lane, 150, 160)]
    assert positions([ahead, behind], lanes, 2) == [(0, 0, 150, 200)]
    assert positions([ahead, behind], lanes, 3) == [(0, 0, 100, 200)]
    assert positions([ahead], [], 1) == [(0, 0, 180, 180)]


class Told:
    """What a carrier that reaches nobody tells of its progress."""

    def __init__(self, folder: Path) -> None:
        self.reports: list[pb.Report] = []
        self.arrived = asyncio.Event()
        self.carrier = Carrier(BRIDGE, str(folder / "journal"), Reach(), True, self._tell, Windows())

    def _tell(self, report: pb.Report) -> None:
        if report.HasField("progress"):
            self.reports.append(report)
            self.arrived.set()

    def behind(self, *lags: int) -> None:
        lanes = [running(lane(number, 0, number, 0), 0, lag) for number, lag in enumerate(lags)]
        self.carrier._branches[0].lanes = lanes

    async def next(self) -> pb.Progress:
        self.arrived.clear()
        await asyncio.wait_for(self.arrived.wait(), 10)
        return self.reports[-1].progress


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "TELL_CHANGES", 0.01)
    monkeypatch.setattr(carrier, "TELL_ALIVE", 0.02)


def test_ends_that_no_log_has_stop_no_report(tmp_path: Path, quick: None) -> None:
    async def test() -> None:
        told = Told(tmp_path)
        told.behind(*[2**63 - 1] * 3)
        assert (await told.next()).lag == 2**64 - 1
        await told.carrier.end(True)

    asyncio.run(test())


def test_a_fault_in_telling_is_not_silence(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be told this time is said as it was, so that nobody takes the process to hang."""

    async def test() -> None:
        told = Told(tmp_path)
        told.behind(5)
        assert (await told.next()).lag == 5
        told.carrier._branches[0].lanes = [None]  # type: ignore[list-item]
        assert (await told.next()).lag == 5
        assert "AttributeError" in capsys.readouterr().err
        told.behind(7)
        assert (await told.next()).lag == 7
        await told.carrier.end(True)

    asyncio.run(test())


def test_what_is_told_of_gaps_fits_into_a_message(tmp_path: Path, quick: None) -> None:
    async def test() -> None:
        told = Told(tmp_path)
        file = told.carrier._journal.take()
        for number in range(300):
            state = file.journal.lanes[number] = LaneState(lane(number, 0, number, 2**60), 2**60)
            for n in range(1000):
                state.miss(2**61 + 10 * n, 2**61 + 10 * n + 4)
        told.behind(5)
        progress = await told.next()
        frame(pb.Report(progress=progress).SerializeToString())
        assert {gap.partition for gap in progress.gaps} == set(range(300))
        assert all(gap.last <= 2**61 + 10 * 999 + 4 for gap in progress.gaps)
        assert max(gap.first for gap in progress.gaps) == 2**61 + 10 * 999
        await told.carrier.end(True)

    asyncio.run(test())


class Scripted:
    """Sessions that reach everybody, and end as `script` says, one after the other; the last one goes on."""

    def __init__(self, *script: Trouble) -> None:
        self.script = list(script)
        self.settled: list[bool] = []
        self.arrived = asyncio.Event()
        self.closing: Trouble | None = None
        self.answered = False
        """Whether all that was sent before a refusal is answered."""

    def __call__(self, *given: Any) -> Scripted:
        self.settled.append(given[-1])
        self.lanes: list[RunningLane] = []
        self.exact = self.progressed = True
        self.narrow = ""
        return self

    async def open(self) -> None: ...

    async def run(self) -> None:
        if self.script:
            raise self.script.pop(0)
        self.arrived.set()
        await asyncio.Event().wait()

    async def drain(self, timeout: float) -> None: ...

    async def settle(self, timeout: float) -> bool:
        return self.answered

    def close(self) -> None:
        if self.closing is not None:
            raise self.closing


class Alone:
    """A branch over scripted sessions."""

    def __init__(self, folder: Path, sessions: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(branch, "Session", sessions)
        self.complained = asyncio.Event()
        course = Course(BRIDGE, Reach(), False)
        journal = SharedJournal(str(folder / "journal"), "p")
        self.branch = Branch(course, [0], journal, Counters(), Windows(), self._changed, lambda: None)

    def _changed(self) -> None:
        if self.branch.complaint is not None:
            self.complained.set()

    async def complaint(self) -> Complaint | None:
        await asyncio.wait_for(self.complained.wait(), 10)
        self.complained.clear()
        return self.branch.complaint


def test_an_order_does_not_cut_short_what_must_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was planned binds whoever comes before the time is over, however often somebody orders something."""

    async def test() -> None:
        changed = Changed(running(lane(0, 0), 500, 500))
        sessions = Scripted(changed, changed, changed)
        alone = Alone(tmp_path, sessions, monkeypatch)
        for order in (alone.branch.ordered, alone.branch.renewed):
            await alone.complaint()
            order()
        await alone.complaint()
        assert sessions.settled == [False, False, False]
        await alone.branch.end()

    asyncio.run(test())


def test_what_has_settled_binds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(branch, "SETTLE", 0.01)
        sessions = Scripted(Changed(running(lane(0, 0), 500, 500)))
        alone = Alone(tmp_path, sessions, monkeypatch)
        await asyncio.wait_for(sessions.arrived.wait(), 10)
        assert sessions.settled == [False, True]
        await alone.branch.end()

    asyncio.run(test())


def too_large(records: int) -> TooLarge:
    entry = Entry(0, records - 1, 100 + records, 1)
    batch = Planned(running(lane(0, 0), 100, 100), entry, bytes(5_000_000), records, 0, True)
    return TooLarge(batch, "destination copy takes no batch of 5000000 octets")


@pytest.mark.parametrize(("records", "limit"), [(2, 2_500_000), (1, None)])
def test_what_is_refused_is_halved_unless_it_is_one_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int, limit: int | None
) -> None:
    """No event that others may take is refused for good, since one was too large once."""

    async def test() -> None:
        alone = Alone(tmp_path, Scripted(too_large(records)), monkeypatch)
        complaint = await alone.complaint()
        assert complaint is not None
        assert complaint.state == "failing"
        assert ("the event at offset 100" in complaint.reason) == (records == 1)
        assert alone.branch._max_bytes.get(0) == limit
        await alone.branch.end()

    asyncio.run(test())


def test_a_refusal_waits_for_nothing_where_all_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        sessions = Scripted(too_large(4), too_large(2))
        sessions.answered = True
        alone = Alone(tmp_path, sessions, monkeypatch)
        await asyncio.wait_for(sessions.arrived.wait(), 10)
        assert sessions.settled == [False, True, True]
        await alone.branch.end()

    asyncio.run(test())


def test_it_ends_where_the_disk_refuses_the_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        sessions = Scripted()
        sessions.closing = DiskRefuses("the journal cannot be written: No space left on device")
        alone = Alone(tmp_path, sessions, monkeypatch)
        await asyncio.wait_for(sessions.arrived.wait(), 10)
        await asyncio.wait_for(alone.branch.end(), 10)
        assert alone.branch.complaint is None

    asyncio.run(test())


def full(path: Path) -> SharedJournal:
    """A journal on a disk that takes no more."""
    journal = SharedJournal(str(path), "p")
    file = journal.take()
    file.add(lane_line(lane(0, 0)))
    file.sync()
    descriptor = os.open("/dev/full", os.O_RDWR)
    os.dup2(descriptor, file._fd)
    os.close(descriptor)
    file.journal.lanes[1] = LaneState(lane(1, 1), 100)
    file.add(lane_line(lane(1, 1)))
    with pytest.raises(DiskRefuses):
        file.sync()
    return journal


def test_a_journal_that_refused_is_read_again_when_all_have_left_it(tmp_path: Path) -> None:
    journal = full(tmp_path / "journal")
    first = journal._file
    assert first is not None
    with pytest.raises(DiskRefuses):
        first.write()  # also for others, who added nothing
    with pytest.raises(DiskRefuses):
        journal.take()
    journal.give_back()
    second = journal.take()
    assert second is not first
    assert list(second.journal.lanes) == [0]
    assert journal.take() is second
    journal.close()


def test_lanes_that_are_known_elsewhere_are_said_again(tmp_path: Path) -> None:
    journal = SharedJournal(str(tmp_path / "journal"), "p")
    assert journal.known_lanes([lane(1, 1)]) == [lane(1, 1)]
    journal.take().journal.lanes[0] = LaneState(lane(0, 0), 100)
    assert journal.known_lanes([lane(1, 1)]) == [lane(0, 0), lane(1, 1)]
    journal.close(remove=True)
    assert not (tmp_path / "journal").exists()
