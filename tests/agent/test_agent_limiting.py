"""`limit` of UPDATE and CREATE FLOW: who may set it, what it says, and which processors keep it."""

from __future__ import annotations

from typing import Any

import pytest
from agent.agent_world import BOB, EMILIANO, TEST, World, run, start_agent

from eson.model.rates import UNLIMITED, RateLimit
from eson.model.subscriptions import Side
from eson.processors.memory import MemoryProcessors
from eson.store.port import DropFlow, PutIntention
from eson.store.records import Intention

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"
A, B, C, D = (f"{name}.flows.unix.ar" for name in "abcd")
SOME = RateLimit(1000, 5_000_000)


def limits(processors: Any, id: str) -> list[RateLimit]:
    """Of the destinations that a processor was told."""
    return [end.limit for end in processors.orders[id].destinations]


def test_a_copys_limit_holds_for_what_fills_it_and_a_local_flows_for_what_fills_that() -> None:
    world = World()
    copy = world.subscribed()
    out, into = world.unix.processors, world.emiliano.processors
    assert world.say(TEST, f"UPDATE FLOW {copy} limit=1000/s,5000000B/s") == f"220 OK {copy}"
    assert (limits(out, copy), limits(into, copy)) == ([SOME], [UNLIMITED])
    assert world.say(EMILIANO, f"UPDATE FLOW {G} limit=7/s") == f"220 OK {G}"
    assert (limits(out, copy), limits(into, copy)) == ([SOME], [RateLimit(7)])
    assert world.say(TEST, f"UPDATE FLOW {copy} limit=NONE") == f"220 OK {copy}"
    assert (limits(out, copy), limits(into, copy)) == ([UNLIMITED], [RateLimit(7)])
    assert out.calls[-2:] == [("amend", copy)] * 2, "nothing is started or stopped for it"
    assert world.say(TEST, f"UPDATE FLOW {F} limit=9/s") == f"220 OK {F}"
    assert limits(out, copy) == [UNLIMITED], "the flow's own limit is for what fills the flow"


def test_the_second_leg_of_a_subscription_at_home_keeps_that_of_the_local_flow() -> None:
    world = World()
    world.flow()
    copy = world.say(TEST, f"SUBSCRIBE {F} LOCAL {B}").split()[2]
    assert world.say(TEST, f"UPDATE FLOW {B} limit=8B/s") == f"220 OK {B}"
    assert limits(world.unix.processors, f"to-{copy}") == [RateLimit(octets=8)]
    assert limits(world.unix.processors, copy) == [UNLIMITED]


def test_each_destination_of_a_processor_keeps_its_own() -> None:
    world = World()
    for line in (A, B, f"{C} limit=5/s", D):
        world.flow(line)
    spread = world.say(TEST, f"DISTRIBUTE {A} TO {B} {C} {D}").split()[-1]
    bridge = world.say(TEST, f"REPLICATE {A} TO {C}").split()[-1]
    assert limits(world.unix.processors, spread) == [UNLIMITED, RateLimit(5), UNLIMITED]
    world.say(TEST, f"UPDATE FLOW {D} limit=6/s")
    assert limits(world.unix.processors, spread) == [UNLIMITED, RateLimit(5), RateLimit(6)]
    world.say(TEST, f"UPDATE FLOW {C} limit=none")
    assert limits(world.unix.processors, spread) == [UNLIMITED, UNLIMITED, RateLimit(6)]
    assert limits(world.unix.processors, bridge) == [UNLIMITED]


def test_processors_hear_of_changes_of_limits_alone() -> None:
    world = World()
    copy = world.subscribed()
    world.say(EMILIANO, f"UPDATE FLOW {G} limit=7/s")
    before = list(world.emiliano.processors.calls)
    world.say(EMILIANO, f"UPDATE FLOW {G} description=x")
    world.say(EMILIANO, f"UPDATE FLOW {G} limit=7/s retention=1d")
    assert world.emiliano.processors.calls == before
    assert limits(world.emiliano.processors, copy) == [RateLimit(7)]


@pytest.mark.parametrize("verb", ["PAUSE", "STOP"])
def test_what_rests_keeps_it_when_it_goes_on(verb: str) -> None:
    world = World()
    copy = world.subscribed()
    world.say(TEST, f"{verb} SUBSCRIPTION {copy}")
    running = world.unix.processors.ids()
    assert world.say(TEST, f"UPDATE FLOW {copy} limit=7/s") == f"220 OK {copy}"
    assert world.unix.processors.ids() == running, "it is not started for it"
    assert world.say(TEST, f"RESUME SUBSCRIPTION {copy}") == "220 OK"
    assert limits(world.unix.processors, copy) == [RateLimit(7)]


def test_it_survives_a_restart() -> None:
    world = World()
    copy = world.subscribed()
    world.flow(f"{A} limit=5/s")
    made = world.say(TEST, f"COLLECT {F} TO {A}").split()[-1]
    world.say(TEST, f"UPDATE FLOW {copy} limit=1000/s,5000000B/s")
    run(world.provider.stop())
    world.unix.processors = MemoryProcessors(world.time.now)
    world.provider = start_agent(world.unix, world.network)
    run(world.provider.start())
    world.settle()
    assert limits(world.unix.processors, copy) == [SOME]
    assert limits(world.unix.processors, made) == [RateLimit(5)]


