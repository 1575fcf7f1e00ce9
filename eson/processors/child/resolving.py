"""Addresses of broker hosts: by the name servers that the agent uses, else by the system's resolver."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from eson.model.names import is_at_or_below
from eson.model.servers import Server
from eson.processors.child.trouble import Unreachable

LIFETIME = 5.0
"""Seconds for all tries of one lookup."""


@dataclass(frozen=True)
class NameServers:
    """`resolver`: asked for every name (None: the system's resolver); `resolve`: asked for a domain and all below it."""

    resolver: Server | None = None
    resolve: Mapping[str, Server] = field(default_factory=dict)

    def server_for(self, host: str) -> Server | None:
        """Whom to ask for `host`; None: the system."""
        name = host.lower().removesuffix(".")
        domains = [domain for domain in self.resolve if is_at_or_below(name, domain)]
        return self.resolve[max(domains, key=len)] if domains else self.resolver

    async def addresses(self, host: str) -> list[str]:
        """Its addresses, in no order.  Raises `Unreachable`."""
        try:
            return [str(ip_address(host))]
        except ValueError:
            server = self.server_for(host)
        found = await (_from_system(host) if server is None else _from_server(host, server))
        if not found:
            raise Unreachable(f"{host} has no address")
        return found


async def _from_system(host: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _from_server(host: str, server: Server) -> list[str]:
    # not needed by most processors, and it costs memory
    from dns.asyncresolver import Resolver
    from dns.exception import DNSException

    asking = Resolver(configure=False)
    asking.nameservers = [server.host]
    asking.port = server.port
    found: list[str] = []
    for kind in ("A", "AAAA"):
        try:
            answer = await asking.resolve(host, kind, raise_on_no_answer=False, lifetime=LIFETIME)
        except DNSException:
            continue
        found += [record.address for record in answer.rrset or ()]
    return found
