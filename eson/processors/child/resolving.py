"""Addresses of broker hosts: by the name servers that the agent uses, else by the system's resolver."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from eson.model.servers import Server
from eson.processors.child.trouble import Unreachable

LIFETIME = 5.0
"""Seconds for all tries of one lookup."""


async def addresses(host: str, name_server: Server | None) -> list[str]:
    """The addresses of `host`, in no order; `name_server` None: as the system says.  Raises `Unreachable`."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        found = await (_from_system(host) if name_server is None else _from_server(host, name_server))
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
    # only imported where it is needed: it costs memory
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
