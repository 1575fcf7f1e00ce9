"""The supervisor: what the agent is promised, without a process and without real time."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.outcomes import result_of as result
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from eson.brokers.port import Access
from eson.errors import NameNotAllowed, TryLater
from eson.model.rates import RateLimit
from eson.model.servers import Server
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.framing import FrameReader, frame
from eson.processors.core.messages import read_create
from eson.processors.host import APART_AFTER, APART_WITHIN, LAST_WORDS, SILENCE
from eson.processors.launcher import MemoryChild, MemoryLauncher
from eson.processors.port import ProcessorEnd, ProcessorOrder, Processors, ProcessorStatus
from eson.processors.supervised import CRASH_LOOP
from eson.processors.supervisor import READY_WITHIN, Supervisor

ACCESS = Access(
    (Server("kf1.unix.ar", 9092),), "sasl_plaintext", "SCRAM-SHA-256", "user", "password-of-the-copy"
)
END = ProcessorEnd(ACCESS, "time.flows.unix.ar", "time.flows.unix.ar")
ORDER = ProcessorOrder("ksdj898.time.flows.unix.ar", "bridge", (END,), (END,))
ID = ORDER.id


class House:
    """A supervisor over a launcher in memory; children answer orders, and become ready if `ready`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.clock = Clock()
        self.ready = self.obedient = True
        self.launcher = MemoryLauncher()
        self.heard: list[ProcessorStatus] = []
        options.setdefault("uniform", lambda low, high: high)
        options.setdefault("per_source", 1)
        self.supervisor = Supervisor(self.clock, self.launcher, folder, **options)
        self.supervisor.listen(self.heard.append)
        self.read: dict[int, tuple[FrameReader, int]] = {}
        done(self.supervisor.start())

    @property
    def child(self) -> MemoryChild:
        return self.launcher.children[-1]

    def orders(self, child: MemoryChild) -> list[pb.Order]:
        """What the child was told since it was last asked."""
        reader, at = self.read.setdefault(id(child), (FrameReader(), 0))
        payloads = reader.feed(child.written[at:])
        self.read[id(child)] = (reader, len(child.written))
        return [pb.Order.FromString(payload) for payload in payloads]

    def step(self) -> list[pb.Order]:
        """The newest child follows its orders."""
        orders = self.orders(self.child)
        for order in orders:
            if self.obedient:
                says(self.child, answer=pb.Answer(id=order.id))
            if self.ready and order.WhichOneof("order") in ("create", "update", "pause", "resume"):
                says(self.child, ready=pb.Ready(processor=ID, guarantee="exactly-once"))
        return orders

    def create(self, order: ProcessorOrder = ORDER) -> None:
        wait = start(self.supervisor.create(order))
        self.step()
        result(wait)

    @property
    def status(self) -> ProcessorStatus:
        found = self.supervisor.status(ID)
        assert found is not None
        return found

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.heard]


def start(awaitable: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(awaitable)


def done(awaitable: Coroutine[Any, Any, Any]) -> Any:
    return result(start(awaitable))


def says(child: MemoryChild, **report: Any) -> None:
    child.says(frame(pb.Report(**report).SerializeToString()))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "journals")


def test_it_is_a_supervisor(house: House) -> None:
    processors: Processors = house.supervisor
    assert processors.ids() == []


def test_create_waits_until_it_is_ready_and_says_everything_in_one_message(house: House) -> None:
    wait = start(house.supervisor.create(ORDER))
    assert house.status.state == "starting"
    hello, create = house.step()
    result(wait)
    assert hello.hello.version == 1
    assert read_create(create.create) == ORDER
    assert create.create.journal.endswith(f"{ID}.journal")
    assert house.status.state == "running"
    assert house.status.pid == house.child.pid
    assert house.supervisor.ids() == [ID]


def test_create_again_starts_nothing(house: House) -> None:
    house.create()
    done(house.supervisor.create(ORDER))
    assert len(house.launcher.children) == 1
    assert house.step() == []


def test_create_gives_up_waiting_but_goes_on_trying(house: House) -> None:
    house.ready = False
    wait = start(house.supervisor.create(ORDER))
    house.step()
    for _ in range(int(READY_WITHIN)):
        house.clock.advance(1)
        says(house.child, progress=pb.Progress(processor=ID))
    with pytest.raises(TryLater):
        result(wait)
    says(house.child, ready=pb.Ready(processor=ID))
    assert house.status.state == "running"


