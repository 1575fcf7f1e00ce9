"""Produce, InitProducerId and DescribeProducers."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from eson.brokers.embedded.log.producers import OutOfOrder, StaleEpoch
from eson.brokers.embedded.log.validation import (
    BatchTooLarge,
    CorruptBatch,
    InvalidBatch,
    Refused,
    StorageFailed,
)
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.rights import IDEMPOTENT_WRITE, READ, TOPIC, WRITE
from eson.brokers.kafka.wire.apis import (
    DescribeProducersResponse,
    InitProducerIdResponse,
    ProduceResponse,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import Request

BY_ID_FROM = 13
MAX_ENTRIES = 10_000
_ATTRIBUTES_LOW_AT, _TRANSACTIONAL = 22, 0x10
_CODES: dict[type[Exception], ErrorCode] = {
    InvalidBatch: ErrorCode.INVALID_RECORD,
    CorruptBatch: ErrorCode.CORRUPT_MESSAGE,
    BatchTooLarge: ErrorCode.MESSAGE_TOO_LARGE,
    StorageFailed: ErrorCode.KAFKA_STORAGE_ERROR,
    StaleEpoch: ErrorCode.INVALID_PRODUCER_EPOCH,
    OutOfOrder: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
}
_Topic = ProduceResponse.TopicProduceResponse
_Partition = _Topic.PartitionProduceResponse


def produce(broker: Broker, client: Client, request: Request) -> Any:
    """Answers when every batch of the request is durable, whatever `acks` says; without answer for acks=0."""
    body, version = request.body, request.version
    if sum(len(topic.partition_data or ()) for topic in body.topic_data or ()) > MAX_ENTRIES:
        raise MalformedMessage(f"a Produce for more than {MAX_ENTRIES} partitions")
    response = ProduceResponse(version=version, responses=[])
    waiting: list[Deferred[Any]] = []
    refused = _refused_whole(body)
    for topic in body.topic_data or ():
        result = _Topic(name=topic.name, topic_id=topic.topic_id, partition_responses=[])
        response.responses.append(result)
        found = refused or broker.find(client, WRITE, topic.name, topic.topic_id, version >= BY_ID_FROM)
        for entry in topic.partition_data or ():
            answer = _Partition(index=entry.index, error_code=0, base_offset=-1, record_errors=[])
            result.partition_responses.append(answer)
            if isinstance(found, ErrorCode):
                answer.error_code = found
                continue
            _append(broker, found, entry, answer, waiting)
    if body.acks == 0:
        return None
    if not waiting:
        return response
    if len(waiting) == 1:
        return waiting[0].addCallback(lambda _: response)
    return DeferredList(waiting).addCallback(lambda _: response)


def _refused_whole(body: Any) -> ErrorCode | None:
    """Why the whole request is refused: wrong acks, or transactions, which there are none of."""
    if body.acks not in (-1, 0, 1):
        return ErrorCode.INVALID_REQUIRED_ACKS
    if body.transactional_id is not None or any(
        entry.records is not None
        and len(entry.records) > _ATTRIBUTES_LOW_AT
        and entry.records[_ATTRIBUTES_LOW_AT] & _TRANSACTIONAL
        for topic in body.topic_data or ()
        for entry in topic.partition_data or ()
    ):
        return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    return None


def _append(broker: Broker, topic: Any, entry: Any, answer: Any, waiting: list[Deferred[Any]]) -> None:
    try:
        partition = broker.partition(topic, entry.index)
        if partition is None:
            answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            return
        appended = partition.append(entry.records)
    except OSError:
        answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        return
    except (Refused, StaleEpoch, OutOfOrder) as error:
        answer.error_code = _CODES[type(error)]
        answer.error_message = str(error)
        return

    def durable(base_offset: int) -> None:
        answer.base_offset = base_offset
        answer.log_start_offset = partition.start

    def failed(failure: Any) -> None:
        # cancelled: the client is gone, so nobody hears the answer; what was appended stays
        failure.trap(StorageFailed, CancelledError)
        answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR

    waiting.append(appended.addCallbacks(durable, failed))


async def init_producer_id(broker: Broker, client: Client, request: Request) -> Any:
    """A new id, whatever id and epoch the client gives: there are no transactions, so nobody is fenced."""
    response = InitProducerIdResponse(version=request.version, producer_id=-1, producer_epoch=-1)
    if request.body.transactional_id is not None:
        response.error_code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        return response
    if not (
        broker.may_cluster(client, IDEMPOTENT_WRITE)
        or broker.rights.allowed_somewhere(client.principal, client.host, WRITE, TOPIC)
    ):
        response.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        return response
    try:
        response.producer_id = await broker.catalogue.producer_id()
    except StorageFailed:
        response.error_code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        return response
    response.producer_epoch = 0
    return response


def describe_producers(broker: Broker, client: Client, request: Request) -> Any:
    topics = []
    for asked in request.body.topics or ():
        found = broker.find(client, READ, asked.name)
        partitions = []
        for index in asked.partition_indexes or ():
            answer = DescribeProducersResponse.TopicResponse.PartitionResponse(
                partition_index=index, error_code=0, error_message=None, active_producers=[]
            )
            partitions.append(answer)
            try:
                partition = None if isinstance(found, ErrorCode) else broker.partition(found, index)
            except OSError:
                answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
                continue
            if isinstance(found, ErrorCode):
                answer.error_code = found
            elif partition is None:
                answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                answer.active_producers = [
                    DescribeProducersResponse.TopicResponse.PartitionResponse.ProducerState(
                        producer_id=producer_id,
                        producer_epoch=producer.epoch,
                        last_sequence=producer.last_sequence,
                        last_timestamp=producer.batches[-1].timestamp,
                        coordinator_epoch=-1,
                        current_txn_start_offset=-1,
                    )
                    for producer_id, producer in partition.producers
                ]
        topics.append(DescribeProducersResponse.TopicResponse(name=asked.name, partitions=partitions))
    return DescribeProducersResponse(version=request.version, topics=topics)
