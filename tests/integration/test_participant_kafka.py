"""Two whole participants, each on a Kafka cluster of its own, set up as docs/kafka.md says."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewPartitions, ResourceType
from servers import documented
from servers.certificates import Authority
from servers.documented import secret
from servers.kafka import ADMIN, PASSWORD, Kafka
from servers.kafka_jars import CONSOLE_CONSUMER, VERIFIABLE_CONSUMER, Jars, client_properties
from servers.kafka_topics import Feed, Topics
from servers.pair import PASSWORD as USERS_PASSWORD
from servers.pair import Member, Pair
from servers.parked_reader import client_settings
from servers.participant import BETWEEN, BIN, eventually

F, G = "flows.unix.ar", "flows.emiliano.ar"


class OnKafka(Pair):
    """unix.ar on three nodes over TLS, as a user with the documented rights; emiliano.ar on one node, as its superuser."""

    def __init__(self, root: Path, inside: Kafka, authority: Authority, other: Kafka) -> None:
        super().__init__(root)
        part = documented.settings("inside")
        main = part["brokers"][0] | {
            "servers": inside.bootstrap("SASL_SSL").split(","),
            "trust": str(authority.certificate),
            "password_file": secret(root / "kafka.password", documented.AGENT_PASSWORD),
        }
        closed = main | {"name": "closed", "credentials": "none"}
        self.provider.settings["brokers"] = [main, closed]
        self.provider.settings["namespaces"] = [
            *part["namespaces"],
            {"name": "closed.unix.ar", "broker": "closed"},
        ]
        self.subscriber.settings["brokers"] = [
            {
                "name": "main",
                "type": "kafka",
                "servers": [other.bootstrap("SASL")],
                "security": "sasl_plaintext",
                "username": ADMIN,
                "password_file": secret(root / "other.password", PASSWORD),
            }
        ]
        self._introduce(secret(root / "between.password", BETWEEN))
        self.there, self.here = Topics(inside.bootstrap()), Topics(other.bootstrap())
        self.inside = inside

    def _introduce(self, password_file: str) -> None:
        """The provider knows the other agent as the page says."""
        part = documented.settings("agents")
        own = self.provider.settings
        accounts = [one | {"password_file": password_file} for one in part["identity"]["accounts"]]
        own["identity"]["accounts"] = [own["identity"]["accounts"][0], *accounts]
        trust = {"trust": str(self.subscriber.ca), "password_file": password_file}
        own["remotes"] = [one | trust for one in part["remotes"]]

    def flow(self, partitions: int = 3, more: str = "") -> str:
        """A new public flow of the provider."""
        name = f"f{secrets.token_hex(4)}.{F}"
        made = self.provider.ask(f"CREATE FLOW {name} visibility=public partitions={partitions} {more}")
        assert made == [f"220 OK {name}"]
        return name

    def subscribe(self, flow: str, start: str = "BEGINNING") -> tuple[str, str]:
        """(copy, local flow) of a new subscription at the other participant."""
        local = f"g{secrets.token_hex(4)}.{G}"
        reply = self.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local} FROM {start}")
        found = re.fullmatch(rf"{local} SUBSCRIBED TO (\S+)", reply[1]) if len(reply) > 1 else None
        assert found, reply
        return found[1], local

    def carried(self, flow: str, local: str, total: int, seconds: float = 60) -> None:
        """All of `flow` is in `local`, once and in order."""

        def arrived() -> bool:
            return sum(self.here.ends(local).values()) >= total

        eventually(arrived, seconds, lambda: f"{self.here.ends(local)} of {total}\n{self.subscriber.tail()}")
        assert self.here.digest(local) == self.there.digest(flow)
        assert sum(count for count, _ in self.here.digest(local).values()) == total


@pytest.fixture(scope="module")
def pair(
    kafka_cluster: Kafka,
    kafka_authority: Authority,
    kafka: Kafka,
    kafka_jars: Jars,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OnKafka]:
    root = tmp_path_factory.mktemp("participants")
    login = client_properties(root / "admin.properties", ADMIN, PASSWORD)
    documented.make_agents_user(kafka_jars, kafka_cluster.bootstrap("SASL"), login)
    with OnKafka(root, kafka_cluster, kafka_authority, kafka) as made:
        yield made


def fnua(member: Member, *arguments: str) -> subprocess.Popen[str]:
    file = member.write_user_agent()
    profile = yaml.safe_load(file.read_text())
    profile["agents"][0] |= {"username": "test", "password": USERS_PASSWORD, "prefix": ""}
    file.write_text(yaml.safe_dump(profile))
    return subprocess.Popen(
        [BIN / "fnua", "-c", file, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def say(member: Member, *arguments: str, status: int = 0) -> str:
    child = fnua(member, *arguments)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == status, output + errors
    return output


def test_a_topic_of_one_cluster_is_subscribed_into_the_other(
    pair: OnKafka, kafka_jars: Jars, tmp_path: Path, kafka: Kafka, kafka_cluster: Kafka
) -> None:
    """As docs/kafka.md says it to a newcomer; Kafka's own clients then read the same on both sides."""
    orders = pair.there.create("orders", 3, replicas=3, config={"retention.ms": "-1"})
    pair.there.fill(orders, 2000, partitions=3)
    flow, local = f"orders.{F}", f"orders.{G}"
    assert say(pair.provider, "create", "flow", flow, f"topic={orders}").strip() == flow
    say(pair.subscriber, "subscribe", flow, local, "--from", "beginning", status=5)
    (waiting,) = pair.provider.items(f"GET SUBSCRIBERS {flow}")
    watching = fnua(pair.subscriber, "-o", "json", "get", "subscriptions", flow, "--watch")
    try:
        say(pair.provider, "approve", waiting["subscriber"])
        assert watching.stdout is not None
        seen = []
        for line in watching.stdout:
            seen.append(json.loads(line))
            if seen[-1].get("lag") == 0:
                break
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)
    finally:
        watching.kill()
    assert [seen[0]["state"], seen[-1]["state"]] == ["pending", "active"], seen
    pair.carried(orders, local, 2000)
    event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "t", "data": "from FNAP"}
    with pair.provider.session() as wire:
        wire.send(f"WRITE {flow}", json.dumps(event), ".")
        assert [wire.line()[:4], wire.line()] == ["354 ", "220 OK 1\r\n"]
    eventually(lambda: sum(pair.here.ends(local).values()) == 2001)

    login = client_properties(tmp_path / "client.properties", ADMIN, PASSWORD)
    there, here = (kafka_cluster.bootstrap("SASL"), orders), (kafka.bootstrap("SASL"), local)
    shown = _consoles(kafka_jars, login, there, here)
    assert shown[0] == shown[1]
    assert len(shown[0]) == 2001
    assert any('"from FNAP"' in line for line in shown[0])
    assert _verified(kafka_jars, login, there, here) == [2001, 2001]

    assert pair.provider.ask(f"DELETE FLOW {flow} FORCE") == [f"220 OK {flow}"]
    assert sum(pair.there.ends(orders).values()) == 2001, "the topic was there before us"
    assert pair.provider.in_dns(flow) is False


