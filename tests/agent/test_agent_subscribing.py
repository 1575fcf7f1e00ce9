"""SUBSCRIBE in its three forms, UNSUBSCRIBE, approvals, and what the other side is told."""

from __future__ import annotations

from typing import Any

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent, start_late
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText

from eson.agent.hosting import Limits
from eson.agent.lineage import Lineages
from eson.agent.local import LocalSession
from eson.agent.memory import MemoryRemotes
from eson.brokers.port import Record
from eson.errors import AgentUnreachable, NoSuch
from eson.fnap.core.commands import Subscribe
from eson.model.flows import ancestry_mark
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.subscriptions import Side, State

ANYBODY = Caller(ANONYMOUS)
F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"


def provider(world: World, copy: str) -> Any:
    return run(world.unix.store.subscription(Side.PROVIDER, copy))


def subscriber(world: World, copy: str) -> Any:
    return run(world.emiliano.store.subscription(Side.SUBSCRIBER, copy))


# Both ends hosted here: the draft's session


def test_the_drafts_subscribe_answers_the_copy_alone() -> None:
    world = World()
    world.flow(F)
    reply = world.say(TEST, f"SUBSCRIBE {F} LOCAL emiliano.ar-time.flows.unix.ar").split("\n")
    assert (reply[0], reply[2]) == ("220 DATA", "220 OK")
    copy = reply[1]
    assert copy.partition(".")[2] == F
    assert set(world.unix.broker.queues) == {F, copy, "emiliano.ar-time.flows.unix.ar"}
    orders = world.unix.processors.orders
    assert orders[copy].sources[0].queue == F
    assert orders[copy].destinations[0].queue == copy
    assert orders[f"to-{copy}"].sources[0].queue == copy
    assert orders[f"to-{copy}"].destinations[0].queue == "emiliano.ar-time.flows.unix.ar"
    world.say(TEST, f"UNSUBSCRIBE {copy}")
    assert set(world.unix.broker.queues) == {F, "emiliano.ar-time.flows.unix.ar"}
    assert world.unix.processors.ids() == []


def test_removing_a_subscriber_here_ends_its_own_half_too() -> None:
    world = World()
    world.flow(F)
    copy = world.say(TEST, f"SUBSCRIBE {F} LOCAL here.flows.unix.ar").split()[2]
    assert world.say(TEST, f"REMOVE SUBSCRIBER {copy}") == f"220 OK {copy}"
    world.settle(1)
    ended = run(world.unix.store.subscription(Side.SUBSCRIBER, copy))
    assert (ended.state, ended.reason) == (State.ENDED, "removed")
    assert world.unix.processors.ids() == []


# Far


def test_subscribe_to_a_flow_elsewhere() -> None:
    world = World()
    world.flow(f"{F} visibility=public partitions=3")
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split("\n")
    copy = reply[1].split()[-1]
    assert reply == ["220 DATA", f"{G} SUBSCRIBED TO {copy}", "220 OK"]
    assert world.emiliano.broker.queues[G].settings.partitions == 3
    order = world.emiliano.processors.orders[copy]
    assert order.sources[0].foreign
    assert order.sources[0].access.username == copy
    assert order.sources[0].access.password == world.unix.broker.users[copy]
    assert order.destinations[0].queue == G
    stored = run(world.emiliano.store.credential(Side.SUBSCRIBER, copy))
    assert world.unix.broker.users[copy].encode() not in stored.sealed
    assert world.unix.broker.rights[copy].read == (copy,)
    assert world.unix.broker.rights[copy].group == copy
    assert provider(world, copy).principal == user("emiliano", "emiliano.ar")


def test_a_name_below_home_is_repeated_as_typed_and_either_spelling_serves() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL Emiliano.ar-{F}")
    copy = reply.split()[5]
    assert reply == f"220 DATA\nEmiliano.ar-{F} SUBSCRIBED TO {copy}\n220 OK"
    whole = f"emiliano.ar-{F}.flows.emiliano.ar"
    assert whole in world.emiliano.broker.queues
    for name in (f"emiliano.ar-{F}", whole):
        assert f"topic={whole}\n" in world.say(EMILIANO, f"DESCRIBE FLOW {name}")
    assert world.say(EMILIANO, f"PAUSE SUBSCRIPTION emiliano.ar-{F}") == "220 OK"
    assert world.say(EMILIANO, f"UNSUBSCRIBE {whole}") == "220 OK"


