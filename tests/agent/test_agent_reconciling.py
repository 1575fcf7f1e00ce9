"""What the reconciler mends: at start, after errors and periodically."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent
from twisted.internet.defer import Deferred, execute

from eson.agent.memory import MemoryRemotes
from eson.brokers.port import Rights
from eson.model.principals import ANONYMOUS, Caller
from eson.model.subscriptions import Side, State
from eson.processors.memory import MemoryProcessors
from eson.processors.port import ProcessorOrder
from eson.store.port import PutCall, PutIntention, PutSubscription
from eson.store.records import Call, Intention
from eson.store.sqlite import SqliteStore

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"


def restart(world: World) -> None:
    """The provider's agent, its processors gone with it."""
    run(world.provider.stop())
    journals = world.unix.processors.journals
    world.unix.processors = MemoryProcessors(world.time.now)
    world.unix.processors.journals |= journals
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    world.settle(3)


def test_processors_run_again_after_a_restart() -> None:
    world = World()
    copy = world.subscribed()
    restart(world)
    assert world.unix.processors.status(copy).state == "running"
    assert dict(world.unix.processors.orders[copy].start) == {0: 0}


def test_records_are_published_before_the_agent_is_ready() -> None:
    world = World()
    copy = world.subscribed()
    run(world.provider.stop())
    world.unix.names.flows.clear()
    world.unix.names.namespaces.clear()
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    assert world.unix.names.published() == sorted([F, copy])
    assert world.unix.names.namespaces == {"flows.unix.ar"}


def test_records_of_what_is_not_ours_are_withdrawn() -> None:
    world = World()
    world.flow(F)
    names = world.unix.names
    names.flows["old.flows.unix.ar"] = names.flows[F]
    restart(world)
    assert names.published() == [F]


def test_queues_that_are_gone_are_made_anew_and_foreign_ones_left_alone() -> None:
    world = World()
    copy = world.subscribed()
    run(world.unix.broker.create_queue("somebody-elses", 2))
    run(world.unix.broker.create_queue("aaaaaaa.time.flows.unix.ar", 1))
    run(world.unix.broker.delete_queue(F))
    restart(world)
    assert set(world.unix.broker.queues) == {F, copy, "somebody-elses", "aaaaaaa.time.flows.unix.ar"}


def test_rights_of_copies_that_are_gone_are_taken_and_those_of_live_ones_given() -> None:
    world = World()
    copy = world.subscribed()
    broker = world.unix.broker
    world.say(Caller(ANONYMOUS), f"SUBSCRIBE {F}")
    for name in ("aaaaaaa.time.flows.unix.ar", "somebody"):
        run(broker.set_credential(name, "secret"))
        run(broker.allow(name, Rights(read=(F,))))
    broker.rights.pop(copy)
    broker.rights.pop("anonymous")
    restart(world)
    assert set(broker.users) == {copy, "anonymous", "somebody"}
    assert broker.rights[copy].read == (copy,)
    assert "anonymous" in broker.rights


def test_processors_of_nobody_are_removed() -> None:
    world = World()
    order = world.subscribed() and next(iter(world.unix.processors.orders.values()))
    orphan = ProcessorOrder("zzzzzzz.gone.flows.unix.ar", "bridge", order.sources, order.destinations)
    run(world.unix.processors.create(orphan))
    world.settle(70)
    assert orphan.id not in world.unix.processors.ids()
    assert orphan.id not in world.unix.processors.journals


def test_processors_do_what_their_records_say() -> None:
    world = World()
    copy = world.subscribed()
    processors = world.unix.processors
    run(processors.pause(copy))
    world.settle(70)
    assert processors.status(copy).state == "running"
    world.say(TEST, f"PAUSE SUBSCRIPTION {copy}")
    run(processors.resume(copy))
    world.settle(70)
    assert processors.status(copy).state == "paused"
    world.say(TEST, f"STOP SUBSCRIPTION {copy}")
    run(processors.create(next(iter(world.emiliano.processors.orders.values()))))
    world.settle(70)
    assert processors.ids() == []
    assert copy in processors.journals


