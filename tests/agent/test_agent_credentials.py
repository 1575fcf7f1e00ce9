"""GET CREDENTIAL."""

from __future__ import annotations

import pytest
from agent.agent_world import BOB, TEST, World, run

from eson.agent.parts import issues_credentials
from eson.brokers.memory import MemoryBroker
from eson.brokers.port import Capability
from eson.identity.verifier import check_password, parse_verifier
from eson.model.principals import Caller, user
from eson.model.servers import Server
from eson.model.subscriptions import Side

F = "time.flows.unix.ar"
CLEAR = Caller(user("test"), account="test", home="flows.unix.ar", tls=False)


def values(reply: str) -> dict[str, str]:
    lines = reply.split("\n")
    assert (lines[0], lines[-1]) == ("220 DATA", "220 OK"), reply
    return dict(line.split("=", 1) for line in lines[1:-1])


def test_a_copys_credential_is_its_principals_alone() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    assert world.say(TEST, f"GET CREDENTIAL {copy}") == f"557 Not allowed: read on {copy}"
    found = values(world.say(BOB, f"GET CREDENTIAL {copy}"))
    assert list(found) == [
        "copy",
        "type",
        "server",
        "security",
        "mechanism",
        "username",
        "password",
        "group",
    ]
    assert (found["copy"], found["username"], found["group"]) == (copy, copy, copy)
    assert found["mechanism"] == "SCRAM-SHA-256"
    assert len(found["password"]) >= 40
    assert world.unix.broker.users[copy] == found["password"]


def test_each_call_issues_a_new_password_and_a_verifier_is_kept() -> None:
    world = World()
    world.flow(F)
    first = values(world.say(TEST, f"GET CREDENTIAL {F}"))["password"]
    second = values(world.say(TEST, f"GET CREDENTIAL {F}"))["password"]
    assert first != second
    stored = run(world.unix.store.credential(Side.PROVIDER, F))
    assert check_password(parse_verifier(stored.verifier), second)
    assert not check_password(parse_verifier(stored.verifier), first)
    rights = world.unix.broker.rights[F]
    assert (rights.read, rights.write, rights.groups_prefix) == ((F,), (F,), F)


def test_no_secret_reaches_the_audit_log() -> None:
    world = World()
    world.flow(F)
    password = values(world.say(TEST, f"GET CREDENTIAL {F}"))["password"]
    assert password not in repr(run(world.unix.store.audit()))


def test_only_over_tls_and_only_to_who_may() -> None:
    world = World()
    world.flow(F)
    assert world.say(CLEAR, f"GET CREDENTIAL {F}") == "538 Encryption required"
    assert world.say(BOB, f"GET CREDENTIAL {F}") == f"557 Not allowed: administer on {F}"
    assert world.unix.broker.users == {}


def test_the_tls_listener_is_named_where_there_is_one() -> None:
    world = World()
    world.flow(F)
    broker = world.unix.broker
    broker._tls_servers, broker._security = (Server("kf1.unix.ar", 9093),), "sasl_ssl"
    found = values(world.say(TEST, f"GET CREDENTIAL {F}"))
    assert (found["server"], found["security"], found["trust"]) == ("kf1.unix.ar:9093", "sasl_ssl", "system")
    assert "\nsecurity=sasl_ssl\n" in world.say(TEST, f"DESCRIBE FLOW {F}")


@pytest.mark.parametrize("security, kind", [("plaintext", "kafka"), ("sasl_ssl", "fnap")])
def test_brokers_that_issue_none(security: str, kind: str) -> None:
    world = World()
    broker = world.unix.broker
    broker.capabilities, broker._security = Capability.SEEK_BY_TIME, security
    assert not issues_credentials(broker)
    assert isinstance(broker, MemoryBroker)
    world.flow(F)
    found = values(world.say(CLEAR, f"GET CREDENTIAL {F}"))
    assert found["type"] == kind
    assert "password" not in found
    assert broker.users == {}
