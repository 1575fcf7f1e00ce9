"""One request of each API in the version that ESON speaks, with all fields set to something."""

from __future__ import annotations

import uuid
from typing import Any

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch

TOPIC_ID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
BATCH = encode_batch(
    [
        BatchRecord(0, 1_700_000_000_000, b"key", b"value", (("ce_id", b"1"), ("null", None))),
        BatchRecord(1, 1_700_000_000_007, None, b""),
    ],
    producer_id=4000,
    producer_epoch=0,
    base_sequence=7,
)
QUEUE = "golden.flows.unix.ar"


def samples() -> dict[str, tuple[Any, int]]:
    """Name → (request, version)."""
    produce, fetch = apis.ProduceRequest.TopicProduceData, apis.FetchRequest.FetchTopic
    offsets, topic = apis.ListOffsetsRequest.ListOffsetsTopic, apis.CreateTopicsRequest.CreatableTopic
    configs: Any = apis.DescribeConfigsRequest.DescribeConfigsResource
    alter: Any = apis.IncrementalAlterConfigsRequest.AlterConfigsResource
    scram: Any = apis.AlterUserScramCredentialsRequest
    acl = {"resource_type_filter": 1, "resource_name_filter": None, "pattern_type_filter": 1}
    acl |= {"principal_filter": "User:golden", "host_filter": None, "operation": 1, "permission_type": 3}
    commit = apis.OffsetCommitRequest.OffsetCommitRequestTopic
    described = apis.DescribeProducersRequest.TopicRequest
    requests: list[tuple[Any, int]] = [
        (apis.ApiVersionsRequest(client_software_name="eson", client_software_version="1"), 3),
        (apis.ApiVersionsRequest(), 0),
        (
            apis.MetadataRequest(
                topics=[apis.MetadataRequest.MetadataRequestTopic(name=QUEUE, topic_id=None)],
                allow_auto_topic_creation=False,
            ),
            12,
        ),
        (apis.MetadataRequest(topics=None, allow_auto_topic_creation=False), 12),
        *(
            (
                apis.ProduceRequest(
                    transactional_id=None,
                    acks=-1,
                    timeout_ms=15_000,
                    topic_data=[
                        produce(
                            name=QUEUE,
                            topic_id=TOPIC_ID,
                            partition_data=[produce.PartitionProduceData(index=0, records=BATCH)],
                        )
                    ],
                ),
                version,
            )
            for version in (3, 9, 13)
        ),
        *(
            (
                apis.FetchRequest(
                    max_wait_ms=0,
                    min_bytes=1,
                    max_bytes=1_048_576,
                    isolation_level=1,
                    topics=[
                        fetch(
                            topic=QUEUE,
                            topic_id=TOPIC_ID,
                            partitions=[
                                fetch.FetchPartition(
                                    partition=0,
                                    current_leader_epoch=-1,
                                    fetch_offset=1,
                                    last_fetched_epoch=-1,
                                    log_start_offset=-1,
                                    partition_max_bytes=65_536,
                                )
                            ],
                        )
                    ],
                    forgotten_topics_data=[],
                    rack_id="",
                ),
                version,
            )
            for version in (4, 11, 13)
        ),
        (
            apis.ListOffsetsRequest(
                replica_id=-1,
                isolation_level=0,
                topics=[
                    offsets(
                        name=QUEUE,
                        partitions=[
                            offsets.ListOffsetsPartition(
                                partition_index=0, current_leader_epoch=-1, timestamp=-2
                            )
                        ],
                    )
                ],
            ),
            7,
        ),
        (
            apis.CreateTopicsRequest(
                topics=[
                    topic(
                        name=QUEUE,
                        num_partitions=3,
                        replication_factor=-1,
                        assignments=[],
                        configs=[topic.CreatableTopicConfig(name="retention.ms", value="3600000")],
                    )
                ],
                timeout_ms=15_000,
                validate_only=True,
            ),
            7,
        ),
        (apis.DeleteTopicsRequest(topic_names=[QUEUE], timeout_ms=15_000), 5),
        (
            apis.CreatePartitionsRequest(
                topics=[
                    apis.CreatePartitionsRequest.CreatePartitionsTopic(name=QUEUE, count=5, assignments=None)
                ],
                timeout_ms=15_000,
                validate_only=True,
            ),
            3,
        ),
        (
            apis.DescribeConfigsRequest(
                resources=[
                    configs(resource_type=2, resource_name=QUEUE, configuration_keys=["retention.ms"])
                ],
                include_synonyms=False,
                include_documentation=False,
            ),
            4,
        ),
        (
            apis.IncrementalAlterConfigsRequest(
                resources=[
                    alter(
                        resource_type=2,
                        resource_name=QUEUE,
                        configs=[alter.AlterableConfig(name="retention.ms", config_operation=1, value=None)],
                    )
                ],
                validate_only=True,
            ),
            1,
        ),
        (
            apis.InitProducerIdRequest(
                transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
            ),
            4,
        ),
        (apis.DescribeProducersRequest(topics=[described(name=QUEUE, partition_indexes=[0, 1])]), 0),
        (apis.FindCoordinatorRequest(key="golden-1", key_type=0), 3),
        (apis.ListGroupsRequest(states_filter=[]), 4),
        (apis.OffsetFetchRequest(group_id="golden-1", topics=None, require_stable=False), 7),
        (
            apis.OffsetCommitRequest(
                group_id="golden-1",
                generation_id_or_member_epoch=-1,
                member_id="",
                group_instance_id=None,
                topics=[
                    commit(
                        name=QUEUE,
                        partitions=[
                            commit.OffsetCommitRequestPartition(
                                partition_index=0,
                                committed_offset=9,
                                committed_leader_epoch=-1,
                                committed_metadata="",
                            )
                        ],
                    )
                ],
            ),
            8,
        ),
        (apis.DescribeUserScramCredentialsRequest(users=None), 0),
        (
            scram(
                deletions=[scram.ScramCredentialDeletion(name="golden", mechanism=1)],
                upsertions=[],
            ),
            0,
        ),
        (
            apis.CreateAclsRequest(
                creations=[
                    apis.CreateAclsRequest.AclCreation(
                        resource_type=2,
                        resource_name=QUEUE,
                        resource_pattern_type=3,
                        principal="User:golden",
                        host="*",
                        operation=3,
                        permission_type=3,
                    )
                ]
            ),
            3,
        ),
        (apis.DescribeAclsRequest(**acl), 3),
        (apis.DeleteAclsRequest(filters=[apis.DeleteAclsRequest.DeleteAclsFilter(**acl)]), 3),
        (apis.DescribeClusterRequest(include_cluster_authorized_operations=False), 0),
        (apis.SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1),
        (apis.SaslAuthenticateRequest(auth_bytes=b"n,,n=golden,r=nonce"), 2),
    ]
    return {
        f"{type(request).__name__} v{version}" + _mark(request): (request, version)
        for request, version in requests
    }


def _mark(request: Any) -> str:
    return " all" if getattr(request, "topics", ()) is None and request.API_KEY == 3 else ""
