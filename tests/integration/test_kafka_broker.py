"""The Kafka adapter keeps the contract of brokers at a real Apache Kafka, and users are let in and shut out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers.contract.broker_contract import BrokerContract, Call, fresh, read_all, record, write_all
from brokers.kafka.wire_samples import samples
from confluent_kafka import Consumer, Producer
from servers.certificates import Authority
from servers.kafka import ADMIN, PASSWORD, Kafka, StartKafka, free_ports
from servers.participant import eventually
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from eson.brokers.kafka.broker import KafkaBroker
from eson.brokers.kafka.failures import LoginRefused, Unreachable
from eson.brokers.kafka.net.opening import Opener
from eson.brokers.port import Access, Broker, Record
from eson.errors import BackendFailed
from eson.model.servers import Server


def access(kafka: Kafka, username: str = ADMIN, password: str = PASSWORD) -> Access:
    servers = (Server("127.0.0.1", kafka.port("SASL")),)
    return Access(servers, "sasl_plaintext", "SCRAM-SHA-256", username, password)


@pytest.fixture
def call(in_reactor: Call) -> Call:
    return in_reactor


@pytest.fixture
def broker(kafka: Kafka, reactor_thread: Any, in_reactor: Call) -> Iterator[Broker]:
    made = KafkaBroker(reactor_thread, "main", access(kafka))
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


Make = Callable[..., KafkaBroker]


@pytest.fixture
def make(reactor_thread: Any, in_reactor: Call) -> Iterator[Make]:
    """Brokers of the test's own, stopped at its end."""
    made: list[KafkaBroker] = []

    def start(access: Access, **more: Any) -> KafkaBroker:
        broker = KafkaBroker(reactor_thread, "main", access, **more)
        made.append(broker)
        in_reactor(broker.start)
        return broker

    yield start
    for broker in made:
        in_reactor(broker.stop)


class TestKafkaBroker(BrokerContract):
    def test_consumer_groups_with_a_position_are_listed(
        self, broker: Broker, call: Call, queue: str, kafka: Kafka
    ) -> None:
        call(write_all, broker, queue, [record(b"x")])
        settings = {"bootstrap.servers": kafka.bootstrap(), "auto.offset.reset": "earliest", "log_level": 0}
        for group in (f"{queue}-1", f"{queue}-2"):
            consumer = Consumer(settings | {"group.id": group})
            consumer.subscribe([queue])
            assert consumer.poll(20).value() == b"x"
            consumer.commit(asynchronous=False)
            consumer.close()
        other = fresh()
        call(broker.create_queue, other)
        assert list(call(broker.list_consumers, queue)) == [f"{queue}-1", f"{queue}-2"]
        assert list(call(broker.list_consumers, other)) == []

    @pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
    def test_what_librdkafka_wrote_is_read(
        self, broker: Broker, call: Call, queue: str, kafka: Kafka, codec: str
    ) -> None:
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap(), "compression.type": codec, "linger.ms": 50}
        )
        for i in range(100):
            producer.produce(queue, b"%d" % i * 50, key=b"k%d" % i, headers=[("h", b"1"), ("n", None)])
        assert producer.flush(10) == 0
        found = call(read_all, broker, queue)
        assert [(r.key, r.value, r.headers) for r in found] == [
            (b"k%d" % i, b"%d" % i * 50, (("h", b"1"), ("n", None))) for i in range(100)
        ]

    def test_librdkafka_reads_what_was_written(
        self, broker: Broker, call: Call, queue: str, kafka: Kafka
    ) -> None:
        call(write_all, broker, queue, [record(b"v%d" % i, b"k", headers=(("h", b"1"),)) for i in range(10)])
        settings = {
            "bootstrap.servers": kafka.bootstrap(),
            "group.id": queue,
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(settings | {"check.crcs": True})
        consumer.subscribe([queue])
        found = [consumer.poll(20) for _ in range(10)]
        consumer.close()
        assert [(m.key(), m.value(), m.headers()) for m in found] == [
            (b"k", b"v%d" % i, [("h", b"1")]) for i in range(10)
        ]

    def test_aborted_transactions_are_not_read(
        self, broker: Broker, call: Call, queue: str, kafka: Kafka
    ) -> None:
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap(), "transactional.id": queue, "log_level": 0}
        )
        producer.init_transactions(30)
        for commit in (True, False, True):
            producer.begin_transaction()
            producer.produce(queue, b"committed" if commit else b"aborted")
            producer.flush(10)
            if commit:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
        # a marker after each, which its coordinator may write a little later
        eventually(lambda: call(broker.end_offsets, queue) == {0: 6}, 15)
        assert [(r.offset, r.value) for r in call(read_all, broker, queue)] == [
            (0, b"committed"),
            (4, b"committed"),
        ]

    def test_an_open_transaction_is_the_end_of_a_bounded_read(
        self, broker: Broker, call: Call, queue: str, kafka: Kafka
    ) -> None:
        call(write_all, broker, queue, [record(b"before")])
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap(), "transactional.id": queue, "log_level": 0}
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(queue, b"open")
        producer.flush(10)
        assert [r.value for r in call(read_all, broker, queue)] == [b"before"]
        producer.abort_transaction(30)

    def test_two_hundred_creations_at_once_share_requests(self, broker: Broker, call: Call) -> None:
        """A controller takes 30 ms for each request: one by one, this would take six seconds."""

        async def create() -> float:
            began = time.monotonic()
            for one in [Deferred.fromCoroutine(broker.create_queue(fresh("crowd"))) for _ in range(200)]:  # type: ignore[arg-type]
                await one
            return time.monotonic() - began

        assert call(create) < 5

    def test_a_real_broker_takes_every_golden_request(
        self, kafka: Kafka, reactor_thread: Any, call: Call
    ) -> None:
        """None ends the connection, which is what Kafka does with what it cannot read."""

        async def ask() -> None:
            opener = Opener(reactor_thread, "main", Access((Server("127.0.0.1", kafka.port("PLAIN")),)))
            connection = await opener.open(Server("127.0.0.1", kafka.port("PLAIN")))
            for name, (request, version) in samples().items():
                if "Sasl" not in name:
                    await connection.request(request, 20, version)
            connection.close()

        call(ask)


