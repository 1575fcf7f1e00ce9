"""No crash and no failure between any two steps of a use case leaves anything half made, on either side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from agent.agent_faults import Crashed, Fault, MortalAgent, MortalClock, Steps, is_possible
from agent.agent_world import BOB, EMILIANO, TEST, Ports, World, run, start_agent
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.errors import BackendFailed
from eson.fnap.core.grammar import parse_command
from eson.fnap.core.render import error_line, outcome_bytes
from eson.model.flows import Visibility
from eson.model.principals import ANONYMOUS, Caller
from eson.model.rates import RateLimit
from eson.model.subscriptions import Side, State
from eson.processors.memory import MemoryProcessors
from eson.store.records import StoredProcessor

FAULTS: tuple[Fault, ...] = ("fail before", "fail after", "crash before", "crash after")
ANYBODY = Caller(ANONYMOUS)
F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"


@dataclass(frozen=True)
class Case:
    """One use case: what stands before it, who says what, and at whose agent the fault happens."""

    name: str
    before: Callable[[World], str]
    caller: Caller
    line: str
    agent: str
    fault_at: str

    @property
    def is_several(self) -> bool:
        """Whether it ends subscriptions first: those stay ended if what follows fails."""
        return self.line.startswith("DELETE FLOW") and self.before is not credential


def nothing(world: World) -> str:
    return ""


def flow(world: World) -> str:
    world.flow(f"{F} visibility=public")
    return ""


def listed(world: World) -> str:
    world.flow(F)
    return ""


def credential(world: World) -> str:
    world.flow(F)
    assert world.say(TEST, f"GET CREDENTIAL {F}").startswith("220")
    return ""


def namespace(world: World) -> str:
    assert world.say(TEST, "CREATE NAMESPACE deep.flows.unix.ar").startswith("220")
    return ""


def subscribed(world: World) -> str:
    return world.subscribed()


def pending(world: World) -> str:
    world.flow(F)
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}")
    assert reply.startswith("202 Pending ")
    return reply.split()[2]


def both_here(world: World) -> str:
    world.flow(F)
    return world.say(TEST, f"SUBSCRIBE {F} LOCAL here.flows.unix.ar").split()[2]


def bridge(world: World) -> str:
    world.flow(F)
    return world.say(TEST, f"REPLICATE {F} there.flows.unix.ar").split()[2]


def far(world: World) -> str:
    assert world.say(EMILIANO, "CREATE FLOW far.flows.emiliano.ar visibility=public").startswith("220")
    return ""


def far_bridge(world: World) -> str:
    far(world)
    return world.say(TEST, "REPLICATE far.flows.emiliano.ar there.flows.unix.ar").split()[2]


def anonymous(world: World) -> str:
    world.flow(f"{F} visibility=public")
    world.flow("other.flows.unix.ar visibility=public")
    world.say(ANYBODY, "SUBSCRIBE other.flows.unix.ar")
    return world.say(ANYBODY, f"SUBSCRIBE {F}").split()[2]


def then(before: Callable[[World], str], caller: Caller, line: str) -> Callable[[World], str]:
    def both(world: World) -> str:
        copy = before(world)
        assert world.say(caller, line.format(copy=copy)).startswith("220")
        return copy

    return both


def cases() -> list[Case]:
    at_provider = [
        ("create flow", nothing, TEST, f"CREATE FLOW {F} partitions=3 visibility=public"),
        ("update flow", subscribed, TEST, f"UPDATE FLOW {F} partitions=4 retention=1d visibility=private"),
        ("update flow of strangers", anonymous, TEST, f"UPDATE FLOW {F} visibility=listed"),
        ("limit a copy", subscribed, TEST, "UPDATE FLOW {copy} limit=7/s"),
        ("limit what a bridge fills", bridge, TEST, "UPDATE FLOW there.flows.unix.ar limit=7/s"),
        ("delete flow", credential, TEST, f"DELETE FLOW {F}"),
        ("delete flow by force", subscribed, TEST, f"DELETE FLOW {F} FORCE"),
        ("create namespace", nothing, TEST, "CREATE NAMESPACE deep.flows.unix.ar"),
        ("delete namespace", namespace, TEST, "DELETE NAMESPACE deep.flows.unix.ar"),
        ("subscribe at the provider", flow, BOB, f"SUBSCRIBE {F} AS t1"),
        ("request at the provider", listed, BOB, f"SUBSCRIBE {F} AS t1"),
        ("subscribe anonymously", flow, ANYBODY, f"SUBSCRIBE {F}"),
        ("remove the anonymous copy", anonymous, TEST, "REMOVE SUBSCRIBER {copy}"),
        ("subscribe with both here", listed, TEST, f"SUBSCRIBE {F} LOCAL here.flows.unix.ar"),
        ("unsubscribe with both here", both_here, TEST, "UNSUBSCRIBE {copy}"),
        ("delete the local flow of both here", both_here, TEST, "DELETE FLOW here.flows.unix.ar"),
        ("deny", pending, TEST, "DENY SUBSCRIBER {copy}"),
        ("get credential", credential, TEST, f"GET CREDENTIAL {F}"),
        ("replicate", listed, TEST, f"REPLICATE {F} there.flows.unix.ar"),
        ("replicate from far", far, TEST, "REPLICATE far.flows.emiliano.ar there.flows.unix.ar"),
        ("signal", listed, TEST, f"SIGNAL {F} TO there.flows.unix.ar here.flows.unix.ar WHEN \"type = 'x'\""),
        ("end a bridge", bridge, TEST, "UNSUBSCRIBE {copy}"),
        ("end a bridge from far", far_bridge, TEST, "UNSUBSCRIBE {copy}"),
        ("delete the source of a bridge", bridge, TEST, f"DELETE FLOW {F} FORCE"),
        ("pause a bridge", bridge, TEST, "PAUSE SUBSCRIPTION {copy}"),
        ("pause at the provider", subscribed, TEST, "PAUSE SUBSCRIPTION {copy}"),
        (
            "resume at the provider",
            then(subscribed, TEST, "PAUSE SUBSCRIPTION {copy}"),
            TEST,
            "RESUME SUBSCRIPTION {copy}",
        ),
        ("stop at the provider", subscribed, TEST, "STOP SUBSCRIPTION {copy}"),
        (
            "restart at the provider",
            then(subscribed, TEST, "STOP SUBSCRIPTION {copy}"),
            TEST,
            "RESUME SUBSCRIPTION {copy}",
        ),
    ]
    at_both = [
        ("subscribe", flow, EMILIANO, f"SUBSCRIBE {F} LOCAL {G} FROM BEGINNING"),
        ("request", listed, EMILIANO, f"SUBSCRIBE {F} LOCAL {G}"),
        ("unsubscribe", subscribed, EMILIANO, "UNSUBSCRIBE {copy}"),
        ("unsubscribe by the local flow", subscribed, EMILIANO, f"UNSUBSCRIBE {G}"),
        ("take a request back", pending, EMILIANO, "UNSUBSCRIBE {copy}"),
        ("delete the local flow", subscribed, EMILIANO, f"DELETE FLOW {G}"),
        ("approve", pending, TEST, "APPROVE SUBSCRIBER {copy}"),
        ("remove", subscribed, TEST, "REMOVE SUBSCRIBER {copy}"),
        (
            "remove by flow and principal",
            subscribed,
            TEST,
            f"REMOVE SUBSCRIBER {F} user:emiliano@emiliano.ar",
        ),
    ]
    at_subscriber = [
        ("pause", subscribed, EMILIANO, f"PAUSE SUBSCRIPTION {G}"),
        (
            "resume",
            then(subscribed, EMILIANO, f"STOP SUBSCRIPTION {G}"),
            EMILIANO,
            f"RESUME SUBSCRIPTION {G}",
        ),
        ("stop", subscribed, EMILIANO, f"STOP SUBSCRIPTION {G}"),
        ("limit the local flow", subscribed, EMILIANO, f"UPDATE FLOW {G} limit=7/s"),
    ]
    made = []
    for group, places in (
        (at_provider, ["unix"]),
        (at_both, ["unix", "emiliano"]),
        (at_subscriber, ["emiliano"]),
    ):
        for name, before, caller, line in group:
            where = "emiliano" if caller is EMILIANO else "unix"
            made += [Case(name, before, caller, line, where, place) for place in places]
    return made


CASES = cases()


class Walk:
    """A world in which one agent's ports may fail."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.world = World()
        self.copy = case.before(self.world)
        self.world.settle(1)
        self.before = state(self.world)
        self.steps = Steps()
        self.ports: Ports = getattr(self.world, case.fault_at)
        agent = start_agent(
            self.ports,
            self.world.network,
            wrap=self.steps.wrap,
            time=MortalClock(self.world.time, self.steps),
        )
        old = self.world.provider if case.fault_at == "unix" else self.world.subscriber
        run(old.stop())
        self.world.network.agents[self.ports.domain] = MortalAgent(agent, self.steps)
        self._put(agent)
        run(agent.start())
        self.world.settle(2)

    def _put(self, agent: Any) -> None:
        if self.case.fault_at == "unix":
            self.world.provider = agent
        else:
            self.world.subscriber = agent

    def act(self, fault: Fault, at: int | None) -> str:
        """The reply, "" if the agent crashed."""
        case = self.case
        agent = self.world.provider if case.agent == "unix" else self.world.subscriber
        command: Any = parse_command(case.line.format(copy=self.copy))
        self.steps.begin(fault, at)
        try:
            reply = outcome_bytes(run(agent.execute(case.caller, command)), False).decode()
        except Crashed:
            reply = ""
        except Exception as error:
            reply = error_line(error).decode()
        self.world.settle()
        self.steps.end()
        return reply

    def recover(self) -> None:
        """Time passes; an agent that crashed is started again."""
        if self.steps.dead:
            self._put(self._started_again())
        for _ in range(40):
            self.world.time.advance(30)

    def stumble(self, fault: Fault, at: int) -> None:
        """The agent is started again after a crash, and a fault happens at a step of its recovery too."""
        if not self.steps.dead:
            return
        self.steps = Steps()
        self.steps.begin(fault, at)
        try:
            agent = self._started_again(wrap=self.steps.wrap, time=MortalClock(self.world.time, self.steps))
        except (Crashed, BackendFailed):  # it does not start: twistd ends
            self.steps.dead = True
            return
        self._put(agent)
        self.world.network.agents[self.ports.domain] = MortalAgent(agent, self.steps)
        self.world.settle(130)
        self.steps.end()

    def _started_again(self, **how: Any) -> Any:
        journals = self.ports.processors.journals
        self.ports.processors = MemoryProcessors(self.world.time.now)
        self.ports.processors.journals |= journals
        agent = start_agent(self.ports, self.world.network, **how)
        run(agent.start())
        return agent


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}, {case.fault_at}")
def test_a_fault_at_any_step_leaves_nothing_half_made(case: Case) -> None:
    walk = Walk(case)
    reply = walk.act("fail before", None)
    assert reply.startswith(("220", "202")), reply
    names = list(walk.steps.names)
    assert names
    walk.recover()
    check(walk)
    check_done(walk, reply)
    for fault in FAULTS:
        for at in [at for at, name in enumerate(names) if is_possible(fault, name)]:
            walk = Walk(case)
            reply = walk.act(fault, at)
            assert walk.steps.happened
            walk.recover()
            try:
                check(walk)
                if reply.startswith(("220", "202")):
                    check_done(walk, reply)
                elif reply and not case.is_several:
                    assert state(walk.world) == walk.before, "an error must leave everything as it was"
            except AssertionError as error:
                raise AssertionError(f"{fault} {at} {walk.steps.names[at]}: {reply!r}: {error}") from error


