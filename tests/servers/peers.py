"""Apache Kafka and the embedded broker side by side: both are asked the same, and their answers are compared.

Left out of the comparison is what must differ (ids, addresses, times, epochs of a leader) and the wording of messages.  Of
settings those are compared that both brokers have; records are compared octet by octet, but for the leader's epoch.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from servers.embedded import ADMIN as EMBEDDED_ADMIN
from servers.embedded import PASSWORD as EMBEDDED_PASSWORD
from servers.embedded import Embedded
from servers.kafka import ADMIN, PASSWORD, Kafka
from twisted.internet.defer import Deferred

from eson.brokers.embedded.settings import Settings
from eson.brokers.kafka.net.opening import Opener
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.brokers.port import Access
from eson.model.servers import Server

Call = Callable[..., Any]
VOLATILE = {
    "throttle_time_ms", "error_message", "batch_index_error_message", "topic_id", "producer_id", "cluster_id",
    "brokers", "controller_id", "host", "port", "node_id", "leader_id", "leader_epoch", "replica_nodes", "isr_nodes",
    "current_leader", "node_endpoints", "session_id", "api_keys", "finalized_features",
    "finalized_features_epoch", "supported_features",
    "last_timestamp", "coordinator_epoch", "record_errors", "aborted_transactions",
    "log_append_time_ms",  # of a repeated batch Kafka tells its records' time, as if it were the log's
}  # fmt: skip
T0 = 1_700_000_000_000
TOPIC_SOURCE = 1
OTHER_DEFAULT = "segment.bytes"
"""Its files are smaller: what a start has to read, and what retention removes at once."""
SAID_IN_HOURS = "retention.ms"
"""Kafka's own is a setting of another unit, and so not among the synonyms."""


@dataclass
class Asked:
    """A request that was sent to both and is not answered yet, by peer."""

    answers: dict[str, Deferred[Any]]


class Peers:
    """The two brokers, asked the same.

    A connection is known by the user who is logged in, or by the name of a member of a group: a member that waits for others
    keeps its connection busy.  `ids` holds what each broker calls a member, so that answers can be compared by our names.
    """

    def __init__(self, call: Call, reactor: Any, kafka: Kafka, embedded: Embedded) -> None:
        self._call, self._reactor = call, reactor
        self.servers = {
            "kafka": (Server("127.0.0.1", kafka.port("SASL")), (ADMIN, PASSWORD)),
            "embedded": (Server(*embedded.bound["listen"][0]), (EMBEDDED_ADMIN, EMBEDDED_PASSWORD)),
        }
        self._open: dict[tuple[str, str], Any] = {}
        self.topic = f"differential-{uuid.uuid4().hex[:8]}"
        self.ids: dict[str, dict[str, str]] = {name: {} for name in self.servers}

    def login(self, username: str, password: str) -> None:
        for name in self.servers:
            self._connect(name, username, (username, password))

    def _connect(self, name: str, via: str, login: tuple[str, str]) -> Any:
        server, _ = self.servers[name]
        access = Access((server,), "sasl_plaintext", "SCRAM-SHA-256", *login)
        self._open[name, via] = self._call(Opener(self._reactor, name, access).open, server)
        return self._open[name, via]

    def connection(self, name: str, via: str = "") -> Any:
        """An open connection of the administrator, unless `via` is a user who logged in."""
        return self._open.get((name, via)) or self._connect(name, via, self.servers[name][1])

    def both(
        self,
        request: Any,
        version: int,
        via: str = "",
        wait: Callable[[Any], bool] | None = None,
        learn: str = "",
    ) -> Any:
        """Asks both, compares, gives the answer of the embedded one.

        `request` may be a function of the peer's name.  `wait` asks again until it holds.  `learn` is our name for the
        member whose id the answers hold.
        """
        seen = {}
        answer = None
        for name in self.servers:
            asked = request(name) if callable(request) else request
            for _ in range(200):
                answer = self.one(name, asked, version, via)
                if wait is None or wait(answer):
                    break
                time.sleep(0.05)
            seen[name] = self._plain(name, answer, learn)
        self._compare(seen)
        return answer

    def one(self, name: str, request: Any, version: int, via: str = "") -> Any:
        """What one of them answers."""
        connection = self.connection(name, via)

        async def ask() -> Any:
            return await connection.request(request, 20, version)

        return self._call(ask)

    def begin(self, request: Any, version: int, via: str) -> Asked:
        """As `both`, for a request that is answered when somebody else has asked too: see `end`."""
        answers = {}
        for name in self.servers:
            connection = self.connection(name, via)
            asked = request(name) if callable(request) else request
            # in a list, so that nobody waits for it
            (answers[name],) = self._call(lambda c=connection, a=asked: [c.send(a, 20, version)])
        return Asked(answers)

    def end(self, asked: Asked, learn: str = "") -> Any:
        seen = {}
        answer = None
        for name, waiting in asked.answers.items():

            async def wait(waiting: Deferred[Any] = waiting) -> Any:
                return await waiting

            answer = self._call(wait)
            seen[name] = self._plain(name, answer, learn)
        self._compare(seen)
        return answer

    def _plain(self, name: str, answer: Any, learn: str) -> Any:
        if learn:
            self.ids[name][learn] = answer.member_id
        ids = {id: label for label, id in self.ids[name].items()}
        return plain(answer.to_dict(json=False), ids)

    @staticmethod
    def _compare(seen: Mapping[str, Any]) -> None:
        ours, theirs = with_common_settings(seen["embedded"], seen["kafka"])
        assert ours == theirs

    def leader_epoch(self, name: str, topic: str) -> int:
        """What Metadata of one of them tells of partition 0; -1 while it has no leader."""
        asked = apis.MetadataRequest(
            topics=[apis.MetadataRequest.MetadataRequestTopic(name=topic, topic_id=None)],
            allow_auto_topic_creation=False,
        )
        topics = self.one(name, asked, 12).topics
        if topics[0].error_code or topics[0].partitions[0].error_code:
            return -1
        return int(topics[0].partitions[0].leader_epoch)

    def close(self) -> None:
        """What is asked afterwards opens new connections."""
        for connection in self._open.values():
            self._call(connection.close)
        self._open.clear()