def test_json_names_both() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}", as_json=True)
    copy = world.items(EMILIANO, "GET SUBSCRIPTIONS")[0]["copy"]
    assert reply == f'220 DATA\n{{"local":"{G}","copy":"{copy}"}}\n220 OK'


@pytest.mark.parametrize(
    "caller, line, reply",
    [
        (EMILIANO, f"SUBSCRIBE {F}", f"501 Usage: SUBSCRIBE FLOW LOCAL FLOW: {F} is not hosted here"),
        (
            EMILIANO,
            f"SUBSCRIBE none.flows.unix.ar LOCAL {G}",
            "556 Remote agent refused: No such flow: none.flows.unix.ar",
        ),
        (
            EMILIANO,
            f"SUBSCRIBE x.flows.nowhere.ar LOCAL {G}",
            "456 Agent of x.flows.nowhere.ar cannot be reached",
        ),
        (EMILIANO, f"SUBSCRIBE {F} LOCAL flow.of.others.ar", None),
        (
            BOB,
            "SUBSCRIBE x.flows.emiliano.ar LOCAL x.flows.unix.ar",
            "557 Not allowed: administer on flows.unix.ar",
        ),
        (BOB, "SUBSCRIBE x.flows.emiliano.ar LOCAL some.where.ar", "551 Not hosted here: some.where.ar"),
        (ANYBODY, f"SUBSCRIBE {F} LOCAL x.flows.unix.ar", "557 Not allowed: write on x.flows.unix.ar"),
    ],
)
def test_refusals(caller: Caller, line: str, reply: str | None) -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    before = world.say(caller, line)
    if reply is None:
        assert before.startswith("220 DATA")
        return
    assert before == reply
    for ports in (world.unix, world.emiliano):
        assert run(ports.store.subscriptions()) == []
        assert run(ports.store.intentions()) == []
        assert run(ports.store.calls()) == []
    assert set(world.emiliano.broker.queues) == set()


def test_an_existing_local_flow_needs_the_right_to_write() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    world.say(EMILIANO, f"CREATE FLOW {G}")
    other = Caller(user("ines"), account="ines", tls=True)
    reply = world.say(other, f"SUBSCRIBE {F} LOCAL {G}", world.subscriber)
    assert reply == f"557 Not allowed: write on {G}"
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("220 DATA")


def test_the_same_flow_twice_into_one_local_flow_is_refused() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == (
        f"554 Conflict: {G} is subscribed to {F} already: {copy}"
    )
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL other.flows.emiliano.ar").startswith("220 DATA")


def test_a_clients_token_makes_the_command_repeatable() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    first = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G} AS once")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G} AS once") == first
    assert len(run(world.unix.store.subscriptions(Side.PROVIDER))) == 1
    at_provider = world.say(BOB, f"SUBSCRIBE {F} AS once")
    assert world.say(BOB, f"SUBSCRIBE {F} AS once") == at_provider
    assert world.say(BOB, f"SUBSCRIBE {F} AS twice") != at_provider
    assert world.say(TEST, f"SUBSCRIBE {F} AS once") != at_provider, "a token is one principal's"


def test_start_offsets_are_fixed_when_the_subscription_is_made() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    sink = run(world.unix.broker.write(F))
    run(sink.send([Record(0, -1, 1000 * number, None, b"x") for number in range(10)]))
    starts = {}
    for position in ("NOW", "BEGINNING", "4", "0:6", "99", "1970-01-01T00:00:03Z"):
        copy = world.say(BOB, f"SUBSCRIBE {F} FROM {position}").split()[2]
        starts[position] = dict(world.unix.processors.orders[copy].start)
    assert starts == {
        "NOW": {0: 10}, "BEGINNING": {0: 0}, "4": {0: 4}, "0:6": {0: 6}, "99": {0: 10}, "1970-01-01T00:00:03Z": {0: 3}
    }  # fmt: skip
    assert world.say(BOB, f"SUBSCRIBE {F} FROM 7:0") == "501 Usage: FROM: there is no partition 7"


