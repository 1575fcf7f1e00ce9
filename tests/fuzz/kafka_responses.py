"""Target: what a client believes of a broker: a response to any API in any version.

Input: API (its place among those known), version, then the frame without its length.  What a processor reads by hand must
be what the general decoder reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import brokers.kafka.wire_samples
from brokers.kafka.wire_samples import QUEUE, TOPIC_ID, samples

from eson.brokers.kafka.wire import apis, fetch, produce
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import decode_response

KEYS = sorted(apis.RESPONSES)
GOLDEN = Path(brokers.kafka.wire_samples.__file__).parent / "wire_golden.json"


def seeds() -> dict[str, bytes]:
    known, found = samples(), {}
    for name, frame in json.loads(GOLDEN.read_text())["responses"].items():
        request, version = known[name]
        lead = bytes((KEYS.index(request.API_KEY), version))
        found[name.replace(" ", "-")] = lead + bytes.fromhex(frame)
    return found


def one_input(octets: bytes) -> None:
    if len(octets) < 2:
        return
    response = apis.response_class(KEYS[octets[0] % len(KEYS)])
    version = octets[1] % (response.max_version + 1)
    frame = memoryview(bytearray(octets[2:]))
    by_hand = _by_hand(response, version, frame)
    try:
        decoded = decode_response(response, version, frame)
    except MalformedMessage:
        assert by_hand is None
        return
    assert decoded is not None
    if by_hand is not None:
        assert by_hand == _general(decoded)


def _by_hand(response: Any, version: int, frame: memoryview) -> list[tuple[object, ...]] | None:
    """What is looked at of each partition; None if the response is left to the general decoder."""
    if response is apis.FetchResponse and version >= fetch.OLDEST:
        found = fetch.FetchCodec(version, QUEUE, TOPIC_ID).usual(frame, 100)
        return None if found is None else _general(found)
    if response is apis.ProduceResponse and version >= produce.OLDEST:
        return produce.ProduceCodec(version, QUEUE, TOPIC_ID, 0).response(frame, 1)
    return None


def _general(decoded: Any) -> list[tuple[object, ...]]:
    if isinstance(decoded, apis.ProduceResponse):
        return [
            (one.index, one.base_offset) for topic in decoded.responses for one in topic.partition_responses
        ]
    return [
        (
            one.partition_index,
            one.error_code,
            one.high_watermark,
            one.last_stable_offset,
            bytes(one.records or b""),
        )
        for topic in decoded.responses
        for one in topic.partitions
    ]
