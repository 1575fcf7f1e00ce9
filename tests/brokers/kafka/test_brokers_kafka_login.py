"""Logins against an independent implementation of SCRAM, rights as ACLs, what settings mean."""

from __future__ import annotations

import pytest
from scramp import ScramMechanism

from eson.brokers.kafka.failures import answered
from eson.brokers.kafka.net.login import client_mechanism
from eson.brokers.kafka.safety import warnings
from eson.brokers.kafka.users import Binding, bindings
from eson.brokers.port import Access, Rights
from eson.identity.mechanisms import ClientMechanism, MechanismError


def access(mechanism: str, password: str = "secret") -> Access:
    return Access((), "sasl_plaintext", mechanism, "eson=,admin", password)


def log_in(client: ClientMechanism, mechanism: str, iterations: int = 4096) -> None:
    scram = ScramMechanism(mechanism=mechanism)
    stored = scram.make_auth_info("secret", iteration_count=iterations)
    server = scram.make_server(lambda username: stored)
    first = client.initial()
    assert first is not None
    server.set_client_first(first.decode())
    proof = client.answer(server.get_server_first().encode())
    server.set_client_final(proof.decode())
    client.answer(server.get_server_final().encode())


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_both_scrams_agree_with_another_implementation(mechanism: str) -> None:
    client = client_mechanism(access(mechanism))
    assert client.name == mechanism
    log_in(client, mechanism)
    assert client.finished()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_server_that_does_not_prove_itself_is_refused(mechanism: str) -> None:
    client = client_mechanism(access(mechanism))
    scram = ScramMechanism(mechanism=mechanism)
    server = scram.make_server(lambda username: scram.make_auth_info("secret", iteration_count=4096))
    server.set_client_first((client.initial() or b"").decode())
    client.answer(server.get_server_first().encode())
    with pytest.raises(MechanismError):
        client.answer(b"v=" + b"A" * 43 + b"=")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("iterations", ["100001", "999999999", "1", "x", ""])
def test_a_server_cannot_keep_us_computing(mechanism: str, iterations: str) -> None:
    client = client_mechanism(access(mechanism))
    nonce = (client.initial() or b"").rpartition(b"r=")[2].decode()
    with pytest.raises(MechanismError):
        client.answer(f"r={nonce}more,s=c2FsdA==,i={iterations}".encode())


@pytest.mark.parametrize(
    "challenge", [b"", b"\xff", b"r=other,s=c2FsdA==,i=4096", b"i=4096", b"s=,i=4096,r="]
)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_server_that_talks_nonsense_is_refused(mechanism: str, challenge: bytes) -> None:
    client = client_mechanism(access(mechanism))
    client.initial()
    with pytest.raises(MechanismError):
        client.answer(challenge)


def test_plain_says_all_at_once() -> None:
    assert client_mechanism(access("PLAIN")).initial() == b"\0eson=,admin\0secret"


def test_an_unknown_mechanism_is_named() -> None:
    with pytest.raises(ValueError, match="'GSSAPI' is not known"):
        client_mechanism(access("GSSAPI"))


TOPIC, GROUP, LITERAL, PREFIXED, READ, WRITE, DESCRIBE = 2, 3, 3, 4, 3, 4, 8


def test_rights_as_acls() -> None:
    me = "User:c.flows.unix.ar"
    found = bindings("c.flows.unix.ar", Rights(read=("c", "f"), write=("f",), groups_prefix="c-", group="c"))
    assert set(found) == {
        Binding(TOPIC, "c", LITERAL, me, READ),
        Binding(TOPIC, "c", LITERAL, me, DESCRIBE),
        Binding(TOPIC, "f", LITERAL, me, READ),
        Binding(TOPIC, "f", LITERAL, me, DESCRIBE),
        Binding(TOPIC, "f", LITERAL, me, WRITE),
        Binding(GROUP, "c", LITERAL, me, READ),
        Binding(GROUP, "c-", PREFIXED, me, READ),
    }
    assert len(found) == len(set(found))
    assert bindings("c", Rights()) == []


SAFE = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "connections.max.reauth.ms": "60000",
    "connections.max.idle.ms": "60000",
}


def test_safe_settings_are_not_talked_about() -> None:
    assert warnings(SAFE) == []
    only_of_a_listener = SAFE | {"listener.name.sasl.connections.max.reauth.ms": "60000"}
    assert warnings(only_of_a_listener) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"authorizer.class.name": ""}, "no right can be taken away"),
        ({"authorizer.class.name": None}, "no right can be taken away"),
        ({"connections.max.reauth.ms": "0"}, "stays open"),
        ({"listener.name.sasl.connections.max.reauth.ms": "0"}, "stays open"),
        ({"connections.max.idle.ms": "600000"}, "one more answer"),
        ({"connections.max.idle.ms": "-1"}, "one more answer"),
    ],
)
def test_each_unsafe_setting_is_told_with_its_meaning(change: dict[str, str | None], word: str) -> None:
    (warning,) = warnings(SAFE | change)
    assert word in warning


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"default.replication.factor": "1"}, "Set it to 3"),
        ({"default.replication.factor": None}, "Set it to 3"),
        ({"min.insync.replicas": "1"}, "one server alone"),
    ],
)
def test_what_a_lost_server_would_take_with_it_is_told(change: dict[str, str | None], word: str) -> None:
    settings = SAFE | {"default.replication.factor": "3", "min.insync.replicas": "2"}
    assert warnings(settings, nodes=3) == []
    (warning,) = warnings(settings | change, nodes=3)
    assert word in warning
    assert warnings(settings | change, nodes=1) == [], "one server has nothing to copy to"


def test_a_login_that_is_not_offered_is_told_where_credentials_are_issued() -> None:
    settings = SAFE | {
        "listener.name.in.sasl.enabled.mechanisms": "PLAIN",
        "sasl.enabled.mechanisms": "GSSAPI",
    }
    (warning,) = warnings(settings)
    assert "SCRAM-SHA-256" in warning
    assert warnings(settings, issues_credentials=False) == []
    assert warnings(settings | {"listener.name.out.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256"}) == []


def test_the_brokers_own_words_stay_out_of_what_peers_are_told() -> None:
    error = answered("main", 29, "read queue a", "Principal = User:eson is Denied")
    assert error.text == "Broker main does not allow its user to do this (read queue a)"
    assert error.context["detail"] == "Principal = User:eson is Denied"
    assert answered("main", 4711, "do it").text == "Broker main answered ERROR_4711 (do it)"
    assert answered("main", 54, "rights").text.startswith("Broker main has no authorizer")
    assert not answered("main", 29, "x").passing
    assert answered("main", 6, "x").passing
