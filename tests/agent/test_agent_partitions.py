"""Partition for partition: destinations with fewer are refused, and those that were made for their source follow it."""

from __future__ import annotations

import pytest
from agent.agent_world import EMILIANO, TEST, World, run

from eson.model.subscriptions import Side, State

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"
A, B, C, D = (f"{name}.flows.unix.ar" for name in "abcd")
FAR = "far.flows.emiliano.ar"


def partitions(world: World, name: str) -> int:
    """Of the queue, by its flow's FQDN; what DESCRIBE says is the same."""
    ours = name.endswith("unix.ar")
    ports, caller = (world.unix, TEST) if ours else (world.emiliano, EMILIANO)
    count: int = ports.broker.queues[name].settings.partitions
    assert run(ports.store.flow(name)).partitions == count
    assert f'"partitions":{count}' in world.say(caller, f"DESCRIBE FLOW {name}", as_json=True)
    return count


def notes(world: World, act: str) -> list[tuple[str, str]]:
    """(object, detail) of the agents' own lines of that kind, of both participants."""
    return [
        (entry.object, entry.detail)
        for ports in (world.unix, world.emiliano)
        for entry in run(ports.store.audit())
        if entry.act == act and entry.actor == "agent"
    ]


def grow(world: World, name: str, count: int) -> None:
    """Behind the agent's back."""
    run((world.unix if name.endswith("unix.ar") else world.emiliano).broker.add_partitions(name, count))


def fails(world: World, id: str) -> None:
    """What its processor says when it has no place for a new partition."""
    for ports in (world.unix, world.emiliano):
        if id in ports.processors.orders:
            ports.processors.change(id, state="failing", last_error="partition 2 waits")
    world.settle(1)


def assert_nothing_of_it(world: World) -> None:
    world.settle(70)
    for ports in (world.unix, world.emiliano):
        assert run(ports.store.subscriptions()) == []
        assert run(ports.store.processors()) == []
        assert run(ports.store.intentions()) == []
        assert run(ports.store.calls()) == []
        assert ports.processors.ids() == []


# What is refused


@pytest.mark.parametrize("visibility", ["public", "listed"])
def test_a_local_flow_with_fewer_is_refused_before_anything_is_asked_for(visibility: str) -> None:
    """Also where an approval would come first: nobody is to approve in vain."""
    world = World()
    world.flow(f"{F} visibility={visibility} partitions=3")
    world.say(EMILIANO, f"CREATE FLOW {G} partitions=2")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == (
        f"554 Conflict: {G} has 2 partitions, its source has 3: UPDATE FLOW {G} partitions=3 first,"
        " or choose another flow"
    )
    assert_nothing_of_it(world)
    assert [call for call in world.unix.broker.calls if call[1].endswith(f".{F}")] == []
    assert partitions(world, G) == 2
    assert world.say(EMILIANO, f"UPDATE FLOW {G} partitions=3") == f"220 OK {G}"
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}")[:3] in ("220", "202")


def test_the_same_with_both_ends_here() -> None:
    world = World()
    world.flow(f"{A} partitions=3")
    world.flow(B)
    assert world.say(TEST, f"SUBSCRIBE {A} LOCAL {B}").startswith(
        f"554 Conflict: {B} has 1 partition, its source has 3: UPDATE FLOW {B} partitions=3 first"
    )
    assert_nothing_of_it(world)
    assert set(world.unix.broker.queues) == {A, B}


def test_a_queue_with_fewer_becomes_no_local_flow() -> None:
    world = World()
    world.flow(f"{F} visibility=public partitions=3")
    run(world.emiliano.broker.create_queue(G, 2))
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == (
        f"554 Conflict: the queue {G} is there already with 2 partitions, its source has 3: add partitions to it,"
        " or choose another flow"
    )
    assert run(world.emiliano.store.flow(G)) is None
    assert set(world.unix.broker.queues) == {F}
    grow(world, G, 3)
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("220 DATA")


@pytest.mark.parametrize("line", [f"REPLICATE {A} {C}", f"DISTRIBUTE {A} {B} {C}"])
def test_a_destination_with_fewer_is_refused_and_no_other_made(line: str) -> None:
    world = World()
    world.flow(f"{A} partitions=3")
    world.flow(f"{C} partitions=2")
    assert world.say(TEST, line) == (
        f"554 Conflict: {C} has 2 partitions, its source has 3: UPDATE FLOW {C} partitions=3 first,"
        " or choose another flow"
    )
    assert_nothing_of_it(world)
    assert set(world.unix.broker.queues) == {A, C}
    assert partitions(world, C) == 2


