"""OffsetCommit, OffsetFetch, DeleteGroups."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.catalogue import Topic
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.committed import Position
from eson.brokers.embedded.server.groups import GroupRefused
from eson.brokers.embedded.server.membership import refused
from eson.brokers.embedded.server.rights import DELETE, DESCRIBE, READ
from eson.brokers.kafka.wire.apis import DeleteGroupsResponse, OffsetCommitResponse, OffsetFetchResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

MAX_METADATA = 4096
BY_ID_FROM = 10
GROUPS_FROM = 8
_CommitTopic = OffsetCommitResponse.OffsetCommitResponseTopic


def offset_commit(broker: Broker, client: Client, request: Request) -> Any:
    body, version = request.body, request.version
    code = refused(broker, client, READ, body.group_id)
    if not code:
        code = _may_commit(broker, body)
    response = OffsetCommitResponse(version=version, topics=[])
    positions: dict[tuple[str, int], Position] = {}
    accepted = []
    for asked in body.topics or ():
        found = code or broker.find(client, READ, asked.name, asked.topic_id, version >= BY_ID_FROM)
        topic = _CommitTopic(name=asked.name, topic_id=asked.topic_id, partitions=[])
        response.topics.append(topic)
        for wanted in asked.partitions or ():
            answer = _CommitTopic.OffsetCommitResponsePartition(
                partition_index=wanted.partition_index, error_code=_commit_fault(found, wanted)
            )
            topic.partitions.append(answer)
            if not answer.error_code and isinstance(found, Topic):
                accepted.append(answer)
                positions[found.name, wanted.partition_index] = Position(
                    wanted.committed_offset,
                    wanted.committed_leader_epoch,
                    wanted.committed_metadata or "",
                    broker.now(),
                )
    if not positions:
        return response

    def failed(failure: Any) -> Any:
        failure.trap(StorageFailed)
        for answer in accepted:
            answer.error_code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        return response

    owner = "" if broker.rights.is_free(client.principal) else client.principal
    return broker.offsets.commit(body.group_id, positions, owner).addCallbacks(lambda _: response, failed)


def _may_commit(broker: Broker, body: Any) -> ErrorCode:
    group = broker.groups.get(body.group_id)
    generation = body.generation_id_or_member_epoch
    if group is None and body.group_id not in broker.offsets:
        return ErrorCode.NONE if generation < 0 else ErrorCode.ILLEGAL_GENERATION
    if group is None:
        return ErrorCode.NONE if generation < 0 else ErrorCode.UNKNOWN_MEMBER_ID
    try:
        group.check_commit(body.member_id, body.group_instance_id, generation)
    except GroupRefused as error:
        return error.code
    return ErrorCode.NONE


def _commit_fault(found: Topic | ErrorCode, wanted: Any) -> ErrorCode:
    if isinstance(found, ErrorCode):
        return found
    if not 0 <= wanted.partition_index < found.partitions:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if len(wanted.committed_metadata or "") > MAX_METADATA:
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
    return ErrorCode.NONE


def offset_fetch(broker: Broker, client: Client, request: Request) -> Any:
    body, version = request.body, request.version
    if version >= GROUPS_FROM:
        shape = OffsetFetchResponse.OffsetFetchResponseGroup
        groups = []
        for asked in body.groups or ():
            group = shape(group_id=asked.group_id, topics=[], error_code=0)
            group.error_code = refused(broker, client, DESCRIBE, asked.group_id)
            if not group.error_code:
                group.topics = _positions(
                    broker,
                    client,
                    asked,
                    version,
                    shape.OffsetFetchResponseTopics,
                    shape.OffsetFetchResponseTopics.OffsetFetchResponsePartitions,
                )
            groups.append(group)
        return OffsetFetchResponse(version=version, groups=groups)
    response = OffsetFetchResponse(version=version, topics=[], error_code=0)
    code = refused(broker, client, DESCRIBE, body.group_id)
    topic, partition = (
        OffsetFetchResponse.OffsetFetchResponseTopic,
        OffsetFetchResponse.OffsetFetchResponseTopic.OffsetFetchResponsePartition,
    )
    if code and version >= 2:
        response.error_code = code
    elif code:
        response.topics = [
            topic(name=t.name, partitions=[_position(partition, i, None, code) for i in t.partition_indexes])
            for t in body.topics or ()
        ]
    else:
        response.topics = _positions(broker, client, body, version, topic, partition)
    return response


def _positions(
    broker: Broker, client: Client, asked: Any, version: int, topic: Any, partition: Any
) -> list[Any]:
    """The positions that a group has in the topics that are asked for, or (None) in all."""
    known = broker.offsets.of_group(asked.group_id)
    answers = []
    if asked.topics is None:
        for name in dict.fromkeys(name for name, _ in known):
            found = broker.catalogue.topics.get(name)
            if found is None or not broker.may(client, DESCRIBE, name):
                continue
            partitions = [_position(partition, i, at, 0) for (owner, i), at in known.items() if owner == name]
            answers.append(topic(name=name, partitions=partitions))
            _set_id(answers[-1], found.id, version)
        return answers
    for wanted in asked.topics:
        found_or_code = broker.find(
            client, DESCRIBE, wanted.name, _id_of(wanted, version), version >= BY_ID_FROM
        )
        if isinstance(found_or_code, ErrorCode):
            # by name Kafka does not say whether the topic exists: a position is missing, or it is not
            named = found_or_code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            code, name = (ErrorCode.NONE if named else found_or_code), wanted.name
        else:
            code, name = ErrorCode.NONE, found_or_code.name
        partitions = [
            _position(partition, i, None if code else known.get((name, i)), code)
            for i in wanted.partition_indexes or ()
        ]
        answers.append(topic(name=wanted.name, partitions=partitions))
        _set_id(answers[-1], _id_of(wanted, version), version)
    return answers


def _id_of(asked: Any, version: int) -> UUID | None:
    """The topic's id in a request; the shape before version 8 has no such field."""
    return asked.topic_id if version >= BY_ID_FROM else None


def _set_id(answer: Any, topic_id: UUID | None, version: int) -> None:
    if version >= BY_ID_FROM:
        answer.topic_id = topic_id


def _position(partition: Any, index: int, at: Position | None, code: int) -> Any:
    return partition(
        partition_index=index,
        committed_offset=-1 if at is None else at.offset,
        committed_leader_epoch=-1 if at is None else at.leader_epoch,
        metadata="" if at is None else at.metadata,
        error_code=code,
    )


async def delete_groups(broker: Broker, client: Client, request: Request) -> Any:
    results = []
    for group_id in request.body.groups_names or ():
        allowed = broker.may_group(client, DELETE, group_id)
        code = ErrorCode.NONE if allowed else ErrorCode.GROUP_AUTHORIZATION_FAILED
        group = broker.groups.get(group_id)
        if not code and group is None and group_id not in broker.offsets:
            code = ErrorCode.GROUP_ID_NOT_FOUND
        elif not code and group is not None and group.members:
            code = ErrorCode.NON_EMPTY_GROUP
        elif not code:
            try:
                await broker.offsets.delete_group(group_id)
                broker.groups.forget(group_id)
            except StorageFailed:
                code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        results.append(DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=code))
    return DeleteGroupsResponse(version=request.version, results=results)