@settings(max_examples=120, deadline=None)
@given(
    case=st.sampled_from(CASES),
    first=st.sampled_from(["crash before", "crash after"]),
    at=st.integers(0, 45),
    second=st.sampled_from(FAULTS),
    then_at=st.integers(0, 90),
)
def test_a_second_fault_during_the_recovery_is_recovered_from_too(
    case: Case, first: Fault, at: int, second: Fault, then_at: int
) -> None:
    walk = Walk(case)
    reply = walk.act(first, at)
    walk.stumble(second, then_at)
    walk.recover()
    check(walk)
    if reply.startswith(("220", "202")):
        check_done(walk, reply)


def check_done(walk: Walk, reply: str) -> None:
    """What was told to be done is done."""
    world, line = walk.world, walk.case.line
    verb = line.split()[0]
    live = subscriptions(world.unix, Side.PROVIDER)
    copy = walk.copy
    if verb == "CREATE":
        kind, name = line.split()[1:3]
        assert kind != "FLOW" or run(world.unix.store.flow(name)) is not None
        assert kind != "NAMESPACE" or name in world.unix.names.namespaces
    elif line.startswith("DELETE FLOW"):
        name = line.split()[2]
        assert run(world.unix.store.flow(name)) is None
        assert run(world.emiliano.store.flow(name)) is None
    elif line.endswith("limit=7/s"):
        ports = world.unix if walk.case.agent == "unix" else world.emiliano
        assert run(ports.store.flow(line.format(copy=copy).split()[2])).limit == RateLimit(7)
    elif verb == "SUBSCRIBE":
        made = reply.split()[-3] if reply.startswith("220") else reply.split()[2]
        assert made in live
    elif verb in ("REPLICATE", "SIGNAL"):
        assert run(world.unix.store.processor(reply.split()[2])).state is State.ACTIVE
    elif copy.startswith("p-") and line.startswith(("UNSUBSCRIBE", "PAUSE")):
        aim = State.ENDED if verb == "UNSUBSCRIBE" else State.PAUSED
        assert run(world.unix.store.processor(copy)).state is aim
    elif verb in ("UNSUBSCRIBE", "REMOVE", "DENY"):
        assert copy not in live
    elif verb == "APPROVE":
        assert live[copy].state is State.ACTIVE
    elif verb in ("PAUSE", "STOP", "RESUME"):
        side, ports = (
            (Side.PROVIDER, world.unix) if walk.case.agent == "unix" else (Side.SUBSCRIBER, world.emiliano)
        )
        aim = {"PAUSE": State.PAUSED, "STOP": State.STOPPED, "RESUME": State.ACTIVE}[verb]
        assert subscriptions(ports, side)[copy].state is aim


