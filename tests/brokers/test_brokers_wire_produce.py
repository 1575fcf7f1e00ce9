"""Produce by hand says to the octet what the general codec says, and reads only what it is sure of."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.brokers.kafka.wire.apis import ProduceRequest, ProduceResponse
from eson.brokers.kafka.wire.messages import encode_request, encode_response
from eson.brokers.kafka.wire.produce import NEWEST, OLDEST, ProduceCodec

ID = UUID(int=0x1234567890ABCDEF1234567890ABCDEF)
versions = st.integers(OLDEST, NEWEST)
batches = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.binary(max_size=300)), min_size=1, max_size=150)


@settings(max_examples=60)
@given(versions, st.text("abc.-", min_size=1, max_size=200), batches, st.integers(0, 2**31 - 1))
def test_requests_are_equal_to_the_octet(
    version: int, topic: str, parts: list[tuple[int, bytes]], correlation: int
) -> None:
    data = ProduceRequest.TopicProduceData
    general = ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout_ms=30000,
        topic_data=[
            data(
                name=topic,
                topic_id=ID,
                partition_data=[data.PartitionProduceData(index=p, records=r) for p, r in parts],
            )
        ],
    )
    ours = b"".join(ProduceCodec(version, topic, ID, 30000).request(correlation, parts))
    assert ours == encode_request(general, version, correlation)


def _response(version: int, errors: list[int], message: str | None = None, throttle: int = 0) -> memoryview:
    topic = ProduceResponse.TopicProduceResponse
    part = topic.PartitionProduceResponse
    answer = ProduceResponse(
        responses=[
            topic(
                name="abc",
                topic_id=ID,
                partition_responses=[
                    part(
                        index=number,
                        error_code=error,
                        base_offset=1000 + number,
                        log_append_time_ms=-1,
                        log_start_offset=0,
                        record_errors=[],
                        error_message=message,
                    )
                    for number, error in enumerate(errors)
                ],
            )
        ],
        throttle_time_ms=throttle,
    )
    return memoryview(encode_response(answer, version, 7))[4:]


@pytest.mark.parametrize("version", range(OLDEST, NEWEST + 1))
def test_the_usual_response_is_read_and_every_other_left(version: int) -> None:
    codec = ProduceCodec(version, "abc", ID, 30000)
    usual = _response(version, [0, 0, 0], throttle=9)
    wanted = [(0, 1000), (1, 1001), (2, 1002)] if version >= 9 else None
    assert codec.response(usual, 3) == wanted
    assert codec.response(usual, 2) is None
    assert codec.response(_response(version, [0, 45, 0]), 3) is None
    if version >= 8:
        assert codec.response(_response(version, [0], "why"), 1) is None
    for cut in range(len(usual)):
        assert codec.response(usual[:cut], 3) is None
    assert codec.response(memoryview(bytes(usual) + b"\0"), 3) is None


@given(st.binary(max_size=120), st.integers(1, 200))
def test_rubbish_is_left_to_the_general_decoder(octets: bytes, count: int) -> None:
    found = ProduceCodec(13, "abc", ID, 30000).response(memoryview(octets), count)
    assert found is None or len(found) == count
