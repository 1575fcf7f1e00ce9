"""Real Apache Kafka (KRaft) as child processes of the tests, on free loopback ports.

Fixtures, known to all tests: `kafka_jars`, `kafka` (one shared node; use topics, users and groups of your own names),
`kafka_link` (a link to it that a test may make bad),
`kafka_cluster` (three shared nodes, min.insync.replicas=2, TLS of `kafka_authority`), `start_kafka` (a node or cluster of your own, to be killed).
Listeners of each node: PLAIN, where everybody may do everything; SASL, SCRAM-SHA-256, admin/secret a superuser, where
others may do what ACLs allow; with `tls=` also SSL (no login: User:ANONYMOUS, who may do everything) and SASL_SSL; with
`link=` also LINK, as PLAIN, whose clients are told another port.
A node ends with the thread that started it: start it from the main thread.
"""

from __future__ import annotations

import ctypes
import secrets
import signal
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from servers.certificates import Authority
from servers.kafka_jars import SERVER, STORAGE, Jars, JavaMissing, fetch
from servers.proxy import Proxy

from eson.brokers.kafka.wire.batches import BatchHeader, parse_header, split_entries

ADMIN, PASSWORD = "admin", "secret"
START_TIMEOUT = 90.0
FORMAT_TIMEOUT = 60.0
LISTENERS = {
    "PLAIN": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "SSL": "SSL",
    "SASL_SSL": "SASL_SSL",
    "LINK": "PLAINTEXT",
}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class KafkaDied(Exception):
    """A node ended before it was ready, for example because its port was taken meanwhile."""