# What is allowed


def test_more_at_the_destination_are_left_as_they_are() -> None:
    world = World()
    world.flow(f"{F} visibility=public partitions=2")
    world.say(EMILIANO, f"CREATE FLOW {G} partitions=5")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("220 DATA")
    world.flow(f"{A} partitions=4")
    assert world.say(TEST, f"REPLICATE {F} {A}").startswith("220 OK")
    assert (partitions(world, G), partitions(world, A)) == (5, 4)


def test_partitions_that_were_added_at_the_broker_count() -> None:
    world = World()
    world.flow(f"{F} visibility=public partitions=2")
    world.say(EMILIANO, f"CREATE FLOW {G}")
    grow(world, G, 2)
    grow(world, F, 2)
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("220 DATA")
    assert partitions(world, G) == 2
    assert notes(world, "find partitions") == [(G, "2: added at its broker")]


def test_a_source_that_grew_at_its_broker_gets_wide_destinations() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    grow(world, F, 3)
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[5]
    world.say(TEST, f"REPLICATE {F} {B}")
    assert [partitions(world, name) for name in (copy, G, B)] == [3, 3, 3]


@pytest.mark.parametrize("line", [f"COLLECT {A} {B} TO {C}", f"SIGNAL {A} TO {C}"])
def test_what_makes_a_new_flow_of_several_takes_any_number(line: str) -> None:
    world = World()
    world.flow(f"{A} partitions=3")
    world.flow(B)
    world.flow(C)
    assert world.say(TEST, line).startswith("220 OK")
    assert partitions(world, C) == 1


# Sources that grow


def test_copies_and_what_was_made_for_them_follow() -> None:
    """Each processor says what it lacks; each agent gives what is its to give, and notes it."""
    world = World()
    copy = world.subscribed()
    grow(world, F, 3)
    world.unix.processors.change(copy, state="failing")
    world.settle(1)
    assert (partitions(world, F), partitions(world, copy), partitions(world, G)) == (3, 3, 1)
    world.emiliano.processors.change(copy, state="failing")
    world.settle(1)
    assert partitions(world, G) == 3
    assert notes(world, "find partitions") == [(F, "3: added at its broker")]
    assert notes(world, "add partitions") == [
        (name, f"1 to 3, as the source of {copy}") for name in (copy, G)
    ]


def test_with_both_ends_here_all_follow() -> None:
    world = World()
    world.flow(A)
    copy = world.say(TEST, f"SUBSCRIBE {A} LOCAL {B}").split()[2]
    grow(world, A, 2)
    fails(world, copy)
    fails(world, f"to-{copy}")
    assert [partitions(world, name) for name in (A, copy, B)] == [2, 2, 2]


def test_destinations_of_processors_follow() -> None:
    world = World()
    world.flow(A)
    id = world.say(TEST, f"DISTRIBUTE {A} {B} {C}").split()[2]
    grow(world, A, 2)
    fails(world, id)
    assert [partitions(world, name) for name in (A, B, C)] == [2, 2, 2]


def test_a_flow_that_somebody_created_is_left_alone() -> None:
    """Others write to it, and more partitions would move their keys."""
    world = World()
    world.flow(f"{F} visibility=public")
    world.say(EMILIANO, f"CREATE FLOW {G}")
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[5]
    world.flow(B)
    id = world.say(TEST, f"REPLICATE {F} {B}").split()[2]
    assert world.say(TEST, f"UPDATE FLOW {F} partitions=3") == f"220 OK {F}"
    assert partitions(world, copy) == 3
    fails(world, copy)
    fails(world, id)
    world.settle(400)
    assert (partitions(world, G), partitions(world, B)) == (1, 1)
    assert world.say(EMILIANO, f"UPDATE FLOW {G} partitions=3") == f"220 OK {G}"


def test_a_queue_that_was_there_before_its_flow_is_left_alone() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    run(world.emiliano.broker.create_queue(G, 1))
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[5]
    world.say(TEST, f"UPDATE FLOW {F} partitions=3")
    fails(world, copy)
    assert partitions(world, G) == 1


def test_a_flow_that_was_made_for_one_is_refused_to_another_as_any_other() -> None:
    world = World()
    world.flow(A)
    world.flow(f"{D} partitions=2")
    world.say(TEST, f"REPLICATE {A} {B}")
    assert world.say(TEST, f"REPLICATE {D} {B}").startswith(f"554 Conflict: {B} has 1 partition,")


