"""The embedded broker answers as Apache Kafka does: the same requests go to both, and the answers are compared.

Left out of the comparison is only what must differ (ids, addresses, times) and the wording of messages.
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google_crc32c import value
from servers.embedded import ADMIN as EMBEDDED_ADMIN
from servers.embedded import PASSWORD as EMBEDDED_PASSWORD
from servers.embedded import Embedded
from servers.kafka import ADMIN, PASSWORD, Kafka

from eson.brokers.embedded.settings import Settings
from eson.brokers.kafka.net.opening import Opener
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.brokers.port import Access
from eson.identity.verifier import salted_password
from eson.model.servers import Server

Call = Callable[..., Any]
VOLATILE = {
    "throttle_time_ms", "error_message", "batch_index_error_message", "topic_id", "producer_id", "cluster_id",
    "brokers", "controller_id", "host", "port", "node_id", "leader_id", "leader_epoch", "replica_nodes", "isr_nodes",
    "current_leader", "node_endpoints", "configs", "session_id", "finalized_features", "api_keys", "records",
    "last_timestamp", "coordinator_epoch", "record_errors", "aborted_transactions", "client_host", "topic_config_error_code",
    "log_append_time_ms",  # of a repeated batch Kafka tells its records' time, as if it were the log's
}  # fmt: skip
T0 = 1_700_000_000_000


class Peers:
    """The two brokers, asked the same."""

    def __init__(self, call: Call, reactor: Any, kafka: Kafka, embedded: Embedded) -> None:
        self._call, self._reactor = call, reactor
        self._servers = {
            "kafka": (Server("127.0.0.1", kafka.port("SASL")), (ADMIN, PASSWORD)),
            "embedded": (Server(*embedded.bound["listen"][0]), (EMBEDDED_ADMIN, EMBEDDED_PASSWORD)),
        }
        self._open: dict[tuple[str, str], Any] = {}
        self.topic = f"differential-{uuid.uuid4().hex[:8]}"
        self.ids: dict[str, Any] = {}

    def login(self, username: str, password: str) -> None:
        for name, (server, _) in self._servers.items():
            self._connect(name, username, server, password)

    def _connect(self, name: str, username: str, server: Server, password: str) -> Any:
        access = Access((server,), "sasl_plaintext", "SCRAM-SHA-256", username, password)
        self._open[name, username] = self._call(Opener(self._reactor, name, access).open, server)
        return self._open[name, username]

    def both(
        self, request: Any, version: int, user: str = "", wait: Callable[[Any], bool] | None = None
    ) -> Any:
        """Asks both, compares, gives the answer of the embedded one.  `request` may be a function of the peer's name."""
        seen = {}
        answer = None
        for name, (server, (admin, password)) in self._servers.items():
            connection = self._open.get((name, user or admin)) or self._connect(name, admin, server, password)
            asked = request(name) if callable(request) else request

            async def ask(connection: Any = connection, asked: Any = asked) -> Any:
                return await connection.request(asked, 20, version)

            for _ in range(200):
                answer = self._call(ask)
                if wait is None or wait(answer):
                    break
                time.sleep(0.05)
            seen[name] = plain(answer.to_dict(json=False))
        assert seen["embedded"] == seen["kafka"]
        return answer

    def close(self) -> None:
        for connection in self._open.values():
            self._call(connection.close)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        refused = (
            value.get("error_code", 0) != 0
        )  # Kafka tells the log's start with some of these, and with some not
        return {
            key: plain(item)
            for key, item in value.items()
            if key not in VOLATILE and not (refused and key == "log_start_offset")
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    directory = tmp_path_factory.mktemp("differential")
    settings = Settings(str(directory / "data"), (("127.0.0.1", 0),), admin_password=EMBEDDED_PASSWORD)
    broker = Embedded(directory, settings)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def peers(kafka: Kafka, embedded: Embedded, reactor_thread: Any, in_reactor: Call) -> Iterator[Peers]:
    made = Peers(in_reactor, reactor_thread, kafka, embedded)
    yield made
    made.close()


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


@pytest.fixture
def topic(peers: Peers) -> str:
    create(peers, new_topic(peers.topic, 2))
    described = apis.MetadataRequest(
        topics=[apis.MetadataRequest.MetadataRequestTopic(name=peers.topic, topic_id=None)],
        allow_auto_topic_creation=False,
    )
    # Kafka's broker learns of a topic a moment after its controller
    peers.both(described, 12, wait=lambda answer: answer.topics[0].error_code == 0)
    return peers.topic


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
            data(name=topic, partition_data=[data.PartitionProduceData(index=partition, records=records)])
        ],
    )
    # Kafka's broker learns that it leads a partition a moment after its controller
    return peers.both(
        request, version, user, wait=lambda answer: answer.responses[0].partition_responses[0].error_code != 6
    )


