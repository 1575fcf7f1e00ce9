"""Produce by hand, for one topic: the hot path of a processor, where the general codecs cost more than the rest.

Requests equal those of `messages.py` to the octet, in versions 3 to 13.  Of responses only the usual one is read here:
no error, nothing tagged; every other is for the general decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

from eson.brokers.kafka.wire.schema import Buffer

OLDEST, NEWEST, FLEXIBLE, BY_ID = 3, 13, 9, 13
_FIXED = struct.Struct(">hi")
_INT = struct.Struct(">i")
_PART = struct.Struct(">ihqqqBBB")
_ALL = -1


class ProduceCodec:
    """For one topic, version and client; acknowledged by all in-sync replicas within `timeout_ms`."""

    def __init__(
        self, version: int, topic: str, topic_id: UUID, timeout_ms: int, client_id: str = "eson"
    ) -> None:
        name, client = topic.encode(), client_id.encode()
        self._version, self._flexible = version, version >= FLEXIBLE
        self._client = client
        fixed = _FIXED.pack(_ALL, timeout_ms)
        if not self._flexible:
            self._topic = struct.pack(">h", len(name)) + name
            self._before = b"\xff\xff" + fixed + _INT.pack(1) + self._topic
        else:
            self._topic = topic_id.bytes if version >= BY_ID else varint(len(name) + 1) + name
            self._before = b"\0\0" + fixed + b"\2" + self._topic

    def request(self, correlation_id: int, batches: Sequence[tuple[int, Buffer]]) -> list[Buffer]:
        """The frame in parts, for `batches` of (partition, octets); octets are not copied."""
        parts: list[Buffer] = [b""]
        size = 0
        between = b""
        if self._flexible:
            head = self._before + varint(len(batches) + 1)
            for partition, octets in batches:
                lead = between + _INT.pack(partition) + varint(len(octets) + 1)
                parts += (lead, octets)
                size += len(lead) + len(octets)
                between = b"\0"
            parts.append(b"\0\0\0")
            size += 3
        else:
            head = self._before + _INT.pack(len(batches))
            for partition, octets in batches:
                lead = struct.pack(">ii", partition, len(octets))
                parts += (lead, octets)
                size += len(lead) + len(octets)
        start = struct.pack(">hhih", 0, self._version, correlation_id, len(self._client)) + self._client
        size += len(start) + len(head)
        parts[0] = _INT.pack(size) + start + head
        return parts

    def response(self, frame: memoryview, count: int) -> list[tuple[int, int]] | None:
        """(partition, base offset) for each of `count` partitions, None if it is not the usual response."""
        if not self._flexible or count > 126:
            return None
        # correlation id, tags of the header, one topic
        at = 4 + 1 + 1 + len(self._topic)
        end = at + 1 + count * _PART.size
        # tags of the topic, throttle time, tags
        if (
            len(frame) != end + 1 + 4 + 1
            or bytes(frame[4:at]) != b"\0\2" + self._topic
            or frame[at] != count + 1
            or frame[end]
        ):
            return None
        if frame[end + 5]:
            return None
        found = []
        for index, error, base, _, _, errors, message, tags in _PART.iter_unpack(frame[at + 1 : end]):
            if error or errors > 1 or message or tags:
                return None
            found.append((index, base))
        return found


def varint(value: int) -> bytes:
    """An unsigned number of variable length."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
