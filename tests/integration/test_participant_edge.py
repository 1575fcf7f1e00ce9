"""A Kafka that stays inside, and copies on an embedded broker at the edge, set up as docs/kafka.md says."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from servers import documented
from servers.certificates import Authority
from servers.kafka import ADMIN, PASSWORD, Kafka
from servers.kafka_jars import Jars, client_properties
from servers.kafka_topics import Topics
from servers.pair import Pair, credential, subscribers_wire
from servers.parked_reader import ParkedReader, client_settings
from servers.participant import eventually
from servers.tap import Tap

F, G = "flows.unix.ar", "flows.emiliano.ar"
AGENT = "fnaa.unix.ar"
INSIDE = "localhost"
"""The host name of the Kafka inside.  Everything that others are told of has a name of the test or 127.0.0.1."""
COMMANDS = (
    *(
        "DESCRIBE FLOW {}",
        "GET CREDENTIAL {}",
        "GET SUBSCRIBERS {}",
        "DESCRIBE PROCESSOR {}",
        "READ {} LIMIT 1",
    ),
    *("GET FLOWS", "GET SUBSCRIPTIONS", "GET PROCESSORS", "GET BROKERS", "GET NAMESPACES", "GET AGENTS"),
    *("DESCRIBE BROKER main", "DESCRIBE BROKER edge", f"DESCRIBE NAMESPACE {F}", f"DESCRIBE AGENT {AGENT}"),
    *("GET NAMESERVERS", f"SUBSCRIBE absent.{F}"),
)
"""What anybody may try; `{}` is the flow and its copy."""


class AtTheEdge(Pair):
    """unix.ar as the page's example, with other addresses; emiliano.ar with the embedded defaults.

    The certificate holds names and no address, as those of public CAs do.  `taps` hear what the two agents say.
    """

    def __init__(self, root: Path, inside: Kafka, trust: Authority) -> None:
        super().__init__(root)
        self.inside = inside
        self.there = Topics(inside.bootstrap())
        self.trust = trust
        provider, part = self.provider, documented.settings("edge")
        main, edge = part["brokers"]
        main |= {
            "servers": [inside.bootstrap("SASL_SSL")],
            "trust": str(trust.certificate),
            "password_file": documented.secret(root / "kafka.password", documented.AGENT_PASSWORD),
        }
        ports = provider.settings["brokers"][0]
        edge |= {"listen": ports["listen"], "listen_tls": ports["listen_tls"]}
        self.edge = edge["listen_tls"][0]
        certificates = Authority(root, "Authority of the edge")
        chain, key = certificates.issue(AGENT, "unix.ar", F)
        part["fnap"] |= provider.settings["fnap"] | {"certificate": str(chain), "key": str(key)}
        provider.settings |= {**part, "address": ["127.0.0.1"]}
        provider.ca = certificates.certificate
        self.taps = [
            self._tap(self.subscriber, provider, certificates),
            self._tap(provider, self.subscriber, certificates),
        ]

    @staticmethod
    def _tap(one: Any, other: Any, certificates: Authority) -> Tap:
        """Between `one` who asks and `other` who answers."""
        host, _, port = other.settings["fnap"]["listen_tls"][0].rpartition(":")
        name = f"fnaa.{other.domain}"
        tap = Tap((host, int(port)), certificates.issue(name), other.ca, name)
        one.settings["remotes"][0] |= {
            "address": f"127.0.0.1:{tap.port}",
            "trust": str(certificates.certificate),
        }
        return tap

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for tap in self.taps:
            tap.close()

    def said_by_provider(self) -> str:
        return (self.taps[0].answered + self.taps[1].asked).decode()

    def flow(self) -> str:
        """A new public flow of the provider."""
        name = f"f{secrets.token_hex(4)}.{F}"
        assert self.provider.ask(f"CREATE FLOW {name} visibility=public partitions=3") == [f"220 OK {name}"]
        return name

    def subscribe(self, flow: str) -> tuple[str, str]:
        """(copy, local flow) of a new subscription at the other participant."""
        local = f"g{secrets.token_hex(4)}.{G}"
        reply = self.subscriber.ask(f"SUBSCRIBE {flow} LOCAL {local} FROM BEGINNING")
        found = re.fullmatch(rf"{local} SUBSCRIBED TO (\S+)", reply[1]) if len(reply) > 1 else None
        assert found, [reply, self.subscriber.items("GET PROCESSORS")]
        return found[1], local

    def login_of(self, copy: str) -> dict[str, Any]:
        """How the subscriber reaches the edge with a Kafka client of his own, a new credential each time."""
        # to librdkafka names of the test lead nowhere, and the certificate holds no address
        address = {"ssl.endpoint.identification.algorithm": "none"}
        return client_settings(credential(self, copy), self.edge) | address

    def here(self, local: str) -> Topics:
        """The subscriber's own broker, as the local flow's owner reaches it."""
        with self.subscriber.tls_session() as wire:
            assert wire.reply("FORMAT JSON") == ["220 OK"]
            given = json.loads(wire.reply(f"GET CREDENTIAL {local}")[1])
        login = client_settings(given, self.subscriber.settings["brokers"][0]["listen_tls"][0])
        return Topics(login["bootstrap.servers"], login=login)


@pytest.fixture(scope="module")
def inside(
    kafka_jars: Jars, kafka_authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka]:
    directory = tmp_path_factory.mktemp("inside")
    made = Kafka(kafka_jars, directory, tls=kafka_authority.issue(INSIDE, "127.0.0.1"), host=INSIDE)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pair(
    inside: Kafka, kafka_authority: Authority, kafka_jars: Jars, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AtTheEdge]:
    root = tmp_path_factory.mktemp("participants")
    login = client_properties(root / "admin.properties", ADMIN, PASSWORD)
    documented.make_agents_user(kafka_jars, inside.bootstrap("SASL"), login)
    with AtTheEdge(root, inside, kafka_authority) as made:
        yield made


def test_what_is_written_inside_arrives_at_another_participant(pair: AtTheEdge) -> None:
    """Equal keys, values, headers and timestamps, by way of a copy that the Kafka inside does not have."""
    flow = pair.flow()
    pair.there.fill(flow, 1000, partitions=3)
    copy, local = pair.subscribe(flow)
    pair.there.fill(flow, 1000, seed=1, partitions=3)
    here = pair.here(local)

    def arrived() -> bool:
        return sum(here.ends(local).values()) >= 2000

    eventually(arrived, 60, lambda: f"{here.ends(local)}\n{pair.subscriber.tail()}\n{pair.provider.tail()}")
    assert here.read(local) == pair.there.read(flow)
    assert sum(count for count, _ in here.digest(local).values()) == 2000
    assert copy not in pair.there.admin.list_topics(timeout=10).topics
    assert copy in pair.provider.broker("edge").topics


def test_others_are_told_where_the_kafka_inside_is_and_never_what_opens_it(pair: AtTheEdge) -> None:
    """Its servers stand where those of each flow and broker do, and nowhere else; nor where it does not answer."""
    flow = pair.flow()
    copy, local = pair.subscribe(flow)
    server = pair.inside.bootstrap("SASL_SSL")
    port = server.rpartition(":")[2]
    expected = {
        (f"DESCRIBE FLOW {flow}", f"server={server}"),
        ("DESCRIBE BROKER main", f"server={server}"),
        ("DNS", f"_queue._flow._tcp.{flow}. 900 IN SRV 30 30 {port} {INSIDE}."),
    }
    told = answers(pair, flow, copy)
    assert naming_the_inside(pair, told) == expected
    assert opening_the_inside(pair, told) == set()
    with pair.provider.tls_session() as owner:
        own = {("owner", line) for line in owner.reply(f"GET CREDENTIAL {flow}")}
    assert opening_the_inside(pair, own), "its CA goes to who may use it"

    pair.inside.kill()
    try:
        error = f"DESCRIBE PROCESSOR {copy}"
        eventually(lambda: INSIDE in pair.provider.items(error)[0].get("error", ""), 30)
        assert pair.subscriber.ask(f"SUBSCRIBE {flow} LOCAL x{local}")[0].startswith("456 ")
        told = answers(pair, flow, copy)
        assert naming_the_inside(pair, told) == expected
        assert opening_the_inside(pair, told) == set()
    finally:
        pair.inside.restart()


def test_a_copy_leads_to_the_edge_alone(pair: AtTheEdge) -> None:
    """By DNS, DESCRIBE and credential, by all that the two agents say, and by what Kafka clients are sent to."""
    copy, _ = pair.subscribe(pair.flow())
    port = pair.edge.rpartition(":")[2]
    assert f"_queue._flow._tcp.{copy}. 60 IN SRV 30 30 {port} {AGENT}." in records(pair, copy)
    assert naming_the_inside(pair, {("DNS", line) for line in records(pair, copy)}) == set()
    described = [part for part in asked(pair, f"DESCRIBE FLOW {copy}") if part.startswith("server=")]
    assert described == [f"server={AGENT}:{port}"]
    assert credential(pair, copy)["server"] == [f"{AGENT}:{port}"]
    assert copy in pair.said_by_provider()
    seen = AdminClient(pair.login_of(copy)).list_topics(timeout=10)
    assert [f"{one.host}:{one.port}" for one in seen.brokers.values()] == [pair.edge]
    assert list(seen.topics) == [copy]


Told = set[tuple[str, str]]
"""(what was asked, a line or pair of the answer)."""


def answers(pair: AtTheEdge, flow: str, copy: str) -> Told:
    """All that others get: from DNS, as the other agent, and for what they may try themselves."""
    found = {("DNS", line) for line in records(pair, flow, copy)}
    found |= {("agent", line) for line in pair.said_by_provider().splitlines()}
    for command in COMMANDS:
        for subject in (flow, copy) if "{}" in command else ("",):
            asking = command.format(subject)
            found |= {(asking, part) for part in asked(pair, asking)}
    return found


def naming_the_inside(pair: AtTheEdge, told: Told) -> Told:
    """What names a host or port of the Kafka inside."""
    ports = "|".join(map(str, pair.inside.node().ports.values()))
    return {one for one in told if re.search(rf"{INSIDE}|(?<!\d)({ports})(?!\d)", one[1])}


def opening_the_inside(pair: AtTheEdge, told: Told) -> Told:
    """What holds the agent's login at the Kafka inside, its password, or the CA of the servers."""
    trust = "".join(pair.trust.certificate.read_text().splitlines()[1:-1])
    login = rf"(?<![\w.-]){documented.AGENT}(?![\w.-])"
    words = (login, documented.AGENT_PASSWORD, re.escape(trust))
    return {one for one in told if re.search("|".join(words), one[1])}