def test_a_copy_keeps_its_own_when_its_flow_changes() -> None:
    world = World()
    copy = world.subscribed()
    world.say(TEST, f"UPDATE FLOW {copy} limit=7/s")
    assert world.say(TEST, f"UPDATE FLOW {F} partitions=3 limit=9/s") == f"220 OK {F}"
    flow = run(world.unix.store.flow(copy))
    assert (flow.partitions, flow.limit) == (3, RateLimit(7))


def test_it_is_described_where_it_is_set() -> None:
    world = World()
    copy = world.subscribed()
    assert '"limit"' not in world.say(TEST, f"DESCRIBE FLOW {copy}", as_json=True)
    world.say(TEST, f"UPDATE FLOW {copy} limit=5000000b/S,1000/s")
    assert "\nlimit=1000/s,5000000B/s\n" in world.say(TEST, f"DESCRIBE FLOW {copy}")
    described = world.say(TEST, f"DESCRIBE FLOW {copy}", as_json=True)
    assert '"mode":"binary","limit":"1000/s,5000000B/s","guarantee"' in described
    world.say(TEST, f"UPDATE FLOW {copy} limit=none")
    assert "limit=" not in world.say(TEST, f"DESCRIBE FLOW {copy}")
    audit = [one for one in run(world.unix.store.audit()) if one.act == "update flow"]
    assert [(one.object, one.detail) for one in audit] == [
        (copy, "limit=5000000b/S,1000/s"),
        (copy, "limit=none"),
    ]


WRONG = "501 Usage: limit=RECORDS/s, OCTETSB/s or both, such as 1000/s,5000000B/s, of 10 digits at most; or limit=none"


@pytest.mark.parametrize(
    "value, reply",
    [
        ("1000", WRONG),
        ('""', WRONG),
        ("fast", WRONG),
        ("-1/s", WRONG),
        ("1.5/s", WRONG),
        ("1KB/s", WRONG),
        ("1/m", WRONG),
        ("1/s,", WRONG),
        ("none,1/s", WRONG),
        ("10000000000/s", WRONG),
        ("٣/s", WRONG),
        (
            "0/s",
            "501 Usage: a limit is 1 at least: limit=none for no limit, PAUSE SUBSCRIPTION to carry nothing",
        ),
        ("1/s,2/s", "501 Usage: limit has one rate in records and one in octets at most"),
    ],
)
def test_what_is_no_limit_changes_nothing(value: str, reply: str) -> None:
    world = World()
    world.flow(f"{F} limit=3/s")
    assert world.say(TEST, f"UPDATE FLOW {F} limit={value}") == reply
    assert world.say(TEST, f"CREATE FLOW {A} limit={value}") == reply
    assert run(world.unix.store.flow(F)).limit == RateLimit(3)
    assert run(world.unix.store.flow(A)) is None


def test_who_may_set_it() -> None:
    world = World()
    copy = world.subscribed()
    assert world.say(BOB, f"UPDATE FLOW {F} limit=1/s") == f"557 Not allowed: administer on {F}"
    assert world.say(BOB, f"UPDATE FLOW {copy} limit=1/s") == f"550 No such flow: {copy}"
    # a subscriber at the provider's agent reads its copy, and does not change it
    world.say(BOB, f"SUBSCRIBE {F}")
    (own,) = [one.copy for one in run(world.unix.store.subscriptions(Side.PROVIDER, principal=BOB.principal))]
    assert world.say(BOB, f"UPDATE FLOW {own} limit=1/s") == f"557 Not allowed: administer on {own}"
    for line in (f"UPDATE FLOW {copy} limit=1/s retention=1d", f"UPDATE FLOW {copy} partitions=2"):
        assert world.say(TEST, line) == "504 of a copy only the limit is changed: all else follows its flow"
    assert run(world.unix.store.flow(copy)).limit == UNLIMITED


def test_a_copy_that_is_being_ended_is_not_kept_by_an_update() -> None:
    """What the reconciler has to finish is not written over."""
    world = World()
    copy = world.subscribed()
    ending = Intention("end-copy", copy, world.time.now(), {})
    run(world.unix.store.apply(PutIntention(ending)))
    assert world.say(TEST, f"UPDATE FLOW {copy} limit=1/s") == f"450 Another operation on {copy} is under way"
    assert run(world.unix.store.intention(copy)) == ending


def test_a_processor_whose_source_is_gone_holds_up_no_update() -> None:
    world = World()
    for line in (A, B, C):
        world.flow(line)
    lost, kept = (world.say(TEST, f"REPLICATE {name} TO {C}").split()[-1] for name in (A, B))
    run(world.unix.store.apply(DropFlow(A)))
    assert world.say(TEST, f"UPDATE FLOW {C} limit=1/s") == f"220 OK {C}"
    assert limits(world.unix.processors, kept) == [RateLimit(1)]
    assert limits(world.unix.processors, lost) == [UNLIMITED]
    assert run(world.unix.store.intention(C)) is None
