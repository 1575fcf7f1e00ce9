"""Target: what a client believes of a broker: a response to any API in any version.

Input: API (its place among those known), version, then the frame without its length.
"""

from __future__ import annotations

import json
from pathlib import Path

import brokers.kafka.wire_samples
from brokers.kafka.wire_samples import samples

from eson.brokers.kafka.wire import apis
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
    try:
        decoded = decode_response(response, version, frame)
    except MalformedMessage:
        return
    assert decoded is not None