def asked(pair: AtTheEdge, command: str) -> list[str]:
    """What the subscriber's user and a stranger are answered, the pairs of JSON objects one by one."""
    with subscribers_wire(pair) as wire, pair.provider.tls_wire() as stranger:
        assert stranger.line().endswith(" FNAA\r\n")
        assert stranger.reply("AUTHENTICATE ANONYMOUS =") == ["220 Authenticated"]
        return [part for one in (wire, stranger) for line in one.reply(command) for part in parts(line)]


def parts(line: str) -> list[str]:
    if not line.startswith("{"):
        return [line]
    values = {key: value if isinstance(value, list) else [value] for key, value in json.loads(line).items()}
    return [f"{key}={one}" for key in values for one in values[key]]


def records(pair: AtTheEdge, *names: str) -> list[str]:
    """What DNS says of these and of what they lie in."""
    host, port = pair.provider.address("names")
    found = []
    for name in (*names, F, "unix.ar", AGENT):
        for owner in (name, f"_flow._tcp.{name}", f"_queue._flow._tcp.{name}"):
            for type in ("PTR", "SRV", "TXT", "A", "AAAA", "NS", "SOA", "ANY"):
                answer = dns.query.udp(dns.message.make_query(owner, type), host, 5.0, port)
                sets = [*answer.answer, *answer.authority, *answer.additional]
                found += [line for one in sets for line in one.to_text().splitlines()]
    return found


