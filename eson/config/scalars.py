"""Converters of single values: words, numbers, times, sizes, names, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any
from unicodedata import category

from eson.config.reading import Entry, Unfit
from eson.config.values import Address, IpAddress, IpNetwork
from eson.errors import NameNotAllowed, Usage
from eson.model.names import canonical
from eson.model.principals import Principal, parse_principal

_TIME = re.compile(r"(\d{1,9})(ms|s|m|h|d)\Z", re.ASCII)
_TIMES = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=36500)
_SIZE = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB|TiB)?\Z", re.ASCII)
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_HOST_LABELS = re.compile(r"@|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")


def text(entry: Entry) -> str:
    """Any text but none."""
    value = entry.scalar()
    if not value:
        raise Unfit("is empty", "Say it, or leave the key out")
    if any(category(c) in ("Cc", "Cs") for c in value):
        raise Unfit("holds a control character", "Remove what cannot be seen")
    return value


def word(entry: Entry) -> str:
    """1 to 64 letters, digits, `-`, `_` and `.`: names of brokers, accounts and groups."""
    value = text(entry)
    if not _WORD.match(value):
        raise Unfit(
            f"`{value[:64]}` is no name", "Use 1 to 64 letters, digits, hyphens, dots and underscores"
        )
    return value


def flag(entry: Entry) -> bool:
    if not entry.is_of("bool"):
        raise Unfit("is neither true nor false", "Write true or false, without quotes")
    return text(entry).lower() in ("true", "yes", "on")


def number(low: int, high: int = 2**31 - 1) -> Callable[[Entry], int]:
    def convert(entry: Entry) -> int:
        value = text(entry)
        if not re.fullmatch(r"[0-9]{1,10}", value) or not low <= int(value) <= high:
            raise Unfit("is no number that is allowed here", f"Write a whole number from {low} to {high}")
        return int(value)

    return convert


def duration(entry: Entry) -> timedelta:
    """`30s 5m 24h 7d`, also `500ms`; more than nothing."""
    found = _TIME.match(text(entry))
    if not found or not int(found[1]) or int(found[1]) > _LONGEST / _TIMES[found[2]]:
        raise Unfit("is no length of time", "Write a number and ms, s, m, h or d, such as 30s, 5m, 24h or 7d")
    return int(found[1]) * _TIMES[found[2]]


def size(low: int, high: int = 2**50) -> Callable[[Entry], int]:
    """Octets: `8192 64KiB 1GiB`."""

    def convert(entry: Entry) -> int:
        found = _SIZE.match(text(entry))
        octets = int(found[1]) * _SIZES[found[2] or "B"] if found else -1
        if not low <= octets <= high:
            raise Unfit(
                "is no size that is allowed here", f"Write {low} or more octets, or such as 64KiB, 1MiB, 1GiB"
            )
        return octets

    return convert


def choice(*words: str, later: tuple[str, ...] = ()) -> Callable[[Entry], Any]:
    """One of `words`; those in `later` are known and not available yet."""

    def convert(entry: Entry) -> str:
        value = text(entry)
        if value in later:
            raise not_yet(value, f"Use {_or(words)}")
        if value not in words:
            raise Unfit(f"`{value[:64]}` is not known here", f"Use {_or(words)}")
        return value

    return convert


def _or(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def not_yet(what: str, remedy: str) -> Unfit:
    return Unfit(f"{what} is not available yet", remedy)


def off(entry: Entry) -> None:
    """The converter of a key whose feature is not there: only null and an empty list pass."""
    if not entry.is_null() and not (entry.is_list() and not list(entry.items())):
        raise not_yet(f"`{entry.path.rpartition('.')[2]}`", "Leave the key out")


def nullable(convert: Callable[[Entry], Any], none: Any = None) -> Callable[[Entry], Any]:
    """`none` for null, else what `convert` makes."""
    return lambda entry: none if entry.is_null() else convert(entry)


def domain_name(value: str) -> str:
    try:
        return canonical(value)
    except NameNotAllowed as error:
        raise Unfit(
            error.text.removeprefix("Name not allowed: "), "Write a DNS name such as flows.unix.ar"
        ) from None


def domain(entry: Entry) -> str:
    """A DNS name of two labels or more, in canonical form."""
    return domain_name(text(entry))


def host_label(value: str) -> str:
    """A host's name relative to its zone; `@` is the zone itself."""
    name = value.lower()
    if not _HOST_LABELS.fullmatch(name):
        raise Unfit(
            f"`{value[:64]}` is no host name",
            "Write it relative to the zone, such as fnaa, or @ for the zone",
        )
    return name


def ip(entry: Entry) -> IpAddress:
    try:
        return ip_address(text(entry))
    except ValueError:
        raise Unfit("is no IP address", "Write an address such as 192.0.2.1 or 2001:db8::1") from None


def one_or_more_ips(entry: Entry) -> tuple[IpAddress, ...]:
    """One address, or a list of them."""
    items = list(entry.items()) if entry.is_list() else [entry]
    if not items:
        raise Unfit("has no address", "Write an address such as 192.0.2.1")
    return tuple(ip(item) for item in items)


def network(entry: Entry) -> IpNetwork:
    try:
        return ip_network(text(entry))
    except ValueError:
        raise Unfit(
            "is no network", "Write it in CIDR form with all host bits 0, such as 10.0.0.0/8"
        ) from None


def address(entry: Entry) -> Address:
    """`host:port`, `[2001:db8::1]:port`; the host is a name or an IP address."""
    host, port = _split(entry)
    if port == 0:
        raise Unfit("has port 0", "Write the port that the other side listens on")
    if not _is_ip(host):
        if not re.fullmatch(r"[a-z0-9.-]{1,253}", host):
            raise Unfit(
                f"`{host[:64]}` is no host", "Write HOST:PORT, such as ns1.unix.ar:53 or 192.0.2.1:53"
            )
        if host != "localhost":
            host = domain_name(host)
    return Address(host, port)


def listener(entry: Entry) -> Address:
    """`IP:port`; port 0 means any free one."""
    host, port = _split(entry)
    if not _is_ip(host):
        raise Unfit(
            f"`{host[:64]}` is no IP address",
            "Listen on an IP address: 127.0.0.1:PORT, 0.0.0.0:PORT or [::]:PORT",
        )
    return Address(str(ip_address(host)), port)


def _split(entry: Entry) -> tuple[str, int]:
    host, colon, port = text(entry).lower().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Unfit("is ambiguous", "Write an IPv6 address in brackets: [2001:db8::1]:PORT")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise Unfit("is no address with a port", 'Write "HOST:PORT" in quotes, the port from 0 to 65535')
    return host, int(port)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def principal(entry: Entry) -> Principal:
    try:
        return parse_principal(text(entry))
    except (Usage, NameNotAllowed):
        raise Unfit(
            "names nobody", 'Write "user:NAME", "user:NAME@DOMAIN", "group:NAME" or "participant:DOMAIN"'
        ) from None