def state(world: World) -> Any:
    """What users see: flows, namespaces and subscriptions of both sides."""
    found: list[Any] = []
    for ports in (world.unix, world.emiliano):
        # partitions are never taken away again
        found.append({one.name: (one.visibility, one.limit) for one in run(ports.store.all_flows())})
        found.append({one.name for one in run(ports.store.namespaces())})
        found += [{id: one.state for id, one in subscriptions(ports, side).items()} for side in Side]
        found.append({one.id: one.state for one in run(ports.store.processors())})
    return found


def subscriptions(ports: Ports, side: Side) -> dict[str, Any]:
    return {one.id: one for one in run(ports.store.subscriptions(side))}


def check(walk: Walk) -> None:
    """Both sides are what their stores say, and they agree."""
    for ports in (walk.world.unix, walk.world.emiliano):
        check_participant(ports)
    provided = subscriptions(walk.world.unix, Side.PROVIDER)
    received = subscriptions(walk.world.emiliano, Side.SUBSCRIBER)
    provided |= subscriptions(walk.world.emiliano, Side.PROVIDER)
    others = subscriptions(walk.world.unix, Side.SUBSCRIBER)
    received |= {id: one for id, one in others.items() if one.flow.endswith("emiliano.ar")}
    foreign = {id for id, one in provided.items() if one.principal.participant}
    assert foreign == set(received), f"one side knows {foreign}, the other {set(received)}"
    for id, one in received.items():
        assert (one.state is State.PENDING) == (provided[id].state is State.PENDING)


