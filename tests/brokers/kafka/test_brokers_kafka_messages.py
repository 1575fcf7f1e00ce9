"""Messages: golden bytes, every version there and back, octets of strangers.

`wire_golden.json` holds frames of requests as kafka-python 3.0.12 makes them, and responses to them as Apache Kafka 4.3.1
gave them: a library that changes a byte is noticed here.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from brokers.kafka.wire_samples import BATCH, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.brokers.kafka.wire import apis, messages
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import (
    UnsupportedVersion,
    decode_request,
    decode_request_header,
    decode_response,
    encode_request,
    encode_request_parts,
    encode_response,
    encode_response_parts,
    response_correlation_id,
)

GOLDEN = json.loads((Path(__file__).parent / "wire_golden.json").read_text())
SAMPLES = samples()
FIRST_ID = 1000


def view(data: bytes) -> memoryview:
    return memoryview(bytearray(data))


def body(frame: bytes) -> memoryview:
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return view(frame[4:])


def test_the_golden_file_covers_the_samples() -> None:
    assert set(GOLDEN["requests"]) == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_requests_are_encoded_to_the_golden_octets(name: str) -> None:
    request, version = SAMPLES[name]
    number = FIRST_ID + list(SAMPLES).index(name)
    assert encode_request(request, version, number, "eson").hex() == GOLDEN["requests"][name]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_server_reads_the_golden_requests(name: str) -> None:
    request, version = SAMPLES[name]
    decoded = decode_request(body(bytes.fromhex(GOLDEN["requests"][name])))
    assert (decoded.api_key, decoded.version, decoded.client_id) == (request.API_KEY, version, "eson")
    again = encode_request(decoded.body, version, decoded.correlation_id, decoded.client_id)
    assert again.hex() == GOLDEN["requests"][name]


@pytest.mark.parametrize("name", GOLDEN["responses"])
def test_responses_of_a_real_broker_are_read_and_made(name: str) -> None:
    request, version = SAMPLES[name]
    frame = bytes.fromhex(GOLDEN["responses"][name])
    response = decode_response(apis.response_class(request.API_KEY), version, view(frame))
    assert encode_response(response, version, response_correlation_id(view(frame)))[4:] == frame


def test_what_a_real_broker_said_is_understood() -> None:
    def said(name: str) -> Any:
        request, version = SAMPLES[name]
        frame = view(bytes.fromhex(GOLDEN["responses"][name]))
        return decode_response(apis.response_class(request.API_KEY), version, frame)

    assert said("SaslHandshakeRequest v1").mechanisms == ["SCRAM-SHA-256"]
    (topic,) = said("FetchRequest v11").responses
    leader_epoch = bytes(4)  # the leader wrote its own
    assert bytes(topic.partitions[0].records) == BATCH[:12] + leader_epoch + BATCH[16:]
    assert said("SaslAuthenticateRequest v2").error_code == 58
    ranges = {
        api.api_key: (api.min_version, api.max_version) for api in said("ApiVersionsRequest v3").api_keys
    }
    assert ranges[0] == (0, 13)
    (producer,) = said("DescribeProducersRequest v0").topics[0].partitions[0].active_producers
    assert (producer.producer_id, producer.last_sequence) == (4000, 8)


@pytest.mark.parametrize("key", sorted(apis.REQUESTS))
def test_every_version_goes_there_and_back(key: int) -> None:
    """A message with nothing set, in each version that has a schema, request and response."""
    for message in (apis.request_class(key), apis.response_class(key)):
        for version in range(message.valid_versions[0], message.max_version + 1):
            made = _blank(message, version)
            if message.is_request():
                frame = encode_request(made, version, 7, "me")
                made.with_header(7, "me")
                decoded = decode_request(body(frame)).body
                assert encode_request(decoded, version, 7, "me") == frame
            else:
                frame = encode_response(made, version, 7)
                made.with_header(7)
                decoded = decode_response(message, version, body(frame))
                assert encode_response(decoded, version, 7) == frame
            assert frame == bytes(made.encode(header=True, framed=True)), (message, version)


def _blank(message: Any, version: int) -> Any:
    made = message(version=version)
    for field in message.fields.values():
        if (
            field.is_array()
            and getattr(made, field.name) is None
            and not field.nullable_for_version_q(version)
        ):
            setattr(made, field.name, [])
    return made


@pytest.mark.parametrize("name", SAMPLES)
def test_a_request_cut_short_or_with_octets_behind_it_is_refused(name: str) -> None:
    frame = bytes.fromhex(GOLDEN["requests"][name])[4:]
    for end in range(len(frame)):
        with pytest.raises(MalformedMessage):
            decode_request(view(frame[:end]))
    with pytest.raises(MalformedMessage, match="1 octets too many"):
        decode_request(view(frame + b"\0"))


@pytest.mark.parametrize("name", GOLDEN["responses"])
def test_a_response_cut_short_or_with_octets_behind_it_is_refused(name: str) -> None:
    request, version = SAMPLES[name]
    frame = bytes.fromhex(GOLDEN["responses"][name])
    response = apis.response_class(request.API_KEY)
    for end in range(len(frame)):
        with pytest.raises(MalformedMessage):
            decode_response(response, version, view(frame[:end]))
    with pytest.raises(MalformedMessage):
        decode_response(response, version, view(frame + b"\0"))


@settings(max_examples=300)
@given(st.sampled_from(sorted(apis.REQUESTS)), st.integers(0, 18), st.binary(max_size=200))
def test_noise_is_refused_by_name(key: int, version: int, noise: bytes) -> None:
    frame = key.to_bytes(2, "big") + version.to_bytes(2, "big") + b"\0\0\0\1" + b"\xff\xff" + noise
    with contextlib.suppress(MalformedMessage):
        decode_request(view(frame))
    with contextlib.suppress(MalformedMessage):
        decode_response(apis.response_class(key), version, view(b"\0\0\0\1" + noise))


@settings(max_examples=300)
@given(st.sampled_from(sorted(GOLDEN["requests"])), st.data())
def test_octets_that_flip_are_read_or_refused_by_name(name: str, data: st.DataObject) -> None:
    frame = bytearray.fromhex(GOLDEN["requests"][name])[4:]
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        decode_request(memoryview(frame))


HEADER = b"\0\x03\0\x0c\0\0\0\1\xff\xff\0"  # Metadata v12, flexible


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff" * 1_000_000,  # a number that never ends
        b"\xff\xff\xff\xff\x0f",  # four thousand million topics, and nothing behind it
        b"\x02" + b"\0" * 16 + b"\xff\xff\xff\xff\x7f" + b"\0\0\0\0",  # a name of 32 GiB
        b"\x01\0\0" + b"\xff\xff\xff\xff\x07" + b"\0\1" * 1000,  # endless tagged fields
        b"\x01\0\0\1\0\xff\xff\xff\xff\x07ab",  # a tagged field that is longer than the frame
    ],
    ids=["varint", "count", "name", "tags", "tag"],
)
def test_hostile_claims_are_refused_at_once(hostile: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(MalformedMessage):
        decode_request(view(HEADER + hostile))
    assert time.perf_counter() - began < 0.5


def test_many_tagged_fields_take_time_in_proportion() -> None:
    """Each of 20,000 topics carries an unknown tagged field: copying the rest for each would take 20 GB."""
    topic = b"\0" * 16 + b"\0" + b"\1\x63\0"
    frame = HEADER + b"\xa1\x9c\x01" + topic * 20_000 + b"\0\0\0"
    began = time.perf_counter()
    decoded = decode_request(view(frame)).body
    assert len(decoded.topics) == 20_000
    assert time.perf_counter() - began < 3


def test_a_version_that_is_not_known_is_named_with_its_header() -> None:
    with pytest.raises(UnsupportedVersion) as caught:
        decode_request(view(b"\0\x12\0\x63\0\0\0\x07\0\2me\0"))
    header = caught.value.header
    assert (header.api_key, header.version, header.correlation_id, header.client_id) == (18, 99, 7, "me")
    with pytest.raises(UnsupportedVersion):
        decode_request(view(b"\x03\xe7\0\0\0\0\0\x07\xff\xff"))


def test_a_client_id_may_be_missing_but_not_endless() -> None:
    assert decode_request_header(view(b"\0\x12\0\0\0\0\0\x07\xff\xff")).client_id == ""
    for length in (b"\x01\0", b"\x7f\xff"):
        with pytest.raises(MalformedMessage, match="client id"):
            decode_request_header(view(b"\0\x12\0\0\0\0\0\x07" + length + b"x" * 300))


def test_an_old_brokers_api_versions_answer_is_read() -> None:
    """A broker that does not know version 3 answers in version 0, with error 35."""
    response = apis.ApiVersionsResponse(
        version=0,
        error_code=35,
        api_keys=[apis.ApiVersionsResponse.ApiVersion(api_key=18, min_version=0, max_version=2)],
    )
    frame = body(encode_response(response, 0, 7))
    decoded = decode_response(apis.ApiVersionsResponse, 3, frame)
    assert (decoded.error_code, decoded.api_keys[0].max_version) == (35, 2)


def test_an_api_versions_answer_of_another_error_is_read_in_its_version() -> None:
    response = apis.ApiVersionsResponse(version=3, error_code=42, api_keys=[])
    decoded = decode_response(apis.ApiVersionsResponse, 3, body(encode_response(response, 3, 7)))
    assert (decoded.error_code, list(decoded.api_keys)) == (42, [])


def test_records_are_not_copied_on_the_way_in_or_out() -> None:
    request, version = SAMPLES["ProduceRequest v9"]
    parts = encode_request_parts(request, version, 1, "eson")
    assert any(part is BATCH for part in parts)
    frame = body(b"".join(parts))
    records = decode_request(frame).body.topic_data[0].partition_data[0].records
    assert records.obj is frame.obj
    records[0] = 1  # a view into the frame, which belongs to the reader


def test_records_in_parts_are_one_value() -> None:
    request, version = SAMPLES["ProduceRequest v9"]
    whole = encode_request(request, version, 1, "eson")
    other, _ = samples()["ProduceRequest v9"]
    other.topic_data[0].partition_data[0].records = [BATCH[:61], memoryview(BATCH)[61:]]
    assert encode_request(other, version, 1, "eson") == whole


def test_a_response_of_records_in_parts() -> None:
    made = apis.FetchResponse(
        version=11,
        responses=[
            apis.FetchResponse.FetchableTopicResponse(
                topic="a",
                partitions=[
                    apis.FetchResponse.FetchableTopicResponse.PartitionData(
                        partition_index=n,
                        error_code=0,
                        high_watermark=2,
                        records=[BATCH, BATCH] if n else None,
                    )
                    for n in range(3)
                ],
            )
        ],
    )
    parts = encode_response_parts(made, 11, 5)
    assert sum(part is BATCH for part in parts) == 4
    decoded = decode_response(apis.FetchResponse, 11, body(b"".join(parts)))
    found = [p.records and bytes(p.records) for p in decoded.responses[0].partitions]
    assert found == [None, BATCH * 2, BATCH * 2]


def test_what_cannot_be_encoded_is_named() -> None:
    with pytest.raises(MalformedMessage, match="cannot be encoded"):
        messages.encode_request(apis.HeartbeatRequest(group_id="g", generation_id="x", member_id="m"), 0, 1)


def test_lists_hold_so_many_elements_together_and_no_more() -> None:
    """Each octet of a list may become an object of some hundred: lists inside lists count too."""
    response = apis.DescribeProducersResponse
    topic = response.TopicResponse
    part = topic.PartitionResponse(partition_index=0, error_code=0, error_message=None, active_producers=[])
    made = response(throttle_time_ms=0, topics=[topic(name="a", partitions=[part] * 3)] * 4)
    frame = body(encode_response(made, 0, 1))
    assert len(decode_response(response, 0, frame, 4 + 12).topics) == 4
    with pytest.raises(MalformedMessage, match="elements"):
        decode_response(response, 0, frame, 4 + 11)


def test_a_section_of_tagged_fields_is_short() -> None:
    """The library reads it, which trusts its counts."""
    octets = bytes(1 << 17)
    long = b"\1\x09" + b"\x80\x80\x08" + octets
    frame = (1).to_bytes(4, "big") + bytes(2) + b"\1" + bytes(4) + long
    with pytest.raises(MalformedMessage, match="octets of tagged fields"):
        decode_response(apis.ApiVersionsResponse, 3, view(frame))
