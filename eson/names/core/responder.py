"""Answers: octets of a query in, octets of the reply out.

Answers are kept rendered.  A kept answer holds all octets behind the question, whose compression pointers depend on the
question's lower-case form alone; the id and the question as it was sent are put before it.  A query in one of the
common forms (one question, no OPT or one without options) costs one look into a dict and one join.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from eson.names.core.authority import Authority
from eson.names.core.message import Edns, Malformed, Question, read_query
from eson.names.core.wire import (
    AAAA,
    ANY,
    AXFR,
    IN,
    IXFR,
    MAILA,
    MAILB,
    NS,
    OPT,
    PTR,
    SOA,
    SRV,
    TKEY,
    TSIG,
    TXT,
    A,
    RRset,
    SectionWriter,
)
from eson.names.core.zone import Zone

PAYLOAD = 1232
"""Octets that we send over UDP at most (RFC 9715)."""
SMALLEST = 512
STREAM = 65535
MAX_KEPT = 65536

NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16
_QR, _AA, _TC, _RD, _CD, _DO = 0x80, 0x04, 0x02, 0x01, 0x10, 0x8000
_KEPT_KINDS = (A, NS, SOA, PTR, TXT, AAAA, SRV, ANY)
_COUNTS = struct.Struct("!4H")
_NO_COUNTS = _COUNTS.pack(0, 0, 0, 0)


def _opt(do: bool, extended: int = 0) -> bytes:
    """Our OPT: DO as the client set it, no option, no other flag (RFC 6891 section 6.1)."""
    return struct.pack("!BHHBBHH", 0, OPT, PAYLOAD, extended, 0, _DO if do else 0, 0)


_OPT_SIZE = len(_opt(False))
# the end of an OPT that has no options (extended rcode, version, flags, length) to the OPT that answers it
_PLAIN_OPTS = {b"\0\0\0\0\0\0": _opt(False), b"\0\0\x80\0\0\0": _opt(True)}
# flags and counts of the common forms (RD and AD are set or not) to the place of the reply's head in a kept answer
_COMMON = {
    bytes((rd, ad)) + _COUNTS.pack(1, 0, 0, opt): rd + 2 * opt
    for rd in (0, _RD)
    for ad in (0, 0x20)
    for opt in (0, 1)
}
_WITH_OPT = 2


@dataclass(frozen=True, slots=True)
class _Sections:
    """What an answer says: record counts without OPT, and the octets behind the question.

    The first `required` octets may not be left out, those behind it (additional records) may.
    """

    rcode: int
    aa: bool = False
    counts: tuple[int, int, int] = (0, 0, 0)
    tail: bytes = b""
    required: int = 0


class _Kept(NamedTuple):
    """A rendered answer: heads in the places of `_COMMON`, what follows the question, size of the reply with OPT."""

    heads: tuple[bytes, ...]
    tail: bytes
    size: int
    sections: _Sections


class Responder:
    """The answers of an authority's zones."""

    def __init__(self, authority: Authority, keep: int = MAX_KEPT) -> None:
        """`keep`: so many rendered answers are kept at most."""
        self._authority = authority
        self._keep_at_most = keep
        self._kept: dict[bytes, _Kept] = {}
        self._denials: dict[bytes, dict[int, bytes]] = {}
        authority.watch(self._forget)

    def respond(self, data: bytes, stream: bool = False) -> bytes | None:
        """The reply to one message, or None for what gets none.  `stream`: it came over TCP."""
        place = _COMMON.get(data[2:12])
        if place is not None:
            if place < _WITH_OPT:
                question = data[12:]
                kept = self._kept.get(question.lower())
                if kept is not None and (stream or kept.size <= SMALLEST):
                    return b"".join((data[:2], kept.heads[place], question, kept.tail))
            else:
                opt = _PLAIN_OPTS.get(data[-6:])
                if opt is not None and data[-11:-8] == b"\0\0\x29":
                    question = data[12:-11]
                    kept = self._kept.get(question.lower())
                    if kept is not None and (stream or kept.size <= SMALLEST):
                        return b"".join((data[:2], kept.heads[place], question, kept.tail, opt))
        return self._respond(data, stream)

    @property
    def kept(self) -> int:
        """The number of answers that are kept."""
        return len(self._kept)

    def _respond(self, data: bytes, stream: bool) -> bytes | None:
        if len(data) < 12 or data[2] & _QR:
            return None
        opcode = data[2] & 0x78
        if opcode:
            return b"".join((data[:2], bytes((_QR | opcode, NOTIMP)), _NO_COUNTS))
        try:
            query = read_query(data)
        except Malformed:
            return b"".join((data[:2], bytes((_QR | data[2] & _RD, FORMERR)), _NO_COUNTS))
        if query.edns is not None and query.edns.version:
            sections = _Sections(BADVERS)
        else:
            sections = self._sections(query.question)
        return _assemble(data, query.question, query.edns, sections, stream)

    def _sections(self, question: Question) -> _Sections:
        refusal = _refusal(question)
        if refusal is not None:
            return refusal
        key = question.name + question.sent[-4:]
        kept = self._kept.get(key)
        if kept is not None:
            return kept.sections
        zone = self._authority.find(question.name)
        if zone is None:
            return _Sections(REFUSED)
        node = zone.get(question.name)
        if node is None:
            return self._negative(zone, question, NXDOMAIN)
        rrset: RRset | None
        if question.kind == SOA and question.name == zone.origin:
            rrset = zone.soa()
        elif question.kind == ANY:
            rrset = node[0] if node else None  # one set is enough (RFC 8482)
        else:
            rrset = next((one for one in node if one.kind == question.kind), None)
        if rrset is None:
            return self._negative(zone, question, NOERROR)
        sections = self._positive(question, rrset)
        if 12 + len(key) + len(sections.tail) + _OPT_SIZE <= STREAM:
            self._keep(key, sections)
        return sections

    def _positive(self, question: Question, rrset: RRset) -> _Sections:
        writer = SectionWriter(question.name)
        answers = writer.rrset(question.name, rrset)
        required = len(writer)
        additional = 0
        for host, addresses in self._hosts(rrset):
            additional += writer.rrset(host, addresses)
        return _Sections(NOERROR, True, (answers, 0, additional), writer.octets(), required)

    def _negative(self, zone: Zone, question: Question, rcode: int) -> _Sections:
        """No such name, or no such type: the SOA says for how long that may be remembered (RFC 2308).

        Its octets depend on where the zone's name begins in the message, so that a few serve all names that are made up.
        """
        at = 12 + len(question.name) - len(zone.origin)
        soa = zone.soa()
        tails = self._denials.setdefault(zone.origin, {})
        tail = tails.get(at)
        if tail is None:
            writer = SectionWriter(zone.origin, at)
            writer.rrset(zone.origin, soa)
            tail = tails[at] = writer.octets()
        return _Sections(rcode, True, (0, 1, 0), tail, len(tail))

    def _hosts(self, rrset: RRset) -> Iterator[tuple[bytes, RRset]]:
        """The addresses of the hosts that an SRV or NS set names, where they lie in a zone of ours."""
        start = {SRV: 6, NS: 0}.get(rrset.kind)
        if start is None:
            return
        for host in dict.fromkeys(rdata[start:] for rdata in rrset.rdatas):
            zone = self._authority.find(host)
            for one in (zone.get(host) if zone else None) or ():
                if one.kind in (A, AAAA):
                    yield host, one

    def _keep(self, key: bytes, sections: _Sections) -> None:
        if len(self._kept) >= self._keep_at_most:
            self._kept.clear()
        answers, authority, additional = sections.counts
        heads = tuple(
            bytes((_QR | _AA | rd, NOERROR)) + _COUNTS.pack(1, answers, authority, additional + opt)
            for opt in (0, 1)
            for rd in (0, _RD)
        )
        size = 12 + len(key) + len(sections.tail) + _OPT_SIZE
        self._kept[key] = _Kept(heads, sections.tail, size, sections)

    def _forget(self, name: bytes | None) -> None:
        if name is None:
            self._kept.clear()
            self._denials.clear()
            return
        self._denials.pop(name, None)  # the origin is named whenever the SOA changes
        for kind in _KEPT_KINDS:
            self._kept.pop(name + struct.pack("!HH", kind, IN), None)