def test_a_dead_process_gets_a_successor_soon(house: House) -> None:
    house.create()
    house.child.ends("ended by signal 9")
    assert house.status.state == "starting"
    assert "signal 9" in house.status.last_error
    assert house.status.pid is None
    house.clock.advance(0.2)
    assert len(house.launcher.children) == 2
    _, create = house.step()
    assert read_create(create.create) == ORDER
    assert house.status.state == "running"
    assert house.status.restarts == 1


def test_a_crash_loop_is_named_and_slowed_down_and_progress_ends_it(house: House) -> None:
    house.create()
    for _ in range(CRASH_LOOP + 8):
        house.child.ends()
        before = len(house.launcher.children)
        house.clock.advance(30)
        assert len(house.launcher.children) == before + 1
        house.step()
    assert "failing" in house.states
    house.child.ends()
    assert house.status.state == "failing"
    house.clock.advance(29)
    assert house.status.restarts == CRASH_LOOP + 8
    house.clock.advance(1)
    house.step()
    says(house.child, progress=pb.Progress(processor=ID, records=1))
    house.child.ends()
    house.clock.advance(0.2)
    assert house.status.restarts == CRASH_LOOP + 10


def test_readiness_without_progress_does_not_end_a_crash_loop(house: House) -> None:
    house.create()
    for _ in range(CRASH_LOOP):
        house.child.ends()
        house.clock.advance(30)
        house.step()
        says(house.child, progress=pb.Progress(processor=ID, records=0))
    house.child.ends()
    assert house.status.state == "failing"


def test_silence_is_a_hang_and_a_broker_that_does_not_answer_is_not(house: House) -> None:
    house.create()
    for _ in range(10):
        house.clock.advance(SILENCE - 1)
        says(house.child, unreachable=pb.Unreachable(processor=ID, since=1000, reason="kf1 does not answer"))
    assert not house.child.killed
    assert house.status.state == "unreachable"
    assert house.status.since is not None
    assert house.status.since.timestamp() == 1.0
    house.clock.advance(SILENCE)
    assert house.child.killed
    house.child.ends("ended by signal 9")
    assert "silent" in house.status.last_error


def test_a_refused_login_is_told_once_and_a_new_credential_helps(house: House) -> None:
    house.create()
    for _ in range(3):
        says(
            house.child,
            unreachable=pb.Unreachable(processor=ID, since=1000, reason="refused", login_refused=True),
        )
    assert [status.login_refused for status in house.heard].count(True) == 1
    renewed = replace(ORDER, sources=(replace(END, access=replace(ACCESS, password="new")),))
    wait = start(house.supervisor.update(renewed))
    (update,) = house.step()
    result(wait)
    assert read_create(update.update.create) == renewed
    assert house.status.state == "running"
    assert not house.status.login_refused
    house.child.ends()
    house.clock.advance(1)
    assert read_create(house.step()[1].create) == renewed


def test_an_amended_order_reaches_what_is_there_and_nobody_waits(house: House) -> None:
    house.create()
    limited = replace(ORDER, destinations=(replace(END, limit=RateLimit(5, 1000)),))
    house.ready = False
    done(house.supervisor.amend(limited))
    (update,) = house.step()
    assert read_create(update.update.create) == limited
    done(house.supervisor.amend(limited))
    assert house.step() == [], "what it knows it is not told again"
    house.child.ends()
    house.clock.advance(1)
    assert read_create(house.step()[1].create) == limited


def test_an_amended_order_starts_nothing(house: House) -> None:
    done(house.supervisor.amend(ORDER))
    assert house.supervisor.ids() == []
    house.create()
    wait = start(house.supervisor.pause(ID))
    house.step()
    result(wait)
    done(house.supervisor.amend(replace(ORDER, destinations=(replace(END, limit=RateLimit(5)),))))
    (update,) = house.step()
    assert update.update.create.paused
    assert house.status.state == "paused"


def test_pause_holds_over_a_restart_and_resume_ends_it(house: House) -> None:
    house.create()
    wait = start(house.supervisor.pause(ID))
    house.step()
    result(wait)
    assert house.status.state == "paused"
    house.child.ends()
    house.clock.advance(1)
    assert house.step()[1].create.paused
    assert house.status.state == "paused"
    wait = start(house.supervisor.resume(ID))
    house.step()
    result(wait)
    assert house.status.state == "running"
    assert house.states.count("paused") == 1


