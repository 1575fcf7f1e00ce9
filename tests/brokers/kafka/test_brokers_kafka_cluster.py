"""Requests find the right server, share connections, and end in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from brokers.kafka.fake_servers import ONE, TWO, FakeConnection, FakeServers, begin, error_of
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eson.brokers.kafka.failures import LoginRefused, Unreachable, answered
from eson.brokers.kafka.net.cluster import Cluster
from eson.brokers.kafka.net.coalescing import Coalescer
from eson.brokers.kafka.wire import apis
from eson.brokers.port import Access
from eson.errors import BackendFailed
from eson.model.servers import Server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def servers() -> FakeServers:
    return FakeServers()


@pytest.fixture
def cluster(clock: Clock, servers: FakeServers) -> Cluster:
    made = Cluster(clock, "main", Access((ONE, TWO)), timeout=15)
    made._opener = servers  # type: ignore[assignment]
    return made


REQUEST = apis.ListGroupsRequest(states_filter=[])


def test_any_server_will_do_and_its_connection_is_shared(cluster: Cluster, servers: FakeServers) -> None:
    for _ in range(3):
        assert begin(cluster.any(REQUEST)) == [REQUEST]
    assert servers.opened == [ONE]


def test_many_at_once_open_one_connection(cluster: Cluster, servers: FakeServers) -> None:
    servers.opening = Deferred()
    outcomes = [begin(cluster.any(REQUEST)) for _ in range(10)]
    servers.opening.callback(None)
    assert servers.opened == [ONE]
    assert outcomes == [[REQUEST]] * 10


def test_one_that_gives_up_while_it_opens_spoils_it_for_nobody(
    cluster: Cluster, servers: FakeServers, clock: Clock
) -> None:
    servers.opening = Deferred()
    hasty, patient = begin(cluster.within(cluster.any(REQUEST), 1)), begin(cluster.any(REQUEST))
    clock.advance(2)
    assert isinstance(error_of(hasty), Unreachable)
    servers.opening.callback(None)
    assert patient == [REQUEST]


def test_a_server_that_is_down_is_passed_over(cluster: Cluster, servers: FakeServers) -> None:
    servers.down = {ONE}
    assert begin(cluster.any(REQUEST)) == [REQUEST]
    assert servers.asked[0][0] == TWO


def test_when_all_are_down_that_is_said_at_once(cluster: Cluster, servers: FakeServers) -> None:
    servers.down = {ONE, TWO}
    assert isinstance(error_of(begin(cluster.any(REQUEST))), Unreachable)
    servers.down = set()
    assert begin(cluster.any(REQUEST)) == [REQUEST]


def test_a_refused_login_is_told_as_such(cluster: Cluster, servers: FakeServers) -> None:
    async def refuse(server: Server, timeout: float = 10) -> FakeConnection:
        raise LoginRefused("Broker main refused the login")

    servers.open = refuse  # type: ignore[method-assign]
    assert isinstance(error_of(begin(cluster.any(REQUEST))), LoginRefused)


def test_the_controller_is_found_and_found_again_when_it_moved(
    cluster: Cluster, servers: FakeServers, clock: Clock
) -> None:
    assert begin(cluster.to_controller(REQUEST)) == [REQUEST]
    assert servers.asked[-1] == (TWO, REQUEST)
    seen: list[Server] = []

    async def create() -> str:
        await cluster.to_controller(REQUEST)
        seen.append(servers.asked[-1][0])
        if len(seen) == 1:
            servers.controller = 1
            raise answered("main", 41, "create")
        return "done"

    outcome = begin(cluster.retrying(create))
    clock.advance(0.1)
    assert outcome == ["done"]
    assert seen == [TWO, ONE]


def test_a_connection_that_ended_meanwhile_is_opened_again_once(
    cluster: Cluster, servers: FakeServers, clock: Clock
) -> None:
    begin(cluster.any(REQUEST))
    servers.down = {ONE}
    outcome = begin(cluster.retrying(lambda: cluster.any(REQUEST)))
    clock.advance(0.1)
    assert outcome == [REQUEST]
    assert servers.opened == [ONE, ONE, TWO]


def test_without_patience_a_second_loss_is_an_error_and_with_it_is_not(
    cluster: Cluster, clock: Clock
) -> None:
    def losing(times: int) -> Callable[[], Any]:
        left = [times]

        async def work() -> str:
            left[0] -= 1
            if left[0] >= 0:
                raise Unreachable("gone")
            return "done"

        return work

    hasty, patient = begin(cluster.retrying(losing(2))), begin(cluster.retrying(losing(9), patient=True))
    for _ in range(100):
        clock.advance(0.2)
    assert isinstance(error_of(hasty), Unreachable)
    assert patient == ["done"]


@pytest.mark.parametrize(
    ("code", "again"), [(6, True), (7, True), (14, True), (8, True), (29, False), (40, False)]
)
def test_only_what_may_pass_is_tried_again(cluster: Cluster, clock: Clock, code: int, again: bool) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise answered("main", code, "do it")

    outcome = begin(cluster.retrying(work))
    for _ in range(50):
        clock.advance(0.2)
    if again:
        assert (outcome, len(tries)) == ([None], 4)
    else:
        assert isinstance(error_of(outcome), BackendFailed)
        assert len(tries) == 1


def test_a_deadline_ends_what_tries_again_and_again(cluster: Cluster, clock: Clock) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        raise answered("main", 6, "do it")

    outcome = begin(cluster.within(cluster.retrying(work)))
    for _ in range(300):
        clock.advance(0.1)
    assert error_of(outcome).args[0] == "Broker main did not answer in time"
    assert 10 < len(tries) < 40  # pauses grow to a second
    assert clock.getDelayedCalls() == []


def test_waiting_for_a_view_that_lags(cluster: Cluster, clock: Clock) -> None:
    looks = iter([False, False, True])

    async def seen() -> bool:
        return next(looks)

    outcome = begin(cluster.until(seen))
    assert outcome == []
    clock.advance(0.01)
    clock.advance(0.02)
    assert outcome == [None]


def test_after_a_move_the_new_servers_are_asked(cluster: Cluster, servers: FakeServers, clock: Clock) -> None:
    begin(cluster.any(REQUEST))
    three = Server("three", 9092)
    cluster.set_access(Access((three,)))
    cluster._opener = servers  # type: ignore[assignment]
    assert begin(cluster.any(REQUEST)) == [REQUEST]
    assert servers.opened == [ONE, three]


# Coalescer


class Requests:
    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.waiting: list[Deferred[None]] = []

    async def send(self, items: Sequence[str]) -> list[str]:
        self.sent.append(list(items))
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting
        return [item.upper() for item in items]


def test_what_comes_while_a_request_is_under_way_shares_the_next_one() -> None:
    requests = Requests()
    ask = Coalescer(requests.send, lambda item: item, most=3)
    outcomes = [begin(ask(item)) for item in "abcdef"]
    assert requests.sent == [["a"]]
    for waiting in requests.waiting:
        waiting.callback(None)
    assert requests.sent == [["a"], ["b", "c", "d"], ["e", "f"]]
    assert outcomes == [[item] for item in "ABCDEF"]


def test_the_same_twice_goes_in_two_requests() -> None:
    requests = Requests()
    ask = Coalescer(requests.send, lambda item: item)
    outcomes = [begin(ask(item)) for item in "abbc"]
    for waiting in requests.waiting:
        waiting.callback(None)
    assert requests.sent == [["a"], ["b", "c"], ["b"]]
    assert outcomes == [[item] for item in "ABBC"]


def test_an_error_is_everyones_and_the_next_request_goes_on() -> None:
    requests = Requests()
    ask = Coalescer(requests.send, lambda item: item)
    first, second = begin(ask("a")), begin(ask("b"))
    requests.waiting[0].errback(Unreachable("gone"))
    requests.waiting[1].callback(None)
    assert isinstance(error_of(first), Unreachable)
    assert second == ["B"]
    third = begin(ask("c"))
    requests.waiting[2].callback(None)
    assert third == ["C"]


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    requests = Requests()
    ask = Coalescer(requests.send, lambda item: item)
    begin(ask("a"))
    given_up = Deferred.fromCoroutine(ask("b"))
    kept = begin(ask("c"))
    given_up.addErrback(lambda failure: None)
    given_up.cancel()
    for waiting in requests.waiting:
        waiting.callback(None)
    assert requests.sent == [["a"], ["c"]]
    assert kept == ["C"]