# Loops


def test_a_loop_is_refused_when_it_would_be_closed() -> None:
    world = World()
    world.subscribed()
    assert world.say(EMILIANO, f"UPDATE FLOW {G} visibility=public").startswith("220")
    reply = world.say(TEST, f"SUBSCRIBE {G} LOCAL {F}")
    assert reply == f"554 Conflict: {F} is among the sources of that flow: a loop would be closed"
    assert world.say(TEST, f"SUBSCRIBE {F} LOCAL {F}").startswith("554 Conflict")
    world.settle(10)
    assert run(world.unix.store.calls()) == []
    live = run(world.emiliano.store.subscriptions(Side.PROVIDER))
    assert live == [], "what was made at the other side before the loop was seen is ended"


def test_loops_of_participants_are_fine() -> None:
    world = World()
    world.subscribed()
    world.say(EMILIANO, "CREATE FLOW other.flows.emiliano.ar visibility=public")
    assert world.say(TEST, "SUBSCRIBE other.flows.emiliano.ar LOCAL back.flows.unix.ar").startswith(
        "220 DATA"
    )


def test_lineage_goes_through_a_chain() -> None:
    world = World()
    world.subscribed()
    world.say(EMILIANO, f"UPDATE FLOW {G} visibility=public")
    copy = world.say(TEST, f"SUBSCRIBE {G} LOCAL back.flows.unix.ar").split()[5]
    described = world.say(EMILIANO, f"SUBSCRIBE {G}").split()[2]
    marks = f"{ancestry_mark(G)},{ancestry_mark(F)}"
    assert f"\nlineage={marks}\n" in world.say(EMILIANO, f"DESCRIBE FLOW {described}")
    record = run(world.unix.store.subscription(Side.SUBSCRIBER, copy))
    assert record.lineage == (ancestry_mark(G), ancestry_mark(F))


# The provider is away


def test_no_connection_leaves_nothing() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    world.network.cut.add("unix.ar")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == f"456 Agent of {F} cannot be reached"
    assert run(world.emiliano.store.subscriptions(ended=True)) == []


def over(world: World, remotes: MemoryRemotes) -> None:
    """The subscriber begins anew, and reaches other agents by these."""
    run(world.subscriber.stop())
    world.subscriber = start_agent(
        world.emiliano, world.network, wrap=lambda name, port: remotes if name == "remotes" else port
    )
    run(world.subscriber.start())


class Lossy(MemoryRemotes):
    """Loses the answer of the next SUBSCRIBE."""

    async def connect(self, flow: str, on_behalf_of: Any) -> Any:
        session = await super().connect(flow, on_behalf_of)
        subscribe = session.subscribe

        async def lost(*args: Any) -> Any:
            await subscribe(*args)
            raise AgentUnreachable(flow)

        session.subscribe = lost  # type: ignore[method-assign]
        return session


def test_a_lost_answer_is_found_by_its_token_and_ended() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    over(world, Lossy(world.network, "emiliano.ar"))
    world.settle()
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == f"456 Agent of {F} cannot be reached"
    made = run(world.unix.store.subscriptions(Side.PROVIDER))
    assert len(made) == 1
    world.settle(90)
    assert run(world.unix.store.subscriptions(Side.PROVIDER)) == []
    assert provider(world, made[0].copy).reason == "unsubscribed"
    assert run(world.emiliano.store.calls()) == []
    assert run(world.emiliano.store.subscriptions(ended=True)) == []


def test_unsubscribe_while_the_provider_is_away_is_done_and_told_later() -> None:
    world = World()
    copy = world.subscribed()
    world.network.cut.add("unix.ar")
    assert world.say(EMILIANO, f"UNSUBSCRIBE {copy}") == "220 OK"
    assert world.emiliano.processors.ids() == []
    assert subscriber(world, copy).state is State.ENDED
    world.settle(120)
    assert provider(world, copy).state is State.ACTIVE
    assert run(world.emiliano.store.credential(Side.SUBSCRIBER, copy)) is not None
    world.network.cut.clear()
    world.settle(600)
    assert provider(world, copy).state is State.ENDED
    assert run(world.emiliano.store.calls()) == []
    assert run(world.emiliano.store.credential(Side.SUBSCRIBER, copy)) is None
    assert G in world.emiliano.broker.queues


