"""ListOffsets: first, last, by time, of the largest timestamp; and DeleteRecords.

Batches stay closed.  Inside an uncompressed one the record is found exactly; of a compressed one the first offset is
given when the time asked for lies within it: what is read from there may begin up to one batch early, never late.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eson.brokers.embedded.log.partition import Partition
from eson.brokers.embedded.log.segment import Segment
from eson.brokers.embedded.log.validation import OffsetOutOfRange, StorageFailed
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.epochs import fenced
from eson.brokers.embedded.server.rights import DELETE, DESCRIBE
from eson.brokers.kafka.wire.apis import DeleteRecordsResponse, ListOffsetsResponse
from eson.brokers.kafka.wire.batches import HEADER_SIZE, BatchHeader
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
EARLIEST_PENDING_UPLOAD = -6
_MARKS_FROM = {
    LATEST: 1, EARLIEST: 1, MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11,
}  # fmt: skip
"""From which version of ListOffsets on each negative time means something."""
_VARINT_BITS = 63
_Topic = ListOffsetsResponse.ListOffsetsTopicResponse
_Partition = _Topic.ListOffsetsPartitionResponse


def list_offsets(broker: Broker, client: Client, request: Request) -> Any:
    topics = []
    for topic in request.body.topics or ():
        found = broker.find(client, DESCRIBE, topic.name)
        answers = []
        for asked in topic.partitions or ():
            answer = _Partition(
                partition_index=asked.partition_index, error_code=0, timestamp=-1, offset=-1, leader_epoch=-1
            )
            answers.append(answer)
            if isinstance(found, ErrorCode):
                answer.error_code = found
                continue
            if asked.timestamp < 0 and request.version < _MARKS_FROM.get(asked.timestamp, 1 << 15):
                answer.error_code = ErrorCode.UNSUPPORTED_VERSION
                continue
            try:
                _look_up(broker, broker.partition(found, asked.partition_index), asked, answer)
            except OSError:
                answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        topics.append(_Topic(name=topic.name, partitions=answers))
    return ListOffsetsResponse(version=request.version, topics=topics)


def _look_up(broker: Broker, partition: Partition | None, asked: Any, answer: Any) -> None:
    """Raises `OSError`."""
    if partition is None:
        answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return
    answer.error_code = fenced(broker, asked.current_leader_epoch)
    if answer.error_code:
        return
    found = offset_for(partition, asked.timestamp)
    if found is not None:
        answer.offset, answer.timestamp = found
        answer.leader_epoch = partition.epochs.at(answer.offset)


def offset_for(partition: Partition, timestamp: int) -> tuple[int, int] | None:
    """Offset and timestamp of what `timestamp` (milliseconds, or one of Kafka's negative marks) asks for."""
    if timestamp == LATEST:
        return partition.synced, -1
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return partition.start, -1
    if timestamp == MAX_TIMESTAMP:
        latest = partition.latest_timestamp()
        return None if latest < 0 else first_at(partition, latest)
    return None if timestamp < 0 else first_at(partition, timestamp)


def first_at(partition: Partition, timestamp: int) -> tuple[int, int] | None:
    """The first record at or after `timestamp`, None if there is none."""
    for segment, position, header in partition.batches_by_time(timestamp):
        if header.codec != 0 or header.log_append_time:
            if header.base_timestamp >= timestamp and header.base_offset >= partition.start:
                return header.base_offset, header.base_timestamp
            return max(header.base_offset, partition.start), header.max_timestamp
        for offset, at in timestamps(segment, position, header):
            if at >= timestamp and offset >= partition.start:
                return offset, at
    return None


def timestamps(segment: Segment, position: int, header: BatchHeader) -> Iterator[tuple[int, int]]:
    """Offset and timestamp of each record of an uncompressed batch, as far as it is well formed."""
    data = segment.opened().read_at(position + HEADER_SIZE, header.size - HEADER_SIZE)
    at = 0
    for _ in range(header.last_offset_delta + 1):
        try:
            length, at = _varint(data, at)
            following = at + length
            time_delta, inner = _varint(data, at + 1)
            offset_delta, _ = _varint(data, inner)
        except IndexError:
            return
        if length <= 0 or not 0 <= offset_delta <= header.last_offset_delta:
            return
        yield header.base_offset + offset_delta, header.base_timestamp + time_delta
        at = following


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number.  Raises `IndexError` where it is cut short or too long."""
    value = shift = 0
    while True:
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > _VARINT_BITS:
            raise IndexError("a number of more than ten octets")


async def delete_records(broker: Broker, client: Client, request: Request) -> Any:
    """Moves the first offset; answers when that is durable."""
    topics = []
    for topic in request.body.topics or ():
        found = broker.find(client, DELETE, topic.name)
        answers = []
        for asked in topic.partitions or ():
            answer = DeleteRecordsResponse.DeleteRecordsTopicResult.DeleteRecordsPartitionResult(
                partition_index=asked.partition_index, low_watermark=-1, error_code=0
            )
            answers.append(answer)
            if isinstance(found, ErrorCode):
                answer.error_code = found
                continue
            try:
                partition = broker.partition(found, asked.partition_index)
                if partition is None:
                    answer.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                else:
                    answer.low_watermark = await partition.delete_before(asked.offset)
            except OffsetOutOfRange:
                answer.error_code = ErrorCode.OFFSET_OUT_OF_RANGE
            except (StorageFailed, OSError):
                answer.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        topics.append(DeleteRecordsResponse.DeleteRecordsTopicResult(name=topic.name, partitions=answers))
    return DeleteRecordsResponse(version=request.version, topics=topics)
