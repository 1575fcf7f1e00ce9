"""What one user can make others pay for is counted."""

from __future__ import annotations

from agent.agent_world import BOB, EMILIANO, TEST, World

from eson.agent.hosting import Limits


def test_a_user_subscribes_a_bounded_number_of_times() -> None:
    """Each copy is a topic and a process; neither neighbours nor other participants feel that somebody has too many."""
    world = World(limits=Limits(flows_per_account=3))
    world.flow()
    copies = [world.say(BOB, "SUBSCRIBE time.flows.unix.ar").split()[2] for _ in range(3)]
    assert world.say(BOB, "SUBSCRIBE time.flows.unix.ar") == "452 Limit reached: subscriptions per account"
    assert len(world.unix.processors.ids()) == 3
    assert world.say(TEST, "SUBSCRIBE time.flows.unix.ar").startswith("220 DATA")
    assert world.say(EMILIANO, "SUBSCRIBE time.flows.unix.ar LOCAL t.flows.emiliano.ar").startswith(
        "220 DATA"
    )
    assert world.say(BOB, f"UNSUBSCRIBE {copies[0]}") == "220 OK"
    assert world.say(BOB, "SUBSCRIBE time.flows.unix.ar").startswith("220 DATA")


def test_a_token_that_is_repeated_costs_nothing() -> None:
    """It finds what it made, at the limit too."""
    world = World(limits=Limits(flows_per_account=1))
    world.flow()
    first = world.say(BOB, "SUBSCRIBE time.flows.unix.ar AS one")
    assert world.say(BOB, "SUBSCRIBE time.flows.unix.ar AS one") == first
    assert world.say(BOB, "SUBSCRIBE time.flows.unix.ar AS two").startswith("452 ")
