"""Target: what a server reads of its clients: frames in pieces, requests of every API, with and without octets behind.

Input: an octet that says how it is cut into pieces, then the stream.
"""

from __future__ import annotations

from brokers.kafka.wire_samples import samples

from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.messages import Request, decode_request, encode_request

CAP = 65536


def seeds() -> dict[str, bytes]:
    found = {}
    for number, (name, (request, version)) in enumerate(samples().items()):
        found[name.replace(" ", "-")] = bytes([number % 4]) + encode_request(request, version, number)
    found["two-at-once"] = b"\0" + b"".join(one[1:] for one in list(found.values())[:2])
    return found


def one_input(octets: bytes) -> None:
    reader, step = FrameReader(CAP), (1, 3, 64, 4096)[octets[0] & 3] if octets else 1
    frames: list[memoryview] = []
    try:
        for at in range(1, len(octets), step):
            frames += reader.feed(octets[at : at + step])
            assert reader.buffered <= len(octets)
    except MalformedMessage:
        pass
    for frame in frames:
        _decode(frame, True)
        _decode(frame, False)


def _decode(frame: memoryview, trailing: bool) -> None:
    try:
        request = decode_request(frame, trailing)
    except MalformedMessage:
        return
    try:
        first = _encode(request)
    except MalformedMessage:
        return  # null where the schema does not let it be: what the peer sent, we do not
    # what was read is what is meant: what we write of it is read as the same
    assert _encode(decode_request(memoryview(bytearray(first[4:])))) == first


def _encode(request: Request) -> bytes:
    return encode_request(request.body, request.version, request.correlation_id, request.client_id)
