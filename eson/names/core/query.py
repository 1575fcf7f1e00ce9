"""One question of the resolver and the judgement of what comes back, pure."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

PAYLOAD = 1232
"""Octets that we take over UDP (the value that avoids fragments on ordinary paths)."""
MAX_ALIASES = 8

Kind = dns.rdatatype.RdataType


class Verdict(enum.Enum):
    """What a reply is worth."""

    ANSWER = "answer"
    TRUNCATED = "truncated"
    PLAIN = "plain"
    """The server does not know EDNS: ask again without it."""
    FAILED = "failed"
    """The server will not or cannot say."""
    FOREIGN = "foreign"
    """Not a reply to this question, or no message at all: to be ignored."""


@dataclass(frozen=True)
class Reply:
    """A judged reply.  `records` are of the asked type at `canonical`, where the aliases of the answer lead.

    `followed` is the number of aliases; `complete` says whether the server spoke for `canonical` too.
    """

    verdict: Verdict
    why: str = ""
    canonical: str = ""
    followed: int = 0
    complete: bool = True
    records: tuple[object, ...] = ()


class Query:
    """A query for one name and type; `number` is its id, unpredictable."""

    def __init__(self, name: str, kind: Kind, number: int, edns: bool = True) -> None:
        self.name = name
        self.kind = kind
        self.number = number
        self.edns = edns
        message = dns.message.make_query(
            dns.name.from_text(name), kind, use_edns=0 if edns else False, payload=PAYLOAD, id=number
        )
        self.wire = message.to_wire()
        self._start = struct.pack("!H", number)
        end = len(self.wire) - (11 if edns else 0)
        self._question = self.wire[12:end].lower()

    def judge(self, wire: bytes) -> Reply:
        """What these octets are worth as a reply; whatever they are, nothing is raised."""
        if len(wire) < 12 or wire[:2] != self._start or not wire[2] & 0x80 or wire[2] & 0x78:
            return _FOREIGN
        rcode = wire[3] & 0x0F
        if wire[4:6] == b"\0\0" and rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            # servers that stumble over EDNS answer with a bare header
            return Reply(Verdict.PLAIN if self.edns else Verdict.FAILED, "FORMERR")
        if wire[4:6] != b"\0\1" or wire[12 : 12 + len(self._question)].lower() != self._question:
            return _FOREIGN
        if wire[2] & 0x02:
            return Reply(Verdict.TRUNCATED)
        return self._parse(wire)

    def _parse(self, wire: bytes) -> Reply:
        try:
            message = dns.message.from_wire(wire, ignore_trailing=True)
            rcode = message.rcode()
        except (dns.exception.DNSException, ValueError, struct.error, IndexError):
            return _FOREIGN
        if self.edns and rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS):
            return Reply(Verdict.PLAIN, dns.rcode.to_text(rcode))
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return Reply(Verdict.FAILED, f"it answers {dns.rcode.to_text(rcode)}")
        if _is_referral(message):
            return Reply(Verdict.FAILED, "it refers to other servers")
        return self._follow(message, rcode == dns.rcode.NXDOMAIN)

    def _follow(self, message: dns.message.Message, missing: bool) -> Reply:
        name = dns.name.from_text(self.name)
        followed = 0
        while True:
            records = _records(message, name, self.kind)
            if records:
                return Reply(Verdict.ANSWER, "", _text(name), followed, True, records)
            alias = next(iter(_records(message, name, Kind.CNAME)), None)
            if alias is None:
                break
            followed += 1
            if followed > MAX_ALIASES:
                return Reply(Verdict.FAILED, "a chain of aliases without end")
            name = alias.target  # type: ignore[attr-defined]
        return Reply(Verdict.ANSWER, "", _text(name), followed, missing or not followed)


_FOREIGN = Reply(Verdict.FOREIGN)


def _records(message: dns.message.Message, name: dns.name.Name, kind: Kind) -> tuple[object, ...]:
    return tuple(
        record
        for rrset in message.answer
        if rrset.name == name and rrset.rdtype == kind and rrset.rdclass == dns.rdataclass.IN
        for record in rrset
    )


def _is_referral(message: dns.message.Message) -> bool:
    """No answer, no claim to know, only a hint whom to ask instead."""
    if message.answer or message.flags & (dns.flags.AA | dns.flags.RA):
        return False
    return any(rrset.rdtype == Kind.NS for rrset in message.authority)


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def names_of(records: tuple[object, ...]) -> Iterator[str]:
    """Lower-case targets of PTR records."""
    for record in records:
        yield _text(record.target)  # type: ignore[attr-defined]
