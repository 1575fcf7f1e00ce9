"""Target: the name server: any octets get no reply, or one that a strict reader understands.

Input: an octet (over TCP or not), then the message.
"""

from __future__ import annotations

import dns.message
from names.test_names_answers import AD, COOKIE, NSID, OPTLIST, QUEUE, SOA, F, make, packet

from eson.names.core.responder import PAYLOAD, SMALLEST, STREAM

RESPONDER = make()
OVER_TCP = 1


def seeds() -> dict[str, bytes]:
    queries = {
        "soa": packet(0, SOA),
        "srv": packet(0, 33, (1232, 0, 0, b""), QUEUE),
        "any": packet(0, 255, (512, 0, 0x8000, OPTLIST), QUEUE),
        "cookie": packet(AD, 33, (4096, 0, 0, COOKIE), QUEUE),
        "nsid": packet(0, 16, (0, 0, 0, NSID), QUEUE),
        "version-1": packet(0, SOA, (1232, 1, 0, b"")),
        "missing": packet(0, 1, None, f"nothing.{F}"),
        "elsewhere": packet(0, 1, None, "example.net"),
        "transfer": packet(0, 252),
    }
    found = {name: b"\0" + query for name, query in queries.items()}
    found["tcp"] = bytes([OVER_TCP]) + queries["any"]
    found["update"] = b"\0" + queries["soa"][:2] + b"\x28" + queries["soa"][3:]
    found["pointer"] = b"\0" + queries["soa"][:12] + b"\xc0\x0c\0\1\0\1"
    return found


def one_input(octets: bytes) -> None:
    stream, query = bool(octets and octets[0] & OVER_TCP), octets[1:]
    reply = RESPONDER.respond(query, stream)
    if reply is None:
        return
    assert reply[:2] == query[:2]
    assert reply[2] & 0x80
    assert len(reply) <= (STREAM if stream else PAYLOAD)
    message = dns.message.from_wire(reply)
    if not stream and message.edns < 0:
        assert len(reply) <= SMALLEST
    assert RESPONDER.respond(query, stream) == reply