def check_participant(ports: Ports) -> None:
    store, broker, processors = ports.store, ports.broker, ports.processors
    assert not run(store.intentions()), run(store.intentions())
    assert not run(store.calls()), run(store.calls())
    flows = {flow.name: flow for flow in run(store.all_flows())}
    assert set(broker.queues) == {flow.topic for flow in flows.values()}
    for flow in flows.values():
        assert broker.queues[flow.topic].settings.partitions == flow.partitions
        assert broker.queues[flow.topic].settings.retention_ms == flow.retention_ms
    public = {name for name, flow in flows.items() if flow.visibility is not Visibility.PRIVATE}
    assert set(ports.names.published()) == public
    assert ports.names.namespaces == {one.name for one in run(store.namespaces())} | set(ports.namespaces)
    provided, received = subscriptions(ports, Side.PROVIDER), subscriptions(ports, Side.SUBSCRIBER)
    begun = {id for id, one in provided.items() if one.state is not State.PENDING}
    assert {name for name, flow in flows.items() if flow.copy_of} == begun
    for one in provided.values():
        assert one.flow in flows
        assert one.state is not State.REQUESTED
    for id in begun:
        assert flows[id].partitions == flows[provided[id].flow].partitions
    for one in received.values():
        assert one.copy
        assert one.state is State.PENDING or one.local in flows
    between = run(store.processors())
    for one in between:
        assert one.state is not State.REQUESTED
        assert set(one.sources + one.destinations) <= set(flows)
    for order in processors.orders.values():
        for end in order.destinations:
            assert end.limit == flows[end.flow].limit
    check_processors(processors, [*provided.values(), *received.values(), *between])
    check_users(ports, flows, provided, received)


