"""Locks, tasks, settings, names of queues: the small parts."""

from __future__ import annotations

from typing import Any

import pytest
from agent.agent_world import Time
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from eson.agent.hosting import Hosting, Nameserver, Participant, queue_name
from eson.agent.locks import Locks
from eson.agent.memory import MemoryNames
from eson.agent.parts import Parts
from eson.agent.settings import flow_settings, format_retention, parse_retention
from eson.agent.tasks import Tasks
from eson.agent.views import nameserver_item
from eson.errors import BackendFailed, Busy, NoSuch, NotHosted, Usage
from eson.model.flows import Namespace


def test_who_comes_second_is_told() -> None:
    locks = Locks()
    with locks.hold("a", shared=["x"]):
        for wanted, shared in ((["a"], []), (["x"], []), ([], ["a"])):
            with pytest.raises(Busy), locks.hold(*wanted, shared=shared):
                pass
        with locks.hold("b", shared=["x"]):
            assert locks.held("b")
    assert not any(locks.held(name) for name in "abx")


def test_all_or_none() -> None:
    locks = Locks()
    with locks.hold("b"):
        with pytest.raises(Busy), locks.hold("a", "b"):
            pass
        assert not locks.held("a")


def test_a_lock_is_free_after_an_error() -> None:
    locks = Locks()
    with pytest.raises(ZeroDivisionError), locks.hold("a", shared=["x"]):
        raise ZeroDivisionError
    assert not locks.held("a")
    assert not locks.held("x")


def test_work_goes_on_when_nobody_waits() -> None:
    time = Time()
    tasks = Tasks(time)
    gate: Deferred[None] = Deferred()
    done: list[str] = []

    async def work() -> None:
        await gate
        done.append("yes")

    running = tasks.run(work())
    running.addErrback(lambda failure: None)
    running.cancel()
    settled: list[Any] = []
    Deferred.fromCoroutine(tasks.settled()).addBoth(settled.append)
    assert settled == []
    gate.callback(None)
    assert done == ["yes"]
    assert settled == [None]


def test_an_end_does_not_wait_long_for_others() -> None:
    time = Time()
    tasks = Tasks(time)
    gates = [Deferred[str](), Deferred[str]()]
    for gate in gates:
        tasks.run(_wait(gate))
    ended: list[Any] = []
    Deferred.fromCoroutine(tasks.stop()).addBoth(ended.append)
    time.advance(4)
    assert ended == []
    time.advance(2)
    assert ended == [None]
    soon = Tasks(time)
    soon.run(_wait(gates[0]))
    Deferred.fromCoroutine(soon.stop()).addBoth(ended.append)
    for gate in gates:
        gate.callback("done")
    assert ended == [None, None]
    assert time.getDelayedCalls() == []


def test_a_deadline_ends_the_waiting_and_not_the_work() -> None:
    time = Time()
    tasks = Tasks(time)
    gate: Deferred[str] = Deferred()
    outcome: list[Any] = []
    Deferred.fromCoroutine(tasks.within(5, tasks.run(_wait(gate)))).addBoth(outcome.append)
    time.advance(5)
    assert outcome == [None]
    gate.callback("late")
    assert time.getDelayedCalls() == []
    soon: list[Any] = []
    Deferred.fromCoroutine(tasks.within(5, tasks.run(_wait(_fired("now"))))).addBoth(soon.append)
    assert soon == ["now"]
    assert time.getDelayedCalls() == []


async def _wait(gate: Deferred[str]) -> str:
    return await gate


def _fired(value: str) -> Deferred[str]:
    gate: Deferred[str] = Deferred()
    gate.callback(value)
    return gate


def test_so_many_at_once() -> None:
    tasks = Tasks(Time())
    gates = [Deferred[None]() for _ in range(5)]
    begun: list[int] = []

    def work(number: int) -> Any:
        async def one() -> None:
            begun.append(number)
            await gates[number]

        return one

    outcome: list[Any] = []
    Deferred.fromCoroutine(tasks.each([work(number) for number in range(5)], 2)).addBoth(outcome.append)
    assert begun == [0, 1]
    for number, gate in enumerate(gates):
        gate.callback(None)
        assert begun == list(range(min(5, number + 3)))
    assert outcome == [None]


@given(st.integers(1, 10**12), st.integers(1, 2**50))
def test_retention_reads_what_it_writes(milliseconds: int, octets: int) -> None:
    for pair in ((milliseconds, octets), (milliseconds, None), (None, octets)):
        assert parse_retention(format_retention(*pair)) == pair


@pytest.mark.parametrize(
    "text", ["", "7", "7x", "0s", "1d,2d", "1GiB,1MiB", "-1d", "1d,", "1e3s", "9" * 16 + "s"]
)
def test_retention_that_is_none(text: str) -> None:
    with pytest.raises(Usage):
        parse_retention(text)


def test_settings_are_remembered() -> None:
    found = flow_settings((("Partitions", "3"), ("description", "x y")))
    assert found == {
        "partitions": 3,
        "description": "x y",
        "settings": frozenset({"partitions", "description"}),
    }


def test_names_of_queues() -> None:
    assert queue_name("time.flows.unix.ar") == "time.flows.unix.ar"
    assert queue_name("time.flows.unix.ar", dots=False) == "time_flows_unix_ar"
    long = "a" * 60 + "." + "b" * 60 + ".unix.ar"
    cut = queue_name(long, limit=80)
    assert cut[:41] == "a" * 40 + "-"
    assert len(cut) == 67
    assert cut != queue_name("a" * 60 + "." + "c" * 60 + ".unix.ar", limit=80)


def test_a_flow_belongs_to_the_longest_namespace() -> None:
    hosting = Hosting(Participant("unix.ar", "fnaa.unix.ar"))
    hosting.keep(Namespace(name, "local", "local") for name in ("flows.unix.ar", "deep.flows.unix.ar"))
    assert hosting.namespace_of("x.deep.flows.unix.ar").name == "deep.flows.unix.ar"
    assert hosting.namespace_of("deep.flows.unix.ar").name == "flows.unix.ar"
    assert hosting.namespace_of("x.shallow-deep.flows.unix.ar").name == "flows.unix.ar"
    for name in ("x.notflows.unix.ar", "flows.unix.ar"):
        with pytest.raises(NotHosted):
            hosting.namespace_of(name)
    with pytest.raises(NoSuch):
        hosting.namespace("none.flows.unix.ar")
    with pytest.raises(NotHosted):
        hosting.namespace("flows.elsewhere.ar")


def test_a_name_server_shows_the_highest_serial_of_its_zones() -> None:
    """Whichever zone changes, what is shown rises."""

    class Zones(MemoryNames):
        def serial(self, zone: str) -> int:
            return {"flows.unix.ar": 7, "unix.ar": 5}[zone]

    names = Zones()
    server = Nameserver("ns1.unix.ar", "ns1.unix.ar:53")
    assert "serial" not in nameserver_item(server, names)
    names.namespaces = {"unix.ar", "flows.unix.ar"}
    assert nameserver_item(server, names)["serial"] == 7


def test_a_broker_that_was_taken_out_of_the_file_is_missed_by_name() -> None:
    parts = Parts({}, MemoryNames())
    with pytest.raises(BackendFailed, match=r"Broker main .* put it back"):
        parts.broker("main")
