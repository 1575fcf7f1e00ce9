"""Clients that know nothing of ESON work with the embedded broker unchanged."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafka import KafkaConsumer, KafkaProducer
from servers.embedded import Embedded, StartEmbedded
from servers.parked_reader import ParkedReader


def fresh(label: str = "events") -> str:
    return f"{label}-{uuid.uuid4().hex[:8]}.flows.unix.ar"


def create(admin: AdminClient, name: str, partitions: int = 1, **config: str) -> str:
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)
    return name


def admin_of(broker: Embedded) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap()})


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_librdkafka_writes_and_reads(open_embedded: Embedded, codec: str) -> None:
    topic = create(admin_of(open_embedded), fresh(), 3)
    producer = Producer(
        {
            "bootstrap.servers": open_embedded.bootstrap(),
            "compression.type": codec,
            "enable.idempotence": True,
            "linger.ms": 5,
        }
    )
    for number in range(500):
        producer.produce(topic, b"v%d" % number, b"k%d" % number, headers=[("h", b"1")])
    assert producer.flush(10) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": open_embedded.bootstrap(),
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "check.crcs": True,
        }
    )
    consumer.subscribe([topic])
    found: list[Any] = []
    until(lambda: bool(found.extend(consumer.consume(500, 0.5)) or len(found) == 500))
    consumer.commit(asynchronous=False)
    assert {(m.key(), m.value()) for m in found} == {(b"k%d" % n, b"v%d" % n) for n in range(500)}
    assert sum(p.offset for p in consumer.committed(consumer.assignment(), 5)) == 500
    consumer.close()


def test_kafka_python_writes_and_reads(open_embedded: Embedded) -> None:
    topic = create(admin_of(open_embedded), fresh())
    producer = KafkaProducer(bootstrap_servers=open_embedded.bootstrap(), compression_type="gzip")
    for number in range(300):
        producer.send(topic, b"%d" % number)
    producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=open_embedded.bootstrap(),
        group_id=topic,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    found = [next(consumer).value for _ in range(300)]
    consumer.commit()
    consumer.close()
    assert found == [b"%d" % number for number in range(300)]


def test_aiokafka_writes_reads_and_commits(open_embedded: Embedded) -> None:
    topic = create(admin_of(open_embedded), fresh(), 2)

    async def run() -> tuple[list[bytes], int | None]:
        producer = AIOKafkaProducer(bootstrap_servers=open_embedded.bootstrap(), enable_idempotence=True)
        await producer.start()
        for number in range(200):
            await producer.send(topic, b"%d" % number, partition=1)
        await producer.stop()
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=open_embedded.bootstrap(), group_id=topic, auto_offset_reset="earliest"
        )
        await consumer.start()
        found = [(await consumer.getone()).value for _ in range(200)]
        await consumer.commit()
        committed = await consumer.committed(TopicPartition(topic, 1))
        await consumer.stop()
        return found, committed

    assert asyncio.run(asyncio.wait_for(run(), 30)) == ([b"%d" % n for n in range(200)], 200)


def test_two_consumers_share_and_one_takes_over(open_embedded: Embedded) -> None:
    admin = admin_of(open_embedded)
    topic = create(admin, fresh(), 4)
    settings = {"bootstrap.servers": open_embedded.bootstrap(), "group.id": topic, "session.timeout.ms": 6000,
                "auto.offset.reset": "earliest", "heartbeat.interval.ms": 200}  # fmt: skip
    first, second = Consumer(settings), Consumer(settings)

    def shares(*counts: int) -> bool:
        for consumer in (first, second)[: len(counts)]:
            consumer.poll(0.05)
        return [len(c.assignment()) for c in (first, second)[: len(counts)]] == list(counts)

    first.subscribe([topic])
    until(lambda: shares(4))
    second.subscribe([topic])
    until(lambda: shares(2, 2))
    described = admin.describe_consumer_groups([topic])[topic].result(10)
    assert len(described.members) == 2
    second.close()
    until(lambda: shares(4))
    first.close()
    assert admin.delete_consumer_groups([topic])[topic].result(10) is None


def test_a_group_of_a_consumer_that_died_goes_on_without_it(open_embedded: Embedded) -> None:
    """Nobody says goodbye: the session runs out."""
    topic = create(admin_of(open_embedded), fresh(), 2)
    settings = {"bootstrap_servers": open_embedded.bootstrap(), "group_id": topic, "session_timeout_ms": 6000,
                "heartbeat_interval_ms": 500}  # fmt: skip
    dying, living = KafkaConsumer(topic, **settings), KafkaConsumer(topic, **settings)

    def both() -> bool:
        dying.poll(50)
        living.poll(50)
        return len(dying.assignment()) == len(living.assignment()) == 1

    until(both)
    dying._client.close()  # what a dead process leaves: its connections, and nothing said
    until(lambda: (living.poll(50), len(living.assignment()) == 2)[1], 20)
    living.close()


def test_metadata_names_the_address_that_the_client_used(start_embedded: StartEmbedded) -> None:
    broker = start_embedded(login=False)
    host, port = broker.bound["listen"][0]
    (seen,) = AdminClient({"bootstrap.servers": f"{host}:{port}"}).list_topics(timeout=5).brokers.values()
    assert (seen.host, seen.port) == (host, port)
    told = start_embedded(login=False, advertise=("kf1.unix.ar", 9092))
    (seen,) = AdminClient({"bootstrap.servers": told.bootstrap()}).list_topics(timeout=5).brokers.values()
    assert (seen.host, seen.port) == ("kf1.unix.ar", 9092)


# users


def admit(admin: AdminClient, user: str, password: str, *rules: tuple[Any, str, Any]) -> None:
    upsertion = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), password.encode()
    )
    admin.alter_user_scram_credentials([upsertion])[user].result(10)
    bindings = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )
        for kind, name, operation in rules
    ]
    for future in admin.create_acls(bindings).values():
        future.result(10)


def test_a_user_may_do_what_rules_allow_and_nothing_else(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    admin = AdminClient(broker.login())
    mine, other = create(admin, fresh()), create(admin, fresh())
    admit(admin, "copy", "a password", (ResourceType.TOPIC, mine, AclOperation.WRITE))
    errors: list[Any] = []
    producer = Producer(broker.login("copy", "a password") | {"message.timeout.ms": 5000})
    producer.produce(mine, b"x", on_delivery=lambda error, message: errors.append(error))
    producer.produce(other, b"x", on_delivery=lambda error, message: errors.append(error))
    producer.flush(10)
    assert sorted(0 if error is None else error.code() for error in errors) == [
        0,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ]
    consumer = Consumer(broker.login("copy", "a password") | {"group.id": "mine"})
    consumer.subscribe([mine])
    message = consumer.poll(10)
    assert message is not None
    assert message.error().code() in (
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    )
    consumer.close()


def test_a_wrong_password_is_told_at_once(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    errors: list[Any] = []
    client = AdminClient(broker.login(password="wrong") | {"error_cb": errors.append})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)
    client.poll(1)
    assert any(error.code() == KafkaError._AUTHENTICATION for error in errors)
    assert "wrong" not in broker.log.replace("wrong user or password", "")


@pytest.mark.parametrize("how", ["acl", "credential", "deny"])
def test_who_is_shut_out_reads_nothing_more_and_is_cut_within_a_second(
    start_embedded: StartEmbedded, how: str
) -> None:
    """A Fetch that was parked before the right went delivers nothing either, unlike Kafka's."""
    broker = start_embedded()
    admin = AdminClient(broker.login())
    topic = create(admin, fresh())
    admit(admin, "copy", "a password", (ResourceType.TOPIC, topic, AclOperation.READ))
    producer = Producer(broker.login() | {"linger.ms": 0})
    with ParkedReader(broker.login("copy", "a password"), topic) as reader:
        producer.produce(topic, b"before")
        producer.flush(10)
        until(lambda: reader.values == [b"before"])
        until(lambda: reader.parked)
        began = time.monotonic()
        if how == "acl":
            wanted = AclBindingFilter(
                ResourceType.ANY,
                None,
                ResourcePatternType.ANY,
                "User:copy",
                None,
                AclOperation.ANY,
                AclPermissionType.ANY,
            )
            assert len(next(iter(admin.delete_acls([wanted]).values())).result(10)) == 1
        elif how == "credential":
            deletion = UserScramCredentialDeletion("copy", ScramMechanism.SCRAM_SHA_256)
            admin.alter_user_scram_credentials([deletion])["copy"].result(10)
        else:
            deny = AclBinding(
                ResourceType.TOPIC,
                topic,
                ResourcePatternType.LITERAL,
                "User:copy",
                "*",
                AclOperation.ALL,
                AclPermissionType.DENY,
            )
            next(iter(admin.create_acls([deny]).values())).result(10)
        producer.produce(topic, b"after")
        producer.flush(10)
        until(lambda: reader.broken is not None)
        assert reader.broken is not None
        assert 0 < reader.broken - began < 1.0
    assert reader.values == [b"before"]
