"""PAUSE, RESUME, STOP on both sides, and states that follow the processors."""

from __future__ import annotations

from typing import Any

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.agent.following import followed
from eson.errors import BackendFailed, Conflict
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.subscriptions import CHANGES, Side, State, check_change
from eson.processors.memory import MemoryProcessors
from eson.processors.port import ProcessorStatus
from eson.store.port import PutSubscription

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"
AT_PROVIDER = Caller(user("emiliano", "emiliano.ar"), account="x", tls=True)
NOBODY = Caller(ANONYMOUS)


def record(world: World, side: Side, copy: str) -> Any:
    ports = world.unix if side is Side.PROVIDER else world.emiliano
    return run(ports.store.subscription(side, copy))


def test_each_side_pauses_its_own_processor() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(EMILIANO, f"PAUSE SUBSCRIPTION {copy}") == "220 OK"
    assert world.emiliano.processors.status(copy).state == "paused"
    assert world.unix.processors.status(copy).state == "running", "the copy fills on"
    assert record(world, Side.PROVIDER, copy).state is State.ACTIVE
    assert world.say(TEST, f"PAUSE SUBSCRIPTION {copy}") == "220 OK"
    assert world.unix.processors.status(copy).state == "paused"
    world.settle(1)
    assert record(world, Side.SUBSCRIBER, copy).remote_state == "paused"
    described = world.say(EMILIANO, f"DESCRIBE FLOW {copy}")
    assert "\nstate=paused\nprovider-state=paused\n" in described
    assert world.say(EMILIANO, f"RESUME SUBSCRIPTION {G}") == "220 OK"
    assert world.emiliano.processors.status(copy).state == "running"
    assert record(world, Side.PROVIDER, copy).state is State.PAUSED


def test_stopping_releases_the_processor_and_keeps_its_position() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(TEST, f"STOP SUBSCRIPTION {copy}") == "220 OK"
    assert world.unix.processors.ids() == []
    assert copy in world.unix.processors.journals
    assert copy in world.unix.broker.queues
    assert world.say(TEST, f"PAUSE SUBSCRIPTION {copy}") == (
        "554 Conflict: a subscription that is stopped cannot become paused"
    )
    assert world.say(TEST, f"RESUME SUBSCRIPTION {copy}") == "220 OK"
    assert world.unix.processors.status(copy).state == "running"
    assert world.unix.processors.calls[-1] == ("create", copy)


@pytest.mark.parametrize("verb, state", [("PAUSE", State.PAUSED), ("STOP", State.STOPPED)])
@pytest.mark.parametrize("side", list(Side))
def test_pauses_and_stops_survive_a_restart(verb: str, state: State, side: Side) -> None:
    world = World()
    copy = world.subscribed()
    who, ports = (TEST, world.unix) if side is Side.PROVIDER else (EMILIANO, world.emiliano)
    world.say(who, f"{verb} SUBSCRIPTION {copy}")
    journals = ports.processors.journals
    ports.processors = MemoryProcessors(world.time.now)
    ports.processors.journals |= journals
    agent = start_agent(ports, world.network)
    run(agent.start())
    world.settle(120)
    assert record(world, side, copy).state is state
    assert ports.processors.ids() == []
    assert world.say(who, f"RESUME SUBSCRIPTION {copy}", agent) == "220 OK"
    assert ports.processors.status(copy).state == "running"
    assert record(world, side, copy).state is State.ACTIVE


def test_the_same_again_is_no_error() -> None:
    world = World()
    copy = world.subscribed()
    for verb in ("RESUME", "PAUSE", "PAUSE", "STOP", "STOP", "RESUME", "RESUME"):
        assert world.say(TEST, f"{verb} SUBSCRIPTION {copy}") == "220 OK", verb


def test_what_the_provider_stopped_its_subscriber_does_not_start_there() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(AT_PROVIDER, f"PAUSE SUBSCRIPTION {copy}", world.provider) == "220 OK"
    assert world.say(AT_PROVIDER, f"RESUME SUBSCRIPTION {copy}", world.provider) == "220 OK"
    world.say(TEST, f"PAUSE SUBSCRIPTION {copy}")
    for verb in ("RESUME", "STOP"):
        reply = world.say(AT_PROVIDER, f"{verb} SUBSCRIPTION {copy}", world.provider)
        assert reply == f"557 Not allowed: administer on {copy}"
    assert world.say(BOB, f"RESUME SUBSCRIPTION {copy}") == f"550 No such subscription: {copy}"