def test_nobody_is_told_how_far_behind_a_paused_one_is(house: House) -> None:
    """It does not look: what it knew last would say that nothing waits."""
    house.create()
    says(house.child, progress=pb.Progress(processor=ID, records=5, lag=7, rate=2.0))
    wait = start(house.supervisor.pause(ID))
    assert (house.status.lag, house.status.rate) == (None, None)
    house.step()
    result(wait)
    says(house.child, progress=pb.Progress(processor=ID, records=5, lag=7))
    assert (house.status.lag, house.status.rate) == (None, None)
    wait = start(house.supervisor.resume(ID))
    house.step()
    result(wait)
    says(house.child, progress=pb.Progress(processor=ID, records=5, lag=9))
    assert house.status.lag == 9


@pytest.mark.parametrize("verb", ["stop_processor", "destroy"])
def test_stopping_closes_the_conversation_and_waits_for_the_end(
    house: House, tmp_path: Path, verb: str
) -> None:
    house.create()
    journal = tmp_path / "journals" / f"{ID}.journal"
    journal.write_bytes(b"position")
    wait = start(getattr(house.supervisor, verb)(ID))
    assert house.child.closed
    house.clock.advance(LAST_WORDS)
    assert house.child.killed
    house.child.ends("ended by signal 9")
    result(wait)
    assert house.supervisor.status(ID) is None
    assert journal.exists() == (verb == "stop_processor")
    house.clock.advance(60)
    assert len(house.launcher.children) == 1
    assert house.states[-1] == "stopped"


def test_destroy_is_idempotent(house: House) -> None:
    done(house.supervisor.destroy(ID))
    done(house.supervisor.destroy(ID))


def test_a_failure_is_named_and_the_process_lives_on(house: House) -> None:
    house.create()
    says(house.child, error=pb.Failure(processor=ID, reason="the source was made anew", stopped=True))
    assert house.status.state == "failing"
    assert house.status.last_error == "the source was made anew"
    house.clock.advance(SILENCE - 1)
    assert not house.child.killed


def test_progress_is_shown_and_changes_no_state(house: House) -> None:
    house.create()
    count = len(house.heard)
    says(house.child, progress=pb.Progress(processor=ID, records=5, lag=7, rate=2.5, last_event=1_000_000))
    status = house.status
    assert (status.lag, status.rate, tuple(status.gaps)) == (7, 2.5, ())
    assert status.last_event is not None
    assert status.last_event.timestamp() == 1000
    assert len(house.heard) == count


@pytest.mark.parametrize("moment", [-(2**63), -1, 1_700_000_000_000_000, 2**63 - 1])
def test_a_moment_that_no_calendar_has_ends_nothing(house: House, moment: int) -> None:
    """Whoever writes events gives them their timestamps: in microseconds, for one."""
    house.create()
    says(house.child, progress=pb.Progress(processor=ID, records=5, lag=2**64 - 1, last_event=moment))
    assert house.status.lag == 2**64 - 1
    assert house.status.last_event is not None
    says(house.child, unreachable=pb.Unreachable(processor=ID, since=moment, reason="kf1 does not answer"))
    assert house.status.state == "unreachable"
    assert house.status.since is not None


def test_what_fails_with_one_member_is_heard_from_all(tmp_path: Path) -> None:
    """A fault of ours is logged; the conversation and the watch over it go on."""
    house = House(tmp_path)
    house.create()

    def fails(status: ProcessorStatus) -> None:
        raise ZeroDivisionError

    house.supervisor.listen(fails)
    with capturedLogs() as logged:
        says(house.child, error=pb.Failure(processor=ID, reason="the source was made anew"))
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    house.clock.advance(SILENCE - 1)
    says(house.child, progress=pb.Progress(processor=ID, lag=7))
    assert house.status.lag == 7
    house.clock.advance(SILENCE - 1)
    assert not house.child.killed


def test_a_gap_is_told_once_whichever_destinations_tell_of_it(house: House) -> None:
    house.create()
    count = len(house.heard)
    progress = pb.Progress(processor=ID)
    for source in (0, 0, 1):
        progress.gaps.add(source=source, partition=1, first=3, last=9)
    for _ in range(2):
        says(house.child, progress=progress)
    assert tuple(house.status.gaps) == ((1, 3, 9), (1, 3, 9))
    assert len(house.heard) == count + 1


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff", frame(b"\xff\xff\xff"), b"print('hello')\n" * 99])
def test_a_process_that_says_anything_else_is_killed(house: House, octets: bytes) -> None:
    house.create()
    house.child.says(octets)
    assert house.child.killed
    house.child.ends("ended by signal 9")
    assert "does not speak" in house.status.last_error