@pytest.fixture
def queue(broker: Broker, call: Call) -> str:
    name = fresh()
    call(broker.create_queue, name)
    return name


# trouble


def test_a_mechanism_that_is_not_offered_is_named(kafka: Kafka, call: Call, make: Make) -> None:
    servers = (Server("127.0.0.1", kafka.port("SASL")),)
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        broker = make(Access(servers, "sasl_plaintext", mechanism, ADMIN, PASSWORD))
        with pytest.raises(LoginRefused, match=f"does not offer {mechanism}"):
            call(broker.list_queues)


def test_a_broker_that_is_down_is_named_at_once_and_found_again(
    start_kafka: StartKafka, call: Call, make: Make
) -> None:
    kafka = start_kafka()
    broker = make(access(kafka))
    call(broker.create_queue, "kept.flows.unix.ar")
    call(write_all, broker, "kept.flows.unix.ar", [record(b"1")])
    source = call(broker.read, "kept.flows.unix.ar", {0: 0}, None)
    assert [r.value for r in call(source.next_records)] == [b"1"]
    kafka.kill()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="Broker main cannot be reached"):
        call(broker.end_offsets, "kept.flows.unix.ar")
    assert time.monotonic() - began < 5
    waiting = call(lambda: [Deferred.fromCoroutine(source.next_records())])
    kafka.restart()
    call(write_all, broker, "kept.flows.unix.ar", [record(b"2")])
    assert [r.value for r in call(lambda: waiting[0])] == [b"2"]


def test_logins_are_renewed_before_the_broker_ends_them(
    start_kafka: StartKafka, call: Call, make: Make
) -> None:
    """With sessions of two seconds, what runs for longer goes on over new connections, and nothing is said about it."""
    kafka = start_kafka(properties={"connections.max.reauth.ms": "2000", "connections.max.idle.ms": "60000"})
    with capturedLogs() as logged:
        broker = make(access(kafka))
        call(lambda: broker._checking)
    assert [event["log_level"].name for event in logged if event["log_level"] >= LogLevel.warn] == []
    call(broker.create_queue, "long.flows.unix.ar")

    async def write() -> int:
        sink = await broker.write("long.flows.unix.ar")
        connections: set[int] = set()
        written = 0
        while len(connections) < 3:
            await sink.send([record(b"%d" % written)])
            written += 1
            connections |= {id(connection) for connection in broker._data._open.values()}
        return written

    written = call(write)
    assert [int(r.value or b"") for r in call(read_all, broker, "long.flows.unix.ar")] == list(range(written))


