"""Which addresses another participant's names may lead to (design section 9).

A name that others control may resolve to our own loopback, to a router's administration page or to a neighbour behind
the same firewall.  Only addresses that the Internet routes are connected to, unless `allow_private` opens others or
the operator named the host in `remotes` or `resolve`.  Ranges: the IANA special-purpose address registries (RFC 6890).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from eson.model.names import is_at_or_below

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_CLOSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: IpAddress) -> bool:
    """Whether the Internet routes this address; an IPv4 address embedded in an IPv6 one counts as what it is."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    inner = embedded(address)
    if inner is not None:
        return is_public(inner)
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def embedded(address: IpAddress) -> IPv4Address | None:
    """The IPv4 address that a v4-mapped, NAT64, 6to4 or ISATAP address leads to; None for all others."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


@dataclass(frozen=True)
class AddressPolicy:
    """What may be connected to on behalf of names that others control.

    `allow_private` opens networks that are closed otherwise; `own` are this participant's addresses, closed too unless
    `allow_private` opens them; `agents` are the hosts of `remotes`; `domains` those of `resolve`.
    """

    allow_private: tuple[IpNetwork, ...] = ()
    own: frozenset[IpAddress] = field(default_factory=frozenset)
    agents: frozenset[str] = field(default_factory=frozenset)
    domains: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(
        cls,
        allow_private: Iterable[str | IpNetwork] = (),
        own: Iterable[str | IpAddress] = (),
        agents: Iterable[str] = (),
        domains: Iterable[str] = (),
    ) -> AddressPolicy:
        """From texts.  Raises `ValueError` for what is no network or address."""
        return cls(
            tuple(ip_network(one) for one in allow_private),
            frozenset(ip_address(one) for one in own),
            frozenset(agents),
            frozenset(domains),
        )

    def trusts(self, host: str) -> bool:
        """Whether the operator named this host, or a domain that it lies in."""
        name = host.lower().removesuffix(".")
        return name in self.agents or any(is_at_or_below(name, domain) for domain in self.domains)

    def allowed(self, address: str | IpAddress) -> bool:
        """Whether this address may be connected to, whatever name led there.  What is no address may not."""
        try:
            value = ip_address(address)
        except ValueError:
            return False
        forms = list(_forms(value))
        if any(form in network for form in forms for network in self.allow_private):
            return True
        return is_public(value) and not any(form in self.own for form in forms)

    def permits(self, host: str, address: str | IpAddress) -> bool:
        """Whether `address` may be connected to because `host` led there; asked after resolution and at connect."""
        return self.allowed(address) or (self.trusts(host) and _is_address(address))


def _forms(address: IpAddress) -> Iterator[IpAddress]:
    yield address
    inner = embedded(address)
    if inner is not None:
        yield inner


def _is_address(address: str | IpAddress) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