def test_no_more_start_in_a_second_than_allowed(tmp_path: Path) -> None:
    house = House(tmp_path, start_rate=20)
    for number in range(50):
        start(house.supervisor.create(replace(ORDER, id=f"p-{number:07}")))
    assert len(house.launcher.children) == 1
    house.clock.advance(1)
    assert 20 <= len(house.launcher.children) <= 21
    house.clock.pump([0.05] * 40)
    assert len(house.launcher.children) == 50


def test_several_may_share_a_process_and_stop_one_by_one(tmp_path: Path) -> None:
    house = House(tmp_path, per_process=2)
    for name in ("p-one", "p-two", "p-three"):
        start(house.supervisor.create(replace(ORDER, id=name)))
        house.clock.advance(1)
    assert len(house.launcher.children) == 2
    first = house.launcher.children[0]
    wait = start(house.supervisor.stop_processor("p-one"))
    assert not first.closed
    stop = house.orders(first)[-1]
    assert stop.stop.processor == "p-one"
    says(first, answer=pb.Answer(id=stop.id))
    result(wait)
    assert house.supervisor.ids() == ["p-three", "p-two"]
    start(house.supervisor.stop_processor("p-two"))
    assert first.closed


def test_what_cannot_be_started_is_tried_again(house: House) -> None:
    house.launcher.refuse = OSError(11, "Resource temporarily unavailable")
    wait = start(house.supervisor.create(ORDER))
    assert "Resource" in house.status.last_error
    house.launcher.refuse = None
    house.clock.advance(1)
    house.step()
    result(wait)


@pytest.mark.parametrize("id", ["", "../x", "a/b", ".hidden", "a\0b"])
def test_an_id_names_no_file_elsewhere(house: House, id: str) -> None:
    with pytest.raises(NameNotAllowed):
        done(house.supervisor.create(replace(ORDER, id=id)))


def test_everything_ends_with_the_supervisor(house: House) -> None:
    house.create()
    wait = start(house.supervisor.stop())
    assert house.child.closed
    house.child.ends("ended")
    result(wait)
    house.clock.advance(60)
    assert len(house.launcher.children) == 1


def test_no_secret_is_in_what_people_see(house: House) -> None:
    house.create()
    house.child.ends("ended with status 1")
    for thing in (house.status, ORDER, house.heard):
        assert ACCESS.password not in repr(thing)


def other(name: str, queue: str = END.queue) -> ProcessorOrder:
    return replace(ORDER, id=name, sources=(replace(END, queue=queue),))


def pids(house: House) -> dict[str, int | None]:
    found = {}
    for id in house.supervisor.ids():
        status = house.supervisor.status(id)
        assert status is not None
        found[id] = status.pid
    return found


def begin(house: House, *orders: ProcessorOrder) -> None:
    for order in orders:
        start(house.supervisor.create(order))
        house.clock.advance(1)


def test_bridges_of_one_source_share_a_process(tmp_path: Path) -> None:
    house = House(tmp_path, per_source=2)
    access = replace(ACCESS, username="another")
    stranger = replace(ORDER, id="p-stranger", sources=(replace(END, access=access),))
    collector = replace(ORDER, id="p-collector", kind="collector")
    begin(
        house, other("p-one"), other("p-else", "else"), other("p-two"), other("p-three"), stranger, collector
    )
    found = pids(house)
    assert found["p-one"] == found["p-two"]
    assert len(set(found.values())) == 5
    assert found["p-three"] != found["p-one"]


def test_who_ends_a_shared_process_again_and_again_does_it_alone_at_last(tmp_path: Path) -> None:
    """Also if the others progress meanwhile; who comes later does not join them."""
    house = House(tmp_path, per_source=3)
    begin(house, other("p-one"), other("p-two"))
    for _ in range(APART_AFTER):
        assert len(set(pids(house).values())) == 1
        says(house.child, progress=pb.Progress(processor="p-one", records=10))
        house.child.ends("ended by signal 11")
        house.clock.advance(1)
    found = pids(house)
    assert len(set(found.values())) == 2
    begin(house, other("p-three"))
    assert len(set(pids(house).values())) == 3
    first = next(child for child in house.launcher.children if child.pid == found["p-one"])
    first.ends()
    status = house.supervisor.status("p-two")
    assert status is not None
    assert status.pid == found["p-two"]
    assert "signal 11" in status.last_error


def test_a_shared_process_that_ends_seldom_stays_shared(tmp_path: Path) -> None:
    house = House(tmp_path, per_source=3, silence=1e9)
    begin(house, other("p-one"), other("p-two"))
    for _ in range(2 * APART_AFTER):
        house.child.ends()
        house.clock.advance(APART_WITHIN)
    assert len(set(pids(house).values())) == 1
