"""The embedded broker answers as Apache Kafka does: the same requests go to both, and the answers are compared.

Left out of the comparison is only what must differ (ids, addresses, times) and the wording of messages.
"""

from __future__ import annotations

import struct
import time
import uuid
from typing import Any

import pytest
from google_crc32c import value
from servers.peers import (
    T0,
    Peers,
    batch,
    commit,
    coordinate,
    create,
    loaded,
    made_topic,
    new_topic,
    produce,
    whole_batches,
)

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.compression import GZIP, LZ4, SNAPPY, ZSTD
from eson.identity.verifier import salted_password


@pytest.fixture
def topic(peers: Peers) -> str:
    return made_topic(peers)


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
    produce(peers, topic, batch(), version=13)  # by an id that nothing has


def list_offsets(
    peers: Peers, topic: str, timestamp: int, partition: int = 0, version: int = 7, ahead: int | None = None
) -> Any:
    """`ahead`: how far the leader's epoch that is named is ahead of that which the broker tells; None for none."""
    asked = apis.ListOffsetsRequest.ListOffsetsTopic

    def request(name: str) -> Any:
        epoch = -1 if ahead is None else peers.leader_epoch(name, topic) + ahead
        part = asked.ListOffsetsPartition(
            partition_index=partition, current_leader_epoch=epoch, timestamp=timestamp
        )
        return apis.ListOffsetsRequest(
            replica_id=-1, isolation_level=0, topics=[asked(name=topic, partitions=[part])]
        )

    return peers.both(request, version)


def test_offsets_by_time(peers: Peers, topic: str) -> None:
    for timestamp in (-1, -2, -3, T0):
        list_offsets(peers, topic, timestamp)
    for timestamp in (-3, -4, -5, -6, -100):
        for version in (1, 6, 7, 8, 9):
            list_offsets(peers, topic, timestamp, version=version)
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
    list_offsets(peers, topic, -1, ahead=0)
    list_offsets(peers, topic, -1, ahead=5)


def fetch(
    peers: Peers,
    topic: str,
    offset: int,
    partition: int = 0,
    most: int = 1 << 20,
    version: int = 12,
    ahead: int | None = None,
    session: int = 0,
) -> Any:
    asked = apis.FetchRequest.FetchTopic

    def request(name: str) -> Any:
        epoch = -1 if ahead is None else peers.leader_epoch(name, topic) + ahead
        part = asked.FetchPartition(
            partition=partition, current_leader_epoch=epoch, fetch_offset=offset, last_fetched_epoch=-1, log_start_offset=-1,
            partition_max_bytes=most,
        )  # fmt: skip
        return apis.FetchRequest(
            max_wait_ms=100,
            min_bytes=1,
            max_bytes=1 << 20,
            isolation_level=0,
            session_id=session,
            session_epoch=-1 if not session else 3,
            topics=[asked(topic=topic, topic_id=uuid.UUID(int=5), partitions=[part])],
            forgotten_topics_data=[],
            rack_id="",
        )

    return peers.both(request, version)


def test_fetching(peers: Peers, topic: str) -> None:
    for _ in range(3):
        produce(peers, topic, batch(5))
    for offset in (0, 7, 14, 15, 16, -1, 100):
        fetch(peers, topic, offset)
    fetch(peers, topic, 0, most=1)
    fetch(peers, topic, 0, partition=9)
    fetch(peers, topic, 0, ahead=9)
    fetch(peers, topic, 0, ahead=0)
    fetch(peers, "no-such-topic", 0)
    fetch(peers, topic, 0, version=13)  # by an id that nothing has
    fetch(peers, topic, 0, version=4)
    fetch(peers, topic, 0, session=77)


def batches_of(answer: Any) -> list[bytes]:
    records = answer.to_dict(json=False)["responses"][0]["partitions"][0]["records"]
    return whole_batches(records)


def test_what_is_fetched_is_what_was_written(peers: Peers, topic: str) -> None:
    """Octet by octet, but for the leader's epoch; whole batches, from that on which holds the offset."""
    rounds = [batch(5), batch(3, 0, 0, 99), batch(7, at=T0 + 5, step=3), batch(2, 3, 0, 99)]
    rounds += [batch(4, codec=codec) for codec in (GZIP, SNAPPY, LZ4, ZSTD)]
    for records in rounds:
        produce(peers, topic, records)
    whole = batches_of(fetch(peers, topic, 0))
    assert [len(records) - 4 for records in rounds] == [len(octets) for octets in whole]
    assert whole[3][16:] == bytes(rounds[3][20:])
    for offset in (0, 4, 5, 7, 8, 14, 15, 16, 17, 32):
        for version in (4, 11, 12):
            fetch(peers, topic, offset, version=version)
    sizes = [len(records) for records in rounds]
    for most in (0, 1, sizes[0], sizes[0] + 1, sizes[0] + sizes[1] - 1, sizes[0] + sizes[1], sum(sizes[:3])):
        answer = fetch(peers, topic, 0, most=most)
        assert batches_of(answer)[0] == whole[0], "the first one is given though it is larger"


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