def test_settings_that_let_revoked_users_stay_are_told_at_start(kafka: Kafka, call: Call, make: Make) -> None:
    with capturedLogs() as logged:
        broker = make(access(kafka))
        call(lambda: broker._checking)
    told = [event["warning"] for event in logged if event["log_level"] is LogLevel.warn]
    assert [text.split()[0] for text in told] == ["connections.max.reauth.ms", "connections.max.idle.ms"]


def test_a_broker_that_is_down_at_start_is_no_error(call: Call, make: Make) -> None:
    (port,) = free_ports(1)
    with capturedLogs() as logged:
        broker = make(Access((Server("127.0.0.1", port),)))
        call(lambda: broker._checking)
    assert any("cannot be checked now" in (event["log_format"] or "") for event in logged)
    with pytest.raises(Unreachable):
        call(broker.list_queues)


def test_a_leader_that_dies_costs_nothing_and_doubles_nothing(
    kafka_cluster: Kafka, call: Call, make: Make, reactor_thread: Any
) -> None:
    servers = tuple(Server("127.0.0.1", node.ports["SASL"]) for node in kafka_cluster.nodes)
    broker = make(Access(servers, "sasl_plaintext", "SCRAM-SHA-256", ADMIN, PASSWORD), timeout=30.0)
    name = fresh()
    call(broker.create_queue, name, 3)
    leaders = call(broker._data.metadata, [name])[name].leaders
    victim = leaders[1]

    async def write(total: int) -> list[Record]:
        sink = await broker.write(name)
        source = await broker.read(name, dict.fromkeys(range(3), 0), None)
        found: list[Record] = []
        for i in range(total):
            if i == total // 2:
                reactor_thread.callInThread(kafka_cluster.kill, victim)
            await sink.send([record(b"%d-%d" % (n, i), partition=n) for n in range(3)])
        while len(found) < 3 * total:
            found += await source.next_records()
        source.close()
        return found

    try:
        found = call(write, 200, timeout=60)
    finally:
        kafka_cluster.restart(victim)
    for n in range(3):
        assert [r.value for r in found if r.partition == n] == [b"%d-%d" % (n, i) for i in range(200)]


def test_a_sink_recognises_a_queue_that_was_made_anew(broker: Broker, call: Call, queue: str) -> None:
    """Nothing is written into the new one by somebody who means the old one; a reader is told too."""

    async def remake() -> None:
        sink = await broker.write(queue)
        await sink.send([record(b"old")])
        source = await broker.read(queue, {0: 1}, None)
        waiting = Deferred.fromCoroutine(source.next_records())  # type: ignore[arg-type]
        await broker.delete_queue(queue)
        await broker.create_queue(queue)
        with pytest.raises(BackendFailed, match="was deleted"):
            await sink.send([record(b"new")])
        with pytest.raises(BackendFailed, match="was deleted"):
            await waiting

    call(remake)
    assert call(broker.end_offsets, queue) == {0: 0}


def test_over_tls_the_servers_name_and_issuer_are_checked(
    start_kafka: StartKafka, call: Call, make: Make, tmp_path: Path
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "Stranger")
    trusted, other = authority.certificate.read_text(), stranger.certificate.read_text()
    kafka = start_kafka(tls=authority.issue("localhost"), host="localhost")

    def over_tls(host: str, trust: str) -> KafkaBroker:
        servers = (Server(host, kafka.port("SASL_SSL")),)
        return make(Access(servers, "sasl_ssl", "SCRAM-SHA-256", ADMIN, PASSWORD, trust))

    broker = over_tls("localhost", trusted)
    call(broker.create_queue, "tls.flows.unix.ar")
    call(write_all, broker, "tls.flows.unix.ar", [record(b"sealed" * 10_000)] * 20)
    assert len(call(read_all, broker, "tls.flows.unix.ar")) == 20
    for host, trust in (("127.0.0.1", trusted), ("localhost", other), ("localhost", "")):
        with pytest.raises(Unreachable) as caught:
            call(over_tls(host, trust).list_queues)
        assert "certificate" in str(caught.value.context)
