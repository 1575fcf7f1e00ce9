"""Sockets that are bound before the process gives up its rights, and opened when everything behind them works."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from eson.config.values import Address
from eson.errors import EsonError

BACKLOG = 1024
"""Connections that wait to be accepted; Twisted's 50 are gone in a moment when all clients come back at once."""


class CannotListen(EsonError):
    """An address is taken, not ours, or not allowed; the text says which and what to do.  Retry: after that."""


def _error(key: str, address: Address, error: OSError) -> CannotListen:
    remedy = f"Find what listens there (ss -lntup 'sport = :{address.port}') and stop it, or change {key}"
    if isinstance(error, PermissionError):
        remedy = f"Ports below 1024 are for root: start as root with --uid, or change {key}"
    elif error.errno == errno.EADDRNOTAVAIL:
        remedy = f"This machine has no such address (ip -brief address): change {key}"
    return CannotListen(f"Cannot listen on {address}: {os.strerror(error.errno or 0)}. {remedy}")


class BoundSocket:
    """A TCP socket of ours; nobody can connect yet."""

    def __init__(self, key: str, address: Address) -> None:
        """Raises `CannotListen`; `key` is the key of the configuration."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((address.host, address.port))
        except OSError as error:
            self._socket.close()
            raise _error(key, address, error) from None
        self._socket.setblocking(False)
        self.key = key
        self.address = Address(address.host, int(self._socket.getsockname()[1]))

    def listen(self, reactor: Any, factory: Any) -> Any:
        """Opens it; an `IListeningPort`.  Raises `CannotListen`: with SO_REUSEADDR the address may be taken only now."""
        try:
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise _error(self.key, self.address, error) from None
        port = reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, factory)
        self._socket.close()
        return port

    def close(self) -> None:
        self._socket.close()


def bind_all(key: str, addresses: Iterable[Address]) -> list[BoundSocket]:
    """All or none.  Raises `CannotListen`."""
    bound: list[BoundSocket] = []
    try:
        for address in addresses:
            bound.append(BoundSocket(key, address))
    except CannotListen:
        for one in bound:
            one.close()
        raise
    return bound


def check_free(key: str, addresses: Iterable[Address]) -> None:
    """That a child may listen there: tries and lets go.  Raises `CannotListen`."""
    for address in addresses:
        if address.port:
            one = BoundSocket(key, address)
            one.close()