def write(pair: AtTheEdge, flow: str, value: bytes) -> None:
    producer = pair.there.producer()
    producer.produce(flow, value, partition=0)
    assert producer.flush(20) == 0


def test_a_subscriber_who_is_removed_reads_nothing_more(pair: AtTheEdge) -> None:
    """A Fetch that waits at the edge is cut within a second of the command; neither Kafka nor FNAP gives any more."""
    flow = pair.flow()
    copy, local = pair.subscribe(flow)
    login = pair.login_of(copy)
    write(pair, flow, b"before")
    with ParkedReader(login, copy) as reader:
        eventually(lambda: reader.values == [b"before"], 20, lambda: f"{reader.values}")
        eventually(lambda: reader.parked)
        with pair.provider.session() as wire:
            began = time.monotonic()
            assert wire.reply(f"REMOVE SUBSCRIBER {copy}") == [f"220 OK {copy}"]
        write(pair, flow, b"after")
        eventually(lambda: reader.broken is not None, 5, lambda: "the reader is still connected")
        assert reader.broken is not None
        assert 0 < reader.broken - began < 1.0
        ended = {"state": "ended", "reason": "removed"}
        eventually(lambda: pair.subscriber.items(f"DESCRIBE FLOW {copy}")[0].items() >= ended.items())
        assert reader.values == [b"before"]
    errors: list[KafkaError] = []
    again = Consumer(login | {"error_cb": errors.append})
    with contextlib.closing(again):
        with pytest.raises(KafkaException):
            again.list_topics(timeout=2)
        again.poll(1)
    assert KafkaError._AUTHENTICATION in [one.code() for one in errors]
    for command in (f"READ {copy}", f"GET CREDENTIAL {copy}"):
        with subscribers_wire(pair) as wire:
            assert wire.reply(command) == [f"550 No such flow: {copy}"]
    assert copy not in pair.provider.broker("edge").topics
    assert sum(pair.here(local).ends(local).values()) == 1, "what was carried stays"
