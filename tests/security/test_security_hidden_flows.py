"""What is hidden looks as if it were not there: byte for byte, whatever is asked (interface section 5, `550`)."""

from __future__ import annotations

from typing import Any

import pytest
from agent.agent_world import TEST, World, run

from eson.fnap.core.grammar import parse_command
from eson.fnap.core.render import error_line
from eson.model.principals import ANONYMOUS, Caller, user

HIDDEN, MISSING = "hidden1.flows.unix.ar", "absent1.flows.unix.ar"
STRANGERS = {
    "anonymous": Caller(ANONYMOUS),
    "a user without a home": Caller(user("bob"), account="bob", tls=True),
    "a user with another home": Caller(user("eve"), account="eve", home="eve.unix.ar", tls=True),
    "another participant's user": Caller(user("ana", "emiliano.ar"), account="emiliano.ar", tls=True),
}
LINES = (
    "DESCRIBE FLOW {flow}",
    "DESCRIBE FLOW {copy}",
    "DESCRIBE PROCESSOR {copy}",
    "DESCRIBE PROCESSOR {processor}",
    "DESCRIBE NAMESPACE {flow}",
    "DESCRIBE BROKER {flow}",
    "DESCRIBE AGENT {flow}",
    "UPDATE FLOW {flow} visibility=public",
    "UPDATE FLOW {copy} visibility=public",
    "UPDATE FLOW {flow} partitions=0",
    "DELETE FLOW {flow}",
    "DELETE FLOW {flow} FORCE",
    "DELETE FLOW {copy} FORCE",
    "DELETE NAMESPACE {flow} FORCE",
    "UPDATE NAMESPACE {flow} visibility=public",
    "CREATE FLOW {flow}",
    "CREATE FLOW {copy}",
    "CREATE FLOW below.{flow}",
    "CREATE NAMESPACE {flow}",
    "CREATE NAMESPACE below.{flow}",
    "GET FLOWS",
    "GET FLOWS {flow}",
    "GET NAMESPACES {flow}",
    "GET SUBSCRIPTIONS {flow}",
    "GET SUBSCRIPTIONS {copy}",
    "GET SUBSCRIBERS {flow}",
    "GET SUBSCRIBERS {copy}",
    "GET CREDENTIAL {flow}",
    "GET CREDENTIAL {copy}",
    "GET PROCESSORS",
    "SUBSCRIBE {flow}",
    "SUBSCRIBE {copy}",
    "SUBSCRIBE {flow} AS token",
    "SUBSCRIBE {flow} FROM BEGINNING",
    "SUBSCRIBE {flow} LOCAL other.flows.unix.ar",
    "SUBSCRIBE {flow} LOCAL other.eve.unix.ar",
    "SUBSCRIBE open.flows.unix.ar LOCAL {flow}",
    "SUBSCRIBE open.flows.unix.ar LOCAL {copy}",
    "SUBSCRIBE time.flows.emiliano.ar LOCAL {flow}",
    "UNSUBSCRIBE {flow}",
    "UNSUBSCRIBE {copy}",
    "UNSUBSCRIBE {processor}",
    "PAUSE SUBSCRIPTION {copy}",
    "RESUME SUBSCRIPTION {copy}",
    "STOP SUBSCRIPTION {flow}",
    "STOP SUBSCRIPTION {processor}",
    "APPROVE SUBSCRIBER {copy}",
    "DENY SUBSCRIBER {copy}",
    "REMOVE SUBSCRIBER {copy}",
    "REMOVE SUBSCRIBER {flow} user:test",
    "NOTIFY {copy} ended",
    "READ {flow}",
    "READ {copy} FOLLOW",
    "WRITE {flow}",
    "WRITE {copy}",
    "REPLICATE {flow} other.flows.unix.ar",
    "REPLICATE {flow} other.eve.unix.ar",
    "REPLICATE open.flows.unix.ar {flow}",
    "COLLECT {flow} open.flows.unix.ar TO other.flows.unix.ar",
    "COLLECT open.flows.unix.ar TO {flow}",
    "DISTRIBUTE {flow} TO other.eve.unix.ar",
    "DISTRIBUTE open.flows.unix.ar TO {flow}",
    "SIGNAL {flow} TO other.flows.unix.ar",
    "SIGNAL open.flows.unix.ar TO {flow}",
)


def said(world: World, caller: Caller, line: str) -> str:
    """The reply, for READ and WRITE that to opening it."""
    command: Any = parse_command(line)
    opened = {"READ": world.provider.open_reader, "WRITE": world.provider.open_writer}.get(line.split()[0])
    if opened is None:
        return world.say(caller, line, world.provider)
    try:
        run(opened(caller, command))
    except Exception as error:
        return error_line(error).decode()
    return "it opens"


def hiding(world: World) -> tuple[str, str]:
    """A private flow with a subscriber and a processor that reads it; copy and processor."""
    world.flow("open.flows.unix.ar visibility=public")
    world.flow(f"{HIDDEN} visibility=private")
    copy = world.say(TEST, f"SUBSCRIBE {HIDDEN}").split()[2]
    assert copy.endswith(HIDDEN)
    processor = world.say(TEST, f"REPLICATE {HIDDEN} inner.flows.unix.ar").split()[2]
    assert processor.startswith("p-")
    assert (
        world.say(TEST, "UPDATE FLOW inner.flows.unix.ar visibility=private") == "220 OK inner.flows.unix.ar"
    )
    return copy, processor


@pytest.mark.parametrize("who", STRANGERS)
def test_a_private_flow_looks_like_none(who: str) -> None:
    """Every verb answers about it what it answers about a flow that is not there, and changes nothing."""
    caller = STRANGERS[who]
    for line in LINES:
        world = World()
        copy, processor = hiding(world)
        before = world.say(TEST, "GET SUBSCRIBERS " + HIDDEN), world.say(TEST, f"DESCRIBE FLOW {HIDDEN}")
        label = copy.partition(".")[0]
        hidden = said(world, caller, line.format(flow=HIDDEN, copy=copy, processor=processor))
        missing = said(
            world, caller, line.format(flow=MISSING, copy=f"{label}.{MISSING}", processor="p-absent1")
        )
        assert hidden.replace(HIDDEN, MISSING).replace(processor, "p-absent1") == missing, line
        assert before == (
            world.say(TEST, "GET SUBSCRIBERS " + HIDDEN),
            world.say(TEST, f"DESCRIBE FLOW {HIDDEN}"),
        )
