"""Who has a credential of a broker is let in where he has rights, and shut out when they go: Apache Kafka and the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers.contract.broker_contract import Call, fresh, read_all, record, write_all
from confluent_kafka import Consumer
from servers.kafka import ADMIN, PASSWORD
from twisted.internet.defer import Deferred

from eson.brokers.embedded.broker import EmbeddedBroker
from eson.brokers.embedded.settings import Settings
from eson.brokers.kafka.broker import KafkaBroker
from eson.brokers.kafka.failures import LoginRefused
from eson.brokers.port import Access, Broker, Capability, Rights
from eson.errors import BackendFailed
from eson.model.servers import Server

SECRET = "a long password"
LogIn = Callable[..., KafkaBroker]


@pytest.fixture
def call(in_reactor: Call) -> Call:
    return in_reactor


@pytest.fixture(params=["kafka", "embedded"])
def broker(
    request: pytest.FixtureRequest, reactor_thread: Any, in_reactor: Call, tmp_path: Path
) -> Iterator[Broker]:
    made: KafkaBroker
    if request.param == "kafka":
        kafka = request.getfixturevalue("kafka")
        servers = (Server("127.0.0.1", kafka.port("SASL")),)
        access = Access(servers, "sasl_plaintext", "SCRAM-SHA-256", ADMIN, PASSWORD)
        made = KafkaBroker(reactor_thread, "main", access)
    else:
        made = EmbeddedBroker(
            reactor_thread, "local", Settings(str(tmp_path), (("127.0.0.1", 0),)), "127.0.0.1"
        )
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


@pytest.fixture
def log_in(broker: Broker, reactor_thread: Any, in_reactor: Call) -> Iterator[LogIn]:
    """The broker as a user sees it, at the address that users are told."""
    made: list[KafkaBroker] = []

    def start(username: str, password: str = SECRET) -> KafkaBroker:
        servers = tuple(in_reactor(broker.servers))
        access = Access(servers, broker.client_security(), "SCRAM-SHA-256", username, password)
        made.append(KafkaBroker(reactor_thread, "theirs", access))
        return made[-1]

    yield start
    for one in made:
        in_reactor(one.stop)


@pytest.fixture
def queue(broker: Broker, call: Call) -> str:
    name = fresh()
    call(broker.create_queue, name)
    return name


def admit(broker: Broker, call: Call, rights: Rights, username: str) -> None:
    call(broker.allow, username, rights)
    call(broker.set_credential, username, SECRET)


def test_a_user_reads_his_copy_and_nothing_else(
    broker: Broker, call: Call, log_in: LogIn, queue: str
) -> None:
    other, user = fresh(), fresh("copy")
    call(broker.create_queue, other)
    call(write_all, broker, queue, [record(b"for him")])
    admit(broker, call, Rights(read=(queue,), group=user), user)
    his = log_in(user)
    assert [r.value for r in call(read_all, his, queue)] == [b"for him"]
    with pytest.raises(BackendFailed, match="does not allow"):
        call(write_all, his, queue, [record(b"x")])
    for forbidden in (lambda: read_all(his, other), lambda: his.create_queue(fresh())):
        with pytest.raises(BackendFailed, match="does not allow"):
            call(forbidden)


def test_a_writer_writes_his_flow(broker: Broker, call: Call, log_in: LogIn, queue: str) -> None:
    user = fresh("flow")
    admit(broker, call, Rights(read=(queue,), write=(queue,), groups_prefix=user), user)
    his = log_in(user)
    call(write_all, his, queue, [record(b"his")])
    assert [r.value for r in call(read_all, his, queue)] == [b"his"]
    call(broker.disallow, user)
    with pytest.raises(BackendFailed, match="does not allow"):
        call(write_all, his, queue, [record(b"too late")])
    assert call(broker.end_offsets, queue) == {0: 1}


def test_his_consumer_group_is_his_and_no_other(broker: Broker, call: Call, queue: str) -> None:
    user = fresh("copy")
    call(write_all, broker, queue, [record(b"for him")])
    admit(broker, call, Rights(read=(queue,), group=user, groups_prefix=f"{user}-"), user)
    settings = {
        "bootstrap.servers": ",".join(map(str, call(broker.servers))),
        "security.protocol": broker.client_security(),
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": user,
        "sasl.password": SECRET,
        "auto.offset.reset": "earliest",
        "log_level": 0,
    }
    for group, allowed in ((user, True), (f"{user}-2", True), (f"{user}2", False)):
        consumer = Consumer(settings | {"group.id": group})
        consumer.subscribe([queue])
        message = consumer.poll(20)
        consumer.close()
        assert message is not None
        if allowed:
            assert message.value() == b"for him"
        else:
            assert message.error().name() == "GROUP_AUTHORIZATION_FAILED"


def test_rights_that_are_taken_stop_a_reader_that_is_connected(
    broker: Broker, call: Call, log_in: LogIn, queue: str
) -> None:
    """After `disallow` has returned, nothing passes that was written after it, over the open connection either."""
    user = fresh("copy")
    call(write_all, broker, queue, [record(b"before")])
    admit(broker, call, Rights(read=(queue,), group=user), user)
    his = log_in(user)

    async def revoke_under_way() -> None:
        source = await his.read(queue, {0: 0}, None)
        assert [r.value for r in await source.next_records()] == [b"before"]
        await broker.disallow(user)
        await write_all(broker, queue, [record(b"after")])
        with pytest.raises(BackendFailed, match="does not allow"):
            while True:
                assert b"after" not in [r.value for r in await source.next_records()]

    call(revoke_under_way)


def test_a_reader_that_waits_is_cut_off(broker: Broker, call: Call, log_in: LogIn, queue: str) -> None:
    """At once where the kind closes connections; else (Apache Kafka) a Fetch that waits is answered once more."""
    user = fresh("copy")
    admit(broker, call, Rights(read=(queue,), group=user), user)
    his = log_in(user)
    seen: list[bytes | None] = []

    async def revoke_a_waiting_one() -> None:
        source = await his.read(queue, {0: 0}, None)
        waiting = Deferred.fromCoroutine(source.next_records())  # type: ignore[arg-type]
        while not source._parked:
            await broker.end_offsets(queue)
        await broker.disallow(user)
        await write_all(broker, queue, [record(b"after")])
        with pytest.raises(BackendFailed, match="does not allow"):
            seen.extend(r.value for r in await waiting)
            await write_all(broker, queue, [record(b"much later")])
            while True:
                seen.extend(r.value for r in await source.next_records())

    call(revoke_a_waiting_one)
    assert seen == ([] if Capability.CLOSES_CONNECTIONS in broker.capabilities else [b"after"])


def test_a_credential_that_is_gone_or_replaced_opens_nothing(
    broker: Broker, call: Call, log_in: LogIn, queue: str
) -> None:
    user = fresh("copy")
    admit(broker, call, Rights(read=(queue,), group=user), user)
    call(read_all, log_in(user), queue)
    call(broker.set_credential, user, "another long password")
    call(read_all, log_in(user, "another long password"), queue)
    with pytest.raises(LoginRefused, match="refused the login"):
        call(read_all, log_in(user), queue)
    call(broker.delete_credential, user)
    with pytest.raises(LoginRefused):
        call(read_all, log_in(user, "another long password"), queue)