def check_processors(processors: MemoryProcessors, records: list[Any]) -> None:
    running, journals = set(), set()
    for one in records:
        if isinstance(one, StoredProcessor):
            journals.add(one.id)
            if one.state is State.ACTIVE:
                running.add(one.id)
            continue
        both_here = (
            one.side is Side.SUBSCRIBER and one.flow.endswith("unix.ar") and one.local.endswith("unix.ar")
        )
        id = f"to-{one.copy}" if both_here else one.copy
        if one.state is State.ACTIVE:
            running.add(id)
        if one.state is not State.PENDING:
            journals.add(id)
    states = {id: processors.status(id) for id in processors.ids()}
    assert {id for id, status in states.items() if status and status.state == "running"} == running
    assert {id for id, status in states.items() if status and status.state != "running"} <= journals
    assert processors.journals == journals


def check_users(ports: Ports, flows: Any, provided: Any, received: Any) -> None:
    broker, store = ports.broker, ports.store
    assert set(broker.rights) == set(broker.users)
    strangers = {flows[id].topic for id, one in provided.items() if one.principal == ANONYMOUS}
    for name, rights in broker.rights.items():
        if name == "anonymous":
            assert set(rights.read) == strangers
        else:
            assert name in flows
            assert run(store.credential(Side.PROVIDER, name)) is not None
    assert ("anonymous" in broker.users) == bool(strangers)
    for id, one in received.items():
        kept = run(store.credential(Side.SUBSCRIBER, id)) is not None
        assert kept == (one.state is not State.PENDING and not one.flow.endswith(ports.domain))
    every = run(store.subscriptions(ended=True))
    for one in every:
        if one.state is State.ENDED:
            assert run(store.credential(one.side, one.id)) is None
