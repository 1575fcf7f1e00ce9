"""The resolver: a stub that asks name servers over UDP, and over TCP where an answer is truncated.

It does no recursion of its own: it asks the server that `resolve` gives for a domain, else `resolver` of the
configuration, else the system's name servers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, cast

import dns.exception
import dns.name
import dns.resolver
from dns.rdtypes.IN.SRV import SRV
from dns.rdtypes.txtbase import TXTBase
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, DeferredList

from eson.model.names import is_at_or_below
from eson.model.servers import Server
from eson.names.core.lookup import HostAddresses, LookupFailed, Service
from eson.names.core.query import MAX_ALIASES, Kind, Query, Reply, Verdict, names_of
from eson.names.net.exchange import ExchangeFailed, UdpExchange, exchange_tcp

ATTEMPTS = (1.0, 2.0, 3.0)
"""Seconds that each round over the servers waits for one of them; a whole look-up ends after DEADLINE."""
DEADLINE = 12.0
MAX_SERVERS = 3


def system_servers(file: str = "/etc/resolv.conf") -> tuple[Server, ...]:
    """The name servers of the system; none if the file cannot be read."""
    found = dns.resolver.Resolver(configure=False)
    try:
        found.read_resolv_conf(file)
    except (dns.resolver.NoResolverConfiguration, OSError):
        return ()
    return tuple(Server(str(one), found.port) for one in found.nameservers[:MAX_SERVERS])


class Resolver:
    """Looks up records; a `Lookup`.

    `servers` are asked in turn (None: the system's, read at each look-up); `resolve` maps a domain to the server for it
    and all names below, the longest match counts.  `attempts` and `deadline` in seconds; `number` draws ids of 16 bits.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[Server] | None = None,
        resolve: Mapping[str, Server] | None = None,
        attempts: Sequence[float] = ATTEMPTS,
        deadline: float = DEADLINE,
        number: Callable[[], int] = lambda: secrets.randbits(16),
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._resolve = dict(resolve or {})
        self._attempts = attempts
        self._deadline = deadline
        self._number = number

    async def pointers(self, name: str) -> tuple[str, ...]:
        return tuple(names_of((await self._ask(name, Kind.PTR)).records))

    async def services(self, name: str) -> tuple[Service, ...]:
        records = cast("tuple[SRV, ...]", (await self._ask(name, Kind.SRV)).records)
        return tuple(
            Service(one.priority, one.weight, one.port, one.target.to_text(True).lower().removesuffix("."))
            for one in records
        )

    async def texts(self, name: str) -> tuple[tuple[str, ...], ...]:
        records = cast("tuple[TXTBase, ...]", (await self._ask(name, Kind.TXT)).records)
        return tuple(tuple(text.decode("utf-8", "replace") for text in one.strings) for one in records)

    async def addresses(self, host: str) -> HostAddresses:
        """Both families are asked at once; if one fails, the other's addresses do."""
        asked = [Deferred.fromCoroutine(self._ask(host, kind)) for kind in (Kind.AAAA, Kind.A)]
        outcomes: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        replies: list[Reply] = [result for succeeded, result in outcomes if succeeded]
        found = [record.address for reply in replies for record in reply.records]  # type: ignore[attr-defined]
        failures = [result.value for succeeded, result in outcomes if not succeeded]
        if failures and not found:
            raise failures[0]
        return HostAddresses(tuple(found), any(reply.followed for reply in replies))

    async def _ask(self, name: str, kind: Kind) -> Reply:
        """The reply for a name, aliases followed.  Raises `LookupFailed`."""
        end = self._reactor.seconds() + self._deadline
        asked = name
        followed = 0
        while True:
            if not _is_name(asked):
                raise LookupFailed(name, f"{asked} is no name")
            reply = await self._ask_servers(asked, kind, end)
            followed += reply.followed
            if reply.records or reply.complete:
                return Reply(Verdict.ANSWER, "", reply.canonical, followed, True, reply.records)
            if followed > MAX_ALIASES:
                raise LookupFailed(name, "a chain of aliases without end")
            asked = reply.canonical

    async def _ask_servers(self, name: str, kind: Kind, end: float) -> Reply:
        why = "no name server is known"
        for attempt in self._attempts:
            for server in self._servers_for(name):
                left = end - self._reactor.seconds()
                if left <= 0:
                    raise LookupFailed(name, why)
                try:
                    reply = await self._ask_server(server, name, kind, min(attempt, left))
                except ExchangeFailed as error:
                    why = f"{server}: {error}"
                    continue
                if reply.verdict is Verdict.ANSWER:
                    return reply
                why = f"{server}: {reply.why}"
        raise LookupFailed(name, why)

    async def _ask_server(self, server: Server, name: str, kind: Kind, timeout: float) -> Reply:
        host = await self._address(server.host)
        reply = Reply(Verdict.PLAIN)
        for edns in (True, False):
            query = Query(name, kind, self._number(), edns)
            reply = await UdpExchange(self._reactor, host, server.port, query, timeout).run()
            if reply.verdict is Verdict.TRUNCATED:
                reply = await exchange_tcp(self._reactor, host, server.port, query, timeout)
            if reply.verdict is not Verdict.PLAIN:
                break
        return reply

    async def _address(self, host: str) -> str:
        """The IP address of a name server; where the configuration gives its name, the system is asked."""
        if isIPAddress(host) or isIPv6Address(host):
            return str(ip_address(host))  # as the system writes the sender of a reply
        try:
            return cast("str", await self._reactor.resolve(host))
        except Exception as error:  # whatever the system's resolver raises
            raise ExchangeFailed(f"{host} has no address: {error}") from error

    def _servers_for(self, name: str) -> Sequence[Server]:
        domains = [domain for domain in self._resolve if is_at_or_below(name, domain)]
        if domains:
            return (self._resolve[max(domains, key=len)],)
        return system_servers() if self._servers is None else self._servers


def _is_name(text: str) -> bool:
    try:
        dns.name.from_text(text)
    except dns.exception.DNSException:
        return False
    return True