def same_settings(peers: Peers, topic: str, **wanted: str) -> None:
    """All settings of a topic that both have; Kafka's broker learns of a change a moment after its controller."""
    asked = apis.DescribeConfigsRequest.DescribeConfigsResource(
        resource_type=2, resource_name=topic, configuration_keys=None
    )
    end = time.monotonic() + 5
    while True:
        try:
            answer = peers.both(apis.DescribeConfigsRequest(resources=[asked], include_synonyms=True), 4)
            break
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    values = {config.name: config.value for config in answer.results[0].configs}
    assert wanted.items() <= {key.replace(".", "_"): text for key, text in values.items()}.items()


def test_topics_begin_with_the_settings_they_are_given(peers: Peers, topic: str) -> None:
    given = {"retention_ms": "3600000", "retention_bytes": "1000000", "max_message_bytes": "2000000",
             "segment_bytes": "2000000", "cleanup_policy": "delete"}  # fmt: skip
    create(peers, new_topic(f"{topic}-set", **given))
    same_settings(peers, f"{topic}-set", **given)
    same_settings(peers, topic)


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
        (topic, [("retention.ms", 0, "7200000"), ("max.message.bytes", 0, "2048")]),
        (topic, [("retention.bytes", 0, "1048576")]),
        (topic, [("max.message.bytes", 0, "1 MB")]),
        (topic, [("segment.bytes", 0, "1048576"), ("retention.ms", 0, "x")]),  # both or none
        (topic, [("segment.bytes", 0, "1048576")]),
        (topic, [("max.message.bytes", 1, None)]),
        (topic, [("cleanup.policy", 2, "delete")]),
        (topic, [("cleanup.policy", 0, "nothing")]),
        (topic, [("compression.type", 0, "producer"), ("message.timestamp.type", 0, "CreateTime")]),
        ("no-such-topic", [("retention.ms", 0, "1000")]),
        ("", [("retention.ms", 0, "1000")]),
    ):
        configs = [
            alter.AlterableConfig(name=key, config_operation=op, value=value) for key, op, value in changes
        ]
        resource = alter(resource_type=2, resource_name=name, configs=configs)
        peers.both(apis.IncrementalAlterConfigsRequest(resources=[resource], validate_only=False), 1)
        same_settings(peers, topic)
    resource = alter(
        resource_type=2,
        resource_name=topic,
        configs=[alter.AlterableConfig(name="retention.ms", config_operation=0, value="5")],
    )
    peers.both(apis.IncrementalAlterConfigsRequest(resources=[resource], validate_only=True), 1)
    same_settings(peers, topic)
    for kind, name in ((2, topic), (2, "no-such-topic"), (2, ""), (4, "77"), (4, "x"), (1, "x")):
        for keys in (None, [], ["retention.ms", "no.such.setting"]):
            resource = describe(resource_type=kind, resource_name=name, configuration_keys=keys)
            asked = apis.DescribeConfigsRequest(
                resources=[resource], include_synonyms=True, include_documentation=False
            )
            for version in (1, 4):
                peers.both(asked, version)


def test_settings_that_are_not_offered(peers: Peers, topic: str) -> None:
    """Kafka takes them.  Here they are refused and not ignored: there is neither compaction nor a second copy.

    Batches are kept as they came, and a size below -1 means nothing.
    """
    alter: Any = apis.IncrementalAlterConfigsRequest.AlterConfigsResource
    for key, text in (
        ("cleanup.policy", "compact"),
        ("compression.type", "lz4"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.insync.replicas", "2"),
        ("retention.bytes", "-2"),
        ("segment.ms", "1000"),
    ):
        config = alter.AlterableConfig(name=key, config_operation=0, value=text)
        resource = alter(resource_type=2, resource_name=topic, configs=[config])
        asked = apis.IncrementalAlterConfigsRequest(resources=[resource], validate_only=True)
        codes = {name: peers.one(name, asked, 1).responses[0].error_code for name in peers.servers}
        assert codes == {"kafka": 0, "embedded": 40}, key


def test_metadata_of_what_is_missing(peers: Peers, topic: str) -> None:
    asked: Any = apis.MetadataRequest.MetadataRequestTopic
    for name, topic_id in (("no-such-topic", None), ("a b", None), (topic, None), (None, uuid.UUID(int=9))):
        peers.both(
            apis.MetadataRequest(
                topics=[asked(name=name, topic_id=topic_id)], allow_auto_topic_creation=False
            ),
            12,
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
    for name in (topic, "no-such-topic"):
        epochs = apis.OffsetForLeaderEpochRequest.OffsetForLeaderTopic
        of = {peer: peers.leader_epoch(peer, topic) for peer in peers.servers}

        def end_of_epoch(peer: str, name: str = name, of: dict[str, int] = of, epochs: Any = epochs) -> Any:
            part = epochs.OffsetForLeaderPartition(
                partition=0, current_leader_epoch=-1, leader_epoch=of[peer]
            )
            return apis.OffsetForLeaderEpochRequest(
                replica_id=-1, topics=[epochs(topic=name, partitions=[part])]
            )

        peers.both(end_of_epoch, 4, user)
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
    both(commit("g", topic, "", -1), 7)
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
