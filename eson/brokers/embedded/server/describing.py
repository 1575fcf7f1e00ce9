"""What the broker says of itself: Metadata, DescribeCluster, FindCoordinator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred

from eson.brokers.embedded.log.files import Buffer
from eson.brokers.embedded.server.catalogue import Topic
from eson.brokers.embedded.server.client import NODE_ID, Broker, Client
from eson.brokers.embedded.server.rights import CLUSTER, CLUSTER_NAME, DESCRIBE, OPERATIONS, TOPIC
from eson.brokers.embedded.server.topics import is_legal
from eson.brokers.kafka.wire.apis import DescribeClusterResponse, FindCoordinatorResponse, MetadataResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request, encode_response_parts

GROUP_KEY = 0
AT_ONCE = 500
"""Topics that are described before others have their turn."""
_BROKERS, _CONTROLLERS = 1, 2


def metadata(broker: Broker, client: Client, request: Request) -> Any:
    """Topics that are named, or all that the client may describe.  No topic is created by asking for it."""
    asked = request.body.topics
    everything = asked is None or (request.version == 0 and not asked)
    count = len(broker.catalogue.topics) if everything else len(asked)
    if count > AT_ONCE:
        return Deferred.fromCoroutine(_gently(broker, client, request, everything))
    topics = list(_topics(broker, client, request, everything))
    return _metadata(broker, client, request, topics)


async def _gently(broker: Broker, client: Client, request: Request, everything: bool) -> list[Buffer]:
    """So many topics that others would notice: a few at a time, and encoded in a thread."""
    topics = []
    for number, topic in enumerate(_topics(broker, client, request, everything)):
        topics.append(topic)
        if number % AT_ONCE == AT_ONCE - 1:
            await broker.pause()
    response = _metadata(broker, client, request, topics)
    encoded: list[Buffer] = await broker.in_thread(
        encode_response_parts, response, request.version, request.correlation_id
    )
    return encoded


def _metadata(broker: Broker, client: Client, request: Request, topics: list[tuple[Any, ...]]) -> Any:
    host, port = client.told
    response = MetadataResponse(
        version=request.version,
        brokers=[MetadataResponse.MetadataResponseBroker(node_id=NODE_ID, host=host, port=port, rack=None)],
        cluster_id=broker.catalogue.cluster_id,
        controller_id=NODE_ID,
        topics=topics,
        error_code=0,
    )
    if request.body.include_cluster_authorized_operations:
        response.authorized_operations = allowed_operations(broker, client, CLUSTER, CLUSTER_NAME)
    return response


def _topics(broker: Broker, client: Client, request: Request, everything: bool) -> Iterator[tuple[Any, ...]]:
    """What is said of each topic, in the order of the fields of `MetadataResponseTopic`."""
    shape = _Shape(broker, client, request)
    if everything:
        for topic in list(broker.catalogue.topics.values()):
            if broker.may(client, DESCRIBE, topic.name):
                yield shape.topic(topic)
        return
    for asked in request.body.topics:
        yield _asked(broker, client, asked, shape)


def _asked(broker: Broker, client: Client, asked: Any, shape: _Shape) -> tuple[Any, ...]:
    if request_id := shape.id_of(asked):
        topic = broker.catalogue.by_id.get(request_id)
        if topic is None or not broker.may(client, DESCRIBE, topic.name):
            # whether it exists is nobody's business who may not describe it
            return shape.refused(ErrorCode.UNKNOWN_TOPIC_ID, None, request_id)
        return shape.topic(topic)
    name = asked.name or ""
    if not broker.may(client, DESCRIBE, name):
        return shape.refused(ErrorCode.TOPIC_AUTHORIZATION_FAILED, name)
    topic = broker.catalogue.topics.get(name)
    if topic is None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if is_legal(name) else ErrorCode.INVALID_TOPIC_EXCEPTION
        return shape.refused(code, name)
    return shape.topic(topic)


class _Shape:
    """Topics as tuples, as the encoder takes them: a hundred thousand of them must not be objects."""

    def __init__(self, broker: Broker, client: Client, request: Request) -> None:
        self._broker, self._client, self._version = broker, client, request.version
        self._operations = bool(request.body.include_topic_authorized_operations)
        self._partitions: dict[int, list[tuple[Any, ...]]] = {}

    def id_of(self, asked: Any) -> UUID | None:
        found: UUID | None = asked.topic_id if self._version >= 10 else None
        return found

    def refused(self, code: ErrorCode, name: str | None, topic_id: UUID | None = None) -> tuple[Any, ...]:
        return self._entry(code, name, topic_id, [], None)

    def topic(self, topic: Topic) -> tuple[Any, ...]:
        operations = (
            allowed_operations(self._broker, self._client, TOPIC, topic.name) if self._operations else None
        )
        partitions = self._partitions.get(topic.partitions)
        if partitions is None:
            partitions = [self._partition(index) for index in range(topic.partitions)]
            self._partitions[topic.partitions] = partitions
        return self._entry(ErrorCode.NONE, topic.name, topic.id, partitions, operations)

    def _entry(
        self,
        code: ErrorCode,
        name: str | None,
        topic_id: UUID | None,
        partitions: list[tuple[Any, ...]],
        operations: set[int] | None,
    ) -> tuple[Any, ...]:
        version = self._version
        identity = (name, topic_id) if version >= 10 else (name,)
        internal = (False,) if version >= 1 else ()
        allowed = (operations,) if version >= 8 else ()
        return (int(code), *identity, *internal, partitions, *allowed)

    def _partition(self, index: int) -> tuple[Any, ...]:
        epoch = (self._broker.catalogue.epoch.value,) if self._version >= 7 else ()
        offline: tuple[list[int], ...] = ([],) if self._version >= 5 else ()
        return (0, index, NODE_ID, *epoch, [NODE_ID], [NODE_ID], *offline)


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
        known = request.body.endpoint_type == _CONTROLLERS
        response.error_code = (
            ErrorCode.MISMATCHED_ENDPOINT_TYPE if known else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE
        )
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
    elif not broker.may_group(client, DESCRIBE, key):
        coordinator.error_code = ErrorCode.GROUP_AUTHORIZATION_FAILED
    else:
        coordinator.node_id = NODE_ID
        coordinator.host, coordinator.port = client.told
    return coordinator
