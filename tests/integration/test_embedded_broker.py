"""The embedded broker keeps the contract of brokers; it is reached as the agent reaches it, through the Kafka adapter."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers.contract.broker_contract import BrokerContract, Call, fresh, read_all, record, write_all
from confluent_kafka import Consumer
from servers.certificates import Authority
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from eson.brokers.embedded.broker import EmbeddedBroker
from eson.brokers.embedded.settings import Bound, Settings
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.messages import encode_request
from eson.brokers.port import Access, Broker, Capability, Rights
from eson.errors import BackendFailed
from eson.model.servers import Server

Make = Callable[..., EmbeddedBroker]
ANY_PORT = (("127.0.0.1", 0),)


@pytest.fixture
def call(in_reactor: Call) -> Call:
    return in_reactor


@pytest.fixture(scope="module")
def make(reactor_thread: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Brokers of this module, stopped at its end."""
    made: list[EmbeddedBroker] = []

    def run(coroutine: Callable[[], Any]) -> None:
        blockingCallFromThread(reactor_thread, lambda: Deferred.fromCoroutine(coroutine()))

    def start(
        host: str = "127.0.0.1", trust: str = "", listening: Any = lambda bound: None, **more: Any
    ) -> EmbeddedBroker:
        folder = tmp_path_factory.mktemp("broker")
        settings = Settings(str(folder), **({"listen": ANY_PORT} | more))
        broker = EmbeddedBroker(reactor_thread, "local", settings, host, trust, listening)
        made.append(broker)
        run(broker.start)
        return broker

    yield start
    for broker in made:
        run(broker.stop)


@pytest.fixture(scope="module")
def broker(make: Make) -> Broker:
    return make()


class TestEmbeddedBroker(BrokerContract):
    pass


def test_without_login_it_issues_no_credentials(make: Make, call: Call) -> None:
    open_to_all = make(login=False)
    assert Capability.ISSUES_CREDENTIALS not in open_to_all.capabilities
    assert Capability.CLOSES_CONNECTIONS in open_to_all.capabilities
    assert open_to_all.client_security() == "plaintext"
    name = fresh()
    call(open_to_all.create_queue, name)
    call(write_all, open_to_all, name, [record(b"x")])
    assert [r.value for r in call(read_all, open_to_all, name)] == [b"x"]


def test_clients_are_told_the_agents_host_or_what_is_advertised(make: Make, call: Call) -> None:
    named = make(host="fnaa.unix.ar")
    (server,) = call(named.servers)
    assert (server.host, server.port > 0) == ("fnaa.unix.ar", True)
    advertised = make(host="fnaa.unix.ar", advertise=("kf1.unix.ar", 9092), login=False)
    assert list(call(advertised.servers)) == [Server("kf1.unix.ar", 9092)]
    # the agent is not sent to a name that leads elsewhere
    call(advertised.create_queue, fresh())
    assert advertised.access().servers[0].host == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_clients_come_over_tls(make: Make, call: Call, tmp_path: Path, host: str) -> None:
    """By the address or the name that they connect to, also where the certificate holds nothing else."""
    authority = Authority(tmp_path)
    chain, key = authority.issue(host)
    trust = authority.certificate.read_text()
    broker = make(trust=trust, listen_tls=ANY_PORT, certificate=str(chain), key=str(key))
    assert broker.client_security() == "sasl_ssl"
    (server,) = call(broker.servers, True)
    name = fresh()
    call(broker.create_queue, name)
    call(write_all, broker, name, [record(b"v%d" % i + b"x" * 50_000) for i in range(40)])
    call(broker.allow, "copy", Rights(read=(name,), group="copy"))
    call(broker.set_credential, "copy", "a password")
    consumer = Consumer(
        {
            "bootstrap.servers": f"{host}:{server.port}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(authority.certificate),
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": "copy",
            "sasl.password": "a password",
            "group.id": "copy",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([name])
    found = [consumer.poll(20) for _ in range(40)]
    (seen,) = consumer.list_topics(timeout=10).brokers.values()
    consumer.close()
    assert (seen.host, seen.port) == (host, server.port)
    assert [message.value()[:3] for message in found] == [(b"v%d" % i + b"x")[:3] for i in range(40)]


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_refused_login_ends_its_connection_at_once(
    make: Make, call: Call, tmp_path: Path, over_tls: bool
) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("127.0.0.1")
    broker = make(listen_tls=ANY_PORT, certificate=str(chain), key=str(key))
    assert broker.child.bound is not None
    bound = broker.child.bound.listen_tls if over_tls else broker.child.bound.listen
    request = encode_request(apis.SaslHandshakeRequest(mechanism="PLAIN"), 1, 1, "test")
    begun = time.monotonic()
    with socket.create_connection(bound[0], 10) as plain:
        if over_tls:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
        else:
            connection = plain
        connection.sendall(request * 2)
        received = b""
        while octets := connection.recv(4096):
            received += octets
        connection.close()
    assert b"SCRAM-SHA-256" in received
    assert time.monotonic() - begun < 8


def test_a_child_that_is_killed_comes_again_and_the_agent_goes_on(make: Make, call: Call) -> None:
    bounds: list[Bound] = []
    broker = make(listening=bounds.append)
    name = fresh()
    call(broker.create_queue, name)
    call(write_all, broker, name, [record(b"before")])
    assert broker.child.pid is not None
    os.kill(broker.child.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while len(bounds) < 2:
        assert time.monotonic() < end, "the child does not come again"
        time.sleep(0.01)
    assert bounds[0] == bounds[1]
    call(write_all, broker, name, [record(b"after")])
    assert [r.value for r in call(read_all, broker, name)] == [b"before", b"after"]


def test_a_taken_port_is_told_and_tried_again(
    make: Make, call: Call, reactor_thread: Any, tmp_path: Path
) -> None:
    """The agent starts all the same, and its operations fail until the port is free."""
    holder = make()
    (taken,) = holder.child.bound.listen if holder.child.bound else ()
    late = EmbeddedBroker(
        reactor_thread, "late", Settings(str(tmp_path), (taken,)), "127.0.0.1", ready_seconds=0.5
    )
    call(late.start)
    with pytest.raises(BackendFailed):
        call(late.create_queue, fresh())
    call(holder.stop)
    end = time.monotonic() + 40
    while late.child.bound is None:
        assert time.monotonic() < end, "the port is not taken over"
        time.sleep(0.05)
    call(late.create_queue, fresh())
    call(late.stop)


def test_the_administrators_password_is_nobodys(make: Make) -> None:
    broker = make()
    access: Access = broker.access()
    assert access.password
    command = Path(f"/proc/{broker.child.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{broker.child.pid}/environ").read_bytes()
    assert access.password.encode() not in command + environment
    assert access.password not in repr(broker.child._settings)
