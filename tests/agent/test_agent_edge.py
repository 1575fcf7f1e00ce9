"""A namespace whose copies are on another broker: each flow and copy is told by the servers of its own."""

from __future__ import annotations

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent

from eson.brokers.memory import MemoryBroker
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.servers import Server

N = "edge.flows.unix.ar"
F = f"time.{N}"
INSIDE, EDGE = Server("kf1.unix.ar", 9092), Server("edge.unix.ar", 9094)
SUBSCRIBER = Caller(user("emiliano", "emiliano.ar"), tls=True)


@pytest.fixture
def world() -> World:
    made = World()
    run(made.provider.stop())
    made.unix.edge = MemoryBroker("edge", servers=[EDGE], kind="embedded")
    made.provider = start_agent(made.unix, made.network)
    run(made.provider.start())
    assert made.say(TEST, f"CREATE NAMESPACE {N} copies=edge") == f"220 OK {N}"
    made.flow(f"{F} visibility=public")
    return made


def subscribed(world: World, local: str = "time.flows.emiliano.ar") -> str:
    """The new copy."""
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {local}")
    assert reply.startswith(f"220 DATA\n{local} SUBSCRIBED TO "), reply
    return reply.split()[5]


@pytest.mark.parametrize(
    "caller", [TEST, BOB, SUBSCRIBER, Caller(ANONYMOUS)], ids=lambda one: str(one.principal)
)
def test_a_flow_names_its_broker_to_all(world: World, caller: Caller) -> None:
    assert world.unix.names.flows[F].servers == (INSIDE,)
    for question in (f"FLOW {F}", "BROKER local", f"BROKER {INSIDE.host}"):
        said = world.say(caller, f"DESCRIBE {question}", world.provider).splitlines()
        assert [line for line in said if line.startswith("server=")] == [f"server={INSIDE}"]


def test_a_copy_is_on_the_other_broker_and_names_that_alone(world: World) -> None:
    copy = subscribed(world)
    assert copy in world.unix.edge.queues
    assert copy not in world.unix.broker.queues
    assert world.unix.names.flows[copy].servers == (EDGE,)
    for question in ("DESCRIBE FLOW", "GET CREDENTIAL"):
        said = world.say(SUBSCRIBER, f"{question} {copy}", world.provider)
        assert f"\nserver={EDGE}\n" in said
        assert str(INSIDE) not in said


def test_copies_stay_where_they_are_when_new_ones_go_elsewhere(world: World) -> None:
    old = subscribed(world)
    assert world.say(TEST, f"UPDATE NAMESPACE {N} copies=local") == f"220 OK {N}"
    new = subscribed(world, "again.flows.emiliano.ar")
    assert new != old
    assert world.unix.names.flows[old].servers == (EDGE,)
    assert world.unix.names.flows[new].servers == (INSIDE,)
    assert old in world.unix.edge.queues
    assert new in world.unix.broker.queues
