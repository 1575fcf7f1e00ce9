"""Fetch by hand, for one topic: the hot path of a processor, where the general codecs cost more than the rest.

Requests equal those of `messages.py` to the octet, in versions 4 to 13.  Of responses only the usual one is read here:
no error of the whole, no aborted transactions, nothing tagged; every other is left to the general decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eson.brokers.kafka.wire.apis import FetchResponse
from eson.brokers.kafka.wire.messages import decode_response
from eson.brokers.kafka.wire.produce import varint
from eson.brokers.kafka.wire.schema import DECODING_ERRORS, MOST_ELEMENTS, read_varint

OLDEST, NEWEST, FLEXIBLE, BY_ID = 4, 13, 12, 13
_FETCH = 1
_CONSUMER = -1
_HEAD = struct.Struct(">hhih")
_LIMITS = struct.Struct(">iiiib")
_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_UNKNOWN_INT, _UNKNOWN_LONG = b"\xff" * 4, b"\xff" * 8
_NO_SESSION = _INT.pack(0) + _INT.pack(-1)
_ANSWER = struct.Struct(">iBihi")
_PART = struct.Struct(">ihqqqBi")


class FetchedPartition(NamedTuple):
    """What a `FetchResponse` says of a partition."""

    partition_index: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    records: memoryview | None
    aborted_transactions: Sequence[object] = ()


class FetchedTopic(NamedTuple):
    partitions: Sequence[FetchedPartition]


class Fetched(NamedTuple):
    """The part of a `FetchResponse` that is looked at, in its shape."""

    responses: Sequence[FetchedTopic]
    error_code: int = 0


class FetchCodec:
    """For one topic, version and client.  `committed`: aborted and open transactions are not given."""

    def __init__(
        self, version: int, topic: str, topic_id: UUID, committed: bool = True, client_id: str = "eson"
    ) -> None:
        name, client = topic.encode(), client_id.encode()
        self._version, self._flexible = version, version >= FLEXIBLE
        self._isolation = 1 if committed else 0
        self._client = client + b"\0" if self._flexible else client
        self._client_size = len(client)
        if version >= BY_ID:
            self._topic = topic_id.bytes
        elif self._flexible:
            self._topic = varint(len(name) + 1) + name
        else:
            self._topic = struct.pack(">h", len(name)) + name
        self._before_topic = (_NO_SESSION if version >= 7 else b"") + (
            b"\2" if self._flexible else _INT.pack(1)
        )
        self._after_partition = _UNKNOWN_INT if version >= 9 else b""
        self._after_offset = (_UNKNOWN_INT if self._flexible else b"") + (
            _UNKNOWN_LONG if version >= 5 else b""
        )
        if self._flexible:
            self._end = b"\0\1\1\0"  # tags of the topic, no forgotten topics, no rack, tags
        else:
            self._end = (_INT.pack(0) if version >= 7 else b"") + (b"\0\0" if version >= 11 else b"")

    def request(
        self,
        correlation_id: int,
        positions: Mapping[int, int],
        octets: int,
        each: int,
        wait_ms: int,
        least: int = 1,
    ) -> bytes:
        """The frame: from the offsets of `positions` on, `octets` in all, `each` of a partition.

        The broker waits up to `wait_ms` for `least` octets to give.
        """
        count = len(positions)
        after = self._after_offset + _INT.pack(each) + (b"\0" if self._flexible else b"")
        between = self._after_partition
        body = b"".join(
            (
                _HEAD.pack(_FETCH, self._version, correlation_id, self._client_size),
                self._client,
                _LIMITS.pack(_CONSUMER, wait_ms, least, octets, self._isolation),
                self._before_topic,
                self._topic,
                varint(count + 1) if self._flexible else _INT.pack(count),
                *(_INT.pack(part) + between + _LONG.pack(at) + after for part, at in positions.items()),
                self._end,
            )
        )
        return _INT.pack(len(body)) + body

    def response(self, frame: memoryview, count: int, most: int = MOST_ELEMENTS) -> Any:
        """A `Fetched` or `FetchResponse`: what `frame` says of `count` partitions, with `most` elements of lists.

        Records are views into the frame.  Raises `MalformedMessage`.
        """
        return self.usual(frame, count) or decode_response(FetchResponse, self._version, frame, most)

    def usual(self, frame: memoryview, count: int) -> Fetched | None:
        """None for every response but the usual one of up to `count` partitions."""
        if not self._flexible:
            return None
        try:
            return self._usual(frame, count)
        except DECODING_ERRORS:  # the general decoder says what it is
            return None

    def _usual(self, frame: memoryview, most: int) -> Fetched | None:
        _, tags, _, error, _ = _ANSWER.unpack_from(frame)
        at = _ANSWER.size
        before = b"\2" + self._topic
        if tags or error or frame[at : at + len(before)] != before:
            return None
        count, at = read_varint(frame, at + len(before))
        if not 0 < count <= most + 1:
            return None
        found = []
        for _ in range(count - 1):
            index, code, high, stable, _, aborted, _ = _PART.unpack_from(frame, at)
            size, at = read_varint(frame, at + _PART.size)
            end = at + size - 1 if size else at
            if aborted > 1 or frame[end]:
                return None
            found.append(FetchedPartition(index, code, high, stable, frame[at:end] if size else None))
            at = end + 1
        # tags of the topic, and of the whole
        return Fetched((FetchedTopic(found),)) if bytes(frame[at : at + 3]) == b"\0\0" else None
