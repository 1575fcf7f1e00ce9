"""The sockets of a participant: bound at first, opened at last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.protocols.tls import TLSMemoryBIOFactory

from eson.config import Config
from eson.config.values import Address, EmbeddedBroker
from eson.fnap.net.factory import FnapFactory
from eson.names.net.server import NameServer
from eson.tap.sockets import BoundSocket, bind_all, check_free


class Gate:
    """The name server's answers, none before everything is published: a client then asks again."""

    def __init__(self) -> None:
        self._respond: Any = None

    def open(self, respond: Any) -> None:
        self._respond = respond

    def __call__(self, data: bytes, stream: bool = False) -> bytes | None:
        reply: bytes | None = None if self._respond is None else self._respond(data, stream)
        return reply


class Listeners:
    """Binds everything in `bind`, which may need the rights of root."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self.gate = Gate()
        self.names = NameServer(
            reactor, self.gate, [(address.host, address.port) for address in config.names.listen]
        )
        self.clear: list[BoundSocket] = []
        self.tls: list[BoundSocket] = []
        self.metrics: list[BoundSocket] = []
        self._ports: list[Any] = []

    def bind(self) -> None:
        """Raises `EsonError` for the first address that cannot be had."""
        config = self._config
        self.clear = bind_all("fnap.listen", config.fnap.listen)
        self.tls = bind_all("fnap.listen_tls", config.fnap.listen_tls)
        self.metrics = bind_all("web.metrics", config.web.metrics)
        for broker in config.brokers:
            if isinstance(broker, EmbeddedBroker):
                check_free(f"listen of broker {broker.name}", (*broker.listen, *broker.listen_tls))
        self.names.privilegedStartService()

    def open_fnap(self, clear: FnapFactory, tls: FnapFactory) -> None:
        """Lets clients connect.  Raises `EsonError`."""
        over: Any = TLSMemoryBIOFactory(tls.tls, False, tls)  # type: ignore[arg-type]
        over.noisy = False
        self._open(self.clear, clear)
        self._open(self.tls, over)

    def open_metrics(self, site: Any) -> None:
        site.noisy = False
        self._open(self.metrics, site)

    def _open(self, sockets: Sequence[BoundSocket], factory: Any) -> None:
        self._ports += [one.listen(self._reactor, factory) for one in sockets]

    async def close(self) -> None:
        """Nobody connects any more; who is connected stays.  The name server goes on."""
        ports, self._ports = self._ports, []
        for port in ports:
            await port.stopListening()
        for one in (*self.clear, *self.tls, *self.metrics):
            one.close()

    def addresses(self, kind: Sequence[BoundSocket]) -> list[Address]:
        return [one.address for one in kind]

    def told(self) -> dict[str, Any]:
        """As `listeners.json` says it: the first address of each kind, null where there is none."""
        names = [Address(host, port) for host, port in self.names.addresses]
        return {
            "fnap": first(self.addresses(self.clear)),
            "fnaps": first(self.addresses(self.tls)),
            "names": first(names),
            "web": None,
            "metrics": first(self.addresses(self.metrics)),
        }


def first(addresses: Sequence[Address]) -> list[Any] | None:
    return [addresses[0].host, addresses[0].port] if addresses else None
