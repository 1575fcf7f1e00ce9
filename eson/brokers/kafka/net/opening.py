"""Opens connections: TCP, TLS, versions, login."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from eson.brokers.kafka.failures import LoginRefused, Unreachable
from eson.brokers.kafka.net.connection import FRAME_CAP, KafkaConnection
from eson.brokers.kafka.net.login import client_mechanism
from eson.brokers.kafka.wire.apis import (
    ApiVersionsRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from eson.brokers.kafka.wire.errors import ErrorCode, name_of
from eson.brokers.port import Access
from eson.identity.mechanisms import MechanismError
from eson.identity.tls import ClientTls
from eson.model.servers import Server

MAX_SASL_STEPS = 5
RENEW_AT = 0.8
"""Part of a session's lifetime (KIP-368) after which a new connection is made."""


class _Connections(Factory):
    noisy = False

    def __init__(self, clock: IReactorTime, name: str, frame_cap: int) -> None:
        self._make = partial(KafkaConnection, clock, name, frame_cap)

    def buildProtocol(self, addr: IAddress | None) -> KafkaConnection:
        return self._make()


class Opener:
    """Opens connections to the servers of one broker as `access` says."""

    def __init__(self, reactor: Any, name: str, access: Access, frame_cap: int = FRAME_CAP) -> None:
        self._reactor = reactor
        self._name = name
        self._access = access
        self._frame_cap = frame_cap

    async def open(self, server: Server, timeout: float = 10.0) -> KafkaConnection:
        """A connection that is ready for requests.  Raises `Unreachable`, `LoginRefused`."""
        factory = _Connections(self._reactor, self._name, self._frame_cap)
        try:
            connection: KafkaConnection = await self._endpoint(server, timeout).connect(factory)
        except Exception as error:
            raise self._unreachable(server, error) from error
        ready = False
        try:
            await self._negotiate(connection, timeout)
            if self._access.security.startswith("sasl"):
                await self._login(connection, timeout)
            ready = True
        finally:
            if not ready:
                connection.close()
        return connection

    def _unreachable(self, server: Server, error: Exception) -> Unreachable:
        return Unreachable(f"Broker {self._name} cannot be reached", server=str(server), why=repr(error))

    def _endpoint(self, server: Server, timeout: float) -> Any:
        plain: Any = HostnameEndpoint(self._reactor, server.host, server.port, timeout=timeout)
        if not self._access.security.endswith("ssl"):
            return plain
        tls: Any = ClientTls(server.host, self._access.trust or "system", "intermediate")
        return wrapClientTLS(tls, plain)

    async def _negotiate(self, connection: KafkaConnection, timeout: float) -> None:
        asked = ApiVersionsRequest(version=3, client_software_name="eson", client_software_version="1")
        response = await connection.request(asked, timeout, 3)
        if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
            response = await connection.request(ApiVersionsRequest(version=0), timeout, 0)
        if response.error_code:
            raise Unreachable(
                f"Broker {self._name} cannot be reached", why=f"ApiVersions: {name_of(response.error_code)}"
            )
        connection.versions = {api.api_key: (api.min_version, api.max_version) for api in response.api_keys}

    async def _login(self, connection: KafkaConnection, timeout: float) -> None:
        mechanism = client_mechanism(self._access)
        handshake = await connection.request(
            SaslHandshakeRequest(version=1, mechanism=mechanism.name), timeout, 1
        )
        if handshake.error_code:
            raise LoginRefused(
                f"Broker {self._name} does not offer {mechanism.name}", offered=handshake.mechanisms
            )
        message = mechanism.initial() or b""
        try:
            for _ in range(MAX_SASL_STEPS):
                response = await connection.request(SaslAuthenticateRequest(auth_bytes=message), timeout)
                if response.error_code:
                    raise LoginRefused(
                        f"Broker {self._name} refused the login", error=name_of(response.error_code)
                    )
                self._note_lifetime(connection, response.session_lifetime_ms)
                if mechanism.name == "PLAIN":
                    return
                message = mechanism.answer(response.auth_bytes)
                if mechanism.finished():
                    return
        except MechanismError as error:
            raise LoginRefused(f"Broker {self._name} did not prove itself", why=str(error)) from error
        raise LoginRefused(f"Broker {self._name} never ends the login")

    def _note_lifetime(self, connection: KafkaConnection, lifetime_ms: int) -> None:
        if lifetime_ms and lifetime_ms > 0:
            connection.expires = self._reactor.seconds() + lifetime_ms / 1000 * RENEW_AT