def _consoles(jars: Jars, login: Path, *topics: tuple[str, str]) -> list[list[str]]:
    """What the console consumer shows of each, partition by partition."""
    shows = [f"--formatter-property=print.{one}=true" for one in ("partition", "key", "headers", "timestamp")]
    options = ["--from-beginning", "--max-messages", "2001", "--timeout-ms", "30000", *shows]
    children = [
        jars.start(
            CONSOLE_CONSUMER,
            *("--bootstrap-server", server, "--command-config", str(login), "--topic", topic, *options),
        )
        for server, topic in topics
    ]
    outputs = [child.communicate(timeout=60) for child in children]
    assert all("Partition:" in output for output, _ in outputs), outputs

    def partition(line: str) -> str:
        found = re.search(r"Partition:\d+", line)
        return found[0] if found else ""

    return [sorted(output.splitlines(), key=partition) for output, _ in outputs]


def _verified(jars: Jars, login: Path, *topics: tuple[str, str]) -> list[int]:
    """How many records the verifiable consumer counts in each."""
    children = [
        jars.start(
            VERIFIABLE_CONSUMER,
            *("--bootstrap-server", server, "--command-config", str(login), "--topic", topic),
            *("--group-id", f"verified-{topic}", "--reset-policy", "earliest", "--max-messages", "2001"),
        )
        for server, topic in topics
    ]
    counted = []
    for child in children:
        output, errors = child.communicate(timeout=60)
        said = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        counted.append(sum(one["count"] for one in said if one["name"] == "records_consumed"))
        assert child.returncode == 0, errors
    return counted


