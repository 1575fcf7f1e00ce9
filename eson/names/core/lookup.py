"""What discovery asks of DNS: the port, and the records as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from eson.errors import BackendFailed


class LookupFailed(BackendFailed):
    """No name server gave a usable answer in time.  Retry: yes."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} cannot be resolved at the moment", why=why)


@dataclass(frozen=True)
class Service:
    """The data of an SRV record (RFC 2782).  `target` is lower case, without the final dot; "" stands for `.`."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True)
class HostAddresses:
    """The addresses of a host; `aliased` if a CNAME stood between."""

    addresses: tuple[str, ...]
    aliased: bool = False


class Lookup(Protocol):
    """Questions to DNS.  Names come and go in lower case without the final dot.

    What does not exist gives an empty tuple; no usable answer raises `LookupFailed`.
    """

    async def pointers(self, name: str) -> tuple[str, ...]:
        """The targets of PTR records."""

    async def services(self, name: str) -> tuple[Service, ...]:
        """The SRV records, as they came."""

    async def texts(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The TXT records: each a tuple of its strings."""

    async def addresses(self, host: str) -> HostAddresses:
        """A and AAAA records, IPv6 first."""