def fixed(records: bytearray, **changes: int) -> bytearray:
    """A batch with fields changed and its CRC made right again."""
    places = {"attributes": (21, ">h"), "delta": (23, ">i"), "count": (57, ">i"), "base_offset": (0, ">q"), "magic": (16, ">b"),
              "sequence": (53, ">i")}  # fmt: skip
    for name, number in changes.items():
        position, form = places[name]
        struct.pack_into(form, records, position, number)
    struct.pack_into(">I", records, 17, value(bytes(records[21:])))
    return records


def test_idempotent_producers(peers: Peers, topic: str) -> None:
    """Every row of the table of rules, in one long story of three producers."""
    for count, sequence, epoch in (
        (1, 5, 0), (1, 6, 0), (1, 6, 0), (1, 8, 0), (2, 7, 0), (2, 7, 0), (1, 7, 0), (1, 8, 0), (3, 7, 0), (1, 9, 0), (1, 10, 0),
        (1, 11, 0), (1, 12, 0), (1, 13, 0), (1, 14, 0), (1, 9, 0), (1, 10, 0), (1, 14, 0), (1, 1, 1), (1, 0, 1), (1, 15, 0),
        (1, 1, 1), (1, 0, 6), (1, 2, 1), (2, 1, 6),
    ):  # fmt: skip
        produce(peers, topic, batch(count, sequence, epoch, producer_id=77))
    top = 2**31 - 1
    for count, sequence in ((2, top - 3), (4, top - 1), (4, top - 1), (1, 2), (1, 3)):
        produce(peers, topic, batch(count, sequence, 0, producer_id=78))
    asked = apis.DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=[0, 1, 9])
    peers.both(apis.DescribeProducersRequest(topics=[asked]), 0)


@pytest.mark.parametrize(
    "records",
    [
        fixed(batch(2), delta=5),
        fixed(batch(2), count=0, delta=-1),
        fixed(batch(2), count=3),
        fixed(batch(2), attributes=0x20),
        fixed(batch(2, 0, 0, 9), attributes=0x10),
        fixed(batch(2), attributes=0x08),
        fixed(batch(2), attributes=0x40),
        fixed(batch(2), base_offset=3),
        fixed(batch(1, 0, 0, 9), sequence=-1),
        batch(1) + batch(1),
        batch(1)[:60],
        batch(1)[:-1],
        b"",
        bytearray(bytes(batch(3))[:-1] + b"!"),
        batch(9000, at=T0),
        fixed(batch(1), magic=1),
    ],
    ids=[
        "delta",
        "empty",
        "count",
        "control",
        "transactional",
        "append-time",
        "horizon",
        "base-offset",
        "no-sequence",
        "two",
        "no-header",
        "cut",
        "nothing",
        "crc",
        "many",
        "magic",
    ],
)
@pytest.mark.parametrize("version", [3, 9])
def test_batches_that_break_a_rule(peers: Peers, topic: str, records: Any, version: int) -> None:
    produce(peers, topic, records, version=version)


def test_where_there_is_nothing_to_write_to(peers: Peers, topic: str) -> None:
    produce(peers, topic, batch(), partition=2)
    produce(peers, topic, batch(), partition=-1)
    produce(peers, "no-such-topic", batch())
    produce(peers, topic, batch(), acks=5)
    produce(peers, topic, batch(), acks=1)
    produce(peers, topic, batch(60_000, at=T0, step=1))  # more than max.message.bytes