def test_flows_and_copies_have_the_clusters_replication(pair: OnKafka) -> None:
    flow = pair.flow()
    copy, _ = pair.subscribe(flow)
    topics = pair.there.admin.list_topics(timeout=10).topics
    for name in (flow, copy):
        assert [len(one.replicas) for one in topics[name].partitions.values()] == [3, 3, 3]
        resource = ConfigResource(ResourceType.TOPIC, name)
        settings = pair.there.admin.describe_configs([resource])[resource].result(10)
        assert settings["min.insync.replicas"].value == "2"
    assert int(settings["retention.ms"].value) == 24 * 3600 * 1000, "what `copies` says"


def test_a_leader_that_dies_costs_nothing_and_doubles_nothing(pair: OnKafka) -> None:
    flow = pair.flow()
    copy, local = pair.subscribe(flow)
    leader = pair.there.admin.list_topics(copy, timeout=10).topics[copy].partitions[0].leader
    feed = Feed(pair.there, flow, 6000, 4.0, partitions=3)
    try:
        eventually(lambda: sum(pair.here.ends(local).values()) > 500, 30, pair.subscriber.tail)
        assert feed.running
        pair.inside.kill(leader)
        feed.join()
        pair.carried(flow, local, 6000)
        assert pair.provider.ask(f"CREATE FLOW after-{flow}") == [f"220 OK after-{flow}"], "two of three do"
    finally:
        pair.inside.restart(leader)


def test_partitions_that_a_flow_gets_at_its_cluster_reach_the_other(pair: OnKafka) -> None:
    """Nobody tells the agents: the processors notice, copy and local flow follow, and all goes on by itself."""
    flow = pair.flow(2)
    copy, local = pair.subscribe(flow)
    pair.there.fill(flow, 500, partitions=2)
    pair.carried(flow, local, 500)
    pair.there.admin.create_partitions([NewPartitions(flow, 4)])[flow].result(30)
    pair.there.fill(flow, 1000, 1, partitions=4)
    pair.carried(flow, local, 1500, 150)
    for member, side, grown in (
        (pair.provider, "SUBSCRIBERS", [flow, copy]),
        (pair.subscriber, "SUBSCRIPTIONS", [local]),
    ):
        (item,) = member.items(f"GET {side} {flow}")
        assert item["state"] == "active"
        for name in grown:
            assert member.items(f"DESCRIBE FLOW {name}")[0]["partitions"] == 4
        told = member.rows("select object, detail from audit where act = 'add partitions'")
        assert told == [(grown[-1], f"2 to 4, as the source of {copy}")]


def test_users_of_a_flow_log_in_with_what_they_are_issued(pair: OnKafka) -> None:
    """Over TLS, with the CA that the credential names: the flow itself and no other."""
    flow, other = pair.flow(), pair.flow()
    settings = _client(pair, flow)
    pair.there.fill(flow, 10, partitions=3)
    consumer = Consumer(settings | {"group.id": f"{flow}-me", "auto.offset.reset": "earliest"})
    consumer.subscribe([flow])
    try:
        found = consumer.consume(10, 30)
        assert [one.error() for one in found] == [None] * 10
        with pytest.raises(KafkaException) as caught:
            consumer.consumer_group_metadata()
            consumer.get_watermark_offsets(_partition(other), timeout=10)
        assert caught.value.args[0].code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
        )
    finally:
        consumer.close()


def _partition(topic: str) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(topic, 0)


