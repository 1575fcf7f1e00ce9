"""REPLICATE, COLLECT, DISTRIBUTE and SIGNAL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent, start_late
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from eson.agent.hosting import Limits
from eson.brokers.port import Record
from eson.errors import TryLater
from eson.model.principals import ANONYMOUS, Caller, user
from eson.model.subscriptions import Side, State
from eson.processors.memory import MemoryProcessors
from eson.store.port import DropFlow

A, B, C, D = (f"{name}.flows.unix.ar" for name in "abcd")
FAR = "far.flows.emiliano.ar"


def world_with(*flows: str) -> World:
    world = World()
    for name in flows:
        world.flow(name)
    return world


def made(world: World, line: str) -> str:
    """The id of the processor that the line makes."""
    reply = world.say(TEST, line)
    assert reply.startswith("220 OK p-"), reply
    return reply.removeprefix("220 OK ")


def record(world: World, id: str) -> Any:
    return run(world.unix.store.processor(id))


def test_a_bridge_carries_what_is_written_from_now_on() -> None:
    world = world_with(f"{A} partitions=2")
    sink = run(world.unix.broker.write(A))
    run(sink.send([Record(1, -1, 0, None, b"old")]))
    id = made(world, f"REPLICATE {A} TO {B}")
    order = world.unix.processors.orders[id]
    assert (order.kind, order.sources[0].queue, order.destinations[0].queue) == ("bridge", A, B)
    assert dict(order.start) == {0: 0, 1: 1}
    assert world.unix.broker.queues[B].settings.partitions == 2
    assert record(world, id).state is State.ACTIVE


@pytest.mark.parametrize(
    "line, kind, sources, destinations",
    [
        (f"COLLECT {A} {B} TO {C}", "collector", [A, B], [C]),
        (f"COLLECT {A} {B} {C}", "collector", [A, B], [C]),
        (f"DISTRIBUTE {A} TO {C} {D}", "distributor", [A], [C, D]),
        (f"SIGNAL {A} {B} TO {C} {D} WHEN \"type = 'tick'\"", "signal", [A, B], [C, D]),
        (f"SIGNAL {A} {C}", "signal", [A], [C]),
    ],
)
def test_the_other_kinds(line: str, kind: str, sources: list[str], destinations: list[str]) -> None:
    world = world_with(A, B)
    id = made(world, line)
    order = world.unix.processors.orders[id]
    assert order.kind == kind
    assert [end.flow for end in order.sources] == sources
    assert [end.flow for end in order.destinations] == destinations
    assert order.when == ("type = 'tick'" if "WHEN" in line else "")
    assert (order.start == "now") == (len(sources) > 1)


def test_they_are_listed_described_paused_stopped_and_ended() -> None:
    world = world_with(A)
    id = made(world, f"DISTRIBUTE {A} {B} {C}")
    (item,) = world.items(TEST, "GET SUBSCRIPTIONS")
    assert (item["subscription"], item["flow"], item["local"], item["state"]) == (id, A, f"{B},{C}", "active")
    assert world.say(TEST, f"DESCRIBE PROCESSOR {id}").startswith(
        f"220 DATA\nprocessor={id}\nkind=distributor\nsource={A}\ndestination={B}\ndestination={C}\nstate=running\n"
    )
    assert world.say(TEST, "GET PROCESSORS").startswith(
        f"220 DATA\nprocessor={id} kind=distributor state=running "
    )
    assert world.say(TEST, f"PAUSE SUBSCRIPTION {id}") == "220 OK"
    assert world.unix.processors.status(id).state == "paused"
    assert "\nstate=paused\n" in world.say(TEST, f"DESCRIBE PROCESSOR {id}")
    assert world.say(TEST, f"STOP SUBSCRIPTION {id}") == "220 OK"
    assert world.unix.processors.ids() == []
    assert "\nstate=stopped\nsince=2026-11-25T12:00:00.000Z\n" in world.say(TEST, f"DESCRIBE PROCESSOR {id}")
    assert world.say(TEST, f"PAUSE SUBSCRIPTION {id}").startswith("554")
    assert world.say(TEST, f"RESUME SUBSCRIPTION {id}") == "220 OK"
    assert world.say(TEST, f"UNSUBSCRIBE {id}") == "220 OK"
    assert world.unix.processors.journals == set()
    for line in (f"UNSUBSCRIBE {id}", *(f"{verb} SUBSCRIPTION {id}" for verb in ("PAUSE", "RESUME", "STOP"))):
        assert world.say(TEST, line) == f"550 No such subscription: {id}"
    assert set(world.unix.broker.queues) == {A, B, C}, "flows and their events stay"


def test_one_in_trouble_says_why_in_the_list_of_subscriptions() -> None:
    world = world_with(A)
    id = made(world, f"REPLICATE {A} {B}")
    world.unix.processors.change(id, state="failing", last_error="its disk is full")
    world.settle(1)
    (item,) = world.items(TEST, "GET SUBSCRIPTIONS")
    assert (item["state"], item["reason"]) == ("failing", "processor failing: its disk is full")


def test_one_that_ended_is_described_for_a_month_and_listed_no_more() -> None:
    world = world_with(A)
    id = made(world, f"DISTRIBUTE {A} {B} {C}")
    world.settle(5)
    world.say(TEST, f"UNSUBSCRIBE {id}")
    ended = (
        f"220 DATA\nprocessor={id}\nkind=distributor\nsource={A}\ndestination={B}\ndestination={C}\n"
        "state=ended\nsince=2026-11-25T12:00:05.000Z\nreason=unsubscribed\n220 OK"
    )
    assert world.say(TEST, f"DESCRIBE PROCESSOR {id}") == ended
    assert world.items(TEST, "GET PROCESSORS") == world.items(TEST, "GET SUBSCRIPTIONS") == []
    assert world.say(BOB, f"DESCRIBE PROCESSOR {id}") == f"550 No such processor: {id}"
    world.settle(70)
    assert world.unix.processors.ids() == []
    world.time.advance(timedelta(days=29).total_seconds())
    assert world.say(TEST, f"DESCRIBE PROCESSOR {id}") == ended
    world.time.advance(timedelta(days=1).total_seconds())
    world.settle(70)
    assert world.say(TEST, f"DESCRIBE PROCESSOR {id}") == f"550 No such processor: {id}"
    assert run(world.unix.store.processor(id)) is None


def test_what_is_read_and_written_no_more_is_in_nobodys_way() -> None:
    """One that ended closes no loop, keeps no flow from being deleted, and counts for no limit."""
    world = World(Limits(flows_per_account=3, check=timedelta(minutes=5)))
    world.flow(A)
    for _ in range(4):
        world.say(TEST, f"UNSUBSCRIBE {made(world, f'REPLICATE {A} {B}')}")
    world.say(TEST, f"UNSUBSCRIBE {made(world, f'REPLICATE {B} {A}')}")
    assert world.say(TEST, f"DELETE FLOW {A}") == f"220 OK {A}"


def test_whoever_else_ends_one_removes_it() -> None:
    world = world_with(A)
    id = made(world, f"REPLICATE {A} {B}")
    operator = Caller(user("root"), account="root", operator=True)
    assert world.say(operator, f"UNSUBSCRIBE {id}") == "220 OK"
    assert (record(world, id).reason, record(world, id).actor) == ("removed", "user:root")


def test_one_that_cannot_go_on_says_so() -> None:
    """Its id was told with 202: it does not vanish without a word."""
    world = world_with(A)
    start_late(world.unix.processors)
    id = world.say(TEST, f"REPLICATE {A} TO {B}").split()[2]
    run(world.unix.store.apply(DropFlow(A)))
    world.settle(70)
    assert (record(world, id).state, record(world, id).reason) == (State.ENDED, "error")
    assert world.unix.processors.ids() == []


@pytest.mark.parametrize("verb", ["UNSUBSCRIBE", "STOP SUBSCRIPTION", "PAUSE SUBSCRIPTION"])
def test_a_start_that_takes_long_forgets_no_order(verb: str) -> None:
    """While many others are being started at once, what is ended, stopped or paused does not begin anew."""
    world = world_with(A)
    ids = sorted(made(world, f"REPLICATE {A} flow-{number}.flows.unix.ar") for number in range(17))
    world.unix.processors = MemoryProcessors(world.time.now)
    create, waiting = world.unix.processors.create, list[Deferred[None]]()

    async def slow(order: Any) -> None:
        waiting.append(Deferred())
        await waiting[-1]
        await create(order)

    world.unix.processors.create = slow  # type: ignore[method-assign]
    run(world.provider.stop())
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    world.settle()
    assert len(waiting) == 16, "none waits for another's"
    assert "\nstate=starting\nsince=" in world.say(TEST, f"DESCRIBE PROCESSOR {ids[0]}")
    assert world.say(TEST, f"{verb} {ids[16]}") == "220 OK"
    while waiting:
        waiting.pop().callback(None)
    world.settle(70)
    assert world.unix.processors.ids() == ids[:16]
    assert ("create", ids[16]) not in world.unix.processors.calls


def test_one_that_is_not_ready_yet_holds_up_no_other() -> None:
    world = world_with(A)
    create, held = world.unix.processors.create, list[Deferred[None]]()

    async def unready(order: Any) -> None:
        raise TryLater("not ready")

    world.unix.processors.create = unready  # type: ignore[method-assign]
    replies = [world.say(TEST, f"REPLICATE {A} TO {flow}") for flow in (B, C)]
    first, second = sorted(reply.removeprefix("202 Pending ") for reply in replies)

    async def slow(order: Any) -> None:
        if order.id == first:
            held.append(Deferred())
            await held[-1]
        await create(order)

    world.unix.processors.create = slow  # type: ignore[method-assign]
    world.settle(70)
    assert (len(held), record(world, first).state) == (1, State.REQUESTED)
    assert record(world, second).state is State.ACTIVE
    held[0].callback(None)
    assert record(world, first).state is State.ACTIVE


def test_a_page_of_subscriptions_may_end_with_a_processor() -> None:
    """Whatever the last id of a page is, the next page begins behind it."""
    world = world_with(A)
    made(world, f"REPLICATE {A} {B}")
    made(world, f"REPLICATE {A} {C}")
    assert world.say(TEST, f"SUBSCRIBE {A}").startswith("220 DATA")
    whole = [item["subscription"] for item in world.items(TEST, "GET SUBSCRIPTIONS")]
    assert len(whole) == 3
    pages = [*world.items(TEST, "GET SUBSCRIPTIONS LIMIT 1")]
    while more := world.items(TEST, f"GET SUBSCRIPTIONS AFTER {pages[-1]['subscription']} LIMIT 1"):
        pages += more
    assert [item["subscription"] for item in pages] == whole


def test_strangers_see_none() -> None:
    world = world_with(A)
    id = made(world, f"REPLICATE {A} {B}")
    for line in ("UNSUBSCRIBE {}", "PAUSE SUBSCRIPTION {}", "DESCRIBE PROCESSOR {}"):
        hidden = world.say(BOB, line.format(id))
        assert hidden == world.say(BOB, line.format("p-0000000")).replace("p-0000000", id)
        assert hidden.startswith("550 ")
    assert world.items(BOB, "GET PROCESSORS") == world.items(BOB, "GET SUBSCRIPTIONS") == []


@pytest.mark.parametrize(
    "caller, line, reply",
    [
        (TEST, f"REPLICATE none.flows.unix.ar {B}", "550 No such flow: none.flows.unix.ar"),
        (TEST, f"REPLICATE {A} {A}", f"554 Conflict: {A} is the source: a loop would be closed"),
        (TEST, f"COLLECT {FAR} {A} TO {B}", f"551 Not hosted here: {FAR}"),
        (TEST, f"SIGNAL {FAR} TO {B}", f"551 Not hosted here: {FAR}"),
        (TEST, f"SIGNAL {A} TO {B} WHEN \"type = \"", None),
        (BOB, f"REPLICATE {A} {B}", f"557 Not allowed: read on {A}"),
        (Caller(ANONYMOUS), "REPLICATE open.flows.unix.ar x.flows.unix.ar", "557 Not allowed: write on x.flows.unix.ar"),
        (BOB, "REPLICATE open.flows.unix.ar x.flows.unix.ar", "557 Not allowed: administer on flows.unix.ar"),
        (BOB, f"REPLICATE open.flows.unix.ar {A}", f"557 Not allowed: write on {A}"),
        (TEST, f"REPLICATE gone.flows.nowhere.ar {B}", "456 Agent of gone.flows.nowhere.ar cannot be reached"),
        (TEST, f"REPLICATE none.flows.emiliano.ar {B}", "556 Remote agent refused: No such flow: none.flows.emiliano.ar"),
    ],
)  # fmt: skip
def test_refusals_leave_no_processor(caller: Caller, line: str, reply: str | None) -> None:
    world = world_with(A, "open.flows.unix.ar visibility=public")
    said = world.say(caller, line)
    assert said == reply or (reply is None and said.startswith("501 Usage: WHEN: "))
    world.settle(70)
    assert run(world.unix.store.processors()) == []
    assert run(world.unix.store.intentions()) == []
    assert run(world.unix.store.subscriptions()) == []
    assert world.unix.processors.ids() == []


def test_the_same_is_never_done_twice() -> None:
    """Whoever repeats a command because its answer was lost would get each event twice."""
    world = world_with(A, B)
    id = made(world, f"SIGNAL {A} {B} TO {C} {D} WHEN \"type = 'x'\"")
    again = f"554 Conflict: {id} does so already: each event would arrive twice"
    assert world.say(TEST, f"SIGNAL {B} {A} TO {D} {C} WHEN \"type = 'x'\"") == again
    made(world, f"SIGNAL {A} {B} TO {C} {D} WHEN \"type = 'y'\"")
    made(world, f"COLLECT {A} {B} TO {C}")
    world.say(TEST, f"STOP SUBSCRIPTION {id}")
    assert world.say(TEST, f"SIGNAL {A} {B} TO {C} {D} WHEN \"type = 'x'\"") == again
    world.say(TEST, f"UNSUBSCRIBE {id}")
    made(world, f"SIGNAL {A} {B} TO {C} {D} WHEN \"type = 'x'\"")


def test_loops_through_processors_are_seen() -> None:
    world = world_with(A)
    made(world, f"REPLICATE {A} {B}")
    made(world, f"REPLICATE {B} {C}")
    loop = f"554 Conflict: {A} is among the sources of that flow: a loop would be closed"
    assert world.say(TEST, f"REPLICATE {C} {A}") == loop
    assert world.say(TEST, f"SUBSCRIBE {C} LOCAL {A}") == loop
    copy = world.say(TEST, f"SUBSCRIBE {C} LOCAL {D}").split()[2]
    assert world.say(TEST, f"REPLICATE {D} {A}") == loop
    assert copy in world.unix.processors.orders


def test_a_flow_of_another_participant_is_subscribed_to_first() -> None:
    world = world_with(A)
    world.say(EMILIANO, f"CREATE FLOW {FAR} visibility=public partitions=3")
    id = made(world, f"REPLICATE {FAR} {B}")
    near = f"{FAR}.flows.unix.ar"
    order = world.unix.processors.orders[id]
    assert (order.sources[0].queue, order.destinations[0].queue) == (near, B)
    assert world.unix.broker.queues[B].settings.partitions == 3
    (subscription,) = run(world.unix.store.subscriptions(Side.SUBSCRIBER))
    assert (subscription.flow, subscription.local, subscription.state) == (FAR, near, State.ACTIVE)
    second = made(world, f"DISTRIBUTE {FAR} {C} {D}")
    assert world.unix.processors.orders[second].sources[0].queue == near
    assert len(run(world.unix.store.subscriptions(Side.SUBSCRIBER))) == 1, "one that is there serves"
    world.say(TEST, f"UNSUBSCRIBE {second}")
    assert len(run(world.unix.store.subscriptions(Side.SUBSCRIBER))) == 1
    world.say(TEST, f"UNSUBSCRIBE {id}")
    assert run(world.unix.store.subscriptions()) == []
    assert run(world.emiliano.store.subscriptions()) == []


def test_a_listed_flow_of_another_participant_waits_for_its_approval() -> None:
    world = world_with(A)
    world.say(EMILIANO, f"CREATE FLOW {FAR} partitions=2")
    id = made(world, f"REPLICATE {FAR} {B}")
    (waiting,) = world.items(EMILIANO, f"GET SUBSCRIBERS {FAR}")
    world.say(EMILIANO, f"APPROVE SUBSCRIBER {waiting['subscriber']}")
    world.settle(180)
    assert record(world, id).state is State.ACTIVE
    assert world.unix.broker.queues[B].settings.partitions == 2


def test_a_processor_that_is_not_ready_is_pending_until_it_runs() -> None:
    world = world_with(A)
    start_late(world.unix.processors)
    reply = world.say(TEST, f"REPLICATE {A} {B}")
    assert reply.startswith("202 Pending p-")
    id = reply.split()[2]
    assert record(world, id).state is State.REQUESTED
    world.unix.processors.ready(id)
    world.settle(3)
    assert record(world, id).state is State.ACTIVE
    world.unix.processors.change(id, state="unreachable")
    world.settle(1)
    assert (record(world, id).state, record(world, id).reason) == (State.FAILING, "broker unreachable")


@pytest.mark.parametrize(
    "verb, state", [("", State.ACTIVE), ("PAUSE", State.PAUSED), ("STOP", State.STOPPED)]
)
def test_they_survive_a_restart(verb: str, state: State) -> None:
    world = world_with(A)
    id = made(world, f"REPLICATE {A} {B}")
    if verb:
        assert world.say(TEST, f"{verb} SUBSCRIPTION {id}") == "220 OK"
    journals = world.unix.processors.journals
    world.unix.processors = MemoryProcessors(world.time.now)
    world.unix.processors.journals |= journals
    run(world.provider.stop())
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    world.settle(70)
    assert record(world, id).state is state
    assert (id in world.unix.processors.ids()) == (state is State.ACTIVE)
    assert id in world.unix.processors.journals


def test_deleting_flows_of_a_processor() -> None:
    world = world_with(A)
    id = made(world, f"REPLICATE {A} {B}")
    assert (
        world.say(TEST, f"DELETE FLOW {A}")
        == f"554 Conflict: {A} is read by processors: {id}; FORCE ends them first"
    )
    assert world.say(TEST, f"DELETE FLOW {B}") == f"220 OK {B}"
    assert run(world.unix.store.processors()) == []
    assert record(world, id).reason == "flow-deleted"
    id = made(world, f"REPLICATE {A} {B}")
    assert world.say(TEST, f"DELETE FLOW {A} FORCE") == f"220 OK {A}"
    assert world.unix.processors.ids() == []


def test_destinations_follow_the_partitions_of_their_source() -> None:
    world = world_with(A)
    made(world, f"REPLICATE {A} {B}")
    world.say(TEST, f"UPDATE FLOW {A} partitions=4")
    world.settle(70)
    assert world.unix.broker.queues[B].settings.partitions == 4


def test_processors_per_account() -> None:
    world = World(Limits(flows_per_account=3, check=timedelta(minutes=5)))
    world.flow(A)
    made(world, f"REPLICATE {A} {B}")
    made(world, f"REPLICATE {A} {C}")
    made(world, f"REPLICATE {B} {C}")
    assert world.say(TEST, f"REPLICATE {C} {B}").startswith("554")
    assert world.say(TEST, f"COLLECT {A} TO {C}") == "452 Limit reached: processors per account"


def test_a_kind_that_the_processors_cannot_be_is_not_offered() -> None:
    world = world_with(A)
    world.provider = start_agent(world.unix, world.network, kinds=["bridge"])
    run(world.provider.start())
    assert world.say(TEST, f"SIGNAL {A} TO {B}") == "502 Not offered here: processors of kind signal"
    assert run(world.unix.store.processors()) == []


def test_two_that_share_source_and_destination_carry_each_event_twice_and_the_log_says_so() -> None:
    world = World()
    for name in "abc":
        world.flow(f"{name}.flows.unix.ar")
    a, b, c = (f"{name}.flows.unix.ar" for name in "abc")
    first = world.say(TEST, f"DISTRIBUTE {a} TO {b} {c}").split()[2]
    with capturedLogs() as logs:
        second = world.say(TEST, f"REPLICATE {a} {b}").split()[2]
        world.say(TEST, f"REPLICATE {b} {c}")
    (warned,) = [one for one in logs if "arrive there twice" in (one["log_format"] or "")]
    assert (warned["id"], warned["other"], warned["sources"], warned["flow"]) == (second, first, a, b)
