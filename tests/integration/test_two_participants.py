"""Two whole participants on their good and bad days: approval, pauses, removal, and the other side that is not there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Generator

import pytest
from servers.pair import Pair, credential, differences, live
from servers.parked_reader import ParkedReader, client_settings
from servers.participant import eventually

TOLD = 10.0
"""Seconds within which the other side hears of a change."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair, None, None]:
    with Pair(tmp_path_factory.mktemp("pair")) as both:
        yield both
        for one in both.both:
            assert "Traceback" not in one.log(), one.log()


@pytest.fixture
def flow(pair: Pair) -> Generator[str, None, None]:
    """A listed flow of the provider; whatever the test made of it is gone afterwards, on both sides."""
    name = f"f{uuid.uuid4().hex[:8]}.flows.unix.ar"
    assert pair.provider.ask(f"CREATE FLOW {name}") == [f"220 OK {name}"]
    yield name
    pair.provider.insist(f"DELETE FLOW {name} FORCE")
    agreed(pair)


def agreed(pair: Pair, seconds: float = 60.0) -> None:
    """Nothing on either side is half made."""
    found: list[str] = []

    def agree() -> bool:
        found[:] = differences(pair)
        return not found

    eventually(agree, seconds, lambda: "; ".join(found))


def local_of(flow: str) -> str:
    return flow.replace("unix", "emiliano")


def subscribe(pair: Pair, flow: str) -> str:
    """To a flow that is public from now on; the copy."""
    assert pair.provider.ask(f"UPDATE FLOW {flow} visibility=public")[-1].startswith("220 OK")
    reply = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)}")
    assert reply[-1] == "220 OK", reply
    return reply[1].split()[-1]


def write(pair: Pair, flow: str, *numbers: int) -> None:
    with pair.provider.session() as wire:
        assert wire.reply(f"WRITE {flow}")[0].startswith("354 ")
        for number in numbers:
            event = {
                "specversion": "1.0",
                "id": str(number),
                "source": "/test",
                "type": "test",
                "data": number,
            }
            wire.send(json.dumps(event))
        assert wire.reply(".") == [f"220 OK {len(numbers)}"]


def read(pair: Pair, flow: str) -> list[int]:
    return [one["data"] for one in pair.subscriber.items(f"READ {flow} FROM BEGINNING")]


def arrives(pair: Pair, flow: str, *numbers: int) -> None:
    local = local_of(flow)
    eventually(
        lambda: read(pair, local) == list(numbers), 30, lambda: f"{read(pair, local)}\n{pair.provider.tail()}"
    )


def state(pair: Pair, copy: str, side: str) -> tuple[str, str]:
    """State and reason, as that side has them; "" where it knows nothing."""
    member = pair.provider if side == "provider" else pair.subscriber
    found = member.rows("select state, reason from subscriptions where copy = ? and side = ?", copy, side)
    return found[0] if found else ("", "")


def becomes(pair: Pair, copy: str, side: str, wanted: str, reason: str = "", seconds: float = TOLD) -> None:
    eventually(
        lambda: state(pair, copy, side) == (wanted, reason), seconds, lambda: f"{state(pair, copy, side)}"
    )


# Asking, and being let in or not


def test_an_approval_from_the_request_to_the_first_event(pair: Pair, flow: str) -> None:
    reply = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)} FROM BEGINNING")
    assert reply[0].startswith("202 Pending "), reply
    copy = reply[0].split()[-1]
    assert copy.endswith(f".{flow}")
    (waiting,) = pair.provider.items(f"GET SUBSCRIBERS {flow}")
    assert waiting["subscriber"] == copy
    assert (waiting["state"], waiting["principal"]) == ("pending", "user:test@emiliano.ar")
    (asked,) = [one for one in pair.subscriber.items("GET SUBSCRIPTIONS") if one["copy"] == copy]
    assert asked["state"] == "pending"
    assert copy not in pair.provider.broker().topics, "nothing exists yet but the name"
    assert not pair.provider.in_dns(copy)
    write(pair, flow, 1)
    assert pair.provider.ask(f"APPROVE SUBSCRIBER {copy}") == [f"220 OK {copy}"]
    becomes(pair, copy, "subscriber", "active")
    write(pair, flow, 2)
    arrives(pair, flow, 1, 2)
    agreed(pair)


def test_a_denial_ends_it_on_both_sides(pair: Pair, flow: str) -> None:
    copy = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)}")[0].split()[-1]
    assert pair.provider.ask(f"DENY SUBSCRIBER {flow} user:test@emiliano.ar") == [f"220 OK {flow}"]
    assert state(pair, copy, "provider") == ("ended", "denied")
    becomes(pair, copy, "subscriber", "ended", "denied")
    assert pair.provider.items(f"GET SUBSCRIBERS {flow}") == []
    agreed(pair)