def test_what_fails_while_a_broker_is_away_is_done_later() -> None:
    world = World()
    copy = world.subscribed()
    grow(world, F, 3)
    world.unix.broker.down = True
    world.unix.processors.change(copy, state="failing")
    world.settle(1)
    world.unix.broker.down = False
    world.settle(120)
    assert partitions(world, copy) == 3


def test_the_check_of_subscriptions_finds_it_too() -> None:
    world = World()
    world.subscribed()
    world.say(TEST, f"UPDATE FLOW {F} partitions=3")
    world.settle(310)
    assert partitions(world, G) == 3


def test_what_waits_for_an_approval_follows_from_the_beginning() -> None:
    world = World()
    world.say(EMILIANO, f"CREATE FLOW {FAR} partitions=2")
    id = world.say(TEST, f"REPLICATE {FAR} {B}").split()[2]
    (waiting,) = world.items(EMILIANO, f"GET SUBSCRIBERS {FAR}")
    world.say(EMILIANO, f"UPDATE FLOW {FAR} partitions=3")
    world.say(EMILIANO, f"APPROVE SUBSCRIBER {waiting['subscriber']}")
    world.settle(180)
    assert run(world.unix.store.processor(id)).state is State.ACTIVE
    assert [partitions(world, name) for name in (f"{FAR}.flows.unix.ar", B)] == [3, 3]


def test_a_copy_has_the_partitions_that_its_flow_has_when_it_is_approved() -> None:
    world = World()
    world.flow(f"{F} visibility=listed")
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[2]
    grow(world, F, 3)
    world.say(TEST, f"APPROVE SUBSCRIBER {copy}")
    world.settle(1)
    assert (partitions(world, copy), partitions(world, G)) == (3, 3)


def test_an_approval_that_comes_too_late_ends_with_the_reason() -> None:
    """The flow grew while the request waited."""
    world = World()
    world.flow(f"{F} visibility=listed")
    world.say(EMILIANO, f"CREATE FLOW {G}")
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[2]
    world.say(TEST, f"UPDATE FLOW {F} partitions=3")
    world.say(TEST, f"APPROVE SUBSCRIBER {copy}")
    world.settle(70)
    for ports, side in ((world.unix, Side.PROVIDER), (world.emiliano, Side.SUBSCRIBER)):
        assert run(ports.store.subscription(side, copy)).state is State.ENDED
    assert "\nreason=error\n" in world.say(EMILIANO, f"DESCRIBE FLOW {copy}")
    ((object, detail),) = notes(world, "end subscription: error")
    assert object == copy
    assert f"UPDATE FLOW {G} partitions=3" in detail


def test_a_source_that_grew_before_its_processor_began_ends_it_with_the_reason() -> None:
    world = World()
    world.flow(A)
    world.flow(B)
    world.unix.broker.down = True
    id = world.say(TEST, f"REPLICATE {A} {B}").split()[2]
    world.unix.broker.down = False
    grow(world, A, 3)
    world.settle(70)
    assert "\nreason=error\n" in world.say(TEST, f"DESCRIBE PROCESSOR {id}")


def test_no_other_participant_makes_our_flow_larger_than_we_allow() -> None:
    """What is there goes on; more is ours to give."""
    world = World()
    copy = world.subscribed()
    for asked, have in ((200, 200), (1000, 200)):
        world.say(TEST, f"UPDATE FLOW {F} partitions={asked}")
        world.settle(310)
        assert partitions(world, G) == have
    assert run(world.emiliano.store.subscription(Side.SUBSCRIBER, copy)).state is State.ACTIVE
    assert world.say(EMILIANO, f"UPDATE FLOW {G} partitions=1000") == f"220 OK {G}"


def test_no_flow_is_made_with_as_many_partitions_as_another_participant_likes() -> None:
    world = World()
    world.flow(f"{F} visibility=public partitions=201")
    refused = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}")
    assert refused.startswith("554 Conflict: ")
    assert (
        f"no more than 200 are made for another participant's flow: CREATE FLOW {G} partitions=201" in refused
    )
    assert_nothing_of_it(world)
    assert G not in world.emiliano.broker.queues
    world.say(EMILIANO, f"CREATE FLOW {G} partitions=201")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").startswith("220 DATA")


def test_a_flow_that_is_hidden_is_refused_in_the_words_of_subscribe() -> None:
    world = World()
    world.flow(f"{F} visibility=private partitions=3")
    world.say(EMILIANO, f"CREATE FLOW {G} partitions=2")
    assert world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}") == f"556 Remote agent refused: No such flow: {F}"
    assert_nothing_of_it(world)
