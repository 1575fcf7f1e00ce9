"""What the broker says of itself: ApiVersions, Metadata, DescribeCluster, FindCoordinator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eson.brokers.embedded.server.catalogue import Topic
from eson.brokers.embedded.server.client import NODE_ID, Broker, Client
from eson.brokers.embedded.server.rights import CLUSTER, CLUSTER_NAME, DESCRIBE, GROUP, OPERATIONS, TOPIC
from eson.brokers.embedded.server.topics import is_legal
from eson.brokers.kafka.wire.apis import DescribeClusterResponse, FindCoordinatorResponse, MetadataResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

GROUP_KEY = 0
_BROKERS = 1
_Topic = MetadataResponse.MetadataResponseTopic


def metadata(broker: Broker, client: Client, request: Request) -> Any:
    """Topics that are named, or all that the client may describe.  No topic is created by asking for it."""
    body, version = request.body, request.version
    host, port = client.told
    response = MetadataResponse(
        version=version,
        brokers=[MetadataResponse.MetadataResponseBroker(node_id=NODE_ID, host=host, port=port, rack=None)],
        cluster_id=broker.catalogue.cluster_id,
        controller_id=NODE_ID,
        topics=[],
        error_code=0,
    )
    operations = bool(body.include_topic_authorized_operations)
    if body.topics is None or (version == 0 and not body.topics):
        topics: Iterable[Topic] = list(broker.catalogue.topics.values())
        response.topics = [
            _described(broker, client, topic, operations)
            for topic in topics
            if broker.may(client, DESCRIBE, topic.name)
        ]
    else:
        response.topics = [_asked(broker, client, asked, operations) for asked in body.topics]
    if body.include_cluster_authorized_operations:
        response.authorized_operations = allowed_operations(broker, client, CLUSTER, CLUSTER_NAME)
    return response


def _asked(broker: Broker, client: Client, asked: Any, operations: bool) -> Any:
    if asked.topic_id is not None:
        topic = broker.catalogue.by_id.get(asked.topic_id)
        if topic is None or not broker.may(client, DESCRIBE, topic.name):
            # whether it exists is nobody's business who may not describe it
            return _refused(ErrorCode.UNKNOWN_TOPIC_ID, None, asked.topic_id)
        return _described(broker, client, topic, operations)
    name = asked.name or ""
    if not broker.may(client, DESCRIBE, name):
        return _refused(ErrorCode.TOPIC_AUTHORIZATION_FAILED, name, None)
    topic = broker.catalogue.topics.get(name)
    if topic is None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if is_legal(name) else ErrorCode.INVALID_TOPIC_EXCEPTION
        return _refused(code, name, None)
    return _described(broker, client, topic, operations)


def _refused(code: ErrorCode, name: str | None, topic_id: Any) -> Any:
    return _Topic(error_code=code, name=name, topic_id=topic_id, is_internal=False, partitions=[])


def _described(broker: Broker, client: Client, topic: Topic, operations: bool) -> Any:
    described = _Topic(
        error_code=0,
        name=topic.name,
        topic_id=topic.id,
        is_internal=False,
        partitions=[
            _Topic.MetadataResponsePartition(
                error_code=0,
                partition_index=index,
                leader_id=NODE_ID,
                leader_epoch=0,
                replica_nodes=[NODE_ID],
                isr_nodes=[NODE_ID],
                offline_replicas=[],
            )
            for index in range(topic.partitions)
        ],
    )
    if operations:
        described.authorized_operations = allowed_operations(broker, client, TOPIC, topic.name)
    return described


def allowed_operations(broker: Broker, client: Client, resource_type: int, name: str) -> set[int]:
    """The numbers of what the client may do to a resource."""
    return {
        operation
        for operation in OPERATIONS[resource_type]
        if broker.rights.allowed(client.principal, client.host, operation, resource_type, name)
    }


def describe_cluster(broker: Broker, client: Client, request: Request) -> Any:
    host, port = client.told
    response = DescribeClusterResponse(version=request.version, cluster_id="", brokers=[], error_message=None)
    if request.version >= 1 and request.body.endpoint_type != _BROKERS:
        response.error_code = ErrorCode.UNSUPPORTED_ENDPOINT_TYPE
        return response
    response.cluster_id, response.controller_id = broker.catalogue.cluster_id, NODE_ID
    response.brokers = [
        DescribeClusterResponse.DescribeClusterBroker(
            broker_id=NODE_ID, host=host, port=port, rack=None, is_fenced=False
        )
    ]
    if request.body.include_cluster_authorized_operations:
        response.authorized_operations = allowed_operations(broker, client, CLUSTER, CLUSTER_NAME)
    return response


def find_coordinator(broker: Broker, client: Client, request: Request) -> Any:
    """This broker, for every group; there are no transactions to coordinate."""
    body, version = request.body, request.version
    if version >= 4:
        coordinators = [
            _coordinator(broker, client, body.key_type, key) for key in body.coordinator_keys or ()
        ]
        return FindCoordinatorResponse(version=version, coordinators=coordinators)
    found = _coordinator(broker, client, body.key_type, body.key)
    return FindCoordinatorResponse(
        version=version,
        error_code=found.error_code,
        error_message=found.error_message,
        node_id=found.node_id,
        host=found.host,
        port=found.port,
    )


def _coordinator(broker: Broker, client: Client, key_type: int, key: str) -> Any:
    coordinator = FindCoordinatorResponse.Coordinator(
        key=key, node_id=-1, host="", port=-1, error_code=0, error_message=None
    )
    if key_type != GROUP_KEY:
        coordinator.error_code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        coordinator.error_message = "This broker has no transactions"
    elif not broker.rights.allowed(client.principal, client.host, DESCRIBE, GROUP, key):
        coordinator.error_code = ErrorCode.GROUP_AUTHORIZATION_FAILED
    else:
        coordinator.node_id = NODE_ID
        coordinator.host, coordinator.port = client.told
    return coordinator
