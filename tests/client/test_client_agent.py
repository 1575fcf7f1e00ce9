"""What the library says to an agent, and what it makes of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from servers.in_memory_agent import InMemoryAgent
from servers.lying_agent import Answer, body

from eson import client
from eson.client import Agent, Subscription
from eson.errors import NameNotAllowed, ProtocolViolation, ReplyError, Usage, WriteStopped

FLOW = "time.flows.unix.ar"
COPY = f"ksdj898.{FLOW}"


def logged_in(answers: dict[str, Answer]) -> tuple[InMemoryAgent, Agent]:
    memory = InMemoryAgent(answers)
    memory.run(memory.session.login("", ""))
    memory.heard.clear()
    return memory, Agent(memory.session)


def test_flows_are_made_changed_described_and_removed() -> None:
    memory, agent = logged_in(
        {
            "CREATE": f"220 OK {FLOW}\r\n".encode(),
            "UPDATE": b"220 OK\r\n",
            "DELETE": b"220 OK\r\n",
            "DESCRIBE": body(
                f"flow={FLOW}", "type=kafka", "server=kf1.unix.ar:9092", "server=kf2.unix.ar:9092"
            ),
            "GET FLOWS": body(f"flow={FLOW}"),
            "GET NAMESPACES": body(json.dumps({"namespace": "flows.unix.ar"})),
            "WHOAMI": body("principal=user:test", "tls=no"),
        }
    )
    memory.run(agent.create("flow://Time.flows.unix.ar.", visibility="public", description="the time"))
    memory.run(agent.update(FLOW, retention="7d"))
    assert memory.run(agent.describe(FLOW))["server"] == ["kf1.unix.ar:9092", "kf2.unix.ar:9092"]
    assert memory.run(agent.flows("flows.unix.ar")) == [{"flow": FLOW}]
    assert memory.run(agent.namespaces()) == [{"namespace": "flows.unix.ar"}]
    assert memory.run(agent.whoami())["principal"] == "user:test"
    memory.run(agent.delete(FLOW, force=True))
    assert memory.heard == [
        f'CREATE FLOW {FLOW} visibility=public description="the time"',
        f"UPDATE FLOW {FLOW} retention=7d",
        f"DESCRIBE FLOW {FLOW}",
        "GET FLOWS flows.unix.ar",
        "GET NAMESPACES",
        "WHOAMI",
        f"DELETE FLOW {FLOW} FORCE",
    ]


def test_subscriptions_are_made_and_ended() -> None:
    memory, agent = logged_in(
        {
            "SUBSCRIBE": body(f"Mine.emiliano.ar SUBSCRIBED TO {COPY}"),
            "PAUSE": b"220 OK\r\n",
            "RESUME": b"220 OK\r\n",
            "STOP": b"220 OK\r\n",
            "UNSUBSCRIBE": b"220 OK\r\n",
            "DENY": b"220 OK\r\n",
            "GET SUBSCRIPTIONS": body(f"subscription={COPY} state=active"),
            "GET SUBSCRIBERS": body(f"subscriber={COPY} state=active"),
        }
    )
    made = memory.run(agent.subscribe(FLOW, "Mine.emiliano.ar", "2026-11-25T10:00:00Z", "t-1"))
    assert made == Subscription(FLOW, COPY, "Mine.emiliano.ar")
    for method in (agent.pause, agent.resume, agent.stop, agent.unsubscribe):
        memory.run(method(COPY))
    memory.run(agent.decide("DENY", COPY, "not you"))
    assert memory.run(agent.subscriptions(FLOW)) == [{"subscription": COPY, "state": "active"}]
    assert memory.run(agent.subscribers(FLOW)) == [{"subscriber": COPY, "state": "active"}]
    assert memory.heard == [
        f"SUBSCRIBE {FLOW} LOCAL Mine.emiliano.ar FROM 2026-11-25T10:00:00Z AS t-1",
        f"PAUSE SUBSCRIPTION {COPY}",
        f"RESUME SUBSCRIPTION {COPY}",
        f"STOP SUBSCRIPTION {COPY}",
        f"UNSUBSCRIBE {COPY}",
        f'DENY SUBSCRIBER {COPY} "not you"',
        f"GET SUBSCRIPTIONS {FLOW}",
        f"GET SUBSCRIBERS {FLOW}",
    ]


def test_an_agent_that_hosts_both_flows_answers_with_the_copy_alone() -> None:
    memory, agent = logged_in({"SUBSCRIBE": body(COPY)})
    assert memory.run(agent.subscribe(FLOW, "mine.flows.unix.ar")) == Subscription(
        FLOW, COPY, "mine.flows.unix.ar"
    )
    assert memory.run(agent.subscribe(FLOW)) == Subscription(FLOW, COPY, "")


def test_a_subscription_that_waits_for_approval() -> None:
    memory, agent = logged_in({"SUBSCRIBE": f"202 Pending {COPY}\r\n".encode()})
    assert memory.run(agent.subscribe(FLOW)) == Subscription(FLOW, COPY, "", pending=True)


def test_errors_keep_their_code_and_text() -> None:
    memory, agent = logged_in({"DESCRIBE": f"550 No such flow: {FLOW}\r\n".encode()})
    with pytest.raises(ReplyError) as refused:
        memory.run(agent.describe(FLOW))
    assert (refused.value.reply_code, refused.value.text) == (550, f"No such flow: {FLOW}")
    with pytest.raises(NameNotAllowed):
        memory.run(agent.describe("not a name"))
    with pytest.raises(Usage):
        memory.run(agent.subscribe(FLOW, start="yesterday"))
    with pytest.raises(Usage):
        agent.read(FLOW, limit=1, follow=True)


# Reading


async def collected(events: Any, most: int = 1000) -> list[Any]:
    found = []
    async for event in events:
        found.append(event)
        if len(found) == most:
            break
    return found


def events_of(count: int) -> bytes:
    return body(*(json.dumps({"id": str(number)}) for number in range(count)))


def test_a_bounded_read_ends_by_itself() -> None:
    memory, agent = logged_in({"READ": events_of(700)})
    found = memory.run(collected(agent.read(FLOW, "BEGINNING")))
    assert [event["id"] for event in found] == [str(number) for number in range(700)]
    assert memory.heard == [f"READ {FLOW} FROM BEGINNING"]
    memory.agent.answers["READ"] = events_of(1)
    assert len(memory.run(collected(agent.read(FLOW, limit=1)))) == 1, "the session goes on"


def test_a_follower_is_ended_by_leaving_it() -> None:
    memory, agent = logged_in(
        {"READ": b'220 DATA\r\n{"id":"1"}\r\n{"id":"2"}\r\n', "NOOP": b"220 OK\r\n", "WHOAMI": body("a=b")}
    )

    async def first() -> Any:
        async with agent.read(FLOW, follow=True) as events:
            return await anext(events)

    assert memory.run(first()) == {"id": "1"}
    assert memory.heard == [f"READ {FLOW} FOLLOW", "NOOP"]
    assert memory.run(agent.whoami()) == {"a": "b"}


def test_leaving_a_bounded_read_drops_the_session() -> None:
    memory, agent = logged_in({"READ": b'220 DATA\r\n{"id":"1"}\r\n'})

    async def first() -> Any:
        async with agent.read(FLOW) as events:
            return await anext(events)

    assert memory.run(first()) == {"id": "1"}
    assert not agent.session.alive


def test_a_read_that_was_never_begun_asks_nothing() -> None:
    memory, agent = logged_in({})

    async def nothing() -> list[Any]:
        async with agent.read(FLOW) as events:
            pass
        return await collected(events)

    assert memory.run(nothing()) == []
    assert memory.heard == []


def test_a_reader_that_is_slow_holds_the_agent_back() -> None:
    """What was sent is kept to one batch and what the transport holds, not all of it."""
    memory, agent = logged_in({"READ": events_of(300_000)})
    events = agent.read(FLOW)
    assert memory.run(anext(events)) == {"id": "0"}  # type: ignore[arg-type]
    assert len(events._lines) <= 256
    assert len(memory.run(collected(events, 400_000))) == 299_999


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'220 DATA\r\n{"id":"1"}\r\n451 Broker lost\r\n', ReplyError),
        (b'220 DATA\r\n{"id":"1"}\r\n[1]\r\n220 OK\r\n', ProtocolViolation),
        (b'220 DATA\r\n{"id":"1"}\r\nword\r\n220 OK\r\n', ProtocolViolation),
        (b"220 DATA\r\n" + b"[" * 9000 + b"\r\n220 OK\r\n", ProtocolViolation),
        (b"557 Not allowed: read on x\r\n", ReplyError),
    ],
)
def test_a_read_that_fails_says_so(answer: bytes, error: type[Exception]) -> None:
    memory, agent = logged_in({"READ": answer})
    with pytest.raises(error):
        memory.run(collected(agent.read(FLOW)))


# Writing


def test_events_are_written_and_counted() -> None:
    memory, agent = logged_in({"WRITE": b"354 Send events, end with .\r\n", "{": b"", ".": b"220 OK 2\r\n"})
    assert memory.run(agent.write(FLOW, [{"type": "t", "source": "/s"}, b'{"type":"u","source":"/s"}'])) == 2
    assert [json.loads(line)["type"] for line in memory.heard[1:-1]] == ["t", "u"]


def test_what_was_written_before_a_failure_is_told() -> None:
    memory, agent = logged_in({"WRITE": b"354 Go\r\n", "{": b"", ".": b"501 Line 2: no event; 1 written\r\n"})
    with pytest.raises(WriteStopped) as stopped:
        memory.run(agent.write(FLOW, [{"a": 1}, {"b": 2}]))
    assert stopped.value.written == 1


# Credentials


def test_a_credential_of_a_broker() -> None:
    item = {"copy": COPY, "type": "kafka", "server": ["kf1.unix.ar:9092"], "security": "sasl_ssl", "mechanism": "SCRAM-SHA-256",
            "username": COPY, "password": "hidden-word", "group": COPY, "trust": "system"}  # fmt: skip
    memory, agent = logged_in({"GET CREDENTIAL": body(json.dumps(item))})
    given = memory.run(agent.credential(COPY))
    assert (given.servers, given.password, given.group) == (("kf1.unix.ar:9092",), "hidden-word", COPY)
    assert "hidden-word" not in repr(given)
    memory.agent.answers["GET CREDENTIAL"] = body(f"copy={COPY} type=kafka")
    with pytest.raises(ProtocolViolation):
        memory.run(agent.credential(COPY))


def test_the_session_is_left_in_order() -> None:
    memory, agent = logged_in({})

    async def nothing() -> None:
        async with agent:
            pass

    memory.run(nothing())
    assert memory.heard == ["QUIT"]
    assert agent.name == "fnaa.unix.ar"


def test_what_the_library_promises_is_there() -> None:
    assert [name for name in client.__all__ if not hasattr(client, name)] == []
