"""Fetch by hand says to the octet what the general codec says, and reads what the general codec reads."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.brokers.kafka.wire.apis import FetchRequest, FetchResponse
from eson.brokers.kafka.wire.fetch import FLEXIBLE, NEWEST, OLDEST, FetchCodec
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import decode_response, encode_request, encode_response

ID = UUID(int=0x1234567890ABCDEF1234567890ABCDEF)
INT = st.integers(0, 2**31 - 1)
versions = st.integers(OLDEST, NEWEST)
positions = st.dictionaries(INT, st.integers(0, 2**63 - 1), min_size=1, max_size=150)


@settings(max_examples=60)
@given(
    versions, st.text("abc.-", min_size=1, max_size=200), positions, INT, INT, INT, INT, INT, st.booleans()
)
def test_requests_are_equal_to_the_octet(
    version: int,
    topic: str,
    positions: dict[int, int],
    correlation: int,
    octets: int,
    each: int,
    wait: int,
    least: int,
    committed: bool,
) -> None:
    of_topic = FetchRequest.FetchTopic
    general = FetchRequest(
        replica_id=-1,
        max_wait_ms=wait,
        min_bytes=least,
        max_bytes=octets,
        isolation_level=1 if committed else 0,
        session_id=0,
        session_epoch=-1,
        topics=[
            of_topic(
                topic=topic,
                topic_id=ID,
                partitions=[
                    of_topic.FetchPartition(
                        partition=number,
                        current_leader_epoch=-1,
                        fetch_offset=offset,
                        last_fetched_epoch=-1,
                        log_start_offset=-1,
                        partition_max_bytes=each,
                    )
                    for number, offset in positions.items()
                ],
            )
        ],
        forgotten_topics_data=[],
        rack_id="",
    )
    ours = FetchCodec(version, topic, ID, committed).request(
        correlation, positions, octets, each, wait, least
    )
    assert ours == encode_request(general, version, correlation)


def _response(
    version: int,
    records: list[bytes | None],
    errors: dict[int, int] | None = None,
    aborted: list[tuple[int, int]] | None = None,
    error: int = 0,
) -> memoryview:
    topic = FetchResponse.FetchableTopicResponse
    part = topic.PartitionData
    answer = FetchResponse(
        throttle_time_ms=9,
        error_code=error,
        session_id=0,
        responses=[
            topic(
                topic="abc",
                topic_id=ID,
                partitions=[
                    part(
                        partition_index=number,
                        error_code=(errors or {}).get(number, 0),
                        high_watermark=1000 + number,
                        last_stable_offset=900 + number,
                        log_start_offset=5,
                        aborted_transactions=None
                        if aborted is None
                        else [part.AbortedTransaction(producer_id=p, first_offset=o) for p, o in aborted],
                        preferred_read_replica=-1,
                        records=octets,
                    )
                    for number, octets in enumerate(records)
                ],
            )
        ],
    )
    return memoryview(encode_response(answer, version, 7))[4:]


def _told(answer: Any) -> list[tuple[object, ...]]:
    return [
        (
            part.partition_index,
            part.error_code,
            part.high_watermark,
            part.last_stable_offset,
            bytes(part.records or b""),
            [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()],
        )
        for topic in answer.responses
        for part in topic.partitions
    ]


@pytest.mark.parametrize("version", range(OLDEST, NEWEST + 1))
def test_the_usual_response_is_read_and_every_other_left(version: int) -> None:
    codec = FetchCodec(version, "abc", ID)
    usual = _response(version, [b"x" * 200, b"", b"y"], errors={1: 1})
    found = codec.usual(usual, 3)
    general = _told(decode_response(FetchResponse, version, usual))
    assert _told(codec.response(usual, 3)) == general
    assert [one[4] for one in general] == [b"x" * 200, b"", b"y"]
    if version < FLEXIBLE:
        assert found is None
        return
    assert found is not None
    assert _told(found) == general
    assert codec.usual(usual, 2) is None, "more than was asked for"
    for other in (
        _response(version, [b"x"], aborted=[(4, 5)]),
        _response(version, [b"x"], error=70),
        memoryview(bytes(usual) + b"\0"),
        *(usual[:cut] for cut in range(len(usual))),
    ):
        assert codec.usual(other, 3) is None
    assert codec.response(_response(version, [b"x"], aborted=[(4, 5)]), 1).responses[0].partitions[0].records


def test_null_is_no_records() -> None:
    found = FetchCodec(13, "abc", ID).usual(_response(13, [None, b"x"]), 2)
    assert found is not None
    assert [part.records for part in found.responses[0].partitions] == [None, b"x"]


@given(st.data())
def test_a_changed_octet_reads_as_the_general_decoder_reads_it(data: st.DataObject) -> None:
    octets = bytearray(_response(13, [b"x" * 20, b"yy"]))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    found = FetchCodec(13, "abc", ID).usual(memoryview(octets), 2)
    if found is not None:
        assert _told(found) == _told(decode_response(FetchResponse, 13, memoryview(octets)))


@given(st.binary(max_size=120))
def test_rubbish_is_left_to_the_general_decoder(octets: bytes) -> None:
    codec = FetchCodec(13, "abc", ID)
    assert codec.usual(memoryview(octets), 3) is None
    with suppress(MalformedMessage):
        codec.response(memoryview(octets), 3)