def list_offsets(
    peers: Peers, topic: str, timestamp: int, partition: int = 0, version: int = 7, epoch: int = -1
) -> Any:
    asked = apis.ListOffsetsRequest.ListOffsetsTopic
    part = asked.ListOffsetsPartition(
        partition_index=partition, current_leader_epoch=epoch, timestamp=timestamp
    )
    return peers.both(
        apis.ListOffsetsRequest(
            replica_id=-1, isolation_level=0, topics=[asked(name=topic, partitions=[part])]
        ),
        version,
    )


def test_offsets_by_time(peers: Peers, topic: str) -> None:
    for timestamp in (-1, -2, -3, T0):
        list_offsets(peers, topic, timestamp)
    for start in (T0, T0 + 100, T0 + 50, T0 + 1000):
        produce(peers, topic, batch(5, at=start, step=10))
    produce(peers, topic, batch(3, at=T0 + 2000, step=-100))
    for timestamp in (
        -1,
        -2,
        -3,
        0,
        T0,
        T0 + 1,
        T0 + 40,
        T0 + 41,
        T0 + 95,
        T0 + 131,
        T0 + 141,
        T0 + 1040,
        T0 + 1041,
        T0 + 2000,
        T0 + 2001,
    ):
        list_offsets(peers, topic, timestamp)
        list_offsets(peers, topic, timestamp, version=1 if timestamp > -3 else 8)
    list_offsets(peers, topic, -1, partition=7)
    list_offsets(peers, "no-such-topic", -1)
    list_offsets(peers, topic, -1, epoch=0)
    list_offsets(peers, topic, -1, epoch=5)


def fetch(
    peers: Peers,
    topic: str,
    offset: int,
    partition: int = 0,
    most: int = 1 << 20,
    version: int = 12,
    epoch: int = -1,
    session: int = 0,
) -> Any:
    asked = apis.FetchRequest.FetchTopic
    part = asked.FetchPartition(
        partition=partition, current_leader_epoch=epoch, fetch_offset=offset, last_fetched_epoch=-1, log_start_offset=-1,
        partition_max_bytes=most,
    )  # fmt: skip
    return peers.both(
        apis.FetchRequest(
            max_wait_ms=100,
            min_bytes=1,
            max_bytes=1 << 20,
            isolation_level=0,
            session_id=session,
            session_epoch=-1 if not session else 3,
            topics=[asked(topic=topic, topic_id=uuid.UUID(int=5), partitions=[part])],
            forgotten_topics_data=[],
            rack_id="",
        ),
        version,
    )


def test_fetching(peers: Peers, topic: str) -> None:
    for _ in range(3):
        produce(peers, topic, batch(5))
    for offset in (0, 7, 14, 15, 16, -1, 100):
        fetch(peers, topic, offset)
    fetch(peers, topic, 0, most=1)
    fetch(peers, topic, 0, partition=9)
    fetch(peers, topic, 0, epoch=9)
    fetch(peers, topic, 0, epoch=0)
    fetch(peers, "no-such-topic", 0)
    fetch(peers, topic, 0, version=13)  # by an id that nothing has
    fetch(peers, topic, 0, version=4)
    fetch(peers, topic, 0, session=77)


def test_the_first_offset_is_moved(peers: Peers, topic: str) -> None:
    for _ in range(3):
        produce(peers, topic, batch(5))
    asked = apis.DeleteRecordsRequest.DeleteRecordsTopic
    for partition, offset in ((0, 7), (0, 3), (0, 100), (0, -1), (0, -5), (9, 0)):
        part = asked.DeleteRecordsPartition(partition_index=partition, offset=offset)
        peers.both(
            apis.DeleteRecordsRequest(topics=[asked(name=topic, partitions=[part])], timeout_ms=5000), 2
        )
        list_offsets(peers, topic, -2)
    fetch(peers, topic, 3)
    fetch(peers, topic, 15)


