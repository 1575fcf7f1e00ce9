"""Requests and responses as frames, client side and server side.

Headers: a request's has API key, version, correlation id and client id (never compact), and tagged fields if the
version is flexible; a response's has the correlation id, and tagged fields if flexible, except that of ApiVersions,
whose header a client of any age must be able to read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from eson.brokers.kafka.wire.apis import API_VERSIONS, ApiVersionsResponse, request_class
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.schema import (
    DECODING_ERRORS,
    MOST_ELEMENTS,
    Buffer,
    after_tagged_fields,
    decode_body,
    encode_body,
)

_REQUEST = struct.Struct(">hhi")
_LENGTH = struct.Struct(">h")
_CORRELATION = struct.Struct(">i")
_UNSUPPORTED_VERSION = (35).to_bytes(2, "big")
MAX_CLIENT_ID = 255


@dataclass(frozen=True)
class Request:
    """A request as a server sees it.  `body` is an object of `kafka.protocol`'s class."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    body: Any


@dataclass(frozen=True)
class RequestHeader:
    """The header alone, and where the body begins."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    body_at: int


class UnsupportedVersion(MalformedMessage):
    """The API or its version is not known.  `header` says what the peer asked for; ApiVersions is answered with 35."""

    def __init__(self, header: RequestHeader) -> None:
        super().__init__(f"API {header.api_key} version {header.version} is not known")
        self.header = header


def encode_request_parts(
    request: Any, version: int, correlation_id: int, client_id: str = "eson"
) -> list[Buffer]:
    """The frame of `request` in parts, to be written one after the other; `records` are not copied."""
    name = client_id.encode()
    head = _REQUEST.pack(request.API_KEY, version, correlation_id) + _LENGTH.pack(len(name)) + name
    if type(request).flexible_version_q(version):
        head += b"\0"
    return encode_body(head, request, version)


def encode_request(request: Any, version: int, correlation_id: int, client_id: str = "eson") -> bytes:
    """The frame of `request`, with its length."""
    return b"".join(encode_request_parts(request, version, correlation_id, client_id))


def response_correlation_id(frame: memoryview) -> int:
    """Which request a response belongs to.  Raises `MalformedMessage`."""
    if len(frame) < _CORRELATION.size:
        raise MalformedMessage("a response without a header")
    (correlation_id,) = _CORRELATION.unpack_from(frame)
    return int(correlation_id)


def decode_response(response: Any, version: int, frame: memoryview, most: int = MOST_ELEMENTS) -> Any:
    """The object of class `response` that `frame` (without its length) holds, with `most` elements of lists at most.

    Raises `MalformedMessage`.
    """
    start = _CORRELATION.size
    response_correlation_id(frame)
    if response.API_KEY == API_VERSIONS:
        return _decode_api_versions(version, frame)
    if response.flexible_version_q(version):
        start = _after_tags(frame, start)
    return decode_body(response, version, frame, start, most=most)


def _decode_api_versions(version: int, frame: memoryview) -> Any:
    # a broker that does not know the version asked for answers in version 0, whatever was asked
    start = _CORRELATION.size
    if bytes(frame[start : start + 2]) == _UNSUPPORTED_VERSION:
        version = 0
    return decode_body(ApiVersionsResponse, version, frame, start)


def decode_request_header(frame: memoryview) -> RequestHeader:
    """The header of the request in `frame`.  Raises `MalformedMessage`, `UnsupportedVersion`."""
    try:
        api_key, version, correlation_id = _REQUEST.unpack_from(frame)
        (length,) = _LENGTH.unpack_from(frame, _REQUEST.size)
    except struct.error as error:
        raise MalformedMessage("a request without a header") from error
    pos = _REQUEST.size + _LENGTH.size
    size = max(length, 0)
    if size > MAX_CLIENT_ID or pos + size > len(frame):
        raise MalformedMessage("a client id that is too long")
    try:
        client_id = str(frame[pos : pos + size], "utf-8")
    except ValueError as error:
        raise MalformedMessage("a client id that is not UTF-8") from error
    pos += size
    header = RequestHeader(api_key, version, correlation_id, client_id, pos)
    request = request_class(api_key)
    if request is None or not 0 <= version <= request.max_version:
        raise UnsupportedVersion(header)
    if request.flexible_version_q(version):
        pos = _after_tags(frame, pos)
    return RequestHeader(api_key, version, correlation_id, client_id, pos)


def decode_request(frame: memoryview, trailing: bool = False) -> Request:
    """The request in `frame` (without its length).  Raises `MalformedMessage`, `UnsupportedVersion`.

    `trailing`: whether octets behind it are ignored, as Kafka's own brokers do.
    """
    header = decode_request_header(frame)
    body = decode_body(request_class(header.api_key), header.version, frame, header.body_at, trailing)
    return Request(header.api_key, header.version, header.correlation_id, header.client_id, body)


def encode_response_parts(response: Any, version: int, correlation_id: int) -> list[Buffer]:
    """The frame of `response` in parts, to be written one after the other; `records` are not copied."""
    head = _CORRELATION.pack(correlation_id)
    if response.API_KEY != API_VERSIONS and type(response).flexible_version_q(version):
        head += b"\0"
    return encode_body(head, response, version)


def encode_response(response: Any, version: int, correlation_id: int) -> bytes:
    """The frame of `response`, with its length."""
    return b"".join(encode_response_parts(response, version, correlation_id))


def _after_tags(frame: memoryview, start: int) -> int:
    if start < len(frame) and frame[start] == 0:
        return start + 1
    try:
        return after_tagged_fields(frame, start)
    except DECODING_ERRORS as error:
        raise MalformedMessage("tagged fields of the header") from error
