"""What the rooms are told of the configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from eson.agent.hosting import Limits as AgentLimits
from eson.brokers.port import Capability
from eson.config import Config, Places, load
from eson.config.values import Address
from eson.fnap.core.policy import Policy
from eson.fnap.net.places import Limits as SessionLimits
from eson.identity.certificates import SERVER_LIFE, KeyPair, make_ca, make_certificate
from eson.names.core.records import Ttl
from eson.tap import rooms
from eson.tap.brokers import Brokers
from eson.tap.certificates import AgentCertificate

TEXT = """\
participant: unix.ar
agent: fnaa.unix.ar
state: state
address: [127.0.0.1, "::1"]
fnap: {certificate: agent.pem, key: agent.key}
names:
  zones:
    - {name: unix.ar, hosts: {fnaa: 127.0.0.1, ns1: 127.0.0.1, ns2: 127.0.0.2, nsx: 127.0.0.1}}
  resolve: {emiliano.ar: "127.0.0.1:52053"}
brokers:
  - {name: local, listen_tls: ["127.0.0.1:9093"], advertise: "kf1.unix.ar:9093"}
  - {name: main, type: kafka, servers: ["127.0.0.1:1"]}
  - {name: big, type: kafka, servers: ["127.0.0.1:1"], security: sasl_plaintext, username: a, password_file: p}
namespaces: [{name: flows.unix.ar}]
remotes: [{agent: fnaa.b.ar}]
allow_private: [10.0.0.0/8]
limits: {idle: 7m, event: 2MiB, connections: {per_user: 3}, bad_commands: {before_login: 5}}
copies: {lease: 2d}
"""
CLEAR, TLS = [Address("127.0.0.1", 1111)], [Address("127.0.0.1", 2222)]


def put(directory: Path, pair: KeyPair) -> None:
    (directory / "agent.pem").write_text(pair.certificate)
    (directory / "agent.key").write_text(pair.key)
    (directory / "agent.key").chmod(0o600)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    put(tmp_path, make_certificate(make_ca(), ["fnaa.unix.ar"]))
    (tmp_path / "p").write_text("x\n")
    (tmp_path / "p").chmod(0o600)
    (tmp_path / "eson.yaml").write_text(TEXT)
    return load(tmp_path / "eson.yaml")


def test_who_we_are(config: Config) -> None:
    who = rooms.participant(config, CLEAR, TLS, 5300)
    assert (who.domain, who.agent, who.addresses) == ("unix.ar", "fnaa.unix.ar", ("127.0.0.1", "::1"))
    assert (who.port, who.tls) == (2222, True)
    assert [one.host for one in who.nameservers] == ["ns1.unix.ar:5300", "ns2.unix.ar:5300"]
    assert (rooms.participant(config, CLEAR, [], 0).port, rooms.participant(config, CLEAR, [], 0).tls) == (
        1111,
        False,
    )
    assert rooms.participant(config, CLEAR, [], 0).nameservers == ()


def test_limits_arrive_where_they_hold(config: Config) -> None:
    assert rooms.session_limits(config).idle == timedelta(minutes=7)
    assert rooms.session_limits(config).per_user == 3
    assert rooms.agent_limits(config).event == 2 * 1024**2
    assert rooms.agent_limits(config).lease == timedelta(days=2)


def test_a_room_without_a_file_is_as_one_whose_file_sets_nothing() -> None:
    nothing = Config("unix.ar", "fnaa.unix.ar", ())
    assert rooms.session_limits(nothing) == SessionLimits()
    assert rooms.agent_limits(nothing) == AgentLimits()
    logins: Any = SimpleNamespace(mechanism=None)
    told = rooms.policy(nothing, logins, ["kafka"])
    assert told == Policy(told.hostname, told.mechanisms, told.mechanism, processors=told.processors)
    assert Ttl(**vars(nothing.names.ttl)) == Ttl()


def test_where_foreign_names_may_lead(config: Config) -> None:
    policy = rooms.address_policy(config)
    assert policy.permits("kafka.c.ar", "10.1.2.3")
    assert not policy.permits("kafka.c.ar", "127.0.0.1")
    assert policy.permits("fnaa.b.ar", "127.0.0.1")
    assert policy.permits("kafka.emiliano.ar", "127.0.0.1")


def test_brokers_are_made_as_configured(config: Config, tmp_path: Path) -> None:
    certificate = AgentCertificate(config, Places(config.state))
    brokers = Brokers(config, MemoryReactorClock(), Places(config.state), certificate, decoys=bytes(32))
    assert list(brokers.all) == ["local", "main", "big"]
    local, main, big = brokers.all.values()
    assert (local.kind, local.client_security()) == ("embedded", "sasl_ssl")
    assert local.client_trust() == certificate.trust
    issues = [Capability.ISSUES_CREDENTIALS in one.capabilities for one in (local, main, big)]
    assert issues == [True, False, True]
    assert big.access().password == "x"
    assert brokers.protocols() == ["kafka"]
    assert brokers.listeners() == {"local": None}
    assert brokers.failing() == []
    made = brokers._embedded["local"].child._settings.decoy_secret
    assert len(bytes.fromhex(made)) == 32
    assert bytes.fromhex(made) != bytes(32), "an agent and a broker show different salts for one unknown name"


# certificates


def test_a_private_ca_is_what_clients_must_trust(config: Config, tmp_path: Path) -> None:
    ca = make_ca()
    put(tmp_path, make_certificate(ca, ["fnaa.unix.ar"]))
    assert AgentCertificate(config, Places(config.state)).trust.strip() == ca.certificate.strip()


def test_a_chain_without_its_root_is_trusted_by_the_system(config: Config, tmp_path: Path) -> None:
    pair = make_certificate(make_ca(), ["fnaa.unix.ar"])
    leaf = pair.certificate.partition("-----END CERTIFICATE-----\n")
    put(tmp_path, KeyPair(leaf[0] + leaf[1], pair.key))
    assert AgentCertificate(config, Places(config.state)).trust == ""


def test_files_that_change_are_read_again(config: Config, tmp_path: Path) -> None:
    certificate = AgentCertificate(config, Places(config.state))
    before = certificate.tls
    with capturedLogs() as silent:
        assert not certificate.refresh()
    assert silent == []
    with capturedLogs() as told:
        assert not certificate.refresh(asked=True)
    assert [formatEvent(event) for event in told] == [
        f"certificate {tmp_path / 'agent.pem'} was read: it has not changed"
    ]
    put(tmp_path, make_certificate(make_ca(), ["fnaa.unix.ar"]))
    assert certificate.refresh()
    assert certificate.tls is before, "the servers keep the one that they hold"
    (tmp_path / "agent.pem").write_text("cut")
    assert not certificate.refresh(), "the old one goes on"


def test_our_own_is_made_and_renewed(tmp_path: Path) -> None:
    (tmp_path / "eson.yaml").write_text(
        "participant: unix.ar\nagent: fnaa.unix.ar\nstate: state\nnamespaces: []\n"
        "brokers: [{name: a, listen_tls: ['127.0.0.1:0'], advertise: 'kf1.unix.ar:9093'}]\n"
    )
    config = load(tmp_path / "eson.yaml")
    now = [datetime.now(UTC)]
    certificate = AgentCertificate(config, Places(config.state), lambda: now[0])
    assert certificate.certificate == tmp_path / "state" / "keys" / "agent.pem"
    assert certificate.trust.strip() == (tmp_path / "state" / "keys" / "ca.pem").read_text().strip()
    assert not certificate.refresh()
    now[0] += SERVER_LIFE - timedelta(days=29)
    assert certificate.refresh()
