"""Opening a connection to a name or an address that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any

from twisted.internet.address import IPv4Address as TcpAddress
from twisted.internet.address import IPv6Address as Tcp6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from eson.errors import Unreachable
from eson.identity.tls import ClientTls

Allowed = Callable[[str], bool]
"""Whether an IP address, as text, may be connected to."""


def is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class _Single(Factory):
    """Gives one protocol that was made before."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._made = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._made


async def dial(
    reactor: Any,
    host: str,
    port: int,
    protocol: Protocol,
    tls: ClientTls | None,
    allowed: Allowed | None,
    timeout: float,
) -> None:
    """Connects `protocol`, to one address after the other.  `timeout` in seconds, for all.  Raises `Unreachable`."""
    addresses = await _addresses(reactor, host, timeout)
    if allowed is not None:
        addresses = [address for address in addresses if allowed(address)]
        if not addresses:
            raise Unreachable(f"{host} leads to no address that may be connected to")
    why = "it has no address"
    for address in addresses:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(reactor, address, port, timeout=timeout / len(addresses))
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)  # type: ignore[arg-type]
        try:
            await endpoint.connect(_Single(protocol))
        except ConnectError as error:
            why = str(error).rstrip(".")
        else:
            return
    raise Unreachable(f"{host} port {port} cannot be reached: {why}")


async def _addresses(reactor: Any, host: str, timeout: float) -> list[str]:
    """`host` itself if it is an address, else what the system's resolver says, as texts."""
    try:
        return [_plain(host)]
    except ValueError:
        pass
    receiver = _Receiver()
    reactor.nameResolver.resolveHostName(receiver, host, 0, [TcpAddress, Tcp6Address], "TCP")
    receiver.found.addTimeout(timeout, reactor)
    try:
        return await receiver.found
    except DeferredTimeoutError:
        raise Unreachable(f"{host} was not found in time") from None


def _plain(host: str) -> str:
    """The address, an IPv4 one inside an IPv6 one as the IPv4 that it is, so that rules for addresses hold."""
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of a name, each once."""

    def __init__(self) -> None:
        self.found: Deferred[list[str]] = Deferred()
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self._addresses[_plain(address.host)] = None

    def resolutionComplete(self) -> None:
        if not self.found.called:
            self.found.callback(list(self._addresses))