def test_a_call_that_failed_is_made_again_within_seconds() -> None:
    """Not only when the reconciler comes by."""
    world = World()
    copy = world.subscribed()
    world.network.cut.add("unix.ar")
    world.say(EMILIANO, f"UNSUBSCRIBE {copy}")
    world.network.cut.clear()
    world.settle(11)
    assert provider(world, copy).state is State.ENDED
    assert run(world.emiliano.store.calls()) == []


def test_calls_are_repeated_ever_less_often_and_given_up() -> None:
    world = World()
    copy = world.subscribed()
    world.network.cut.add("unix.ar")
    world.say(EMILIANO, f"UNSUBSCRIBE {copy}")
    for _ in range(24):
        world.time.advance(3600)
    (call,) = run(world.emiliano.store.calls())
    assert 10 < call.attempts < 40
    for _ in range(31):
        world.time.advance(86400)
    assert run(world.emiliano.store.calls()) == []
    assert "give up a call" in {one.act for one in run(world.emiliano.store.audit())}


# The deadline


class Slow(MemoryRemotes):
    """A session that answers when it is told to."""

    def __init__(self, world: World, slow: str) -> None:
        super().__init__(world.network, "emiliano.ar")
        self.slow = slow
        self.waiting: Any = None

    async def connect(self, flow: str, on_behalf_of: Any) -> Any:
        session = await super().connect(flow, on_behalf_of)
        real = getattr(session, self.slow)

        async def slowly(*args: Any) -> Any:
            self.waiting = Deferred()
            await self.waiting
            return await real(*args)

        setattr(session, self.slow, slowly)
        return session


def slow_world(slow: str) -> tuple[World, Slow, list[Any]]:
    world = World()
    world.flow(f"{F} visibility=public")
    remotes = Slow(world, slow)
    over(world, remotes)
    told: list[Any] = []
    Deferred.fromCoroutine(world.subscriber.execute(EMILIANO, Subscribe(F, G, G))).addBoth(told.append)
    return world, remotes, told


def test_a_provider_that_never_answers_costs_a_minute() -> None:
    world, remotes, told = slow_world("subscribe")
    world.settle(59)
    assert told == []
    assert world.say(EMILIANO, f"DELETE FLOW {G}").startswith("550")
    world.settle(1)
    assert told[0].check(AgentUnreachable)
    remotes.waiting.callback(None)
    world.settle(90)
    assert run(world.unix.store.subscriptions(Side.PROVIDER)) == [], "what came too late is ended"
    assert run(world.emiliano.store.subscriptions()) == []


def test_last_steps_that_take_too_long_go_on_behind_a_202() -> None:
    world, remotes, told = slow_world("get_credential")
    world.settle(60)
    copy = run(world.unix.store.subscriptions(Side.PROVIDER))[0].copy
    assert told[0].copy == copy
    assert type(told[0]).__name__ == "Pending"
    remotes.waiting.callback(None)
    world.settle(1)
    assert subscriber(world, copy).state is State.ACTIVE
    assert world.emiliano.processors.status(copy).state == "running"


def test_a_client_that_goes_away_does_not_stop_what_it_asked_for() -> None:
    world, remotes, _ = slow_world("describe_flow")
    asked = Deferred.fromCoroutine(
        world.subscriber.execute(
            EMILIANO, Subscribe(F, "second.flows.emiliano.ar", "second.flows.emiliano.ar")
        )
    )
    waiting = remotes.waiting
    asked.addErrback(lambda failure: None)
    asked.cancel()
    waiting.callback(None)
    world.settle(1)
    states = [one.state for one in run(world.emiliano.store.subscriptions(local="second.flows.emiliano.ar"))]
    assert states == [State.ACTIVE]


def test_last_steps_that_fail_are_tried_again_within_seconds() -> None:
    """The broker was away for a moment: nobody waits for the pass of the next minute."""
    world = World()
    world.flow(f"{F} visibility=public")
    world.settle(61)
    world.emiliano.broker.down = True
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("202 Pending ")
    (one,) = run(world.emiliano.store.subscriptions(local=G))
    assert waits_for(world, one.copy) == "Broker local cannot be reached"
    world.emiliano.broker.down = False
    world.settle(3)
    assert [one.state for one in run(world.emiliano.store.subscriptions(local=G))] == [State.ACTIVE]


