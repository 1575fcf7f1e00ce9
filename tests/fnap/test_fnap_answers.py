"""What a session says of itself: what it offers, who the caller is, how commands are used."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fnap.test_fnap_server_session import make_policy, shell
from fnap.test_fnap_server_shell import Wire
from servers.fnap import VERIFIER, make_factory
from servers.fnap import make_policy as policy
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from eson.fnap.core import actions as a
from eson.fnap.core.answers import capabilities, help_reply, whoami
from eson.fnap.core.exchange import Exchange
from eson.fnap.core.server import ServerSession
from eson.fnap.core.usage import USAGE
from eson.fnap.net.places import Limits
from eson.identity.mechanisms import Challenge, Failed, Succeeded
from eson.identity.mechanisms.scram import ScramClient, ScramServer
from eson.model.principals import ANONYMOUS, Caller, user


def test_who_the_caller_is() -> None:
    """Keys in the order of the page, what is absent left out."""
    remote = Caller(user("ana", "emiliano.ar"), "emiliano", "h.x", frozenset({"b", "a"}), mechanism="PLAIN")
    assert list(whoami(remote, True).items()) == [
        ("principal", "user:ana@emiliano.ar"), ("participant", "emiliano.ar"), ("mechanism", "PLAIN"), ("tls", True),
        ("home", "h.x"), ("groups", ["a", "b"]),
    ]  # fmt: skip
    assert list(whoami(Caller(ANONYMOUS, mechanism="ANONYMOUS"), False)) == ["principal", "mechanism", "tls"]


def test_help() -> None:
    """All verbs, one verb, its short form, and what is none."""
    assert help_reply("").count(b"\r\n") == len(USAGE) + 2
    assert (
        help_reply("DESC")
        == help_reply("DESCRIBE")
        == b"220 DATA\r\n" + USAGE["DESCRIBE"].encode() + b"\r\n220 OK\r\n"
    )
    assert help_reply("EXPN").startswith(b"504 ")
    for line in help_reply("").split(b"\r\n")[1:-2]:
        assert b"220 " not in line
        assert not line[:3].isdigit()


def test_what_is_offered() -> None:
    """Processors and brokers are the policy's; STARTTLS and AUTH only where they can be used; the same in CAPABILITIES."""
    offered = policy(processors=("BRIDGE", "SIGNAL"), brokers=("kafka", "amqp"))
    assert capabilities(offered, True, ["PLAIN"])[:2] == ["STARTTLS", "AUTH PLAIN"]
    assert capabilities(offered, False, [])[:4] == [
        "LINE 8192",
        "SIZE 1048576",
        "PROCESSORS BRIDGE SIGNAL",
        "BROKERS kafka amqp",
    ]
    agent = shell(login=False, processors=("BRIDGE", "SIGNAL"))
    agent.said()
    words = agent.feed(b"EHLO x\r\n").said().replace(b"250-", b"").replace(b"250 ", b"").split(b"\r\n")[1:-1]
    assert agent.feed(b"CAPABILITIES\r\n").said().split(b"\r\n")[1:-2] == words
    assert b"PROCESSORS BRIDGE SIGNAL" in words
    after = shell().feed(b"EHLO x\r\n").said()
    assert b"AUTH" not in after
    assert b"STARTTLS" not in after


def test_the_servers_proof_goes_in_a_challenge() -> None:
    """SCRAM's last word is answered with nothing; anything else fails."""
    for last, kind in ((b"", Succeeded), (b"x", Failed)):
        exchange, client = Exchange(ScramServer(b"s" * 32)), ScramClient("test", "test")
        assert exchange.name == "SCRAM-SHA-256"
        exchange.respond(client.initial())
        first: Any = exchange.verifier(VERIFIER)
        proof: Any = exchange.respond(client.answer(first.data))
        assert isinstance(proof, Challenge)
        assert client.answer(proof.data) == b""
        assert isinstance(exchange.respond(last), kind)


@pytest.mark.parametrize("octets", [b"\xff" * 4, b"\0", b"", base64.b64encode(b"x" * 9000)])
def test_odd_first_responses_fail(octets: bytes) -> None:
    """Whatever a stranger answers: 535, or what the verifier says; never an exception."""
    session = ServerSession(make_policy(), clear_is_safe=True)
    session.connected()
    session.line(b"AUTHENTICATE SCRAM-SHA-256")
    actions = session.line(base64.b64encode(octets))
    assert isinstance(actions[0], a.LoginFailed)
    assert actions[1] == b"535 Authentication failed\r\n"


def test_implicit_tls_shakes_no_hands_to_refuse() -> None:
    """Where there is no place, a TLS connection is dropped before its handshake."""
    factory = make_factory(Clock(), limits=Limits(total=0), implicit_tls=True)
    connection = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    wire = Wire()
    connection.makeConnection(wire)
    assert wire.aborted
    assert wire.value() == b""
