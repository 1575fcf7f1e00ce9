"""Batches as clients send them."""

from __future__ import annotations

import struct

from google_crc32c import value

HEADER = struct.Struct(">qiibIhiqqqhii")


def batch(
    count: int = 1,
    payload: bytes = b"x" * 40,
    *,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    timestamp: int = 1_700_000_000_000,
    max_timestamp: int | None = None,
    attributes: int = 0,
    delta: int | None = None,
    base_offset: int = 0,
    magic: int = 2,
    crc: int | None = None,
) -> memoryview:
    """A writable batch whose records are `payload`, whatever that is: the log never opens it."""
    latest = timestamp if max_timestamp is None else max_timestamp
    rest = struct.pack(
        ">hiqqqhii",
        attributes,
        count - 1 if delta is None else delta,
        timestamp,
        latest,
        producer_id,
        epoch,
        sequence,
        count,
    )
    checked = rest + payload
    crc = value(checked) if crc is None else crc
    return memoryview(
        bytearray(struct.pack(">qiibI", base_offset, 9 + len(checked), -1, magic, crc) + checked)
    )


def records(*stamped: tuple[int, bytes]) -> bytes:
    """Uncompressed records: (timestamp delta, value) of each."""
    out = b""
    for number, (delta, content) in enumerate(stamped):
        body = (
            b"\0"
            + _varint(delta)
            + _varint(number)
            + _varint(-1)
            + _varint(len(content))
            + content
            + _varint(0)
        )
        out += _varint(len(body)) + body
    return out


def _varint(number: int) -> bytes:
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
