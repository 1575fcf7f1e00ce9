"""Leases, requests that lapse, and records of what ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent

from eson.agent.hosting import Limits
from eson.fnap.core.grammar import parse_command
from eson.model.principals import Caller, user
from eson.model.subscriptions import Side, State

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"
HOURS = Limits(lease=timedelta(hours=2))


def provider(world: World, copy: str) -> Any:
    return run(world.unix.store.subscription(Side.PROVIDER, copy))


def subscriber(world: World, copy: str) -> Any:
    return run(world.emiliano.store.subscription(Side.SUBSCRIBER, copy))


def hours(world: World, number: float) -> None:
    for _ in range(int(number * 60)):
        world.time.advance(60)


def test_the_check_renews_the_lease() -> None:
    world = World(HOURS)
    copy = world.subscribed()
    hours(world, 6)
    assert provider(world, copy).state is State.ACTIVE
    assert world.time.now() - provider(world, copy).renewed < timedelta(minutes=7)
    (item,) = world.items(TEST, f"GET SUBSCRIBERS {F}")
    assert item["expires"] > "2026-11-25T19:50"


def test_a_subscriber_that_is_gone_loses_its_copy_when_the_lease_ends() -> None:
    world = World(HOURS)
    copy = world.subscribed()
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    hours(world, 1.9)
    assert provider(world, copy).state is State.ACTIVE
    hours(world, 0.3)
    ended = provider(world, copy)
    assert (ended.state, ended.reason, ended.actor) == (State.ENDED, "lease", "agent")
    assert copy not in world.unix.broker.queues
    assert world.unix.broker.users == {}
    assert subscriber(world, copy).state is State.ACTIVE
    world.network.cut.clear()
    hours(world, 0.2)
    assert (subscriber(world, copy).state, subscriber(world, copy).reason) == (State.ENDED, "lease")
    assert world.emiliano.processors.ids() == []
    assert run(world.emiliano.store.credential(Side.SUBSCRIBER, copy)) is None


def test_paused_subscriptions_keep_their_lease() -> None:
    world = World(HOURS)
    copy = world.subscribed()
    world.say(EMILIANO, f"STOP SUBSCRIPTION {copy}")
    hours(world, 5)
    assert provider(world, copy).state is State.ACTIVE


def test_only_its_own_principal_renews() -> None:
    world = World(HOURS)
    copy = world.subscribed()
    world.network.cut.add("unix.ar")
    before = provider(world, copy).renewed
    hours(world, 1)
    world.say(TEST, f"DESCRIBE FLOW {copy}")
    assert provider(world, copy).renewed == before
    own = Caller(user("emiliano", "emiliano.ar"), account="x", tls=True)
    world.say(own, f"DESCRIBE FLOW {copy}", world.provider)
    assert provider(world, copy).renewed == world.time.now()


def test_while_the_provider_was_down_no_lease_ended() -> None:
    world = World(HOURS)
    copy = world.subscribed()
    run(world.provider.stop())
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    hours(world, 5)
    world.provider = start_agent(world.unix, world.network, HOURS)
    run(world.provider.start())
    hours(world, 1.9)
    assert provider(world, copy).state is State.ACTIVE
    hours(world, 0.3)
    assert provider(world, copy).state is State.ENDED


def test_what_was_renewed_or_approved_while_others_ended_goes_on() -> None:
    world = World(Limits(lease=timedelta(hours=2), request=timedelta(hours=2, seconds=72)))
    first = world.subscribed()
    world.flow("b.flows.unix.ar visibility=public")
    world.flow("c.flows.unix.ar visibility=listed")
    second = world.say(EMILIANO, "SUBSCRIBE b.flows.unix.ar LOCAL b.flows.emiliano.ar").split()[5]
    third = ""
    while third < second:  # what lapsed is ended by name
        world.say(EMILIANO, "UNSUBSCRIBE c.flows.emiliano.ar")
        third = world.say(EMILIANO, "SUBSCRIBE c.flows.unix.ar LOCAL c.flows.emiliano.ar").split()[2]
    every = (first, second)
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    own = Caller(user("emiliano", "emiliano.ar"), account="x", tls=True)
    broker = world.unix.broker
    disallow = broker.disallow

    async def slow(username: str) -> None:
        """While the first is being ended, the other one's agent comes back and the owner approves."""
        broker.disallow = disallow
        await disallow(username)
        other = every[1] if username == every[0] else every[0]
        await world.provider.execute(own, parse_command(f"DESCRIBE FLOW {other}"))  # type: ignore[arg-type]
        await world.provider.execute(TEST, parse_command(f"APPROVE SUBSCRIBER {third}"))  # type: ignore[arg-type]

    broker.disallow = slow
    hours(world, 2.2)
    states = {
        copy: (provider(world, copy).state, provider(world, copy).reason) for copy in (first, second, third)
    }
    assert sorted(reason for _, reason in states.values()) == ["", "", "lease"]
    assert states[third] == (State.ACTIVE, "")