@dataclass
class Node:
    """One broker and controller: its folder, its port by listener name, its process while it runs."""

    id: int
    directory: Path
    ports: Mapping[str, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """What the node wrote: warnings and errors only."""
        path = self.directory / "output"
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass
class Kafka:
    """A cluster of `nodes` nodes.  `tls` is (certificate chain, key), both PEM files; `host` is what is advertised.

    `link` is the port that clients of LINK are told, 0 without that listener; for one node.

    `properties` are further lines of server.properties, e.g. {"connections.max.reauth.ms": "5000"}.
    """

    jars: Jars
    directory: Path
    size: int = 1
    properties: Mapping[str, str] = field(default_factory=dict)
    tls: tuple[Path, Path] | None = None
    host: str = "127.0.0.1"
    link: int = 0
    cluster_id: str = field(
        # one that begins with a minus would be taken for an option
        default_factory=lambda: "A" + urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
    )
    nodes: list[Node] = field(default_factory=list)

    def bootstrap(self, listener: str = "PLAIN") -> str:
        """The addresses of a listener, as clients take them: host:port, comma-separated."""
        return ",".join(f"{self.host}:{node.ports[listener]}" for node in self.nodes)

    def port(self, listener: str = "PLAIN", node: int = 1) -> int:
        return self.node(node).ports[listener]

    def node(self, id: int = 1) -> Node:
        return self.nodes[id - 1]

    def batches(self, topic: str) -> Iterator[BatchHeader]:
        """Headers of the batches of partition 0, all of format 2, as they stand in the files of the first node."""
        for log in sorted(self.node().directory.glob(f"data/{topic}-0/*.log")):
            with suppress(FileNotFoundError):  # the cleaner was quicker
                yield from map(parse_header, split_entries(memoryview(log.read_bytes())))

    def start(self) -> None:
        """Formats and starts all nodes and returns when Metadata lists them.  Raises `KafkaDied`."""
        for attempt in range(3):  # a port that was free a moment ago may be taken
            try:
                self._lay_out(attempt)
                for node in self.nodes:
                    self._run(node)
                self.wait()
                return
            except KafkaDied as error:
                self.stop()
                if attempt == 2 or "in use" not in str(error):
                    raise

    def kill(self, id: int = 1) -> None:
        """`kill -9` of one node: nothing is flushed, its session at the controller runs out by itself."""
        self._end(self.node(id), signal.SIGKILL)

    def stop_node(self, id: int = 1) -> None:
        """Orderly end of one node."""
        self._end(self.node(id), signal.SIGTERM)

    def restart(self, id: int = 1, *, wait: bool = True) -> None:
        """Starts a node that was killed or stopped, on the same ports and data."""
        node = self.node(id)
        self._end(node, signal.SIGTERM)
        self._run(node)
        if wait:
            self.wait()

    def stop(self) -> None:
        """Ends all nodes; a node that does not end is killed."""
        for node in self.nodes:
            if node.alive and node.process:
                node.process.send_signal(signal.SIGKILL if self.size > 1 else signal.SIGTERM)
        for node in self.nodes:
            self._end(node, signal.SIGTERM)

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Returns when Metadata of *this* cluster lists every running node.  Raises `KafkaDied`, `TimeoutError`."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        running = {node.id for node in self.nodes if node.alive}
        asked = ",".join(f"127.0.0.1:{node.ports['PLAIN']}" for node in self.nodes if node.id in running)
        settings = {"bootstrap.servers": asked, "reconnect.backoff.max.ms": 200, "log_level": 0}
        admin = AdminClient(settings)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for node in self.nodes:
                if node.id in running and not node.alive:
                    raise KafkaDied(
                        f"node {node.id} ended with status {node.process and node.process.returncode}: {node.log[-2000:]}"
                    )
            try:
                seen = admin.list_topics(timeout=1.0)
            except KafkaException:
                continue
            if seen.cluster_id == self.cluster_id and running <= set(seen.brokers):
                return
            time.sleep(0.05)
        raise TimeoutError(
            f"Kafka is not ready after {timeout} s: {[node.log[-1000:] for node in self.nodes]}"
        )

    def _lay_out(self, attempt: int) -> None:
        names = [
            name
            for name in LISTENERS
            if (self.tls or not name.endswith("SSL")) and (self.link or name != "LINK")
        ]
        ports = iter(free_ports((len(names) + 1) * self.size))
        self.nodes = []
        for id in range(1, self.size + 1):
            directory = self.directory / f"{attempt}-{id}"
            directory.mkdir(parents=True)
            self.nodes.append(Node(id, directory, {name: next(ports) for name in [*names, "CONTROLLER"]}))
        for node in self.nodes:
            lines = self._settings(node) | dict(self.properties)
            text = "".join(f"{key}={value}\n" for key, value in lines.items())
            (node.directory / "server.properties").write_text(text)
        formats = [self._format(node) for node in self.nodes]
        for node, formatting in zip(self.nodes, formats, strict=True):
            if formatting.wait(FORMAT_TIMEOUT) != 0:
                raise KafkaDied(f"node {node.id} could not be formatted: {node.log[-2000:]}")

    def _settings(self, node: Node) -> dict[str, str]:
        users = {name: port for name, port in node.ports.items() if name != "CONTROLLER"}
        told = users | ({"LINK": self.link} if self.link else {})
        replicas = min(3, self.size)
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node.id),
            "controller.quorum.voters": ",".join(
                f"{n.id}@127.0.0.1:{n.ports['CONTROLLER']}" for n in self.nodes
            ),
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in node.ports.items()),
            "advertised.listeners": ",".join(f"{name}://{self.host}:{port}" for name, port in told.items()),
            "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in LISTENERS.items())
            + ",CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(node.directory / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": str(replicas),
            "min.insync.replicas": str(max(1, replicas - 1)),
            "offsets.topic.replication.factor": str(replicas),
            "offsets.topic.num.partitions": "5",
            "transaction.state.log.replication.factor": str(replicas),
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "5",
            "share.coordinator.state.topic.replication.factor": str(replicas),
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # else a restart after kill -9 waits 9 s for the session of the dead incarnation
            "broker.session.timeout.ms": "1000" if self.size == 1 else "2000",
            "broker.heartbeat.interval.ms": "200",
            "controlled.shutdown.enable": "false" if self.size == 1 else "true",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "log.cleaner.dedupe.buffer.size": "2097152",
        }
        for name in users:
            if name.startswith("SASL"):
                prefix = f"listener.name.{name.lower()}"
                settings[f"{prefix}.sasl.enabled.mechanisms"] = "SCRAM-SHA-256"
                settings[f"{prefix}.scram-sha-256.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
        if self.tls:
            store = node.directory / "server.pem"
            store.write_bytes(self.tls[1].read_bytes() + self.tls[0].read_bytes())
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(store),
                "ssl.client.auth": "none",
            }
        return settings

    def _format(self, node: Node) -> subprocess.Popen[bytes]:
        return self._child(
            node,
            self.jars.command(
                *(STORAGE, "format", "-t", self.cluster_id, "-c", str(node.directory / "server.properties")),
                *("--ignore-formatted", "--add-scram", f"SCRAM-SHA-256=[name={ADMIN},password={PASSWORD}]"),
            ),
        )

    def _run(self, node: Node) -> None:
        command = self.jars.command(SERVER, str(node.directory / "server.properties"), heap="384m")
        node.process = self._child(node, command)

    def _child(self, node: Node, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (node.directory / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=node.directory,
                start_new_session=True,  # Ctrl-C at the terminal is for the tests, which then end the children
                preexec_fn=_end_with_parent,
            )

    def _end(self, node: Node, how: signal.Signals) -> None:
        if node.process is None:
            return
        if node.alive:
            node.process.send_signal(how)
        try:
            node.process.wait(15)
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait(15)
        node.process = None


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


StartKafka = Callable[..., Kafka]


@pytest.fixture(scope="session")
def kafka_jars() -> Jars:
    """Kafka's jars, for its Java clients: `kafka_jars.run(CONSOLE_CONSUMER, …)`."""
    try:
        return fetch()
    except JavaMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _link() -> Generator[Proxy, None, None]:
    with Proxy() as link:
        yield link


@pytest.fixture(scope="session")
def kafka(
    kafka_jars: Jars, _link: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Kafka, None, None]:
    """One node that all tests share: whoever kills it must restart it; use names of your own in it."""
    shared = Kafka(kafka_jars, tmp_path_factory.mktemp("kafka"), link=_link.port)
    shared.start()
    _link.target = ("127.0.0.1", shared.port("LINK"))
    yield shared
    shared.stop()


@pytest.fixture
def kafka_link(kafka: Kafka, _link: Proxy) -> Generator[Proxy, None, None]:
    """The link through which clients of the shared node's listener LINK are led: a good one before and after each test."""
    yield _link
    _link.heal()


@pytest.fixture(scope="session")
def kafka_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the certificate of `kafka_cluster`."""
    return Authority(tmp_path_factory.mktemp("kafka-authority"))


@pytest.fixture(scope="session")
def kafka_cluster(
    kafka_jars: Jars, kafka_authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Kafka, None, None]:
    """Three nodes that all tests share, topics with min.insync.replicas=2, with TLS."""
    directory = tmp_path_factory.mktemp("kafka-cluster")
    shared = Kafka(kafka_jars, directory, size=3, tls=kafka_authority.issue("localhost", "127.0.0.1"))
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture
def start_kafka(kafka_jars: Jars, tmp_path: Path) -> Generator[StartKafka, None, None]:
    """Starts a Kafka of the test's own: `start_kafka(size=3, properties={…}, tls=(chain, key), host="localhost")`."""
    started: list[Kafka] = []

    def start(**options: object) -> Kafka:
        own = Kafka(kafka_jars, tmp_path / f"kafka-{len(started)}", **options)  # type: ignore[arg-type]
        started.append(own)
        own.start()
        return own

    yield start
    for one in started:
        one.stop()
