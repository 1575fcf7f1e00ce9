"""A connection of the embedded broker: answers in order, bounds on everything, and octets that are no requests."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest
from brokers.embedded.batch_samples import batch
from brokers.embedded.in_memory import Client, MemoryBroker
from brokers.kafka.wire_samples import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from eson.brokers.embedded.server.apis import APIS
from eson.brokers.embedded.server.connection import Caps
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.messages import encode_request
from eson.identity.verifier import ISSUED_ITERATIONS, salted_password

TOPIC = "time.flows.unix.ar"


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    made.create(made.client(), TOPIC)
    return made


def produce(records: Any, acks: int = -1) -> Any:
    data = apis.ProduceRequest.TopicProduceData
    part = data.PartitionProduceData(index=0, records=records)
    return apis.ProduceRequest(
        transactional_id=None,
        acks=acks,
        timeout_ms=1000,
        topic_data=[data(name=TOPIC, partition_data=[part])],
    )


def fetch(offset: int, wait_ms: int = 0, min_bytes: int = 1, most: int = 1 << 20) -> Any:
    topic = apis.FetchRequest.FetchTopic
    part = topic.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=most)
    return apis.FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=min_bytes,
        max_bytes=most,
        topics=[topic(topic=TOPIC, partitions=[part])],
        rack_id="",
    )


def fetched(answer: Any) -> bytes:
    return bytes(answer.responses[0].partitions[0].records or b"")


def test_every_version_of_every_api_that_is_offered_has_a_schema() -> None:
    for key, api in APIS.items():
        low, high = apis.schema_versions(key)
        assert low <= api.first <= api.last <= high, key


def test_what_is_offered_is_what_apiversions_says(broker: MemoryBroker) -> None:
    client = broker.client()
    for version in range(5):
        answer = client.ask(
            apis.ApiVersionsRequest(client_software_name="t", client_software_version="1"), version
        )
        told = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
        expected = {key: (api.first, api.last) for key, api in APIS.items()}
        expected[0] = (0, expected[0][1])  # for librdkafka
        assert told == expected


def test_an_apiversions_of_the_future_is_answered_so_that_anyone_can_read_it(broker: MemoryBroker) -> None:
    client = Client(broker)
    client.octets(struct.pack(">ihhih", 10, 18, 99, 7, -1))
    answer = client.transport.value()
    assert struct.unpack_from(">iih", answer) == (len(answer) - 4, 7, 35)


@pytest.mark.parametrize(("name", "version"), [("", "1"), ("t", ""), ("a b", "1"), ("-a", "1"), ("a", "1_")])
def test_names_of_software_are_checked_where_there_are_any(
    broker: MemoryBroker, name: str, version: str
) -> None:
    asked = apis.ApiVersionsRequest(client_software_name=name, client_software_version=version)
    client = broker.client()
    assert [client.ask(asked, number).error_code for number in (0, 2, 3, 4)] == [0, 0, 42, 42]


def test_the_controllers_are_elsewhere(broker: MemoryBroker) -> None:
    client = broker.client()
    codes = [client.ask(apis.DescribeClusterRequest(endpoint_type=kind), 2).error_code for kind in (1, 2, 3)]
    assert codes == [0, 114, 115]


@pytest.mark.parametrize(("mark", "first"), [(-1, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 99)])
def test_marks_of_time_are_known_from_a_version_on(broker: MemoryBroker, mark: int, first: int) -> None:
    topic = apis.ListOffsetsRequest.ListOffsetsTopic
    part = topic.ListOffsetsPartition(partition_index=0, timestamp=mark)
    asked = apis.ListOffsetsRequest(replica_id=-1, topics=[topic(name=TOPIC, partitions=[part])])
    client = broker.client()
    for version in (1, 6, 7, 8, 9, 10, 11):
        code = client.ask(asked, version).topics[0].partitions[0].error_code
        assert code == (0 if version >= first else 35), version


@pytest.mark.parametrize(
    ("name", "keys", "code", "count"),
    [
        (TOPIC, None, 0, 8),
        (TOPIC, [], 0, 8),
        (TOPIC, ["retention.ms"], 0, 1),
        ("", None, 17, 0),
        ("none", None, 3, 0),
    ],
)
def test_which_settings_are_described(
    broker: MemoryBroker, name: str, keys: list[str] | None, code: int, count: int
) -> None:
    resource = apis.DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=2, resource_name=name, configuration_keys=keys
    )
    (answer,) = broker.client().ask(apis.DescribeConfigsRequest(resources=[resource]), 4).results
    assert (answer.error_code, len(answer.configs)) == (code, count)


def test_settings_of_all_topics_are_none(broker: MemoryBroker) -> None:
    alter = apis.IncrementalAlterConfigsRequest.AlterConfigsResource
    config = alter.AlterableConfig(name="retention.ms", config_operation=0, value="1000")
    resource = alter(resource_type=2, resource_name="", configs=[config])
    (answer,) = broker.client().ask(apis.IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
    assert answer.error_code == 42


@pytest.mark.parametrize(("key", "version"), [(99, 0), (0, 2), (0, 14), (4, 0), (24, 0), (-1, 0)])
def test_apis_that_are_not_offered_end_the_connection(broker: MemoryBroker, key: int, version: int) -> None:
    client = broker.client()
    client.octets(struct.pack(">ihhih", 10, key, version, 7, -1))
    assert client.closed


def test_every_golden_request_is_answered(broker: MemoryBroker) -> None:
    for name, (request, version) in samples().items():
        if "Sasl" in name or "Fetch" in name:
            continue
        client = broker.client()
        client.send(request, version)
        broker.settle()
        broker.reactor.advance(1)
        assert not client.closed, name


def test_byte_by_byte_is_the_same_as_at_once(broker: MemoryBroker) -> None:
    client = broker.client()
    stream = b"".join(
        encode_request(request, version, number, "t")
        for number, (request, version) in enumerate(
            [(produce(batch()), 9), (fetch(0), 12), (apis.MetadataRequest(topics=None), 12)]
        )
    )
    whole = broker.client()
    whole.octets(stream)
    broker.settle()
    for octet in stream:
        client.octets(bytes([octet]))
    broker.settle()
    first, second = whole.transport.value(), client.transport.value()
    assert first.count(TOPIC.encode()) == second.count(TOPIC.encode()) == 3
    assert not client.closed


def test_octets_behind_a_request_are_ignored_as_kafka_does(broker: MemoryBroker) -> None:
    client = broker.client()
    frame = encode_request(apis.MetadataRequest(topics=None), 12, 5, "t")[4:] + b"\0\0"
    client.octets(struct.pack(">i", len(frame)) + frame)
    assert struct.unpack_from(">i", client.transport.value(), 4) == (5,)


@settings(max_examples=200, deadline=1000)
@given(data=st.data())
def test_damaged_requests_end_a_connection_or_are_answered_and_disturb_nobody(data: st.DataObject) -> None:
    broker = MemoryBroker()
    neighbour = broker.client()
    broker.create(neighbour, TOPIC)
    name = data.draw(st.sampled_from(sorted(samples())))
    request, version = samples()[name]
    frame = bytearray(encode_request(request, version, 1, "t"))
    for _ in range(data.draw(st.integers(1, 8))):
        frame[data.draw(st.integers(8, len(frame) - 1))] = data.draw(st.integers(0, 255))
    Client(broker).octets(bytes(frame))
    broker.settle()
    answer = neighbour.ask(apis.MetadataRequest(topics=None), 12)
    assert answer.topics[0].name == TOPIC or not answer.topics  # the damage may have been a legal deletion


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_octets_that_are_no_protocol_at_all(octets: bytes) -> None:
    broker = MemoryBroker(login=True)
    client = Client(broker)
    client.octets(octets)
    claimed = int.from_bytes(octets[:4], "big", signed=True)
    refused = len(octets) >= 4 and not 0 <= claimed <= 64 * 1024
    complete = len(octets) >= 4 and claimed <= len(octets) - 4
    if refused or complete:
        assert client.closed or client.transport.value()
    else:
        assert not client.closed


# order and bounds


def test_answers_come_in_the_order_of_the_requests(broker: MemoryBroker) -> None:
    """Metadata would be ready long before the disk has synced."""
    client = broker.client()
    first = client.send(produce(batch()), 9)
    second = client.send(apis.MetadataRequest(topics=None), 12)
    assert client.receive() == []
    broker.settle()
    assert [number for number, _ in client.receive()] == [first, second]


def test_acks_0_is_not_answered_and_kept(broker: MemoryBroker) -> None:
    client = broker.client()
    client.send(produce(batch(2), acks=0), 9)
    broker.settle()
    assert client.receive() == []
    assert len(fetched(client.ask(fetch(0), 12))) == len(batch(2))


def test_too_many_requests_at_once_wait_in_the_socket(broker: MemoryBroker) -> None:
    client = broker.client()
    for _ in range(200):
        client.send(produce(batch()), 9)
    assert client.transport.producerState == "paused"
    broker.settle()
    broker.settle()
    assert len(client.receive()) == 200
    assert client.transport.producerState == "producing"


def test_who_does_not_read_is_not_answered_without_end(broker: MemoryBroker) -> None:
    client = broker.client()
    client.ask(produce(batch(1, b"x" * 500_000)), 9)
    client.connection.pauseProducing()  # the transport says that its buffer is full
    for _ in range(50):
        client.send(fetch(0), 12)
    assert client.transport.producerState == "paused"
    assert len(client.transport.value()) == 0
    client.connection.resumeProducing()
    assert len(client.receive()) == 50


def test_a_frame_larger_than_allowed_ends_the_connection(broker: MemoryBroker) -> None:
    client = broker.client()
    client.octets(struct.pack(">i", Caps().produce + 1))
    assert client.closed
    other = broker.client()
    other.octets(encode_request(apis.MetadataRequest(topics=[]), 12, 1, "x" * 100) + b"")
    assert not other.closed
    large = apis.JoinGroupRequest(
        group_id="g", session_timeout_ms=10_000, protocol_type="consumer", member_id="",
        protocols=[apis.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"x" * (1 << 20))],
    )  # fmt: skip
    other.send(large, 5)
    assert other.closed


# long polling


def test_a_fetch_waits_for_what_comes(broker: MemoryBroker) -> None:
    reader, writer = broker.client(), broker.client()
    reader.send(fetch(0, wait_ms=60_000), 12)
    assert reader.receive() == []
    writer.ask(produce(batch()), 9)
    ((_, answer),) = reader.receive()
    assert fetched(answer)


def test_a_fetch_sees_nothing_before_it_is_synced(broker: MemoryBroker) -> None:
    reader, writer = broker.client(), broker.client()
    reader.send(fetch(0, wait_ms=60_000), 12)
    writer.send(produce(batch()), 9)
    broker.reactor.advance(1)
    assert reader.receive() == []
    broker.settle()
    assert len(reader.receive()) == 1


def test_a_fetch_waits_for_min_bytes_and_not_longer_than_it_says(broker: MemoryBroker) -> None:
    reader, writer = broker.client(), broker.client()
    reader.send(fetch(0, wait_ms=5000, min_bytes=1000), 12)
    writer.ask(produce(batch()), 9)
    assert reader.receive() == []
    broker.reactor.advance(5)
    ((_, answer),) = reader.receive()
    assert len(fetched(answer)) == len(batch())


def test_an_empty_fetch_ends_in_time(broker: MemoryBroker) -> None:
    reader = broker.client()
    reader.send(fetch(0, wait_ms=500), 12)
    broker.reactor.advance(0.49)
    assert reader.receive() == []
    broker.reactor.advance(0.02)
    ((_, answer),) = reader.receive()
    assert fetched(answer) == b""
    assert not broker.reactor.getDelayedCalls() or all(
        c.getTime() > 1 for c in broker.reactor.getDelayedCalls()
    )


def test_a_fetch_whose_connection_is_lost_leaves_nothing_behind(broker: MemoryBroker) -> None:
    reader = broker.client()
    reader.send(fetch(0, wait_ms=60_000), 12)
    topic = broker.broker.catalogue.topics[TOPIC]
    partition = broker.broker.partitions.get(topic.id.hex, 0)
    assert partition.watchers
    reader.transport.loseConnection()
    assert not partition.watchers


def test_a_fetch_that_waits_learns_that_its_topic_is_gone(broker: MemoryBroker) -> None:
    reader, admin = broker.client(), broker.client()
    reader.send(fetch(0, wait_ms=60_000), 12)
    admin.ask(apis.DeleteTopicsRequest(topics=[], topic_names=[TOPIC], timeout_ms=1000), 5)
    ((_, answer),) = reader.receive()
    assert answer.responses[0].partitions[0].error_code == 3


# full disks


def test_a_full_disk_is_told_and_reading_goes_on(broker: MemoryBroker) -> None:
    client = broker.client()
    client.ask(produce(batch(1, b"kept")), 9)
    broker.files.space = 0
    assert client.ask(produce(batch()), 9).responses[0].partition_responses[0].error_code == 56
    assert broker.create(client, "another") == 56
    assert fetched(client.ask(fetch(0), 12)).endswith(b"kept")
    broker.files.space = None
    broker.reactor.advance(1)
    assert client.ask(produce(batch()), 9).responses[0].partition_responses[0].base_offset == 1
    assert broker.create(client, "another") == 0
    broker.crash()
    names = {topic.name for topic in broker.client().ask(apis.MetadataRequest(topics=None), 12).topics}
    assert names == {TOPIC, "another"}


# the login


@pytest.fixture
def guarded() -> MemoryBroker:
    made = MemoryBroker(login=True)
    made.create(made.client("admin"), TOPIC)
    return made


def test_nothing_but_a_login_is_taken_before_the_login(guarded: MemoryBroker) -> None:
    for name, (request, version) in samples().items():
        if "Sasl" in name or "ApiVersions" in name:
            continue
        client = guarded.client()
        client.send(request, version)
        guarded.settle()
        assert client.closed, name
        assert client.transport.value() == b""


def test_a_wrong_password_ends_the_connection_after_one_try(guarded: MemoryBroker) -> None:
    for username, password in (("admin", "wrong"), ("nobody", "wrong")):
        client = guarded.client()
        assert client.login(username, password).error_code == 58
        assert client.closed


def test_a_stranger_cannot_tell_who_is_a_user(guarded: MemoryBroker) -> None:
    """Names of users are those of copies, hidden ones too: what comes before the proof has one form for all.

    The salt of an unknown one outlives the process, as those of known ones do.
    """
    asked: dict[str, list[tuple[str, int]]] = {}
    for username in ("admin", "nobody", "nobody"):
        client = guarded.client()
        client.ask(apis.SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1)
        answer = client.ask(apis.SaslAuthenticateRequest(auth_bytes=f"n,,n={username},r=abc".encode()), 2)
        fields = dict(part.split("=", 1) for part in answer.auth_bytes.decode().split(","))
        assert len(fields["s"]) == 24
        asked.setdefault(username, []).append((fields["s"], int(fields["i"])))
        guarded.crash()
    assert asked["nobody"][0] == asked["nobody"][1]
    assert {count for answers in asked.values() for _, count in answers} == {ISSUED_ITERATIONS}


def test_other_mechanisms_and_a_wrong_order_are_refused(guarded: MemoryBroker) -> None:
    client = guarded.client()
    answer = client.ask(apis.SaslHandshakeRequest(mechanism="PLAIN"), 1)
    assert (answer.error_code, list(answer.mechanisms)) == (33, ["SCRAM-SHA-256"])
    assert client.closed
    client = guarded.client()
    assert client.ask(apis.SaslAuthenticateRequest(auth_bytes=b"n,,n=admin,r=x"), 2).error_code == 34
    assert client.closed


def test_a_slow_login_is_cut(guarded: MemoryBroker) -> None:
    client = guarded.client()
    client.octets(b"\0\0\0")
    guarded.reactor.advance(30)
    assert client.closed
    assert client.transport.aborted


def test_claims_before_the_login_cost_nothing(guarded: MemoryBroker) -> None:
    for claimed in (64 * 1024 + 1, 2**31 - 1, -1):
        client = guarded.client()
        client.octets(struct.pack(">i", claimed))
        assert client.closed
    client = guarded.client()
    client.octets(struct.pack(">i", 64 * 1024) + bytes(60_000))
    assert not client.closed
    assert client.connection._reader.buffered <= 64 * 1024


def test_many_questions_before_the_login_are_answered_one_by_one(guarded: MemoryBroker) -> None:
    client = guarded.client()
    client.connection.pauseProducing()  # this peer does not read
    question = encode_request(
        apis.ApiVersionsRequest(client_software_name="t", client_software_version="1"), 3, 1, ""
    )
    client.octets(question * 2000)
    assert client.transport.producerState == "paused"
    assert client.connection._queued < 2048
    client.connection.resumeProducing()


def test_idle_connections_end(broker: MemoryBroker) -> None:
    client = broker.client()
    broker.reactor.advance(600)
    assert client.closed


def test_a_user_that_loses_a_right_loses_its_connections_parked_fetch_included(guarded: MemoryBroker) -> None:
    admin = guarded.client("admin")
    request: Any = apis.AlterUserScramCredentialsRequest
    salt = b"0123456789abcdef"
    upsert = request.ScramCredentialUpsertion(
        name="copy",
        mechanism=1,
        iterations=4096,
        salt=salt,
        salted_password=salted_password("pw", salt, 4096),
    )
    admin.ask(request(deletions=[], upsertions=[upsert]), 0)
    rule = apis.CreateAclsRequest.AclCreation(
        resource_type=2,
        resource_name=TOPIC,
        resource_pattern_type=3,
        principal="User:copy",
        host="*",
        operation=3,
        permission_type=3,
    )
    admin.ask(apis.CreateAclsRequest(creations=[rule]), 3)
    reader, other = guarded.client("copy", "pw"), guarded.client("admin")
    reader.send(fetch(0, wait_ms=60_000), 12)
    wanted = apis.DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=1, resource_name_filter=None, pattern_type_filter=1, principal_filter="User:copy", host_filter=None,
        operation=1, permission_type=1,
    )  # fmt: skip
    admin.ask(apis.DeleteAclsRequest(filters=[wanted]), 3)
    assert reader.closed
    admin.ask(produce(batch()), 9)
    assert reader.transport.value() == b""
    assert not other.closed


# much at once


def test_a_thousand_topics_are_described_to_who_asks_for_all(broker: MemoryBroker) -> None:
    """A few at a time: others have their turn meanwhile."""
    client, other = broker.client(), broker.client()
    for start in range(0, 1200, 100):
        topics = [
            apis.CreateTopicsRequest.CreatableTopic(
                name=f"t{number}",
                num_partitions=1 + number % 3,
                replication_factor=1,
                assignments=[],
                configs=[],
            )
            for number in range(start, start + 100)
        ]
        client.ask(apis.CreateTopicsRequest(topics=topics, timeout_ms=1000, validate_only=False), 7)
    number = client.send(apis.MetadataRequest(topics=None), 12)
    other.send(apis.MetadataRequest(topics=[]), 12)
    assert client.receive() == []
    assert len(other.receive()) == 1
    for _ in range(5):
        broker.reactor.advance(0)
    answer = dict(client.receive())[number]
    assert {t.name: len(t.partitions) for t in answer.topics} == {TOPIC: 1} | {
        f"t{n}": 1 + n % 3 for n in range(1200)
    }
    for version in range(14):
        few = client.ask(
            apis.MetadataRequest(
                topics=[apis.MetadataRequest.MetadataRequestTopic(name="t1", topic_id=None)]
            ),
            version,
        )
        (described,) = few.topics
        assert (described.name, described.error_code, [p.partition_index for p in described.partitions]) == (
            "t1",
            0,
            [0, 1],
        )


def test_a_large_request_holds_up_what_follows_on_its_connection(broker: MemoryBroker) -> None:
    client = broker.client()
    waiting: list[Any] = []

    def later(function: Any, *arguments: Any) -> Deferred[Any]:
        waiting.append((function, arguments, Deferred()))
        done: Deferred[Any] = waiting[-1][2]
        return done

    broker.broker.in_thread = later
    topics = [apis.MetadataRequest.MetadataRequestTopic(name=f"{n:0200d}", topic_id=None) for n in range(400)]
    large = client.send(apis.MetadataRequest(topics=topics), 12)
    small = client.send(apis.MetadataRequest(topics=[]), 12)
    assert client.receive() == []
    ((function, arguments, done),) = waiting
    done.callback(function(*arguments))
    assert [number for number, _ in client.receive()] == [large, small]


def test_a_large_request_that_is_none_ends_the_connection(broker: MemoryBroker) -> None:
    client = broker.client()
    frame = encode_request(apis.MetadataRequest(topics=None), 12, 1, "t")[4:14] + b"\xff" * 100_000
    client.octets(struct.pack(">i", len(frame)) + frame)
    assert client.closed


def test_a_produce_for_too_many_partitions_ends_the_connection(broker: MemoryBroker) -> None:
    client = broker.client()
    data = apis.ProduceRequest.TopicProduceData
    parts = [data.PartitionProduceData(index=0, records=b"") for _ in range(10_001)]
    client.send(
        apis.ProduceRequest(
            transactional_id=None, acks=-1, timeout_ms=1, topic_data=[data(name=TOPIC, partition_data=parts)]
        ),
        9,
    )
    assert client.closed


def test_what_a_client_began_before_it_left_holds_as_the_journal_has_it(broker: MemoryBroker) -> None:
    leaving = broker.client()
    broker.create(leaving, "other")
    leaving.send(apis.DeleteTopicsRequest(topics=[], topic_names=[TOPIC], timeout_ms=1000), 5)
    position = apis.OffsetCommitRequest.OffsetCommitRequestTopic
    leaving.send(
        apis.OffsetCommitRequest(
            group_id="group",
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[
                position(
                    name="other",
                    partitions=[position.OffsetCommitRequestPartition(partition_index=0, committed_offset=7)],
                )
            ],
        ),
        5,
    )
    leaving.transport.loseConnection()
    broker.settle()
    known, committed = set(broker.broker.catalogue.topics), broker.broker.offsets.of_group("group")
    broker.crash()
    assert set(broker.broker.catalogue.topics) == known == {"other"}
    assert broker.broker.offsets.of_group("group") == committed


def test_a_partition_that_cannot_be_opened_is_told_and_ends_no_connection(broker: MemoryBroker) -> None:
    client = broker.client()
    client.ask(produce(batch()), 9)
    broker.crash()
    client = broker.client()

    def broken(path: str, create: bool = False) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    opened, broker.files.open = broker.files.open, broken  # type: ignore[method-assign]
    topic = apis.ListOffsetsRequest.ListOffsetsTopic
    asked = topic(
        name=TOPIC,
        partitions=[topic.ListOffsetsPartition(partition_index=0, current_leader_epoch=-1, timestamp=-1)],
    )
    request = apis.ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=[asked])
    assert client.ask(request, 5).topics[0].partitions[0].error_code == 56
    described = apis.DescribeProducersRequest.TopicRequest(name=TOPIC, partition_indexes=[0])
    answer = client.ask(apis.DescribeProducersRequest(topics=[described]), 0)
    assert answer.topics[0].partitions[0].error_code == 56
    broker.files.open = opened  # type: ignore[method-assign]
    assert client.ask(request, 5).topics[0].partitions[0].offset == 1