def test_a_request_is_approved_while_its_subscriber_is_away(pair: Pair, flow: str) -> None:
    """The NOTIFY is lost; the check of a subscriber that starts finds out."""
    copy = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)} FROM BEGINNING")[0].split()[-1]
    pair.subscriber.kill()
    write(pair, flow, 1)
    assert pair.provider.ask(f"APPROVE SUBSCRIBER {copy}") == [f"220 OK {copy}"]
    pair.subscriber.start()
    assert state(pair, copy, "subscriber")[0] == "pending"
    # a second NOTIFY stands for the check each five minutes
    assert pair.provider.ask(f"PAUSE SUBSCRIPTION {copy}") == ["220 OK"]
    assert pair.provider.ask(f"RESUME SUBSCRIPTION {copy}") == ["220 OK"]
    becomes(pair, copy, "subscriber", "active", seconds=30)
    arrives(pair, flow, 1)
    agreed(pair)


# Pausing and stopping


@pytest.mark.parametrize("side", ["provider", "subscriber"])
def test_pauses_and_stops_survive_restarts_of_both_agents(pair: Pair, flow: str, side: str) -> None:
    copy = subscribe(pair, flow)
    member = pair.provider if side == "provider" else pair.subscriber
    expected: list[int] = []
    for number, (verb, kept) in enumerate((("PAUSE", "paused"), ("STOP", "stopped"))):
        assert member.ask(f"{verb} SUBSCRIPTION {copy}") == ["220 OK"]
        write(pair, flow, number)
        for one in pair.both:
            one.signal(15)
            one.wait()
            one.no_orphans(2.0)
        pair.start()
        (seen,) = [
            one
            for one in member.items(f"GET SUBSCRIBERS {flow}" if side == "provider" else "GET SUBSCRIPTIONS")
            if copy in one.values()
        ]
        assert seen["state"] == kept
        other = "subscriber" if side == "provider" else "provider"
        eventually(lambda other=other: state(pair, copy, other)[0] == "active", TOLD)
        assert read(pair, local_of(flow)) == expected
        assert member.insist(f"RESUME SUBSCRIPTION {copy}")[0][:3] in ("220", "202")
        expected.append(number)
        arrives(pair, flow, *expected)
    becomes(pair, copy, side, "active")
    agreed(pair)


# The end


def test_unsubscribe_is_done_at_once_while_the_provider_is_away(pair: Pair, flow: str) -> None:
    copy = subscribe(pair, flow)
    write(pair, flow, 1)
    arrives(pair, flow, 1)
    pair.provider.kill()
    began = time.monotonic()
    assert pair.subscriber.ask(f"UNSUBSCRIBE {copy}") == ["220 OK"]
    assert time.monotonic() - began < 15
    assert live(pair.subscriber, "subscriber") == []
    pair.provider.start()
    becomes(pair, copy, "provider", "ended", "unsubscribed", seconds=90)
    agreed(pair)
    assert not pair.provider.in_dns(copy)
    assert read(pair, local_of(flow)) == [1], "what was carried stays"


def test_removing_a_subscriber_cuts_its_live_readers(pair: Pair, flow: str) -> None:
    """Its own Kafka client within a second, its agent's processor too; nothing written afterwards passes."""
    copy = subscribe(pair, flow)
    write(pair, flow, 1)
    arrives(pair, flow, 1)
    server = pair.provider.settings["brokers"][0]["listen_tls"][0]
    with ParkedReader(client_settings(credential(pair, copy), server), copy) as reader:
        eventually(lambda: reader.values == [b"1"], 15, lambda: f"{reader.values}")
        eventually(lambda: reader.parked)
        with pair.provider.session() as wire:
            began = time.monotonic()
            assert wire.reply(f"REMOVE SUBSCRIBER {copy}") == [f"220 OK {copy}"]
        write(pair, flow, 2, 3)
        eventually(lambda: reader.broken is not None, 5, lambda: "the reader is still connected")
        assert reader.broken is not None
        assert 0 < reader.broken - began < 1.0
        becomes(pair, copy, "subscriber", "ended", "removed")
        agreed(pair)
        assert reader.values == [b"1"]
        assert read(pair, local_of(flow)) == [1]
    assert pair.subscriber.ask(f"UNSUBSCRIBE {copy}")[0].startswith("550 ")


# The other side is not there, or is somebody else


def test_a_provider_that_is_down_is_told_in_one_text_and_leaves_nothing(pair: Pair, flow: str) -> None:
    pair.provider.kill()
    reply = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)}")
    assert reply == [f"456 Agent of {flow} cannot be reached"]
    assert pair.subscriber.rows("select * from subscriptions where flow = ?", flow) == []
    pair.provider.start()
    agreed(pair)


def test_a_certificate_of_another_ca_is_told_in_the_same_text(pair: Pair, flow: str) -> None:
    """The reason stands in our log alone."""
    assert pair.provider.ask(f"UPDATE FLOW {flow} visibility=public")[-1].startswith("220 OK")
    remote = pair.subscriber.settings["remotes"][0]
    right = remote["trust"]
    remote["trust"] = str(pair.subscriber.ca)
    restart(pair)
    try:
        reply = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local_of(flow)}")
        assert reply == [f"456 Agent of {flow} cannot be reached"]
        assert "not trusted" in pair.subscriber.tail(10)
    finally:
        remote["trust"] = right
        restart(pair)
    agreed(pair)


def restart(pair: Pair) -> None:
    pair.subscriber.stop()
    pair.subscriber.start()