def test_topics_that_cannot_be(peers: Peers, topic: str) -> None:
    name = f"{topic}-new"
    for asked in (
        new_topic(topic),
        new_topic(""),
        new_topic("."),
        new_topic("a b"),
        new_topic("x" * 250),
        new_topic(name, 0),
        new_topic(name, -2),
        new_topic(name, 1, 0),
        new_topic(name, 1, 2),
        new_topic(name, 1, 1, no_such_setting="1"),
        new_topic(name, 1, 1, retention_ms="soon"),
        new_topic(name, 1, 1, retention_ms="-2"),
        new_topic(name, 1, 1, max_message_bytes="-1"),
    ):
        create(peers, asked)
    create(peers, new_topic(name), new_topic(name))
    create(peers, new_topic(name, 3), validate_only=True)
    create(peers, new_topic(name, -1, -1))
    deleted = apis.DeleteTopicsRequest.DeleteTopicState
    for state in (
        deleted(name="no-such-topic", topic_id=None),
        deleted(name=None, topic_id=uuid.UUID(int=9)),
        deleted(name=name, topic_id=None),
    ):
        peers.both(apis.DeleteTopicsRequest(topics=[state], topic_names=[], timeout_ms=5000), 6)


def test_partitions_become_more(peers: Peers, topic: str) -> None:
    asked = apis.CreatePartitionsRequest.CreatePartitionsTopic
    for name, count, validate in ((topic, 1, False), (topic, 2, False), (topic, 0, False), (topic, 5, True), (topic, 4, False),
                                  ("no-such-topic", 3, False)):  # fmt: skip
        peers.both(
            apis.CreatePartitionsRequest(
                topics=[asked(name=name, count=count, assignments=None)],
                timeout_ms=5000,
                validate_only=validate,
            ),
            3,
        )


def test_settings(peers: Peers, topic: str) -> None:
    alter: Any = apis.IncrementalAlterConfigsRequest.AlterConfigsResource
    describe: Any = apis.DescribeConfigsRequest.DescribeConfigsResource
    for name, changes in (
        (topic, [("retention.ms", 0, "1000")]),
        (topic, [("retention.ms", 0, "never")]),
        (topic, [("retention.ms", 0, None)]),
        (topic, [("retention.ms", 1, None)]),
        (topic, [("no.such.setting", 0, "1")]),
        (topic, [("retention.ms", 2, "1")]),
        (topic, [("retention.ms", 0, "1"), ("retention.ms", 0, "2")]),
        ("no-such-topic", [("retention.ms", 0, "1000")]),
    ):
        configs = [
            alter.AlterableConfig(name=key, config_operation=op, value=value) for key, op, value in changes
        ]
        resource = alter(resource_type=2, resource_name=name, configs=configs)
        peers.both(apis.IncrementalAlterConfigsRequest(resources=[resource], validate_only=False), 1)
    for kind, name in ((2, topic), (2, "no-such-topic"), (4, "77"), (1, "x")):
        resource = describe(resource_type=kind, resource_name=name, configuration_keys=None)
        peers.both(
            apis.DescribeConfigsRequest(
                resources=[resource], include_synonyms=True, include_documentation=False
            ),
            4,
        )


def test_metadata_of_what_is_missing(peers: Peers, topic: str) -> None:
    asked: Any = apis.MetadataRequest.MetadataRequestTopic
    for name, topic_id in (("no-such-topic", None), ("a b", None), (topic, None), (None, uuid.UUID(int=9))):
        peers.both(
            apis.MetadataRequest(
                topics=[asked(name=name, topic_id=topic_id)], allow_auto_topic_creation=False
            ),
            12,
        )


# groups


