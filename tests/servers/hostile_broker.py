"""A broker that keeps Kafka's protocol up to one request, and then does harm: real sockets, nothing behind them.

    with HostileBroker(hostile("negative length")) as broker:   # broker.port

`answers` maps an API key to a function (request, this broker) that gives the octets to send, frame and all, or an
iterator of pieces that are sent a second apart; what is not in it is answered as an honest broker does that has one queue
of one partition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from servers.in_thread import InThread

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.messages import Request, decode_request, encode_response

QUEUE = "hostile"
QUEUE_ID = UUID(int=7)
PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18
_OFFERED = {0: (3, 13), 1: (4, 13), 2: (1, 7), 3: (0, 12), 18: (0, 4), 22: (0, 4), 32: (0, 4), 61: (0, 0)}
_EMPTY_WAIT = 0.2

Octets = bytes | Iterable[bytes]
Answer = Callable[[Request, "HostileBroker"], Octets]


class HostileBroker(InThread):
    def __init__(self, answers: Mapping[int, Answer]) -> None:
        self._answers = answers
        super().__init__()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(32 << 20)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while octets := await reader.read(65536):
                for frame in frames.feed(octets):
                    await self._answer(decode_request(frame), writer)
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        answer = self._answers.get(request.api_key)
        if answer is None and request.api_key == FETCH:
            await asyncio.sleep(_EMPTY_WAIT)
        said = honest(request, self) if answer is None else answer(request, self)
        pieces = [said] if isinstance(said, bytes) else said
        for number, piece in enumerate(pieces):
            await asyncio.sleep(1.0 if number else 0.0)
            writer.write(piece)
            await writer.drain()


def frame(request: Request, body: bytes, correlation_id: int | None = None) -> bytes:
    """A frame with a right length and header, and any body."""
    number = request.correlation_id if correlation_id is None else correlation_id
    octets = number.to_bytes(4, "big") + body
    return len(octets).to_bytes(4, "big") + octets


def silence(request: Request, broker: HostileBroker) -> Iterator[bytes]:
    return iter(())


def honest(request: Request, broker: HostileBroker) -> bytes:
    return encode_response(_honest(request, broker), request.version, request.correlation_id)


def _honest(request: Request, broker: HostileBroker) -> Any:
    key, body = request.api_key, request.body
    if key == API_VERSIONS:
        of = apis.ApiVersionsResponse.ApiVersion
        offered = [of(api_key=k, min_version=low, max_version=high) for k, (low, high) in _OFFERED.items()]
        return apis.ApiVersionsResponse(error_code=0, api_keys=offered, throttle_time_ms=0)
    if key == METADATA:
        return _metadata(broker.port)
    if key == LIST_OFFSETS:
        topic = apis.ListOffsetsResponse.ListOffsetsTopicResponse
        part = topic.ListOffsetsPartitionResponse(
            partition_index=0, error_code=0, timestamp=-1, offset=0, leader_epoch=0
        )
        return apis.ListOffsetsResponse(throttle_time_ms=0, topics=[topic(name=QUEUE, partitions=[part])])
    if key == FETCH:
        return fetched(b"")
    if key == apis.InitProducerIdRequest.API_KEY:
        return apis.InitProducerIdResponse(throttle_time_ms=0, error_code=0, producer_id=9, producer_epoch=0)
    if key == apis.DescribeProducersRequest.API_KEY:
        topic = apis.DescribeProducersResponse.TopicResponse
        part = topic.PartitionResponse(
            partition_index=0, error_code=0, error_message=None, active_producers=[]
        )
        return apis.DescribeProducersResponse(
            throttle_time_ms=0, topics=[topic(name=QUEUE, partitions=[part])]
        )
    if key == apis.DescribeConfigsRequest.API_KEY:
        return apis.DescribeConfigsResponse(throttle_time_ms=0, results=[])
    raise AssertionError(f"an honest broker is not asked for {type(body).__name__} here")


def _metadata(port: int) -> Any:
    response = apis.MetadataResponse
    node = response.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=port, rack=None)
    of = response.MetadataResponseTopic
    part = of.MetadataResponsePartition(
        error_code=0,
        partition_index=0,
        leader_id=1,
        leader_epoch=0,
        replica_nodes=[1],
        isr_nodes=[1],
        offline_replicas=[],
    )
    topic = of(error_code=0, name=QUEUE, topic_id=QUEUE_ID, is_internal=False, partitions=[part])
    return response(throttle_time_ms=0, brokers=[node], cluster_id="c", controller_id=1, topics=[topic])


def fetched(records: bytes, **fields: Any) -> Any:
    """A Fetch answer of one partition."""
    topic = apis.FetchResponse.FetchableTopicResponse
    values = {"high_watermark": 100, "last_stable_offset": 100, "aborted_transactions": None} | fields
    part = topic.PartitionData(
        partition_index=0,
        error_code=0,
        log_start_offset=0,
        preferred_read_replica=-1,
        records=records,
        **values,
    )
    return apis.FetchResponse(
        throttle_time_ms=0,
        error_code=0,
        session_id=0,
        responses=[topic(topic=QUEUE, topic_id=QUEUE_ID, partitions=[part])],
    )