def test_with_both_ends_here_its_principal_means_its_own_half() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    ines = Caller(user("ines"), account="ines", home="flows.unix.ar", tls=True)
    copy = world.say(ines, f"SUBSCRIBE {F} LOCAL here.flows.unix.ar").split()[2]
    processors = world.unix.processors
    world.say(ines, f"PAUSE SUBSCRIPTION {copy}")
    assert (processors.status(copy).state, processors.status(f"to-{copy}").state) == ("running", "paused")
    world.say(TEST, f"PAUSE SUBSCRIPTION {copy}")
    assert processors.status(copy).state == "paused"
    world.say(ines, "RESUME SUBSCRIPTION here.flows.unix.ar")
    assert (processors.status(copy).state, processors.status(f"to-{copy}").state) == ("paused", "running")


def test_a_resume_whose_processor_is_not_ready_is_pending() -> None:
    world = World()
    copy = world.subscribed()
    world.say(TEST, f"STOP SUBSCRIPTION {copy}")
    world.unix.processors.never_ready(copy)
    assert world.say(TEST, f"RESUME SUBSCRIPTION {copy}") == f"202 Pending {copy}"
    assert record(world, Side.PROVIDER, copy).state is State.FAILING
    world.unix.processors.ready(copy)
    world.settle(2)
    assert record(world, Side.PROVIDER, copy).state is State.ACTIVE


def test_failing_follows_the_processor_and_back() -> None:
    world = World()
    copy = world.subscribed()
    for state, reason in (("unreachable", "broker unreachable"), ("failing", "processor failing")):
        world.unix.processors.change(copy, state=state, last_error="connection refused")
        world.settle(1)
        now = record(world, Side.PROVIDER, copy)
        assert (now.state, now.reason) == (State.FAILING, reason)
    world.unix.processors.change(copy, state="running")
    world.settle(1)
    assert (record(world, Side.PROVIDER, copy).state, record(world, Side.PROVIDER, copy).reason) == (
        State.ACTIVE,
        "",
    )


def test_who_is_in_trouble_says_why() -> None:
    """`reason` has the last error wherever a subscription is shown, on both sides; who is well again has none."""
    world = World()
    copy = world.subscribed()
    places = (
        (world.unix, TEST, f"GET SUBSCRIBERS {F}", "kf1.unix.ar:9092 closed the connection"),
        (world.emiliano, EMILIANO, "GET SUBSCRIPTIONS", "kf1.unix.ar:9092 refuses the credential"),
    )
    for ports, who, listing, error in places:
        reason = f"broker unreachable: {error}"
        ports.processors.change(copy, state="unreachable", last_error=error)
        world.settle(1)
        (item,) = world.items(who, listing)
        assert (item["state"], item["reason"]) == ("failing", reason)
        assert f'\nreason="{reason}"\n' in world.say(who, f"DESCRIBE FLOW {copy}")
        ports.processors.change(copy, state="running", last_error="")
        world.settle(1)
        (item,) = world.items(who, listing)
        assert "reason" not in item


def test_a_last_error_that_changes_is_shown_as_it_is_now() -> None:
    world = World()
    copy = world.subscribed()
    for error in ("no route to kf1.unix.ar", "kf1.unix.ar does not answer"):
        world.emiliano.processors.change(copy, state="unreachable", last_error=error)
        world.settle(1)
        (item,) = world.items(EMILIANO, "GET SUBSCRIPTIONS")
        assert item["reason"] == f"broker unreachable: {error}"


def test_an_end_keeps_its_reason_alone() -> None:
    world = World()
    copy = world.subscribed()
    world.unix.processors.change(copy, state="failing", last_error="its disk is full")
    world.settle(1)
    world.say(TEST, f"REMOVE SUBSCRIBER {copy}")
    assert "\nreason=removed\n" in world.say(TEST, f"DESCRIBE FLOW {copy}")


def test_what_a_broker_makes_its_processor_say_breaks_no_line() -> None:
    """Errors hold words of others' brokers."""
    world = World()
    copy = world.subscribed()
    world.emiliano.processors.change(copy, state="failing", last_error="x\r\n220 OK\r\n" + "y" * 5000)
    world.settle(1)
    reply = world.say(EMILIANO, "GET SUBSCRIPTIONS")
    assert reply.count("220 OK") == 1
    assert reply.count("\n") == 2
    assert len(reply) < 1000