def test_members_of_groups(peers: Peers, topic: str) -> None:
    group = f"group-{topic}"
    protocol = apis.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"m")

    def join(
        member: str = "",
        session: int = 10_000,
        kind: str = "consumer",
        version: int = 7,
        name: str = group,
        protocols: Any = None,
    ) -> Any:
        return apis.JoinGroupRequest(
            group_id=name, session_timeout_ms=session, rebalance_timeout_ms=10_000, member_id=member, group_instance_id=None,
            protocol_type=kind, protocols=[protocol] if protocols is None else protocols,
        )  # fmt: skip

    def heartbeat(member: str, generation: int) -> Any:
        return apis.HeartbeatRequest(
            group_id=group, generation_id=generation, member_id=member, group_instance_id=None
        )

    def sync(member: str, generation: int, kind: str = "consumer", name: str = "range") -> Any:
        given = apis.SyncGroupRequest.SyncGroupRequestAssignment(member_id=member, assignment=b"mine")
        return apis.SyncGroupRequest(
            group_id=group, generation_id=generation, member_id=member, group_instance_id=None, protocol_type=kind,
            protocol_name=name, assignments=[given],
        )  # fmt: skip

    ids: dict[str, str] = {}
    hidden = {"member_id", "leader", "members"}
    VOLATILE.update(hidden)
    try:
        coordinate(peers, group)
        peers.both(heartbeat("x", 0), 3)
        peers.both(sync("x", 0), 5)
        peers.both(join("unknown"), 7)
        peers.both(join(session=1), 7)
        peers.both(join(name=""), 7)
        peers.both(join(protocols=[]), 7)

        def learn(version: int) -> None:
            for name in peers._servers:
                connection = next(c for (owner, _), c in peers._open.items() if owner == name)

                async def ask(connection: Any = connection) -> Any:
                    return await connection.request(join(), 20, version)

                answer = peers._call(ask)
                assert answer.error_code == 79
                ids[name] = answer.member_id

        learn(7)
        peers.both(lambda name: join(ids[name]), 7)
        peers.both(lambda name: heartbeat(ids[name], 1), 3)
        peers.both(lambda name: heartbeat(ids[name], 9), 3)
        peers.both(lambda name: sync(ids[name], 9), 5)
        peers.both(lambda name: sync(ids[name], 1, kind="other"), 5)
        peers.both(lambda name: sync(ids[name], 1, name="other"), 5)
        peers.both(lambda name: sync(ids[name], 1), 5)
        peers.both(lambda name: sync(ids[name], 1), 3)
        peers.both(lambda name: heartbeat(ids[name], 1), 3)
        peers.both(join(kind="other"), 7)
        peers.both(lambda name: _commit(group, topic, ids[name], 1), 7)
        peers.both(lambda name: _commit(group, topic, ids[name], 5), 7)
        peers.both(lambda name: _commit(group, topic, "unknown", 1), 7)
        peers.both(_commit(group, topic, "", -1), 7)
        for name in (group, "no-such-group"):
            peers.both(apis.DescribeGroupsRequest(groups=[name], include_authorized_operations=False), 5)
        peers.both(
            apis.DescribeGroupsRequest(groups=["no-such-group"], include_authorized_operations=False), 6
        )
        peers.both(apis.DeleteGroupsRequest(groups_names=[group]), 2)
        leaving = apis.LeaveGroupRequest.MemberIdentity
        peers.both(
            lambda name: apis.LeaveGroupRequest(
                group_id=group,
                members=[
                    leaving(member_id=ids[name], group_instance_id=None, reason=None),
                    leaving(member_id="unknown", group_instance_id=None, reason=None),
                ],
            ),
            4,
        )
        peers.both(lambda name: heartbeat(ids[name], 1), 3)
        peers.both(_commit(group, topic, "", -1, offset=77), 7)
        peers.both(apis.DescribeGroupsRequest(groups=[group], include_authorized_operations=False), 5)
        peers.both(apis.DeleteGroupsRequest(groups_names=[group]), 2)
        peers.both(apis.DeleteGroupsRequest(groups_names=[group]), 2)
    finally:
        VOLATILE.difference_update(hidden)