def _refusal(question: Question) -> _Sections | None:
    """What is refused without a look into the zones: other classes, transfers, types that are no types of records."""
    kind = question.kind
    if kind in (OPT, TSIG, TKEY):
        return _Sections(FORMERR)
    if kind in (MAILA, MAILB):
        return _Sections(NOTIMP)
    if question.rdclass != IN or kind in (AXFR, IXFR):
        return _Sections(REFUSED)
    return None


def _assemble(data: bytes, question: Question, edns: Edns | None, sections: _Sections, stream: bool) -> bytes:
    """The whole reply, cut to what the client takes: additional records first, then all with TC set."""
    opt = _opt(edns.do, sections.rcode >> 4) if edns else b""
    if stream:
        limit = STREAM
    else:
        limit = max(SMALLEST, min(edns.size, PAYLOAD)) if edns else SMALLEST
    room = limit - 12 - len(question.sent) - len(opt)
    answers, authority, additional = sections.counts
    tail = sections.tail
    flags = _QR | data[2] & _RD | (_AA if sections.aa else 0)
    if len(tail) > room:
        tail = tail[: sections.required]
        additional = 0
    if len(tail) > room:
        tail = b""
        answers = authority = 0
        flags |= _TC
    head = bytes((flags, data[3] & _CD | sections.rcode & 0x0F))
    counts = _COUNTS.pack(1, answers, authority, additional + (1 if edns else 0))
    return b"".join((data[:2], head, counts, question.sent, tail, opt))
