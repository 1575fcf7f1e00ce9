"""Sockets, the state directory, what is undone in which order, and the gate of the name server."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall

from eson.config import Places
from eson.config.values import Address
from eson.tap.listening import Gate
from eson.tap.service import count_steadily, kept_up
from eson.tap.sockets import BoundSocket, CannotListen, bind_all, check_free
from eson.tap.state import StateDirectory, StateError
from eson.tap.undoing import Undoing

# what is repeated


def test_what_is_repeated_goes_on_after_an_error() -> None:
    times: list[int] = []

    def work() -> None:
        times.append(1)
        raise OSError("the disk is full")

    clock = Clock()
    loop = LoopingCall(kept_up("the watch", work))
    loop.clock = clock
    loop.start(60, now=False)
    clock.pump([60, 60, 60])
    assert len(times) == 3


# what is undone


def test_the_last_is_undone_first_and_each_is_waited_for() -> None:
    undoing, done = Undoing(Clock()), []
    held: Deferred[None] = Deferred()

    async def first() -> None:
        done.append("first")

    async def second() -> None:
        await held
        done.append("second")

    undoing.add("first", first)
    undoing.add("second", second)
    ended = Deferred.fromCoroutine(undoing.run())
    assert done == []
    held.callback(None)
    assert done == ["second", "first"]
    assert ended.called


def test_what_fails_or_hangs_keeps_nothing_else_from_being_undone() -> None:
    clock, done = Clock(), []
    undoing = Undoing(clock)

    async def last() -> None:
        done.append("last")

    async def fails() -> None:
        raise RuntimeError("broken")

    async def hangs() -> None:
        await Deferred()

    for name, step in (("last", last), ("fails", fails), ("hangs", hangs)):
        undoing.add(name, step, 5)
    Deferred.fromCoroutine(undoing.run())
    clock.advance(4)
    assert done == []
    clock.advance(1)
    assert done == ["last"]


def test_nothing_is_undone_twice() -> None:
    undoing, done = Undoing(Clock()), []

    async def step() -> None:
        done.append("once")

    undoing.add("step", step)
    Deferred.fromCoroutine(undoing.run())
    Deferred.fromCoroutine(undoing.run())
    assert done == ["once"]


# sockets


def test_nobody_can_connect_to_a_bound_socket() -> None:
    bound = BoundSocket("fnap.listen", Address("127.0.0.1", 0))
    try:
        assert bound.address.port > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((bound.address.host, bound.address.port), 5)
    finally:
        bound.close()


def test_a_taken_port_is_said_with_its_key_and_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            check_free("names.listen", [Address("127.0.0.1", 0), Address("127.0.0.1", port)])
    assert caught.value.text == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. "
        f"Find what listens there (ss -lntup 'sport = :{port}') and stop it, or change names.listen"
    )


def test_an_address_of_another_machine_is_said_as_such() -> None:
    with pytest.raises(CannotListen) as caught:
        check_free("fnap.listen", [Address("192.0.2.1", 61000)])
    assert caught.value.text == (
        "Cannot listen on 192.0.2.1:61000: Cannot assign requested address. "
        "This machine has no such address (ip -brief address): change fnap.listen"
    )


def test_all_are_bound_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
        probe.close()
        taken = other.getsockname()[1]
        with pytest.raises(CannotListen):
            bind_all("fnap.listen", [Address("127.0.0.1", free), Address("127.0.0.1", taken)])
        check_free("fnap.listen", [Address("127.0.0.1", free)])


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(CannotListen, match="Cannot assign requested address"):
        BoundSocket("fnap.listen", Address("192.0.2.1", 0))


# the state directory


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    first, second = StateDirectory(Places(tmp_path / "s")), StateDirectory(Places(tmp_path / "s"))
    first.take()
    with pytest.raises(StateError, match=rf"Another agent \(pid {os.getpid()}\) runs in"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_listeners_are_whole_and_go_away(tmp_path: Path) -> None:
    places = Places(tmp_path)
    state = StateDirectory(places)
    places.listeners.write_text("of an agent that was killed")
    state.take()
    assert not places.listeners.exists()
    state.tell_listeners({"fnap": ["127.0.0.1", 61000], "web": None})
    assert json.loads(places.listeners.read_text()) == {
        "pid": os.getpid(),
        "fnap": ["127.0.0.1", 61000],
        "web": None,
    }
    assert {one.name for one in tmp_path.iterdir()} == {"agent.lock", "listeners.json"}
    state.forget_listeners()
    state.forget_listeners()
    assert not places.listeners.exists()
    state.release()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written: Not a directory"):
        StateDirectory(Places(tmp_path / "file" / "state")).take()


# the gate


def test_the_name_server_is_silent_until_everything_is_published() -> None:
    gate = Gate()
    assert gate(b"query") is None
    assert gate(b"query", True) is None
    gate.open(lambda data, stream: data + (b" over TCP" if stream else b""))
    assert gate(b"query") == b"query"
    assert gate(b"query", True) == b"query over TCP"


# what waits


def test_what_waits_does_not_follow_the_time_of_day() -> None:
    reactor = SelectReactor()
    count_steadily(reactor)
    assert reactor.seconds is time.monotonic
    waits = SelectReactor()
    waits.callLater(1, print)
    before = waits.seconds()
    count_steadily(waits)
    assert waits.seconds() - before < 60, "it would never end"