def _commit(
    group: str,
    topic: str,
    member: str,
    generation: int,
    offset: int = 5,
    partition: int = 0,
    metadata: str = "",
) -> Any:
    asked = apis.OffsetCommitRequest.OffsetCommitRequestTopic
    part = asked.OffsetCommitRequestPartition(
        partition_index=partition,
        committed_offset=offset,
        committed_leader_epoch=-1,
        committed_metadata=metadata,
    )
    return apis.OffsetCommitRequest(
        group_id=group, generation_id_or_member_epoch=generation, member_id=member, group_instance_id=None,
        topics=[asked(name=topic, partitions=[part])],
    )  # fmt: skip


def loaded(answer: Any) -> bool:
    """The coordinator of a real Kafka loads for a moment."""
    return answer.error_code not in (14, 15, 16)


def coordinate(peers: Peers, group: str, user: str = "") -> None:
    peers.both(apis.FindCoordinatorRequest(key=group, key_type=0), 2, user, wait=loaded)
    described = apis.DescribeGroupsRequest(groups=[group], include_authorized_operations=False)
    peers.both(described, 5, user, wait=lambda answer: loaded(answer.groups[0]))


def test_positions(peers: Peers, topic: str) -> None:
    group = f"positions-{topic}"
    coordinate(peers, group)
    ready = lambda answer: answer.topics[0].partitions[0].error_code not in (14, 15, 16)  # noqa: E731
    peers.both(_commit(group, topic, "", -1), 7, wait=ready)
    peers.both(_commit(group, topic, "", 3), 7)
    peers.both(_commit(group, topic, "", -1, partition=7), 7)
    peers.both(_commit(group, "no-such-topic", "", -1), 7)
    peers.both(_commit(group, topic, "", -1, metadata="m" * 4097), 7)
    peers.both(_commit(group, topic, "", -1, metadata="kept"), 7)
    shape = apis.OffsetFetchRequest.OffsetFetchRequestTopic
    for name in (group, "no-such-group"):
        for topics in (
            None,
            [shape(name=topic, partition_indexes=[0, 1, 9])],
            [shape(name="no-such-topic", partition_indexes=[0])],
        ):
            peers.both(apis.OffsetFetchRequest(group_id=name, topics=topics, require_stable=False), 7)
    asked = apis.OffsetFetchRequest.OffsetFetchRequestGroup
    groups = [asked(group_id=group, topics=None), asked(group_id="no-such-group", topics=None)]
    peers.both(apis.OffsetFetchRequest(groups=groups, require_stable=False), 8)


def test_coordinators(peers: Peers, topic: str) -> None:
    peers.both(
        apis.FindCoordinatorRequest(key=topic, key_type=0), 2, wait=lambda answer: answer.error_code != 15
    )
    peers.both(
        apis.FindCoordinatorRequest(key_type=0, coordinator_keys=["a", "b"]),
        4,
        wait=lambda answer: all(c.error_code != 15 for c in answer.coordinators),
    )


# users and rights


def acl(**changes: Any) -> Any:
    fields = {"resource_type": 2, "resource_name": "a", "resource_pattern_type": 3, "principal": "User:u", "host": "*",
              "operation": 3, "permission_type": 3}  # fmt: skip
    return apis.CreateAclsRequest.AclCreation(**(fields | changes))


def acl_filter(shape: Any, **changes: Any) -> Any:
    fields: dict[str, Any] = {"resource_type_filter": 1, "resource_name_filter": None, "pattern_type_filter": 1,
                              "principal_filter": None, "host_filter": None, "operation": 1, "permission_type": 1}  # fmt: skip
    return shape(**(fields | changes))


