"""A reactor that looks names up as the client does: for connections that are opened deep inside a broker's adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
)
from zope.interface import implementer

from eson.client.reaching import is_address
from eson.errors import EsonError

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host; none, or an `EsonError`, where the name servers do not say."""


@implementer(IReactorPluggableNameResolver)
class NamingReactor:
    """`reactor`, but that hosts are asked of `lookup`, and of the system where it knows none."""

    def __init__(self, reactor: Any, lookup: Lookup) -> None:
        self._reactor = reactor
        self.nameResolver = _HostnameResolver(reactor.nameResolver, lookup)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """For the whole process, as of any reactor."""
        before: IHostnameResolver = self._reactor.installNameResolver(resolver)
        return before


@implementer(IHostResolution)
class _Resolution:
    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted = True

    def cancel(self) -> None:
        """The lookup ends by itself, within seconds; nobody hears of it any more."""
        self.wanted = False


@implementer(IHostnameResolver)
class _HostnameResolver:
    def __init__(self, system: Any, lookup: Lookup) -> None:
        self._system = system
        self._lookup = lookup

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        def of_the_system() -> Any:
            return self._system.resolveHostName(
                resolutionReceiver, hostName, portNumber, addressTypes, transportSemantics
            )

        resolution = _Resolution(hostName)

        async def look_up() -> None:
            try:
                found = await self._lookup(hostName)
            except EsonError:
                found = ()
            if not resolution.wanted:
                return
            if not found:
                of_the_system()
                return
            resolutionReceiver.resolutionBegan(resolution)
            for address in found:
                kind = IPv6Address if ":" in address else IPv4Address
                resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()

        if is_address(hostName):
            return of_the_system()
        Deferred.fromCoroutine(look_up())
        return resolution
