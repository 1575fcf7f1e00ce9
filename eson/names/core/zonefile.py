"""A zone as a master file (RFC 1035 section 5), for other name servers and for people."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from eson.names.core.wire import decode_name
from eson.names.core.zone import Zone


def zone_text(zone: Zone) -> str:
    """All records of the zone, absolute names, one a line: the SOA, then by name from the origin downwards."""
    lines = [_line(zone.origin, zone.soa().ttl, zone.soa().kind, zone.soa().rdatas[0])]
    for name in sorted(zone.names(), key=_by_labels):
        lines += [
            _line(name, rrset.ttl, rrset.kind, rdata)
            for rrset in zone.get(name) or ()
            for rdata in rrset.rdatas
        ]
    return "".join(lines)


def _line(owner: bytes, ttl: int, kind: int, rdata: bytes) -> str:
    rdtype = dns.rdatatype.RdataType(kind)
    parsed = dns.rdata.from_wire(dns.rdataclass.IN, rdtype, rdata, 0, len(rdata))
    return f"{decode_name(owner)}. {ttl} IN {rdtype.name} {parsed.to_text()}\n"


def _by_labels(name: bytes) -> list[str]:
    return decode_name(name).split(".")[::-1]
