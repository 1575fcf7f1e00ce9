"""A namespace whose copies are on another broker: where its flows are is told to whom it concerns alone."""

from __future__ import annotations

from agent.agent_world import EMILIANO, TEST, World, run, start_agent

from eson.brokers.memory import MemoryBroker
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.servers import Server

N = "edge.flows.unix.ar"
F = f"time.{N}"
INSIDE, EDGE = Server("kf1.unix.ar", 9092), Server("edge.unix.ar", 9094)
OPERATOR = Caller(user("root"), account="root", operator=True)
OTHERS = (Caller(ANONYMOUS), Caller(user("test", "emiliano.ar"), tls=True), Caller(user("bob"), tls=True))


def world(settings: str = "copies=edge") -> World:
    made = World()
    run(made.provider.stop())
    made.unix.edge = MemoryBroker("edge", servers=[EDGE], kind="embedded")
    made.provider = start_agent(made.unix, made.network)
    run(made.provider.start())
    assert made.say(TEST, f"CREATE NAMESPACE {N} {settings}") == f"220 OK {N}"
    made.flow(f"{F} visibility=public")
    return made


def subscribed(made: World) -> str:
    reply = made.say(EMILIANO, f"SUBSCRIBE {F} LOCAL time.flows.emiliano.ar")
    assert reply.startswith("220 DATA\ntime.flows.emiliano.ar SUBSCRIBED TO "), reply
    return reply.split()[5]


def test_dns_names_the_servers_of_copies_alone() -> None:
    made = world()
    copy = subscribed(made)
    assert made.unix.names.flows[F].servers == ()
    assert made.unix.names.flows[copy].servers == (EDGE,)
    assert copy in made.unix.edge.queues
    assert copy not in made.unix.broker.queues


def test_dns_follows_where_copies_are_from_now_on() -> None:
    made = world()
    assert made.say(TEST, f"UPDATE NAMESPACE {N} copies=local") == f"220 OK {N}"
    assert made.unix.names.flows[F].servers == (INSIDE,)
    assert made.say(TEST, f"UPDATE NAMESPACE {N} copies=edge") == f"220 OK {N}"
    assert made.unix.names.flows[F].servers == ()


def test_a_flow_is_described_with_its_servers_to_who_may_have_its_credential() -> None:
    made = world()
    assert f"\nserver={INSIDE}\n" in made.say(TEST, f"DESCRIBE FLOW {F}")
    assert f"\nserver={INSIDE}\n" in made.say(OPERATOR, f"DESCRIBE FLOW {F}")
    for caller in OTHERS:
        said = made.say(caller, f"DESCRIBE FLOW {F}", made.provider)
        assert said.startswith(f"220 DATA\nflow={F}\ntype=kafka\ntopic={F}\n")
        assert "server" not in said
    copy = subscribed(made)
    theirs = Caller(user("emiliano", "emiliano.ar"), tls=True)
    assert f"\nserver={EDGE}\n" in made.say(theirs, f"DESCRIBE FLOW {copy}", made.provider)


def test_a_broker_inside_is_described_with_its_servers_to_operators_and_administrators() -> None:
    """One that holds copies too is known to all."""
    made = world()
    everyone = (TEST, OPERATOR, *OTHERS)
    assert all(
        f"\nserver={INSIDE}\n" in made.say(one, "DESCRIBE BROKER local", made.provider) for one in everyone
    )
    run(made.provider.stop())
    made.provider = start_agent(made.unix, made.network, copies="edge")
    run(made.provider.start())
    for caller in (TEST, OPERATOR):
        assert f"\nserver={INSIDE}\n" in made.say(caller, "DESCRIBE BROKER local")
        assert made.say(caller, f"DESCRIBE BROKER {INSIDE.host}").startswith("220 DATA\nbroker=local\n")
    for caller in OTHERS:
        said = made.say(caller, "DESCRIBE BROKER local", made.provider)
        assert said.startswith("220 DATA\nbroker=local\n")
        assert "server" not in said
        assert made.say(caller, f"DESCRIBE BROKER {INSIDE.host}", made.provider) == (
            f"550 No such broker: {INSIDE.host}"
        )
        assert f"\nserver={EDGE}\n" in made.say(caller, "DESCRIBE BROKER edge", made.provider)