def plain(value: Any, ids: Mapping[str, str]) -> Any:
    """What is compared of an answer; members' ids are replaced by our names for them."""
    if isinstance(value, dict):
        refused = (
            value.get("error_code", 0) != 0
        )  # Kafka tells the log's start with some of these, and with some not
        return {
            key: _comparable(key, whole_batches(item) if key == "records" else plain(item, ids))
            for key, item in value.items()
            if key not in VOLATILE and not (refused and key == "log_start_offset")
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, ids) for item in value]
    return ids.get(value, value) if isinstance(value, str) else value


def _comparable(key: str, value: Any) -> Any:
    if key == "members":  # Kafka has them in the order of their random ids
        return sorted(value, key=repr)
    if key in ("config_source", "source"):  # which of a broker's own sources it is does not matter to a topic
        return "topic" if value == TOPIC_SOURCE else "broker"
    if key == "synonyms":  # Kafka tells some of a broker's own twice
        return [one for at, one in enumerate(value) if one not in value[:at]]
    return value


def whole_batches(octets: Any) -> list[bytes]:
    """The batches of a Fetch, each without its leader's epoch; a piece of one at the end, as Kafka sends it, is left out."""
    rest, batches = bytes(octets or b""), []
    while len(rest) >= 12:
        size = 12 + int.from_bytes(rest[8:12], "big")
        if len(rest) < size:
            break
        batches.append(rest[:12] + rest[16:size])
        rest = rest[size:]
    return batches


def with_common_settings(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Both answers with those settings only that both have, in the order of their names."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = {
            key: _common(ours[key], theirs[key])
            if key == "configs"
            else with_common_settings(ours[key], theirs[key])
            for key in ours.keys() & theirs.keys()
        }
        return (
            ours | {key: mine for key, (mine, _) in pairs.items()},
            theirs | {key: other for key, (_, other) in pairs.items()},
        )
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        both = [with_common_settings(mine, other) for mine, other in zip(ours, theirs, strict=True)]
        return [mine for mine, _ in both], [other for _, other in both]
    return ours, theirs


def _common(ours: Any, theirs: Any) -> tuple[Any, Any]:
    if not ours or not theirs:
        return ours, theirs
    mine, other = ({config["name"]: _without_default(config) for config in each} for each in (ours, theirs))
    names = sorted(mine.keys() & other.keys())
    return [mine[name] for name in names], [other[name] for name in names]


