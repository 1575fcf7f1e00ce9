"""A connection keeps order and deadlines, and its end is everybody's answer."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from eson.brokers.kafka.failures import Unreachable
from eson.brokers.kafka.net.connection import KafkaConnection
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.messages import Request, decode_request, encode_response

HEARTBEAT, LIST_GROUPS = 12, 16


class Peer:
    """A connection whose server is the test."""

    def __init__(self, frame_cap: int = 10_000) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.connection = KafkaConnection(self.clock, "main", frame_cap)
        self.connection.makeConnection(self.transport)
        self.connection.versions = {HEARTBEAT: (0, 4), LIST_GROUPS: (0, 4)}

    def ask(self, group: str, timeout: float = 30) -> list[Any]:
        """The outcome, when there is one."""
        outcome: list[Any] = []
        asked = apis.HeartbeatRequest(group_id=group, generation_id=1, member_id="m")
        self.connection.send(asked, timeout).addBoth(outcome.append)
        return outcome

    def received(self) -> list[Request]:
        frames = FrameReader(10_000).feed(self.transport.value())
        requests = [decode_request(frame) for frame in frames]
        self.transport.clear()
        return requests

    def answer(self, request: Request, error: int = 0) -> bytes:
        return encode_response(
            apis.HeartbeatResponse(error_code=error), request.version, request.correlation_id
        )


def lost(outcome: list[Any]) -> Unreachable:
    (failure,) = outcome
    assert isinstance(failure.value, Unreachable)
    assert failure.value.text == "Broker main cannot be reached"
    return failure.value


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_responses_answer_the_requests_in_their_order(step: int) -> None:
    peer = Peer()
    outcomes = [peer.ask(f"g{i}") for i in range(3)]
    requests = peer.received()
    assert [r.body.group_id for r in requests] == ["g0", "g1", "g2"]
    assert {r.client_id for r in requests} == {"eson"}
    data = b"".join(peer.answer(r, error) for r, error in zip(requests, (25, 27, 0), strict=True))
    for at in range(0, len(data), step):
        peer.connection.dataReceived(data[at : at + step])
    assert [one.error_code for (one,) in outcomes] == [25, 27, 0]
    assert peer.clock.getDelayedCalls() == []


def test_a_response_out_of_order_ends_the_connection() -> None:
    peer = Peer()
    outcomes = [peer.ask("a"), peer.ask("b")]
    _, second = peer.received()
    peer.connection.dataReceived(peer.answer(second))
    for outcome in outcomes:
        assert "out of order" in str(lost(outcome).context["why"])
    assert peer.transport.disconnecting or peer.transport.disconnected
    assert not peer.connection.usable


@pytest.mark.parametrize(
    "data", [b"\0\0\0\4\0\0\0\1", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\1\0"]
)
def test_what_nobody_asked_for_or_is_too_long_ends_the_connection(data: bytes) -> None:
    peer = Peer()
    peer.connection.dataReceived(data)
    assert not peer.connection.usable


def test_a_response_that_cannot_be_read_ends_the_connection() -> None:
    peer = Peer()
    outcome = peer.ask("a")
    (request,) = peer.received()
    whole = peer.answer(request)
    peer.connection.dataReceived((len(whole) - 5).to_bytes(4, "big") + whole[4:-1])
    assert "HeartbeatResponse" in str(lost(outcome).context["why"])


def test_a_deadline_ends_the_connection_for_all_behind_it() -> None:
    peer = Peer()
    first, second = peer.ask("a", 5), peer.ask("b", 50)
    peer.clock.advance(4.9)
    assert (first, second) == ([], [])
    peer.clock.advance(0.2)
    assert "5 s" in str(lost(first).context["why"])
    lost(second)
    assert peer.clock.getDelayedCalls() == []
    with pytest.raises(Unreachable):
        peer.ask("c")


def test_who_gives_up_disturbs_nobody() -> None:
    peer = Peer()
    given_up: Deferred[Any] = peer.connection.send(
        apis.HeartbeatRequest(group_id="a", generation_id=1, member_id="m")
    )
    outcome = peer.ask("b")
    given_up.addErrback(lambda failure: failure.trap(CancelledError))
    given_up.cancel()
    for request in peer.received():
        peer.connection.dataReceived(peer.answer(request))
    assert outcome[0].error_code == 0
    assert peer.connection.usable


def test_a_connection_that_is_lost_answers_all_and_takes_in_nothing_more() -> None:
    peer = Peer()
    outcome = peer.ask("a")
    (request,) = peer.received()
    peer.connection.connectionLost(Failure(ConnectionLost("gone")))
    assert "gone" in str(lost(outcome).context["why"])
    peer.connection.dataReceived(peer.answer(request))
    peer.connection.close()
    assert len(outcome) == 1


def test_a_retired_connection_closes_after_its_last_answer() -> None:
    peer = Peer()
    outcome = peer.ask("a")
    peer.connection.retire()
    assert not peer.connection.usable
    (request,) = peer.received()
    peer.connection.dataReceived(peer.answer(request))
    assert outcome[0].error_code == 0
    assert peer.transport.disconnecting or peer.transport.disconnected
    idle = Peer()
    idle.connection.retire()
    assert idle.transport.disconnecting or idle.transport.disconnected


def test_a_login_that_runs_out_takes_no_new_requests() -> None:
    peer = Peer()
    peer.connection.expires = peer.clock.seconds() + 10
    assert peer.connection.usable
    peer.clock.advance(10)
    assert not peer.connection.usable


@pytest.mark.parametrize(("offered", "spoken"), [((0, 2), 2), ((0, 99), 4), ((3, 3), 3)])
def test_the_newest_version_of_both_is_spoken(offered: tuple[int, int], spoken: int) -> None:
    peer = Peer()
    peer.connection.versions[HEARTBEAT] = offered
    peer.ask("a")
    assert peer.received()[0].version == spoken


@pytest.mark.parametrize("offered", [{}, {HEARTBEAT: (5, 9)}])
def test_an_api_that_the_broker_lacks_is_named(offered: dict[int, tuple[int, int]]) -> None:
    peer = Peer()
    peer.connection.versions = offered
    with pytest.raises(Unreachable, match="Broker main does not speak HeartbeatRequest"):
        peer.ask("a")
    assert peer.connection.usable
