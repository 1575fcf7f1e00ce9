"""The embedded broker behind the port: a child process, reached through the same adapter as any Kafka."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from eson.brokers.embedded.child import EmbeddedChild
from eson.brokers.embedded.settings import Address, Bound, Settings
from eson.brokers.kafka.broker import KafkaBroker
from eson.brokers.port import Access, Capability
from eson.model.servers import Server

CAPABILITIES = Capability.EXACTLY_ONCE | Capability.SEEK_BY_TIME | Capability.CLOSES_CONNECTIONS
READY_SECONDS = 15.0
_MECHANISM = "SCRAM-SHA-256"
_NOWHERE = Server("127.0.0.1", 0)


class EmbeddedBroker(KafkaBroker):
    """Implements `eson.brokers.port.Broker`.

    `settings` come from the configuration; the administrator's password is made here, for this process's life.  `host`
    is the name under which clients find the broker unless `settings.advertise` says otherwise; `trust` is the PEM of
    the CA of its certificate.  `listening` is called with what is bound, each time.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        settings: Settings,
        host: str,
        trust: str = "",
        listening: Callable[[Bound], None] = lambda bound: None,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        password = secrets.token_urlsafe(32) if settings.login else ""
        tls = bool(settings.listen_tls)
        super().__init__(
            reactor,
            name,
            _access(_NOWHERE, settings.admin, password),
            kind="embedded",
            capabilities=CAPABILITIES
            | (Capability.ISSUES_CREDENTIALS if settings.login else Capability.NONE),
            advertised=(),
            advertised_tls=(),
            client_security=("sasl_" if settings.login else "") + ("ssl" if tls else "plaintext"),
            client_trust=trust,
        )
        self._settings = replace(
            settings, admin_password=password, internal=settings.internal or ("127.0.0.1", 0)
        )
        self._host, self._listening, self._ready_seconds = host, listening, ready_seconds
        self.child = EmbeddedChild(reactor, self._settings, self._bound, name)

    def _bound(self, bound: Bound) -> None:
        advertise = self._settings.advertise
        over_tls = bool(bound.listen_tls)
        self._servers = self._told(bound.listen, None if over_tls else advertise)
        self._tls_servers = self._told(bound.listen_tls, advertise)
        if bound.internal is not None:
            access = _access(Server(*bound.internal), self._settings.admin, self._settings.admin_password)
            if access != self._access:
                self.set_access(access)
        self._listening(bound)

    def _told(self, bound: Sequence[Address], advertise: Address | None) -> tuple[Server, ...]:
        if bound and advertise is not None:
            return (Server(*advertise),)
        return tuple(dict.fromkeys(Server(self._host, port) for _, port in bound))

    async def start(self) -> None:
        """Starts the child and waits until it listens, for a while: if it does not, operations will fail meanwhile."""
        self.child.start()
        if self.child.bound is None:
            waited: Deferred[None] = Deferred()
            timeout = self._reactor.callLater(self._ready_seconds, waited.callback, None)

            def ready(bound: Bound) -> Bound:
                if not waited.called:
                    waited.callback(None)
                return bound

            self.child.ready.addCallback(ready)
            await waited
            if timeout.active():
                timeout.cancel()

    async def stop(self) -> None:
        await super().stop()
        await self.child.stop()


def _access(server: Server, admin: str, password: str) -> Access:
    if not password:
        return Access((server,), "plaintext")
    return Access((server,), "sasl_plaintext", _MECHANISM, admin, password)
