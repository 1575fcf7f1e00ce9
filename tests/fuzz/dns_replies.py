"""Target: what the resolver believes of a name server: any octets are judged, whatever they are.

Input: an octet (with EDNS or not, which question), then the message.
"""

from __future__ import annotations

import dns.message
import dns.rrset

from eson.names.core.query import MAX_ALIASES, Kind, Query, Verdict

NUMBER = 0x1234
KINDS = (Kind.SRV, Kind.PTR, Kind.TXT, Kind.A, Kind.AAAA)
QUERIES = [Query("_queue._flow._tcp.a.b", kind, NUMBER, edns) for kind in KINDS for edns in (True, False)]


def seeds() -> dict[str, bytes]:
    name, found = "_queue._flow._tcp.a.b.", {}
    records = {
        Kind.SRV: "0 0 9092 kf1.unix.ar.",
        Kind.PTR: "time.a.b.",
        Kind.TXT: '"type=kafka" "x"',
        Kind.A: "192.0.2.1",
        Kind.AAAA: "2001:db8::1",
    }
    for at, query in enumerate(QUERIES):
        reply = dns.message.make_response(dns.message.from_wire(query.wire))
        reply.answer = [dns.rrset.from_text(name, 60, "IN", query.kind, records[query.kind])]
        found[f"{query.kind.name.lower()}{'-edns' if query.edns else ''}"] = bytes([at]) + reply.to_wire()
    reply = dns.message.make_response(dns.message.from_wire(QUERIES[0].wire))
    reply.answer = [
        dns.rrset.from_text(name if n == 0 else f"n{n}.a.b.", 60, "IN", "CNAME", f"n{n + 1}.a.b.")
        for n in range(MAX_ALIASES + 1)
    ]
    found["aliases"] = b"\0" + reply.to_wire()
    reply.answer = [dns.rrset.from_text(name, 60, "IN", "CNAME", name)]
    found["circle"] = b"\0" + reply.to_wire()
    for rcode in (1, 2, 3, 4, 5, 16):
        reply.answer = []
        reply.set_rcode(rcode)
        found[f"rcode-{rcode}"] = b"\0" + reply.to_wire()
    found["truncated"] = b"\0\x12\x34\x82\0" + QUERIES[0].wire[4:]
    return found


def one_input(octets: bytes) -> None:
    if not octets:
        return
    query = QUERIES[octets[0] % len(QUERIES)]
    reply = query.judge(octets[1:])
    assert reply.followed <= MAX_ALIASES + 1
    if reply.records:
        assert reply.verdict is Verdict.ANSWER
        assert all(record.rdtype == query.kind for record in reply.records)  # type: ignore[attr-defined]