def _without_default(config: Mapping[str, Any]) -> Mapping[str, Any]:
    left = dict(config)
    if config["name"] == OTHER_DEFAULT and config.get("config_source") == "broker":
        del left["value"]
    if config["name"] in (OTHER_DEFAULT, SAID_IN_HOURS) and "synonyms" in config:
        left["synonyms"] = [one for one in config["synonyms"] if one["source"] == "topic"]
    return left


@pytest.fixture(scope="session")
def embedded_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """An embedded broker with login."""
    directory = tmp_path_factory.mktemp("differential")
    settings = Settings(str(directory / "data"), (("127.0.0.1", 0),), admin_password=EMBEDDED_PASSWORD)
    broker = Embedded(directory, settings)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def peers(kafka: Kafka, embedded_peer: Embedded, reactor_thread: Any, in_reactor: Call) -> Iterator[Peers]:
    made = Peers(in_reactor, reactor_thread, kafka, embedded_peer)
    yield made
    made.close()


def made_topic(peers: Peers) -> str:
    """A topic of two partitions that both have."""
    create(peers, new_topic(peers.topic, 2))
    described = apis.MetadataRequest(
        topics=[apis.MetadataRequest.MetadataRequestTopic(name=peers.topic, topic_id=None)],
        allow_auto_topic_creation=False,
    )
    # Kafka's broker learns of a topic a moment after its controller
    peers.both(described, 12, wait=lambda answer: answer.topics[0].error_code == 0)
    return peers.topic


def new_topic(name: str, partitions: int = 1, replicas: int = 1, **configs: str) -> Any:
    topic = apis.CreateTopicsRequest.CreatableTopic
    return topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[],
        configs=[
            topic.CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )


def create(peers: Peers, *topics: Any, validate_only: bool = False) -> Any:
    return peers.both(
        apis.CreateTopicsRequest(topics=list(topics), timeout_ms=10_000, validate_only=validate_only), 7
    )


def batch(
    count: int = 1,
    sequence: int = -1,
    epoch: int = -1,
    producer_id: int = -1,
    at: int = T0,
    step: int = 0,
    **more: Any,
) -> bytearray:
    records = [BatchRecord(n, at + n * step, b"k", b"v%d" % n) for n in range(count)]
    return bytearray(
        encode_batch(records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, **more)
    )


def produce(
    peers: Peers,
    topic: str,
    records: Any,
    partition: int = 0,
    acks: int = -1,
    version: int = 9,
    user: str = "",
) -> Any:
    data = apis.ProduceRequest.TopicProduceData
    request = apis.ProduceRequest(
        transactional_id=None,
        acks=acks,
        timeout_ms=10_000,
        topic_data=[
            data(
                name=topic,
                topic_id=uuid.UUID(int=5),
                partition_data=[data.PartitionProduceData(index=partition, records=records)],
            )
        ],
    )
    # Kafka's broker learns that it leads a partition a moment after its controller
    return peers.both(
        request, version, user, wait=lambda answer: answer.responses[0].partition_responses[0].error_code != 6
    )


def loaded(answer: Any) -> bool:
    """The coordinator of a real Kafka loads for a moment."""
    return answer.error_code not in (14, 15, 16)


def coordinate(peers: Peers, group: str, user: str = "") -> None:
    """Waits until both are ready for a group."""
    peers.both(apis.FindCoordinatorRequest(key=group, key_type=0), 2, user, wait=loaded)
    described = apis.DescribeGroupsRequest(groups=[group], include_authorized_operations=False)
    peers.both(described, 5, user, wait=lambda answer: loaded(answer.groups[0]))


def commit(
    group: str,
    topic: str,
    member: str,
    generation: int,
    offset: int = 5,
    partition: int = 0,
    metadata: str = "",
    instance: str | None = None,
) -> Any:
    asked = apis.OffsetCommitRequest.OffsetCommitRequestTopic
    part = asked.OffsetCommitRequestPartition(
        partition_index=partition,
        committed_offset=offset,
        committed_leader_epoch=-1,
        committed_metadata=metadata,
    )
    return apis.OffsetCommitRequest(
        group_id=group, generation_id_or_member_epoch=generation, member_id=member, group_instance_id=instance,
        topics=[asked(name=topic, partitions=[part])],
    )  # fmt: skip