def test_a_broker_that_was_down_at_start_is_caught_up_with_soon() -> None:
    world = World()
    world.flow(F)
    world.unix.broker.down = True
    restart(world)
    run_queues = world.unix.broker.queues
    run_queues.pop(F)
    world.unix.broker.down = False
    world.settle(60)
    assert F in run_queues


def test_an_intention_of_a_kind_that_nobody_knows_harms_nothing() -> None:
    """A store that a newer release wrote to is refused at opening; this is the second line."""
    world = World()
    copy = world.subscribed()
    run(world.unix.store.apply(PutIntention(Intention("unheard-of", "x", world.time.now()))))
    restart(world)
    assert world.unix.processors.status(copy).state == "running"
    assert world.say(TEST, f"REMOVE SUBSCRIBER {copy}") == f"220 OK {copy}"


def test_a_mistake_in_one_step_keeps_no_other_from_being_done() -> None:
    world = World()
    copy = world.subscribed()

    async def mistaken() -> Any:
        raise ZeroDivisionError

    world.unix.broker.list_queues = mistaken
    restart(world)
    assert world.unix.processors.status(copy).state == "running"


def test_what_a_crash_left_is_nothing_to_answer_with() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(BOB, f"SUBSCRIBE {F} AS t").split()[2]
    flow = run(world.unix.store.flow(copy))
    left = Intention(
        "end-copy",
        copy,
        world.time.now(),
        {"broker": "local", "topic": flow.topic, "reason": "removed", "actor": "agent", "detail": ""},
    )
    run(world.unix.store.apply(PutIntention(left)))
    assert world.say(BOB, f"SUBSCRIBE {F} AS t") == f"450 Another operation on {copy} is under way"
    assert world.say(BOB, f"GET CREDENTIAL {copy}") == f"450 Another operation on {copy} is under way"
    world.settle(70)
    assert run(world.unix.store.subscription(Side.PROVIDER, copy)).state is State.ENDED
    assert copy not in world.unix.broker.queues


def test_an_agent_that_stops_begins_nothing_new() -> None:
    world = World()
    world.flow(F)
    run(world.provider.stop())
    assert world.say(TEST, f"DESCRIBE FLOW {F}") == "454 The agent is shutting down"
    calls = len(world.unix.broker.calls)
    world.settle(400)
    assert len(world.unix.broker.calls) == calls


def test_one_pass_tells_whether_all_is_as_it_should_be() -> None:
    world = World()
    world.subscribed()
    assert run(world.provider.reconcile()) is True
    world.unix.broker.down = True
    assert run(world.provider.reconcile()) is False
    assert world.say(EMILIANO, f"DESCRIBE FLOW {G}").startswith("220 DATA")


def test_all_of_it_over_sqlite_and_again_from_the_same_files(tmp_path: Path) -> None:
    world = World(store=lambda domain: SqliteStore(tmp_path / f"{domain}.db", execute))
    copy = world.subscribed()
    waiting = world.say(BOB, "CREATE FLOW x.flows.unix.ar").startswith("557")
    assert waiting
    world.flow("listed.flows.unix.ar")
    asked = world.say(EMILIANO, "SUBSCRIBE listed.flows.unix.ar LOCAL l.flows.emiliano.ar").split()[2]
    id = world.say(TEST, f"DISTRIBUTE {F} TO p.flows.unix.ar q.flows.unix.ar").removeprefix("220 OK ")
    world.say(EMILIANO, f"PAUSE SUBSCRIPTION {copy}")
    for ports in (world.unix, world.emiliano):
        run(ports.store.close())
        ports.store = SqliteStore(tmp_path / f"{ports.domain}.db", execute)
        run(ports.store.open())
    restart(world)
    run(world.subscriber.stop())
    world.subscriber = start_agent(world.emiliano, world.network)
    run(world.subscriber.start())
    world.settle(3)
    assert set(world.unix.processors.ids()) == {copy, id}
    assert world.emiliano.processors.status(copy).state == "paused"
    assert world.say(TEST, f"APPROVE SUBSCRIBER {asked}") == f"220 OK {asked}"
    world.settle(2)
    states = {one["copy"]: one["state"] for one in world.items(EMILIANO, "GET SUBSCRIPTIONS")}
    assert states == {copy: "paused", asked: "active"}
    for name in (copy, asked):
        assert world.say(EMILIANO, f"UNSUBSCRIBE {name}") == "220 OK"
    assert world.say(TEST, f"UNSUBSCRIBE {id}") == "220 OK"
    for ports in (world.unix, world.emiliano):
        assert (
            run(ports.store.subscriptions())
            == run(ports.store.calls())
            == run(ports.store.intentions())
            == []
        )
        assert ports.processors.ids() == []
        run(ports.store.close())