def _client(pair: OnKafka, name: str) -> dict[str, Any]:
    """How any Kafka client reaches a copy or flow, from GET CREDENTIAL alone."""
    with pair.provider.tls_session() as wire:
        assert wire.reply("FORMAT JSON") == ["220 OK"]
        said: Mapping[str, Any] = json.loads(wire.reply(f"GET CREDENTIAL {name}")[1])
    assert len(said["server"]) == 3
    return client_settings(said)


class Writing:
    """Writes into a flow without pause, until it is left."""

    def __init__(self, topics: Topics, flow: str) -> None:
        self._producer, self._flow, self._end = topics.producer(), flow, Event()
        self._thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._end.wait(0.02):
            self._producer.produce(self._flow, b"x")
            self._producer.poll(0)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._producer.flush(10)


def test_removing_a_subscriber_cuts_a_live_consumer(pair: OnKafka) -> None:
    """As far as Kafka goes: within a second nothing comes any more, and nobody logs in again."""
    flow = pair.flow(1)
    copy = pair.provider.ask(f"SUBSCRIBE {flow}")[1]
    settings = _client(pair, copy)
    consumer = Consumer(settings | {"auto.offset.reset": "earliest"})
    consumer.subscribe([copy])
    with contextlib.closing(consumer), Writing(pair.there, flow):
        first = consumer.poll(30)
        assert first is not None
        assert first.error() is None
        with pair.provider.session() as wire:
            began = last = ended = time.monotonic()
            removing = Thread(target=wire.reply, args=(f"REMOVE SUBSCRIBER {copy}",))
            removing.start()
            refused = None
            while removing.is_alive() or time.monotonic() < ended + 3:
                message = consumer.poll(0.05)
                if message is not None and message.error() is None:
                    last = time.monotonic()
                elif message is not None:
                    refused = message.error()
                if removing.is_alive():
                    ended = time.monotonic()
            removing.join()
    assert last <= began + 1.0, f"events came {last - began:.2f} s after the command"
    assert refused is not None
    assert refused.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART), (
        refused
    )
    assert ended - began < 20
    again = Consumer(settings)
    with contextlib.closing(again), pytest.raises(KafkaException):
        again.list_topics(timeout=2)
    assert copy not in pair.there.admin.list_topics(timeout=10).topics


def test_operators_see_what_the_clusters_settings_do_not_hold(pair: OnKafka) -> None:
    # it looks at the settings behind its start, which waits for no cluster
    eventually(lambda: "warning" in pair.provider.items("DESCRIBE BROKER main")[0], 30, pair.provider.log)
    (item,) = pair.provider.items("DESCRIBE BROKER main")
    assert (item["issues-credentials"], item["guarantee"]) == (True, "exactly-once")
    told = [one.split()[0] for one in item["warning"]]
    assert told == ["connections.max.reauth.ms", "connections.max.idle.ms"]
    assert all(one.endswith("(server 1, 2, 3)") for one in item["warning"])
    for one in item["warning"]:
        assert one in pair.provider.log()
    (item,) = pair.provider.items("DESCRIBE BROKER closed")
    assert item["issues-credentials"] is False
    assert "warning" not in item


def test_without_credentials_a_copy_is_read_by_fnap(pair: OnKafka) -> None:
    flow = f"f{secrets.token_hex(4)}.closed.unix.ar"
    assert pair.provider.ask(f"CREATE FLOW {flow} visibility=public") == [f"220 OK {flow}"]
    copy = pair.provider.ask(f"SUBSCRIBE {flow}")[1]
    with pair.provider.tls_session() as wire:
        said = wire.reply(f"GET CREDENTIAL {copy}")
        assert said[2].startswith("type=fnap server=fnaa.unix.ar:") or "type=fnap" in said, said
        wire.send(f"READ {copy} FOLLOW")
        assert wire.line() == "220 DATA\r\n"
        pair.there.fill(flow, 1, partitions=1)
        assert json.loads(wire.line())["esonpartition"] == 0
    reply = pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL g-{flow.partition('.')[0]}.{G}")
    assert reply[0].startswith("502 Not offered"), reply
    subscribers = [one["subscriber"] for one in pair.provider.items(f"GET SUBSCRIBERS {flow}")]
    assert subscribers == [copy], "nothing of the other's is left"
