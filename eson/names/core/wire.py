"""Wire format of names and records (RFC 1035 sections 3.1, 4.1.3 and 4.1.4), as far as our zones need it.

A name is kept as its uncompressed octets in lower case: comparing and walking up to its parents is slicing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 16, 28, 33, 41
TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY = 249, 250, 251, 252, 253, 254, 255
IN = 1

MAX_NAME = 255
_MAX_POINTER = 0x3FFF
_WHOLE_NAME = frozenset((NS, CNAME, PTR))
_FIXED = struct.Struct("!HHIH")


class RRset(NamedTuple):
    """All records of one type at one name; names in `rdatas` are uncompressed and lower case."""

    kind: int
    ttl: int
    rdatas: tuple[bytes, ...]


def encode_name(name: str) -> bytes:
    """The octets of a name in lower case; "" is the root.  Raises `ValueError` for what is no name."""
    if not name:
        return b"\0"
    parts = []
    for label in name.lower().encode("ascii").split(b"."):
        if not 0 < len(label) < 64:
            raise ValueError(f"{name[:64]} has a label that is empty or longer than 63 octets")
        parts.append(bytes((len(label),)) + label)
    wire = b"".join(parts) + b"\0"
    if len(wire) > MAX_NAME:
        raise ValueError(f"{name[:64]}… is longer than 255 octets")
    return wire


def decode_name(wire: bytes) -> str:
    """The text of uncompressed octets, for ourselves: labels are joined as they are."""
    labels, at = [], 0
    while wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]].decode("latin-1"))
        at += 1 + wire[at]
    return ".".join(labels)


def suffixes(wire: bytes) -> Iterator[bytes]:
    """The name itself and each of its parents, the root last."""
    at = 0
    while wire[at]:
        yield wire[at:]
        at += 1 + wire[at]
    yield b"\0"


def parent_of(wire: bytes) -> bytes:
    """The name without its first label."""
    return wire[1 + wire[0] :]


@lru_cache(maxsize=4096)
def srv_rdata(priority: int, weight: int, port: int, target: str) -> bytes:
    """RFC 2782; the target is never compressed.  Raises `ValueError`."""
    if not target or not 0 <= port <= 65535:
        raise ValueError(f"{target[:64]}:{port} is no server")
    return struct.pack("!HHH", priority, weight, port) + encode_name(target)


@lru_cache(maxsize=4096)
def txt_rdata(*strings: str) -> bytes:
    """RFC 1035 section 3.3.14; no string at all becomes one empty one (RFC 6763 section 6.1).  Raises `ValueError`."""
    parts = [text.encode("utf-8") for text in strings] or [b""]
    if any(len(part) > 255 for part in parts):
        raise ValueError("a string of a TXT record has at most 255 octets")
    return b"".join(bytes((len(part),)) + part for part in parts)


def address_rrsets(addresses: Iterable[str], ttl: int) -> tuple[RRset, ...]:
    """The A and AAAA records of a host."""
    parsed = [ip_address(one) for one in addresses]
    sets = []
    for kind, version in ((A, 4), (AAAA, 6)):
        rdatas = tuple(one.packed for one in parsed if one.version == version)
        if rdatas:
            sets.append(RRset(kind, ttl, rdatas))
    return tuple(sets)


def soa_rdata(mname: bytes, rname: bytes, serial: int, times: tuple[int, int, int, int]) -> bytes:
    """`times`: refresh, retry, expire and minimum, in seconds."""
    return mname + rname + struct.pack("!5I", serial, *times)


class SectionWriter:
    """Writes records behind a question, names compressed against everything before them.

    The octets depend on the lower-case question alone, so that they may be kept and put behind any spelling of it.
    `qname` is its name, or the end of it, which begins at octet `at` of the message.
    """

    def __init__(self, qname: bytes, at: int = 12) -> None:
        self._buffer = bytearray()
        self._base = at + len(qname) + 4
        self._offsets: dict[bytes, int] = {}
        for suffix in suffixes(qname):
            if len(suffix) > 1:
                self._offsets[suffix] = at
            at += 1 + suffix[0]

    def __len__(self) -> int:
        return len(self._buffer)

    def octets(self, start: int = 0) -> bytes:
        return bytes(self._buffer[start:])

    def rrset(self, owner: bytes, rrset: RRset) -> int:
        """Appends a set; gives the number of its records."""
        buffer = self._buffer
        for rdata in rrset.rdatas:
            self._name(owner)
            buffer += _FIXED.pack(rrset.kind, IN, rrset.ttl, 0)
            start = len(buffer)
            self._rdata(rrset.kind, rdata)
            struct.pack_into("!H", buffer, start - 2, len(buffer) - start)
        return len(rrset.rdatas)

    def _rdata(self, kind: int, rdata: bytes) -> None:
        if kind in _WHOLE_NAME:
            self._name(rdata)
        elif kind == SOA:
            middle = _name_end(rdata, 0)
            end = _name_end(rdata, middle)
            self._name(rdata[:middle])
            self._name(rdata[middle:end])
            self._buffer += rdata[end:]
        else:
            self._buffer += rdata

    def _name(self, name: bytes) -> None:
        buffer, offsets = self._buffer, self._offsets
        at = 0
        while name[at]:
            suffix = name[at:]
            known = offsets.get(suffix)
            if known is not None:
                buffer += (0xC000 | known).to_bytes(2, "big")
                return
            here = self._base + len(buffer)
            if here <= _MAX_POINTER:
                offsets[suffix] = here
            end = at + 1 + name[at]
            buffer += name[at:end]
            at = end
        buffer.append(0)


def _name_end(wire: bytes, at: int) -> int:
    while wire[at]:
        at += 1 + wire[at]
    return at + 1