def test_a_processor_that_is_not_ready_is_pending_until_it_runs() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    labels = start_late(world.emiliano.processors)
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}")
    assert reply == f"202 Pending {labels[0]}"
    assert subscriber(world, labels[0]).state is State.REQUESTED
    world.emiliano.processors.change(labels[0], last_error="no route to kf1.unix.ar:9092")
    assert waits_for(world, labels[0]) == "processor not ready: no route to kf1.unix.ar:9092"
    world.emiliano.processors.ready(labels[0])
    world.settle(1)
    assert subscriber(world, labels[0]).state is State.ACTIVE


# Approval


def pending(world: World) -> str:
    world.flow(F)
    reply = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G} FROM BEGINNING")
    assert reply.startswith("202 Pending ")
    return reply.split()[2]


def test_a_request_reserves_a_name_and_nothing_else() -> None:
    world = World()
    copy = pending(world)
    assert set(world.unix.broker.queues) == {F}
    assert world.unix.names.published() == [F]
    assert set(world.emiliano.broker.queues) == set()
    (waiting,) = world.items(TEST, f"GET SUBSCRIBERS {F}")
    assert (waiting["subscriber"], waiting["state"]) == (copy, "pending")
    assert waiting["expires"] == "2026-12-25T12:00:00.000Z"
    assert world.say(EMILIANO, f"PAUSE SUBSCRIPTION {copy}") == (
        f"554 Conflict: {copy} is pending: it has not begun"
    )


@pytest.mark.parametrize("named", ["{copy}", f"{F} user:emiliano@emiliano.ar"])
def test_an_approval_makes_it_and_the_subscriber_goes_on_by_itself(named: str) -> None:
    world = World()
    copy = pending(world)
    name = named.format(copy=copy)
    assert world.say(BOB, f"APPROVE SUBSCRIBER {copy}") == f"550 No such subscription: {copy}"
    assert world.say(TEST, f"APPROVE SUBSCRIBER {name}") == f"220 OK {name.split()[0]}"
    world.settle(1)
    assert provider(world, copy).state is State.ACTIVE
    assert subscriber(world, copy).state is State.ACTIVE
    assert world.emiliano.processors.status(copy).state == "running"
    assert dict(world.unix.processors.orders[copy].start) == {0: 0}
    assert world.say(TEST, f"APPROVE SUBSCRIBER {copy}") == f"554 Conflict: {copy} is active, not pending"


def test_a_lost_notify_is_made_up_for_by_the_check() -> None:
    world = World()
    copy = pending(world)
    world.network.cut.add("emiliano.ar")
    assert world.say(TEST, f"APPROVE SUBSCRIBER {copy}") == f"220 OK {copy}"
    world.settle(200)
    world.network.cut.clear()
    assert subscriber(world, copy).state is State.PENDING
    world.settle(300)
    assert subscriber(world, copy).state is State.ACTIVE


def test_an_agent_that_starts_asks_at_once_for_what_it_waits_for() -> None:
    world = World()
    copy = pending(world)
    world.network.cut.add("emiliano.ar")
    assert world.say(TEST, f"APPROVE SUBSCRIBER {copy}") == f"220 OK {copy}"
    run(world.subscriber.stop())
    world.network.cut.clear()
    world.subscriber = start_agent(world.emiliano, world.network)
    run(world.subscriber.start())
    world.settle(3)
    assert subscriber(world, copy).state is State.ACTIVE


def test_a_denied_request_ends_on_both_sides() -> None:
    world = World()
    copy = pending(world)
    assert world.say(TEST, f'DENY SUBSCRIBER {copy} "no reason"') == f"220 OK {copy}"
    world.settle(1)
    for record in (provider(world, copy), subscriber(world, copy)):
        assert (record.state, record.reason) == (State.ENDED, "denied")
    assert world.say(TEST, f"APPROVE SUBSCRIBER {copy}") == f"550 No such subscription: {copy}"
    assert "\nstate=ended\nreason=denied\n" in world.say(EMILIANO, f"DESCRIBE FLOW {copy}")
    assert world.items(EMILIANO, "GET SUBSCRIPTIONS") == []