def test_an_agent_with_an_account_of_ours_is_not_told_of_our_brokers() -> None:
    """It acts as that account (`as: account`), and is another participant's all the same."""
    world = World()
    world.flow(f"{F} visibility=public")
    agent = Caller(user("emiliano"), account="emiliano", tls=True, agent_of="emiliano.ar")
    copy = world.say(agent, f"SUBSCRIBE {F}").split()[2]
    world.unix.processors.change(copy, state="unreachable", last_error="kf1.inside:9092 is away")
    world.settle(1)
    for line in (
        f"DESCRIBE FLOW {copy}",
        "GET SUBSCRIPTIONS",
        f"DESCRIBE PROCESSOR {copy}",
        "GET PROCESSORS",
    ):
        told = world.say(agent, line)
        assert "unreachable" in told
        assert "inside" not in told
    assert "inside" in world.say(TEST, f"GET SUBSCRIBERS {F}")


def test_strangers_are_not_told_of_our_brokers() -> None:
    """Another participant's user and who has no name see that it fails; where our brokers are is ours to know."""
    world = World()
    copy = world.subscribed()
    shared = world.say(NOBODY, f"SUBSCRIBE {F}").split()[2]
    for one in (copy, shared):
        world.unix.processors.change(one, state="unreachable", last_error="10.0.0.7:9092 does not answer")
    world.settle(1)
    for who, one in ((AT_PROVIDER, copy), (NOBODY, shared)):
        for line in (
            f"DESCRIBE FLOW {one}",
            f"DESCRIBE PROCESSOR {one}",
            "GET SUBSCRIPTIONS",
            "GET PROCESSORS",
        ):
            reply = world.say(who, line, world.provider)
            assert one in reply, line
            assert ("failing" if "PROCESSOR" not in line else "unreachable") in reply
            assert "10.0.0.7" not in reply
    assert "10.0.0.7" in world.say(TEST, f"DESCRIBE PROCESSOR {copy}")


def test_a_change_during_another_operation_is_looked_at_again() -> None:
    world = World()
    copy = world.subscribed()
    store = world.unix.store
    apply = store.apply

    async def changed_meanwhile(*changes: Any) -> None:
        store.apply = apply
        world.unix.processors.change(copy, state="unreachable")
        await apply(*changes)

    store.apply = changed_meanwhile
    assert world.say(TEST, f"RESUME SUBSCRIPTION {copy}") == "220 OK"  # nothing is applied
    assert world.say(TEST, f"PAUSE SUBSCRIPTION {copy}") == "220 OK"
    world.settle(3)
    assert record(world, Side.PROVIDER, copy).state is State.PAUSED


def test_a_refused_login_makes_the_agent_ask_for_a_new_credential() -> None:
    world = World()
    copy = world.subscribed()
    old = world.emiliano.processors.orders[copy].sources[0].access.password
    world.emiliano.processors.change(copy, state="unreachable", login_refused=True)
    world.settle(1)
    new = world.emiliano.processors.orders[copy].sources[0].access.password
    assert new != old
    assert new == world.unix.broker.users[copy]
    world.emiliano.processors.change(copy, state="running", login_refused=False)
    world.settle(1)
    assert record(world, Side.SUBSCRIBER, copy).state is State.ACTIVE


def test_a_login_refused_because_the_copy_has_ended_tells_why_it_has() -> None:
    """The processor may notice before the NOTIFY comes, or the NOTIFY may be lost."""
    world = World()
    copy = world.subscribed()
    world.network.cut.add("emiliano.ar")
    world.say(TEST, f"REMOVE SUBSCRIBER {copy}")
    world.emiliano.processors.change(copy, state="unreachable", login_refused=True)
    world.settle(1)
    ended = record(world, Side.SUBSCRIBER, copy)
    assert (ended.state, ended.reason) == (State.ENDED, "removed")
    assert copy not in world.emiliano.processors.ids()


def test_a_login_that_stays_refused_costs_ever_fewer_credentials() -> None:
    world = World()
    copy = world.subscribed()
    issued: list[str] = []
    processors = world.emiliano.processors
    update = processors.update

    async def in_vain(order: Any) -> None:
        issued.append(order.id)
        await update(order)
        processors.change(copy, state="unreachable", login_refused=True)

    processors.update = in_vain
    processors.change(copy, state="unreachable", login_refused=True)
    world.settle(1)
    first = len(issued)
    for _ in range(360):
        world.time.advance(10)
    assert first <= 2
    assert 4 <= len(issued) <= 16


