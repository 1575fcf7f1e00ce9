"""CreateTopics, DeleteTopics, CreatePartitions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.catalogue import Topic
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.rights import ALTER, CREATE, DELETE, DESCRIBE
from eson.brokers.embedded.server.topic_configs import SETTINGS, InvalidConfig, check_configs, limits_of
from eson.brokers.kafka.wire.apis import CreatePartitionsResponse, CreateTopicsResponse, DeleteTopicsResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

MAX_NAME = 249
MAX_PARTITIONS = 10_000
DEFAULT = -1
_LEGAL = re.compile(r"[a-zA-Z0-9._-]+\Z")
_DEFAULT_SOURCE, _TOPIC_SOURCE = 5, 1
_Result = CreateTopicsResponse.CreatableTopicResult


class TopicRefused(Exception):
    """A topic that cannot be made or changed as asked.  Retry: no."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def is_legal(name: str) -> bool:
    """Whether Kafka allows the name (`Topic.validate`)."""
    return bool(_LEGAL.match(name)) and len(name) <= MAX_NAME and name not in (".", "..")


async def create_topics(broker: Broker, client: Client, request: Request) -> Any:
    """All topics of the request are durable before the answer says so of any."""
    body = request.body
    times = Counter(asked.name for asked in body.topics or ())
    results, planned = [], []
    async with broker.catalogue.lock:
        for asked in {asked.name: asked for asked in body.topics or ()}.values():
            result = _Result(name=asked.name, error_code=0, error_message=None, configs=[])
            results.append(result)
            try:
                if times[asked.name] > 1:
                    raise TopicRefused(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
                topic = _planned(broker, client, asked)
            except TopicRefused as refused:
                result.error_code, result.error_message = refused.code, refused.reason
                continue
            planned.append((topic, result))
            result.num_partitions, result.replication_factor = topic.partitions, 1
            result.configs = _created_configs(topic.configs)
        if not body.validate_only:
            try:
                await broker.catalogue.create_topics(*(topic for topic, _ in planned))
            except StorageFailed as error:
                for _, result in planned:
                    result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
            for topic, result in planned:
                result.topic_id = topic.id
    return CreateTopicsResponse(version=request.version, topics=results)


def _planned(broker: Broker, client: Client, asked: Any) -> Topic:
    if not (broker.may_cluster(client, CREATE) or broker.may(client, CREATE, asked.name)):
        raise TopicRefused(ErrorCode.TOPIC_AUTHORIZATION_FAILED, "Authorization failed.")
    if not is_legal(asked.name):
        raise TopicRefused(
            ErrorCode.INVALID_TOPIC_EXCEPTION, "A topic's name has 1 to 249 of a-z A-Z 0-9 . _ -"
        )
    if asked.name in broker.catalogue.topics:
        raise TopicRefused(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{asked.name}' already exists.")
    partitions = _partitions(asked)
    configs = {config.name: config.value for config in asked.configs or () if config.value is not None}
    try:
        check_configs(configs)
    except InvalidConfig as error:
        raise TopicRefused(ErrorCode.INVALID_CONFIG, str(error)) from None
    return Topic(asked.name, uuid4(), partitions, configs)


def _partitions(asked: Any) -> int:
    """How many are asked for, by number or by naming this broker for each."""
    if asked.assignments:
        indexes = sorted(assignment.partition_index for assignment in asked.assignments)
        if asked.num_partitions != DEFAULT or asked.replication_factor != DEFAULT:
            raise TopicRefused(
                ErrorCode.INVALID_REQUEST, "A number of partitions and assignments exclude each other."
            )
        if indexes != list(range(len(indexes))) or any(
            list(assignment.broker_ids) != [0] for assignment in asked.assignments
        ):
            raise TopicRefused(
                ErrorCode.INVALID_REPLICATION_ASSIGNMENT, "There is one broker, with the id 0."
            )
        return len(indexes)
    if asked.num_partitions == 0 or asked.num_partitions < DEFAULT:
        raise TopicRefused(ErrorCode.INVALID_PARTITIONS, "Number of partitions must be larger than 0.")
    if asked.replication_factor == 0 or asked.replication_factor < DEFAULT:
        raise TopicRefused(ErrorCode.INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0.")
    if asked.replication_factor > 1:
        raise TopicRefused(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {asked.replication_factor} time(s): only 1 broker(s) are registered.",
        )
    if asked.num_partitions > MAX_PARTITIONS:
        raise TopicRefused(ErrorCode.INVALID_PARTITIONS, f"At most {MAX_PARTITIONS} partitions.")
    return 1 if asked.num_partitions == DEFAULT else int(asked.num_partitions)


def _created_configs(configs: Mapping[str, str]) -> list[Any]:
    return [
        _Result.CreatableTopicConfigs(
            name=name,
            value=configs.get(name, setting.default),
            read_only=False,
            config_source=_TOPIC_SOURCE if name in configs else _DEFAULT_SOURCE,
            is_sensitive=False,
        )
        for name, setting in SETTINGS.items()
    ]


async def delete_topics(broker: Broker, client: Client, request: Request) -> Any:
    """By name or by id.  Its data go with it; who reads it learns that at once."""
    body = request.body
    asked = (
        [(state.name, state.topic_id) for state in body.topics or ()]
        if request.version >= 6
        else [(name, None) for name in body.topic_names or ()]
    )
    results = []
    for name, topic_id in asked:
        result = DeleteTopicsResponse.DeletableTopicResult(
            name=name, topic_id=topic_id, error_code=0, error_message=None
        )
        results.append(result)
        try:
            async with broker.catalogue.lock:
                topic = _deletable(broker, client, name, topic_id)
                await broker.catalogue.delete_topic(topic)
            result.name, result.topic_id = topic.name, topic.id
            broker.partitions.delete(topic.id.hex)
            await broker.offsets.forget_topics(topic.name)
        except TopicRefused as refused:
            result.error_code, result.error_message = refused.code, refused.reason
        except StorageFailed as error:
            result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
    return DeleteTopicsResponse(version=request.version, responses=results)


def _deletable(broker: Broker, client: Client, name: str | None, topic_id: Any) -> Topic:
    if topic_id is not None:
        topic = broker.catalogue.by_id.get(topic_id)
        if name is not None:
            raise TopicRefused(ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id.")
        if topic is None or not (
            broker.may(client, DESCRIBE, topic.name) or broker.may(client, DELETE, topic.name)
        ):
            raise TopicRefused(ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
        if not broker.may(client, DELETE, topic.name):
            raise TopicRefused(ErrorCode.TOPIC_AUTHORIZATION_FAILED, "Authorization failed.")
        return topic
    if name is None:
        raise TopicRefused(ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
    if not broker.may(client, DELETE, name):
        raise TopicRefused(ErrorCode.TOPIC_AUTHORIZATION_FAILED, "Authorization failed.")
    topic = broker.catalogue.topics.get(name)
    if topic is None:
        raise TopicRefused(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."
        )
    return topic


async def create_partitions(broker: Broker, client: Client, request: Request) -> Any:
    results = []
    for asked in request.body.topics or ():
        result = CreatePartitionsResponse.CreatePartitionsTopicResult(
            name=asked.name, error_code=0, error_message=None
        )
        results.append(result)
        try:
            async with broker.catalogue.lock:
                topic = _growable(broker, client, asked)
                if not request.body.validate_only:
                    await broker.catalogue.change_topic(topic, partitions=asked.count)
        except TopicRefused as refused:
            result.error_code, result.error_message = refused.code, refused.reason
        except StorageFailed as error:
            result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
    return CreatePartitionsResponse(version=request.version, results=results)


def _growable(broker: Broker, client: Client, asked: Any) -> Topic:
    found = broker.find(client, ALTER, asked.name)
    if isinstance(found, ErrorCode):
        reason = (
            "Authorization failed."
            if found is ErrorCode.TOPIC_AUTHORIZATION_FAILED
            else "This server does not host this topic-partition."
        )
        raise TopicRefused(found, reason)
    if asked.count <= found.partitions:
        how = "already has" if asked.count == found.partitions else "currently has"
        raise TopicRefused(
            ErrorCode.INVALID_PARTITIONS,
            f"Topic {how} {found.partitions} partition(s), which is not less than the requested {asked.count}.",
        )
    if asked.count > MAX_PARTITIONS:
        raise TopicRefused(ErrorCode.INVALID_PARTITIONS, f"At most {MAX_PARTITIONS} partitions.")
    if asked.assignments is not None and (
        len(asked.assignments) != asked.count - found.partitions
        or any(list(assignment.broker_ids) != [0] for assignment in asked.assignments)
    ):
        raise TopicRefused(ErrorCode.INVALID_REPLICATION_ASSIGNMENT, "There is one broker, with the id 0.")
    return found


def apply_limits(broker: Broker, topic: Topic) -> None:
    """Changed settings hold at once."""
    broker.partitions.set_limits(topic.id.hex, limits_of(topic.configs, broker.retention_ms))
