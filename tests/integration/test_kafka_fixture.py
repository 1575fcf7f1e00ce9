"""The real Kafka that other tests build on is what it says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from servers.certificates import Authority
from servers.kafka import ADMIN, PASSWORD, Kafka, StartKafka
from servers.kafka_jars import CONSOLE_CONSUMER, CONSOLE_PRODUCER, TOPICS, Jars, client_properties

SCRAM = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256", "log_level": 0}


def test_java_clients_and_librdkafka_read_what_the_other_wrote(
    kafka: Kafka, kafka_jars: Jars, tmp_path: Path
) -> None:
    """The SASL listener takes admin/secret, and the helper runs Kafka's own clients."""
    login = client_properties(tmp_path / "client.properties", ADMIN, PASSWORD)
    server = ["--bootstrap-server", kafka.bootstrap("SASL"), "--command-config", str(login)]
    kafka_jars.run(TOPICS, *server, "--create", "--topic", "fixture.java")
    kafka_jars.run(CONSOLE_PRODUCER, *server, "--topic", "fixture.java", stdin="one\ntwo\n")
    producer = Producer({"bootstrap.servers": kafka.bootstrap()})
    producer.produce("fixture.java", b"three")
    assert producer.flush(10) == 0
    done = kafka_jars.run(
        *(CONSOLE_CONSUMER, *server, "--topic", "fixture.java", "--from-beginning", "--max-messages", "3"),
    )
    assert sorted(done.stdout.split()) == ["one", "three", "two"]


def test_strangers_are_refused_at_the_sasl_listener(kafka: Kafka) -> None:
    admin = AdminClient(
        SCRAM
        | {"bootstrap.servers": kafka.bootstrap("SASL"), "sasl.username": ADMIN, "sasl.password": "wrong"}
    )
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=2)


def test_what_was_acknowledged_survives_a_kill(start_kafka: StartKafka) -> None:
    """A node of one's own is killed and comes back on the same ports with the same data."""
    kafka = start_kafka(properties={"connections.max.reauth.ms": "5000"})
    settings = SCRAM | {
        "bootstrap.servers": kafka.bootstrap("SASL"),
        "sasl.username": ADMIN,
        "sasl.password": PASSWORD,
    }
    admin = AdminClient(settings)
    admin.create_topics([NewTopic("kept", 1)])["kept"].result(10)
    producer = Producer(settings | {"acks": "all"})
    producer.produce("kept", b"before")
    assert producer.flush(10) == 0
    kafka.kill()
    assert not kafka.node().alive
    began = time.monotonic()
    kafka.restart()
    assert time.monotonic() - began < 60
    consumer = Consumer(settings | {"group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["kept"])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"before"


def test_three_nodes_and_tls(start_kafka: StartKafka, tmp_path: Path) -> None:
    """A cluster lists its nodes, goes on without one, and its TLS listeners show the given certificate."""
    authority = Authority(tmp_path)
    kafka = start_kafka(size=3, tls=authority.issue("localhost"), host="localhost")
    settings = {"ssl.ca.location": str(authority.certificate), "log_level": 0}
    admin = AdminClient(settings | {"bootstrap.servers": kafka.bootstrap("SSL"), "security.protocol": "SSL"})
    assert len(admin.list_topics(timeout=10).brokers) == 3
    admin.create_topics([NewTopic("three", 3)])["three"].result(20)
    kafka.kill(3)
    login = {"security.protocol": "SASL_SSL", "sasl.username": ADMIN, "sasl.password": PASSWORD}
    producer = Producer(
        SCRAM | settings | login | {"bootstrap.servers": kafka.bootstrap("SASL_SSL"), "acks": "all"}
    )
    producer.produce("three", b"one")
    assert producer.flush(30) == 0
    kafka.restart(3)