SAID = ("starting", "running", "paused", "unreachable", "failing", "stopped")


@pytest.mark.parametrize("state", list(State))
def test_what_follows_from_a_processor_is_a_legal_change(state: State) -> None:
    for said in SAID:
        after = followed(state, "", ProcessorStatus("x", "bridge", said))  # type: ignore[arg-type]
        if state in (State.PAUSED, State.STOPPED, State.ENDED):
            assert after is None
        if after is not None:
            check_change(state, after[0])
            assert after[0] is not state or after[1], "only the reason may change alone"


class Watched:
    """A store that refuses what the table of states does not allow."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.changes: list[tuple[State, State]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def apply(self, *changes: Any) -> None:
        known: dict[tuple[Side, str], State] = {}
        for change in changes:
            if not isinstance(change, PutSubscription):
                continue
            after = change.subscription
            key = (after.side, change.replaces or after.id)
            before = known.get(key)
            if before is None:
                found = await self._store.subscription(*key)
                before = found.state if found else State.REQUESTED
            check_change(before, after.state)
            self.changes.append((before, after.state))
            known[(after.side, after.id)] = after.state
        await self._store.apply(*changes)


ACTS = st.sampled_from(
    [
        *(f"{verb} SUBSCRIPTION {{copy}}" for verb in ("PAUSE", "RESUME", "STOP")),
        "APPROVE SUBSCRIBER {copy}", "DENY SUBSCRIBER {copy}", "REMOVE SUBSCRIBER {copy}", "UNSUBSCRIBE {copy}",
        "processor running", "processor failing", "processor unreachable", "broker down", "broker up", "time", "restart",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    visibility=st.sampled_from(["listed", "public"]),
    acts=st.lists(st.tuples(st.sampled_from("ps"), ACTS), max_size=14),
)
def test_no_order_of_acts_leaves_the_table_of_states(visibility: str, acts: list[tuple[str, str]]) -> None:
    """Whatever is asked on either side in whatever order, every record goes only ways that the table allows."""
    world = World()
    for ports in (world.unix, world.emiliano):
        ports.store = Watched(ports.store)
    world.provider = restarted(world, "p")
    world.subscriber = restarted(world, "s")
    world.flow(f"{F} visibility={visibility}")
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[5 if visibility == "public" else 2]
    for side, act in acts:
        do(world, side, act, copy)
        world.settle(1)
    for ports in (world.unix, world.emiliano):
        ports.broker.down = False
    world.settle(400)
    provided, received = record(world, Side.PROVIDER, copy), record(world, Side.SUBSCRIBER, copy)
    assert (provided.state is State.ENDED) == (received.state is State.ENDED)
    if provided.state is State.ENDED:
        assert copy not in world.unix.broker.queues
        assert world.unix.broker.users == {}
        assert world.unix.processors.ids() == world.emiliano.processors.ids() == []
        assert run(world.emiliano.store.calls()) == []


def do(world: World, side: str, act: str, copy: str) -> None:
    ports = world.unix if side == "p" else world.emiliano
    word, _, rest = act.partition(" ")
    if act == "time":
        world.settle(60)
    elif act == "restart":
        agent = restarted(world, side)
        if side == "p":
            world.provider = agent
        else:
            world.subscriber = agent
    elif word == "broker":
        ports.broker.down = rest == "down"
    elif word == "processor":
        if copy in ports.processors.orders:
            ports.processors.change(copy, state=rest)
    else:
        reply = world.say(TEST if side == "p" else EMILIANO, act.format(copy=copy))
        assert reply[:3] in ("220", "202", "550", "554", "451", "450"), reply


def restarted(world: World, side: str) -> Any:
    ports, old = (world.unix, world.provider) if side == "p" else (world.emiliano, world.subscriber)
    run(old.stop())
    journals = ports.processors.journals
    ports.processors = MemoryProcessors(world.time.now)
    ports.processors.journals |= journals
    agent = start_agent(ports, world.network)
    run(agent.start())
    world.settle(1)
    return agent


def test_the_watched_store_refuses() -> None:
    """The property above can fail."""
    world = World()
    copy = world.subscribed()
    from dataclasses import replace

    one = replace(record(world, Side.PROVIDER, copy), state=State.PENDING)
    with pytest.raises(Conflict):
        run(Watched(world.unix.store).apply(PutSubscription(one)))
    assert State.PENDING not in CHANGES[State.ACTIVE]
    assert issubclass(BackendFailed, Exception)