def test_the_log_says_why_what_was_approved_goes_on_waiting() -> None:
    """The subscriber's operator sees the details, which are told to nobody else."""
    world = World()
    world.flow(f"{F} visibility=listed")
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").removeprefix("202 Pending ")
    world.network.cut.add("unix.ar")
    with capturedLogs() as logged:
        assert world.say(TEST, f"APPROVE SUBSCRIBER {copy}") == f"220 OK {copy}"
        world.settle()
    assert subscriber(world, copy).state is State.PENDING
    (line,) = [eventAsText(one) for one in logged if "could not be checked" in one.get("log_format", "")]
    assert "unix.ar is cut off" in line


def waits_for(world: World, copy: str) -> str:
    """What the subscriber's list and description of a copy that is on its way say that it waits for."""
    (item,) = world.items(EMILIANO, "GET SUBSCRIPTIONS")
    assert item["state"] in ("requested", "pending")
    reason = str(item.get("reason", ""))
    assert not reason or f'\nreason="{reason}"\n' in world.say(EMILIANO, f"DESCRIBE FLOW {copy}")
    return reason


def test_who_waits_for_approval_reads_it_on_both_sides() -> None:
    """The other participant's agent is told the state, and goes by that."""
    world = World()
    copy = pending(world)
    (item,) = world.items(TEST, f"GET SUBSCRIBERS {F}")
    assert item["reason"] == "waits for approval"
    assert waits_for(world, copy) == "waits for approval, or for the provider's processor"
    stranger = Caller(user("emiliano", "emiliano.ar"), account="x", tls=True)
    assert "reason" not in world.say(stranger, f"DESCRIBE FLOW {copy}", world.provider)


def test_an_agent_that_cannot_be_reached_is_a_reason_to_wait_in_one_text() -> None:
    """The log alone has the details: where names lead inside is told to nobody."""
    world = World()
    copy = pending(world)
    world.network.cut.add("unix.ar")
    world.settle(400)
    assert waits_for(world, copy) == f"Agent of {F} cannot be reached"
    world.network.cut.clear()
    world.settle(400)
    assert waits_for(world, copy).startswith("waits for approval")
    world.say(TEST, f"APPROVE SUBSCRIBER {copy}")
    world.settle(20)
    (item,) = world.items(EMILIANO, "GET SUBSCRIPTIONS")
    assert (item["state"], item.get("reason")) == ("active", None)


class Unusable(MemoryRemotes):
    """Gives credentials of servers that must not be connected to."""

    async def connect(self, flow: str, on_behalf_of: Any) -> Any:
        session = await super().connect(flow, on_behalf_of)

        async def refused(copy: str) -> Any:
            raise AgentUnreachable(flow, why="no server of the credential may be connected to")

        session.get_credential = refused  # type: ignore[method-assign]
        return session


def test_a_credential_that_cannot_be_used_is_a_reason_to_wait() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    over(world, Unusable(world.network, "emiliano.ar"))
    world.settle()
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").removeprefix("202 Pending ")
    assert waits_for(world, copy) == "no server of the credential may be connected to"


def test_only_what_waits_is_approved_or_denied() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(TEST, f"DENY SUBSCRIBER {copy}") == f"554 Conflict: {copy} is active, not pending"
    assert (
        world.say(TEST, f"REMOVE SUBSCRIBER {F} user:nobody")
        == f"550 No such subscription: user:nobody on {F}"
    )
    assert world.say(EMILIANO, f"REMOVE SUBSCRIBER {copy}") == f"550 No such subscription: {copy}"
    own = Caller(user("emiliano", "emiliano.ar"), account="x", tls=True)
    assert (
        world.say(own, f"REMOVE SUBSCRIBER {copy}", world.provider)
        == f"557 Not allowed: administer on {copy}"
    )