def test_own_users_copies_have_no_lease() -> None:
    world = World(HOURS)
    world.flow(f"{F} visibility=public")
    copy = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    hours(world, 5)
    assert provider(world, copy).state is State.ACTIVE


def test_a_request_that_nobody_approves_lapses() -> None:
    world = World(Limits(request=timedelta(hours=3)))
    world.flow(F)
    copy = world.say(EMILIANO, f"SUBSCRIBE {F} LOCAL {G}").split()[2]
    hours(world, 2.9)
    assert provider(world, copy).state is State.PENDING
    hours(world, 0.3)
    assert provider(world, copy).reason == "expired"
    hours(world, 0.2)
    assert subscriber(world, copy).reason == "expired"


def test_ended_records_are_shown_for_a_while_and_then_forgotten() -> None:
    world = World(Limits(history=timedelta(hours=3)))
    copy = world.subscribed()
    world.say(EMILIANO, f"UNSUBSCRIBE {copy}")
    assert world.items(EMILIANO, "GET SUBSCRIPTIONS") == []
    for who in (TEST, EMILIANO):
        assert "\nstate=ended\nreason=unsubscribed\n" in world.say(who, f"DESCRIBE FLOW {copy}")
    hours(world, 3.1)
    assert world.say(TEST, f"DESCRIBE FLOW {copy}") == f"550 No such flow: {copy}"
    for ports in (world.unix, world.emiliano):
        assert run(ports.store.subscriptions(ended=True)) == []


def test_a_loop_that_came_to_be_elsewhere_is_ended_by_the_check() -> None:
    """Both ends were joined at the same time: each saw no loop yet."""
    world = World()
    copy = world.subscribed()
    world.say(EMILIANO, f"UPDATE FLOW {G} visibility=public")
    # unix.ar forgets what it knows, as if it had looked before the other subscription was made
    back = world.say(TEST, f"SUBSCRIBE {G} LOCAL back.flows.unix.ar").split()[5]
    record = run(world.unix.store.subscription(Side.SUBSCRIBER, back))
    from dataclasses import replace

    from eson.store.port import PutSubscription

    run(world.unix.store.apply(PutSubscription(replace(record, local=F, lineage=()))))
    hours(world, 0.4)
    reasons = {
        run(world.unix.store.subscription(Side.SUBSCRIBER, back)).reason,
        subscriber(world, copy).reason,
    }
    assert "loop" in reasons


def test_hours_that_never_were_end_no_lease() -> None:
    """Somebody sets the clock of the provider, or its machine slept: its subscribers are as they were."""
    world = World(HOURS)
    copy = world.subscribed()
    hours(world, 0.5)
    world.time.moved = timedelta(hours=5)
    world.settle(61)
    assert provider(world, copy).state is State.ACTIVE
    hours(world, 0.5)
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    hours(world, 1.9)
    assert provider(world, copy).state is State.ACTIVE
    hours(world, 0.3)
    assert (provider(world, copy).state, provider(world, copy).reason) == (State.ENDED, "lease")


def test_a_clock_that_is_moved_back_makes_no_lease_longer() -> None:
    world = World(HOURS)
    world.time.moved = timedelta(days=300)
    copy = world.subscribed()
    world.time.moved = timedelta(0)
    hours(world, 0.2)
    assert provider(world, copy).renewed <= world.time.now(), "it is renewed as ever"
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    hours(world, 2.2)
    assert provider(world, copy).state is State.ENDED


def test_a_clock_that_is_moved_back_holds_up_no_call() -> None:
    """What was left to a call is told as soon as the other side is there again."""
    world = World()
    copy = world.subscribed()
    world.network.cut |= {"emiliano.ar", "unix.ar"}
    assert world.say(EMILIANO, f"UNSUBSCRIBE {copy}") == "220 OK"
    world.settle(15)
    world.time.moved = -timedelta(days=300)
    world.network.cut.clear()
    world.settle(70)
    assert run(world.emiliano.store.calls()) == []
    assert provider(world, copy).state is State.ENDED