def test_agents_that_do_not_answer_keep_no_processor_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    copy = world.subscribed()
    run(world.subscriber.stop())
    ports = world.emiliano
    gone = Call("token", "f.flows.nowhere.ar", "", "token", EMILIANO.principal, world.time.now())
    run(ports.store.apply(PutCall(gone)))
    ports.processors = MemoryProcessors(world.time.now)

    async def silent(self: MemoryRemotes, flow: str, on_behalf_of: Any) -> Any:
        await Deferred()

    monkeypatch.setattr(MemoryRemotes, "connect", silent)
    run(start_agent(ports, world.network).start())
    world.settle(3)
    assert ports.processors.status(copy).state == "running"


def test_a_copy_that_is_finished_while_its_user_is_looked_at_keeps_its_user() -> None:
    world = World()
    copy = world.subscribed()
    store, broker = world.unix.store, world.unix.broker
    flow, intention, list_users = store.flow, store.intention, broker.list_users
    made = Intention("make-copy", copy, world.time.now(), {"broker": "local", "topic": copy})
    under_way: list[bool] = []

    async def users() -> Any:
        under_way.append(True)
        return await list_users()

    async def seen(name: str, before: Any, after: Any) -> Any:
        """As it was before the first question is answered, and as it is behind that."""
        return before if name == copy and under_way and under_way.pop() else await after(name)

    broker.list_users = users
    store.flow = lambda name: seen(name, None, flow)
    store.intention = lambda name: seen(name, made, intention)
    run(world.provider.reconcile())
    assert copy in run(list_users())


def test_a_mistake_in_following_a_processor_does_not_end_the_following() -> None:
    world = World()
    copy = world.subscribed()
    processors, store = world.unix.processors, world.unix.store
    audited = store.audited

    async def mistaken(act: str, object: str) -> Any:
        raise ZeroDivisionError

    store.audited = mistaken
    processors.change(copy, state="failing", gaps=((0, 1, 2),))
    world.settle(2)
    store.audited = audited
    processors.change(copy, state="running")
    processors.change(copy, state="failing", last_error="the disk is full")
    world.settle(2)
    assert run(store.subscription(Side.PROVIDER, copy)).state is State.FAILING


def test_a_request_that_is_answered_while_others_are_given_up_is_not_given_up() -> None:
    world = World()
    copy = world.subscribed()
    store = world.emiliano.store
    live = run(store.subscription(Side.SUBSCRIBER, copy))
    left = replace(live, id="0-left", copy="", token="0-left", local="left.flows.emiliano.ar")
    asked = replace(live, id=live.token, copy="", state=State.REQUESTED)
    run(store.apply(PutSubscription(replace(left, state=State.REQUESTED)), PutSubscription(asked)))
    apply = store.apply

    async def answered(*changes: Any) -> None:
        store.apply = apply
        await apply(*changes)
        await apply(PutSubscription(live, replaces=asked.id))

    store.apply = answered
    run(world.subscriber.reconcile())
    world.settle(400)
    assert run(store.subscription(Side.SUBSCRIBER, "0-left")) is None
    assert run(store.subscription(Side.SUBSCRIBER, copy)).state is State.ACTIVE
    assert run(world.unix.store.subscription(Side.PROVIDER, copy)).state is State.ACTIVE
