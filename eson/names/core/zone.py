"""One zone: its names, the records at each, and its serial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eson.names.core.wire import NS, SOA, RRset, encode_name, parent_of, soa_rdata

Node = tuple[RRset, ...]
"""The record sets at one name; two nodes that say the same may be one object."""

REFRESH, RETRY, EXPIRE = 1200, 180, 1_209_600
"""Seconds in the SOA: how often others that follow the zone look, retry, and when they give it up."""


@dataclass(frozen=True)
class Apex:
    """What stands at the top of each zone: its name servers and times to live in seconds."""

    nameservers: tuple[str, ...]
    ttl: int = 900
    negative: int = 60


class Zone:
    """The names of one zone.  Names are uncompressed lower-case octets (`eson.names.core.wire`).

    The serial is the time in seconds, or one more than before where that is greater.  It moves when it is next read
    after a change: a thousand changes that nobody saw between are one step, and loading at start does not run ahead of
    the time.  `forget` is told each name whose answers changed.
    """

    def __init__(
        self, name: str, apex: Apex, now: Callable[[], float], forget: Callable[[bytes], None]
    ) -> None:
        self.name = name
        self.origin = encode_name(name)
        self._apex = apex
        self._rname = encode_name(f"hostmaster.{name}")
        self._now = now
        self._forget = forget
        self._nodes: dict[bytes, Node] = {}
        self._children: dict[bytes, int] = {}
        self._serial = 0
        self._dirty = True
        self._soa: RRset | None = None
        self.put(self.origin, ())

    def get(self, name: bytes) -> Node | None:
        """The records at a name; an empty node for one that only has names below it; None if there is no such name."""
        node = self._nodes.get(name)
        if node is None and name in self._children:
            return ()
        return node

    def put(self, name: bytes, node: Node) -> None:
        """Replaces what stands at a name.  At the origin the name servers are added."""
        if name == self.origin:
            node = (self._ns(), *(one for one in node if one.kind != NS))
        old = self._nodes.get(name)
        if old == node:
            return
        known = self._exists(name)
        self._nodes[name] = node
        if not known:
            self._count_up(name)
        self._changed(name)

    def remove(self, name: bytes) -> None:
        """Removes a name, and those above it that only existed because of it.  The origin stays."""
        if name == self.origin:
            self.put(name, ())
        elif self._nodes.pop(name, None) is not None:
            self._count_down(name)
            self._changed(name)

    def names(self) -> Iterator[bytes]:
        """All names that have records, in no order."""
        return iter(self._nodes)

    def serial(self) -> int:
        """The serial of what the zone says now."""
        if self._dirty:
            self._serial = max(self._serial + 1, int(self._now())) & 0xFFFFFFFF
            self._dirty = False
            self._soa = None
        return self._serial

    def soa(self) -> RRset:
        """The SOA record; its TTL is the minimum, so that it fits negative answers too (RFC 2308 section 3)."""
        serial = self.serial()
        if self._soa is None:
            apex = self._apex
            rdata = soa_rdata(
                encode_name(apex.nameservers[0]),
                self._rname,
                serial,
                (REFRESH, RETRY, EXPIRE, apex.negative),
            )
            self._soa = RRset(SOA, apex.negative, (rdata,))
        return self._soa

    def _ns(self) -> RRset:
        return RRset(NS, self._apex.ttl, tuple(encode_name(one) for one in self._apex.nameservers))

    def _changed(self, name: bytes) -> None:
        if not self._dirty:
            self._dirty = True
            self._forget(self.origin)
        self._forget(name)

    def _exists(self, name: bytes) -> bool:
        return name in self._nodes or name in self._children

    def _count_up(self, name: bytes) -> None:
        while name != self.origin:
            above = parent_of(name)
            known = self._exists(above)
            self._children[above] = self._children.get(above, 0) + 1
            if known:
                return
            name = above

    def _count_down(self, name: bytes) -> None:
        while name != self.origin and not self._exists(name):
            above = parent_of(name)
            self._children[above] -= 1
            if not self._children[above]:
                del self._children[above]
            name = above
