"""DNS queries shown as dig shows them."""

from __future__ import annotations

from dataclasses import dataclass

import dns.flags
import dns.message
import dns.query
import dns.rcode

TIMEOUT = 5.0


@dataclass(frozen=True)
class Looked:
    """`status` as dig prints it; the lines of the answer section."""

    command: str
    status: str
    lines: tuple[str, ...]


def dig(port: int, name: str, kind: str) -> Looked:
    """Asks the name server on 127.0.0.1.  Blocks.  Raises `dns.exception.Timeout`."""
    query = dns.message.make_query(f"{name}.", kind)
    query.flags &= ~dns.flags.RD
    reply = dns.query.udp(query, "127.0.0.1", TIMEOUT, port=port)
    lines = tuple(line for rrset in reply.answer for line in rrset.to_text().splitlines())
    return Looked(f"dig +norec -p {port} @127.0.0.1 {name} {kind}", dns.rcode.to_text(reply.rcode()), lines)