def test_rules_are_made_found_and_removed(peers: Peers) -> None:
    user = f"User:{peers.topic}"
    for rule in (
        acl(principal=user),
        acl(principal=user),
        acl(principal=user, resource_pattern_type=4, operation=4),
        acl(principal=user, resource_name="ab", resource_type=3),
        acl(principal=user, resource_name="kafka-cluster", resource_type=4, operation=7),
        acl(principal=user, resource_name="*", permission_type=2),
        acl(principal=user, resource_type=5, operation=8),
    ):
        peers.both(apis.CreateAclsRequest(creations=[rule]), 3)

    def sort(answer: Any) -> bool:
        answer.resources.sort(key=lambda r: (r.resource_type, r.resource_name, r.pattern_type))
        for resource in answer.resources:
            resource.acls.sort(key=lambda a: (a.operation, a.permission_type))
        return True

    for changes in (
        {},
        {"resource_type_filter": 2},
        {"resource_name_filter": "a"},
        {"resource_name_filter": "abc", "pattern_type_filter": 2, "resource_type_filter": 2},
        {"pattern_type_filter": 4},
        {"operation": 4},
        {"permission_type": 2},
        {"host_filter": "1.2.3.4"},
    ):
        wanted = acl_filter(apis.DescribeAclsRequest, principal_filter=user, **changes)
        peers.both(wanted, 3, wait=sort)
    delete = apis.DeleteAclsRequest.DeleteAclsFilter
    one = acl_filter(delete, principal_filter=user, operation=7)
    none = acl_filter(delete, principal_filter="User:no-such-user")
    peers.both(apis.DeleteAclsRequest(filters=[one, none]), 3)


def test_credentials_are_made_described_and_deleted(peers: Peers) -> None:
    user = peers.topic
    request: Any = apis.AlterUserScramCredentialsRequest

    def upsert(name: str = user, iterations: int = 4096, mechanism: int = 1) -> Any:
        salt = b"0123456789abcdef"
        return request.ScramCredentialUpsertion(
            name=name,
            mechanism=mechanism,
            iterations=iterations,
            salt=salt,
            salted_password=salted_password("p", salt, 4096),
        )

    def delete(name: str = user, mechanism: int = 1) -> Any:
        return request.ScramCredentialDeletion(name=name, mechanism=mechanism)

    for deletions, upsertions in (
        ([], [upsert()]),
        ([], [upsert(iterations=4095)]),
        ([], [upsert(iterations=16385)]),
        ([], [upsert(name="")]),
        ([], [upsert(mechanism=7)]),
        ([delete("no-such-user")], []),
        ([delete("")], []),
        ([delete()], [upsert()]),
    ):
        peers.both(request(deletions=deletions, upsertions=upsertions), 0)
    describe: Any = apis.DescribeUserScramCredentialsRequest
    for names in ([user], ["no-such-user"], [user, user]):
        peers.both(describe(users=[describe.UserName(name=name) for name in names]), 0)
    peers.both(request(deletions=[delete()], upsertions=[]), 0)
    peers.both(request(deletions=[delete()], upsertions=[]), 0)


