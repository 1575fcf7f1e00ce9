"""Fencing by leader epoch, and OffsetForLeaderEpoch (KIP-320): who carried what is not there any more learns it."""

from __future__ import annotations

from typing import Any

from eson.brokers.embedded.log.epochs import NONE
from eson.brokers.embedded.log.partition import Partition
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.rights import CLUSTER_ACTION, DESCRIBE
from eson.brokers.kafka.wire.apis import OffsetForLeaderEpochResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

_Topic = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult
_Partition = _Topic.EpochEndOffset


def fenced(broker: Broker, current: int) -> ErrorCode:
    """What is wrong with the epoch that a client knows from Metadata; -1 is none."""
    epoch = broker.catalogue.epoch.value
    if current in (NONE, epoch):
        return ErrorCode.NONE
    return ErrorCode.FENCED_LEADER_EPOCH if current < epoch else ErrorCode.UNKNOWN_LEADER_EPOCH


def offset_for_leader_epoch(broker: Broker, client: Client, request: Request) -> Any:
    everything = broker.may_cluster(client, CLUSTER_ACTION)
    topics = []
    for topic in request.body.topics or ():
        found = broker.find(client, None if everything else DESCRIBE, topic.topic)
        answers = []
        for asked in topic.partitions or ():
            answer = _Partition(partition=asked.partition, error_code=0, leader_epoch=NONE, end_offset=-1)
            answers.append(answer)
            if isinstance(found, ErrorCode):
                answer.error_code = found
                continue
            try:
                _look_up(broker, broker.partition(found, asked.partition), asked, answer)
            except OSError:
                answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        topics.append(_Topic(topic=topic.topic, partitions=answers))
    return OffsetForLeaderEpochResponse(version=request.version, topics=topics)


def _look_up(broker: Broker, partition: Partition | None, asked: Any, answer: Any) -> None:
    if partition is None:
        answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return
    answer.error_code = fenced(broker, asked.current_leader_epoch)
    if not answer.error_code:
        answer.leader_epoch, answer.end_offset = partition.epochs.end_of(asked.leader_epoch, partition.synced)
