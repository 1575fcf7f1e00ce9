"""Reading a query, octet by octet (RFC 1035 section 4, RFC 6891 section 6).

Whatever arrives, reading it takes time in proportion to its length: names outside the question are skipped and never
followed, so that a compression pointer cannot lead in a circle.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from eson.names.core.wire import MAX_NAME, OPT

HEADER = 12
_COUNTS = struct.Struct("!4H")
_KIND_CLASS = struct.Struct("!HH")
_RR = struct.Struct("!HHIH")


class Malformed(Exception):
    """The octets are no well-formed query.  Retry: no."""


@dataclass(frozen=True, slots=True)
class Edns:
    """What the query's OPT says: octets that the client takes over UDP, version, DNSSEC OK."""

    size: int
    version: int
    do: bool


@dataclass(frozen=True, slots=True)
class Question:
    """`sent` are the octets of the question as sent; `name` is its name in lower case, uncompressed."""

    sent: bytes
    name: bytes
    kind: int
    rdclass: int


@dataclass(frozen=True, slots=True)
class Query:
    question: Question
    edns: Edns | None


def read_query(data: bytes) -> Query:
    """A message with opcode QUERY.  Octets behind the last record are ignored.  Raises `Malformed`."""
    questions, *others = _COUNTS.unpack_from(data, 4)
    if questions != 1:
        raise Malformed("a query has one question (RFC 9619)")
    end = _question_end(data)
    kind, rdclass = _KIND_CLASS.unpack_from(data, end - 4)
    question = Question(data[HEADER:end], data[HEADER : end - 4].lower(), kind, rdclass)
    edns: Edns | None = None
    for section, count in enumerate(others):
        for _ in range(count):
            start, end = end, _name_end(data, end)
            if end + 10 > len(data):
                raise Malformed("a record ends early")
            kind, value, ttl, length = _RR.unpack_from(data, end)
            rdata, end = end + 10, end + 10 + length
            if end > len(data):
                raise Malformed("the data of a record end early")
            if kind == OPT:
                if edns is not None or section != 2 or data[start]:
                    raise Malformed("one OPT, at the root, in the additional section (RFC 6891)")
                edns = Edns(value, ttl >> 16 & 0xFF, bool(ttl & 0x8000))
                _check_options(data, rdata, end)
    return Query(question, edns)


def _question_end(data: bytes) -> int:
    """Behind the question's class.  Nothing precedes the name, so it has no pointers."""
    at = HEADER
    while True:
        if at >= len(data):
            raise Malformed("the question ends early")
        length = data[at]
        if length > 63:
            raise Malformed("a label of the question is longer than 63 octets, or a pointer")
        at += 1 + length
        if at - HEADER > MAX_NAME:
            raise Malformed("the question's name is longer than 255 octets")
        if not length:
            break
    if at + 4 > len(data):
        raise Malformed("the question ends early")
    return at + 4


def _name_end(data: bytes, at: int) -> int:
    """Behind a name, which ends with the root or with a pointer."""
    start = at
    while True:
        if at >= len(data):
            raise Malformed("a name ends early")
        length = data[at]
        if length >= 0xC0:
            if at + 2 > len(data) or ((length & 0x3F) << 8 | data[at + 1]) >= start:
                raise Malformed("a compression pointer points forward")
            return at + 2
        if length > 63:
            raise Malformed("an unknown kind of label")
        at += 1 + length
        if not length:
            return at


def _check_options(data: bytes, at: int, end: int) -> None:
    """Options that we do not know are ignored, but they must be whole."""
    while at < end:
        if at + 4 > end:
            raise Malformed("an option of EDNS ends early")
        at += 4 + (data[at + 2] << 8 | data[at + 3])
    if at != end:
        raise Malformed("an option of EDNS ends early")
