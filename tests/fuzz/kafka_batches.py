"""Target: the records of a Fetch: batches and message sets, headers, codecs, and what a processor plans of them.

Input: an octet of switches, then the records.  CRCs are mended where a switch says so: a broker that lies can count too.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from itertools import pairwise

from brokers.kafka.wire_samples import BATCH
from processors.test_processors_planning import batch, lane

from eson.brokers.kafka.wire.batches import (
    CRC_AT,
    CRC_FROM,
    CURRENT_MAGIC,
    check_crc,
    crc_of,
    magic_of,
    parse_header,
    split_entries,
)
from eson.brokers.kafka.wire.compression import SNAPPY, Limits, compress
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.message_sets import decode_entry
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch, iterate_records
from eson.processors.child.planning import Changed, Planner
from eson.processors.child.trouble import Failing

MEND, INEXACT, SMALL, BEHIND = 1, 2, 4, 8
LIMITS = Limits(octets=1 << 20, floor=1 << 16)
_OLD_CRC_AT, _OLD_CRC_FROM = 12, 16


def seeds() -> dict[str, bytes]:
    found = {f"codec-{codec}": bytes([MEND]) + batch(0, 3, codec) for codec in range(5)}
    found["golden"] = b"\0" + BATCH
    found["two"] = bytes([MEND]) + batch(0, 2, 3) + batch(2, 2)
    found["cut-short"] = b"\0" + batch(0, 2) + batch(2, 2)[:-5]
    found["holes"] = bytes([MEND]) + batch(0, 2, last_offset_delta=9)
    found["inside"] = bytes([MEND | BEHIND]) + batch(0, 4, 4)
    found["append-time"] = bytes([MEND]) + batch(0, 2, attributes=8)
    found["delete-horizon"] = bytes([MEND]) + batch(0, 2, attributes=0x40)
    found["control"] = bytes([MEND]) + batch(0, 1, attributes=0x30)
    found["transactional"] = bytes([MEND]) + batch(0, 2, attributes=0x10)
    found["too-large"] = bytes([MEND | SMALL]) + batch(0, 9, 1, 40)
    found["inexact"] = bytes([MEND | INEXACT]) + batch(0, 2)
    found["count"] = bytes([MEND]) + batch(0, 2, record_count=0x7FFFFFFF, last_offset_delta=0x7FFFFFFE)
    found["negative-count"] = bytes([MEND]) + batch(0, 2, record_count=-1)
    found["last-offset"] = bytes([MEND]) + b"\x7f" + b"\xff" * 7 + batch(0, 2)[8:]
    for codec in range(1, 5):
        found[f"bomb-{codec}"] = bytes([MEND]) + _bomb(codec)
    for magic in (0, 1):
        found[f"old-{magic}"] = bytes([MEND]) + _message(magic, 0, b"value") + _message(magic, 1, b"more")
        for codec in (1, 2, 3):
            inner = _message(magic, 0, b"value") + _message(magic, 1, b"more")
            found[f"old-{magic}-codec-{codec}"] = bytes([MEND]) + _message(
                magic, 1, compress(codec, inner), codec
            )
    return found


def _bomb(codec: int) -> bytes:
    """Two records that hold nothing, and much of it."""
    size = 1 << (17 if codec == SNAPPY else 20)  # snappy does not shrink nothing much
    return encode_batch([BatchRecord(n, 0, None, bytes(size)) for n in range(2)], codec)


def _message(magic: int, offset: int, value: bytes, codec: int = 0) -> bytes:
    stamp = (1_700_000_000_000).to_bytes(8, "big") if magic else b""
    body = bytes((magic, codec)) + stamp + b"\0\0\0\3key" + len(value).to_bytes(4, "big") + value
    body = zlib.crc32(body).to_bytes(4, "big") + body
    return offset.to_bytes(8, "big") + len(body).to_bytes(4, "big") + body


def one_input(octets: bytes) -> None:
    if not octets:
        return
    switches, records = octets[0], memoryview(bytearray(octets[1:]))
    if switches & MEND:
        _mend(records)
    with suppress(MalformedMessage):
        for entry in split_entries(records):
            with suppress(MalformedMessage):
                _read(entry)
    _plan(records, switches)


def _mend(records: memoryview) -> None:
    with suppress(MalformedMessage):
        for entry in split_entries(records):
            if magic_of(entry) < CURRENT_MAGIC:
                crc = zlib.crc32(entry[_OLD_CRC_FROM:])
                entry[_OLD_CRC_AT:_OLD_CRC_FROM] = crc.to_bytes(4, "big")
            else:
                entry[CRC_AT:CRC_FROM] = crc_of(entry).to_bytes(4, "big")


def _read(entry: memoryview) -> None:
    if magic_of(entry) < CURRENT_MAGIC:
        read = decode_entry(entry, LIMITS)
    else:
        read = list(iterate_records(entry, parse_header(entry), LIMITS))
    assert sum(len(one.key or b"") + len(one.value or b"") for one in read) <= LIMITS.octets


def _plan(records: memoryview, switches: int) -> None:
    running = lane(
        2 if switches & BEHIND else 0,
        exact=not switches & INEXACT,
        max_bytes=400 if switches & SMALL else 1 << 20,
    )
    try:
        planned = Planner([running], "time").plan(records, [(5, 0)])
    except (MalformedMessage, Failing, Changed):
        return
    for one in planned:
        made = memoryview(one.octets)
        assert check_crc(made)
        header = parse_header(made)
        assert header.record_count == one.records > 0
        # what a destination's broker demands of the batches of one producer
        assert header.last_offset_delta == one.records - 1
        assert header.base_sequence == (-1 if switches & INEXACT else one.entry.first)
    assert all(before.entry.next_offset < after.entry.next_offset for before, after in pairwise(planned))