def test_limits_of_requests_and_subscriptions() -> None:
    world = World(Limits(pending=1, subscriptions_per_participant=2))
    world.flow(F)
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL a.flows.emiliano.ar").startswith("202")
    assert world.say(BOB, f"SUBSCRIBE {F}") == "452 Limit reached: pending subscriptions"
    world.flow("open.flows.unix.ar visibility=public")
    assert world.say(EMILIANO, "SUBSCRIBE open.flows.unix.ar LOCAL b.flows.emiliano.ar").startswith("220")
    assert world.say(EMILIANO, "SUBSCRIBE open.flows.unix.ar LOCAL c.flows.emiliano.ar").startswith("456")
    assert world.say(BOB, "SUBSCRIBE open.flows.unix.ar").startswith("220")


def test_a_request_with_both_ends_here_goes_on_when_it_is_approved() -> None:
    world = World()
    world.flow(F)
    ines = Caller(user("ines"), account="ines", home="flows.unix.ar", tls=True)
    for verb, state in (("APPROVE", State.ACTIVE), ("DENY", State.ENDED)):
        reply = world.say(ines, f"SUBSCRIBE {F} LOCAL {verb.lower()}.flows.unix.ar")
        assert reply.startswith("202 Pending ")
        copy = reply.split()[2]
        assert world.say(TEST, f"{verb} SUBSCRIBER {copy}") == f"220 OK {copy}"
        world.settle(1)
        for side in Side:
            assert run(world.unix.store.subscription(side, copy)).state is state, side
    assert "approve.flows.unix.ar" in world.unix.broker.queues
    assert "deny.flows.unix.ar" not in world.unix.broker.queues


def test_an_operator_sees_all_subscriptions_and_others_their_own() -> None:
    world = World()
    copy = world.subscribed()
    own = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    root = Caller(user("root"), account="root", operator=True)
    assert {one["copy"] for one in world.items(root, "GET SUBSCRIPTIONS")} == {copy, own}
    assert {one["copy"] for one in world.items(BOB, "GET SUBSCRIPTIONS")} == {own}
    assert world.items(TEST, "GET SUBSCRIPTIONS") == []
    assert [one["copy"] for one in world.items(root, f"GET SUBSCRIPTIONS {F} LIMIT 1")] == [min(copy, own)]


# Strangers


def test_all_strangers_share_one_copy() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    reply = world.say(ANYBODY, f"SUBSCRIBE {F}")
    assert world.say(ANYBODY, f"SUBSCRIBE {F} FROM BEGINNING AS mine") == reply
    copy = reply.split()[2]
    credential = world.say(ANYBODY, f"GET CREDENTIAL {copy}")
    assert "\nusername=anonymous\npassword=anonymous\ngroup=anonymous-\n" in credential
    rights = world.unix.broker.rights["anonymous"]
    assert (rights.read, rights.write, rights.groups_prefix) == ((copy,), (), "anonymous-")
    for line in (f"UNSUBSCRIBE {copy}", f"PAUSE SUBSCRIPTION {copy}", f"REMOVE SUBSCRIBER {copy}"):
        assert world.say(ANYBODY, line).startswith("557 Not allowed: administer"), line
    assert world.say(TEST, f"REMOVE SUBSCRIBER {copy}") == f"220 OK {copy}"
    assert world.unix.broker.users == {}
    again = world.say(ANYBODY, f"SUBSCRIBE {F}").split()[2]
    assert again != copy


def test_strangers_ask_for_nothing_that_needs_an_approval() -> None:
    world = World()
    world.flow(F)
    assert world.say(ANYBODY, f"DESCRIBE FLOW {F}").startswith("220 DATA")
    assert world.say(ANYBODY, f"SUBSCRIBE {F}") == f"557 Not allowed: subscribe on {F}"


def test_a_flow_that_is_public_no_more_has_no_copy_for_strangers() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(ANYBODY, f"SUBSCRIBE {F}").split()[2]
    named = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    world.say(TEST, f"UPDATE FLOW {F} visibility=listed")
    assert copy not in world.unix.broker.queues
    assert named in world.unix.broker.queues
    assert provider(world, copy).reason == "revoked"