@pytest.mark.parametrize(
    "operation",
    [None, 3, 4, 8, 6, 7, 5, 10, 11],
    ids=[
        "none",
        "read",
        "write",
        "describe",
        "delete",
        "alter",
        "create",
        "describe-configs",
        "alter-configs",
    ],
)
def test_each_right_allows_what_it_allows_in_kafka(peers: Peers, topic: str, operation: int | None) -> None:
    user, password = f"user-{topic}", "a password"
    request: Any = apis.AlterUserScramCredentialsRequest
    salt = b"0123456789abcdef"
    upsert = request.ScramCredentialUpsertion(
        name=user,
        mechanism=1,
        iterations=4096,
        salt=salt,
        salted_password=salted_password(password, salt, 4096),
    )
    peers.both(request(deletions=[], upsertions=[upsert]), 0)
    if operation is not None:
        rules = [acl(resource_name=topic, principal=f"User:{user}", operation=operation)]
        peers.both(apis.CreateAclsRequest(creations=rules), 3)
        wanted = acl_filter(apis.DescribeAclsRequest, principal_filter=f"User:{user}")
        peers.both(wanted, 3, wait=lambda answer: bool(answer.resources))
    peers.login(user, password)

    def both(asked: Any, version: int) -> None:
        peers.both(asked, version, user)

    produce(peers, topic, batch(), user=user)
    produce(peers, topic, batch(1, 0, 0, 5), user=user)
    produce(peers, "no-such-topic", batch(), user=user)
    peers.both(
        apis.InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 4, user, wait=loaded
    )
    both(apis.InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1000), 4)
    asked = apis.DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=[0])
    both(apis.DescribeProducersRequest(topics=[asked]), 0)
    named: Any = apis.MetadataRequest.MetadataRequestTopic
    for topics in ([named(name=topic, topic_id=None)], [named(name="no-such-topic", topic_id=None)]):
        both(
            apis.MetadataRequest(
                topics=topics, allow_auto_topic_creation=False, include_topic_authorized_operations=True
            ),
            12,
        )
    offsets = apis.ListOffsetsRequest.ListOffsetsTopic
    part: Any = offsets.ListOffsetsPartition(partition_index=0, current_leader_epoch=-1, timestamp=-1)
    both(apis.ListOffsetsRequest(replica_id=-1, topics=[offsets(name=topic, partitions=[part])]), 7)
    fetched = apis.FetchRequest.FetchTopic
    part = fetched.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    both(
        apis.FetchRequest(
            max_wait_ms=10,
            min_bytes=1,
            max_bytes=1000,
            topics=[fetched(topic=topic, partitions=[part])],
            rack_id="",
        ),
        11,
    )
    both(apis.CreateTopicsRequest(topics=[new_topic(f"{topic}-2")], timeout_ms=1000, validate_only=True), 7)
    both(apis.CreateTopicsRequest(topics=[new_topic(topic)], timeout_ms=1000, validate_only=True), 7)
    grown = apis.CreatePartitionsRequest.CreatePartitionsTopic(name=topic, count=5, assignments=None)
    both(apis.CreatePartitionsRequest(topics=[grown], timeout_ms=1000, validate_only=True), 3)
    described: Any = apis.DescribeConfigsRequest.DescribeConfigsResource
    for kind, name in ((2, topic), (4, "1")):
        resource = described(resource_type=kind, resource_name=name, configuration_keys=["retention.ms"])
        if kind == 2 or operation is None:
            both(apis.DescribeConfigsRequest(resources=[resource]), 4)
    alter: Any = apis.IncrementalAlterConfigsRequest.AlterConfigsResource
    config = alter.AlterableConfig(name="retention.ms", config_operation=0, value="100000")
    both(
        apis.IncrementalAlterConfigsRequest(
            resources=[alter(resource_type=2, resource_name=topic, configs=[config])], validate_only=True
        ),
        1,
    )
    trimmed = apis.DeleteRecordsRequest.DeleteRecordsTopic
    part = trimmed.DeleteRecordsPartition(partition_index=0, offset=0)
    both(apis.DeleteRecordsRequest(topics=[trimmed(name=topic, partitions=[part])], timeout_ms=5000), 2)
    coordinate(peers, "g", user)
    both(_commit("g", topic, "", -1), 7)
    both(apis.OffsetFetchRequest(group_id="g", topics=None), 7)
    both(apis.DescribeGroupsRequest(groups=["g"]), 5)
    both(apis.DeleteGroupsRequest(groups_names=["g"]), 2)
    both(apis.HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), 3)
    described = (
        apis.DescribeUserScramCredentialsRequest
    )  # all users (None) make Kafka 4.3 stumble without the right
    both(described(users=[described.UserName(name="somebody")]), 0)
    both(request(deletions=[request.ScramCredentialDeletion(name=user, mechanism=1)], upsertions=[]), 0)
    both(acl_filter(apis.DescribeAclsRequest), 3)
    both(apis.CreateAclsRequest(creations=[acl()]), 3)
    both(apis.DeleteAclsRequest(filters=[acl_filter(apis.DeleteAclsRequest.DeleteAclsFilter)]), 3)
    deleted = apis.DeleteTopicsRequest.DeleteTopicState
    both(
        apis.DeleteTopicsRequest(
            topics=[deleted(name="no-such-topic", topic_id=None)], topic_names=[], timeout_ms=5000
        ),
        6,
    )
    both(
        apis.DeleteTopicsRequest(
            topics=[deleted(name=topic, topic_id=None)], topic_names=[], timeout_ms=5000
        ),
        6,
    )