def test_ending_one_copy_for_strangers_leaves_the_others_theirs() -> None:
    """Also one that is being made at that moment, and not one that is being ended."""
    world = World()
    made = {}
    for name in ("a", "b"):
        world.flow(f"{name}.flows.unix.ar visibility=public")
        made[name] = world.say(ANYBODY, f"SUBSCRIBE {name}.flows.unix.ar").split()[2]
    world.flow("c.flows.unix.ar visibility=public")
    create, removed = world.unix.processors.create, []

    async def meanwhile(order: Any) -> None:
        world.unix.processors.create = create
        removed.append(world.say(TEST, f"REMOVE SUBSCRIBER {made['a']}"))
        await create(order)

    world.unix.processors.create = meanwhile  # type: ignore[method-assign]
    third = world.say(ANYBODY, "SUBSCRIBE c.flows.unix.ar").split()[2]
    assert removed == [f"220 OK {made['a']}"]
    assert set(world.unix.broker.rights["anonymous"].read) == {made["b"], third}


# The end


def test_the_rights_go_first_when_a_subscriber_is_removed() -> None:
    world = World()
    copy = world.subscribed()
    world.unix.broker.calls.clear()
    world.say(TEST, f"REMOVE SUBSCRIBER {copy}")
    calls = [call for call in world.unix.broker.calls if call[1] == copy]
    assert calls[0] == ("disallow", copy)
    assert [name for name, _ in calls if name != "disallow"] == ["delete_credential", "delete_queue"]
    assert copy not in world.unix.names.published()
    world.settle(1)
    assert subscriber(world, copy).reason == "removed"
    assert world.emiliano.processors.ids() == []
    assert G in world.emiliano.broker.queues


def test_a_broker_that_is_down_keeps_a_subscription_whole() -> None:
    world = World()
    copy = world.subscribed()
    world.unix.broker.down = True
    assert world.say(TEST, f"REMOVE SUBSCRIBER {copy}").startswith("451")
    world.unix.broker.down = False
    world.settle(120)
    assert provider(world, copy).state is State.ACTIVE
    assert world.unix.broker.rights[copy].read == (copy,)


def test_deleting_the_local_flow_ends_its_subscription_first() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(EMILIANO, f"DELETE FLOW {G}") == f"220 OK {G}"
    assert world.emiliano.broker.queues == {}
    assert provider(world, copy).reason == "unsubscribed"


def test_a_local_flow_with_several_subscriptions_needs_the_copys_name() -> None:
    world = World()
    copy = world.subscribed()
    world.flow("other.flows.unix.ar visibility=public")
    world.say(EMILIANO, f"SUBSCRIBE other.flows.unix.ar LOCAL {G}")
    assert world.say(EMILIANO, f"UNSUBSCRIBE {G}") == f"554 Conflict: {G} has 2 subscriptions: name the copy"
    assert world.say(EMILIANO, f"UNSUBSCRIBE {copy}") == "220 OK"


def test_notify_tells_nothing_and_asks_the_copys_own_agent() -> None:
    world = World()
    copy = world.subscribed()
    for name in (copy, "aaaaaaa.none.flows.unix.ar"):
        assert world.say(BOB, f"NOTIFY {name} ended", world.subscriber) == "220 OK"
    world.settle(1)
    assert subscriber(world, copy).state is State.ACTIVE, "a lie ends nothing"


def test_many_notifies_cause_few_questions() -> None:
    world = World()
    copy = world.subscribed()
    world.settle(60)
    asked: list[str] = []
    execute = world.provider.execute

    async def counted(caller: Any, command: Any) -> Any:
        asked.append(type(command).__name__)
        return await execute(caller, command)

    world.provider.execute = counted  # type: ignore[method-assign]
    for _ in range(50):
        world.say(BOB, f"NOTIFY {copy} paused", world.subscriber)
    world.settle(30)
    assert 1 <= len(asked) <= 3


def test_a_copy_of_ours_that_goes_meanwhile_is_unsubscribed() -> None:
    """What calls are repeated for until it is so."""

    class Gone:
        ended: list[str] = []

        async def end(self, copy: str, *_: Any) -> None:
            self.ended.append(copy)
            raise NoSuch("subscription", copy)

    world = World()
    copy = world.subscribed()
    copies: Any = Gone()
    run(LocalSession(world.unix.store, copies, Lineages(world.unix.store), user("test")).unsubscribe(copy))
    assert copies.ended == [copy]
