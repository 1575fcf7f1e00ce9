"""From an address to a connection that is ready for requests: resolve, connect, TLS, versions, login."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct

from eson.brokers.kafka.wire.apis import (
    ApiVersionsRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from eson.brokers.kafka.wire.errors import name_of
from eson.identity.mechanisms import ClientMechanism, MechanismError
from eson.model.servers import Server
from eson.processors.child.connection import Connection
from eson.processors.child.resolving import addresses
from eson.processors.child.trouble import Failing, LoginRefused, Unreachable
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd

CONNECT_TIMEOUT = 10.0
_MAX_STEPS = 4
_NO_LINGER = struct.pack("ii", 1, 0)


class Opener:
    """Opens connections for one end."""

    def __init__(self, end: ProcessorEnd, reach: Reach) -> None:
        self._access = end.access
        self._foreign = end.foreign
        self._reach = reach
        self._tls: ssl.SSLContext | None = None

    async def open(self, server: Server) -> Connection:
        """A connection that is logged in and knows what the broker offers.  Raises `Unreachable`, `Failing`."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                sock = await self._connect(server)
                if self._access.security.endswith("ssl"):
                    sock = await self._handshake(sock, server)
        except TimeoutError:
            raise Unreachable(f"{server} does not answer") from None
        connection = Connection(sock, str(server), asyncio.get_running_loop())
        try:
            await self._versions(connection)
            if self._access.security.startswith("sasl"):
                await self._login(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, server: Server) -> socket.socket:
        loop = asyncio.get_running_loop()
        found = await addresses(server.host, self._reach.name_server(server.host))
        permitted = [one for one in found if self._permits(server, one)]
        if not permitted:
            raise Unreachable(f"{server.host} leads to addresses that are not connected to")
        random.shuffle(permitted)
        reason = ""
        for address in permitted:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                # what was not delivered when it is closed, or its process killed, is never delivered
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                await loop.sock_connect(sock, (address, server.port))
            except OSError as error:
                sock.close()
                reason = error.strerror or str(error)
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise Unreachable(f"{server}: {reason}")

    def _permits(self, server: Server, address: str) -> bool:
        return not self._foreign or self._reach.policy.permits(server.host, address.partition("%")[0])

    async def _handshake(self, sock: socket.socket, server: Server) -> ssl.SSLSocket:
        try:
            if self._tls is None:
                self._tls = ssl.create_default_context(cadata=self._access.trust or None)
            tls = self._tls.wrap_socket(sock, server_hostname=server.host, do_handshake_on_connect=False)
        except (ssl.SSLError, ValueError) as error:
            sock.close()
            raise Failing(f"{server}: the trusted certificates cannot be used: {error}") from None
        try:
            while True:
                try:
                    tls.do_handshake()
                    return tls
                except ssl.SSLWantReadError:
                    await _ready(tls.fileno(), False)
                except ssl.SSLWantWriteError:
                    await _ready(tls.fileno(), True)
        except ssl.SSLCertVerificationError as error:
            tls.close()
            raise Unreachable(f"{server}: its certificate is not trusted: {error.verify_message}") from None
        except OSError as error:
            tls.close()
            raise Unreachable(f"{server}: TLS failed: {error.strerror or error}") from None
        except BaseException:
            tls.close()
            raise

    async def _versions(self, connection: Connection) -> None:
        request = ApiVersionsRequest(client_software_name="eson", client_software_version="1")
        answer = await connection.ask(request, 3)
        if answer.error_code == 35:
            answer = await connection.ask(ApiVersionsRequest(), 0)
        if answer.error_code:
            raise Failing(f"{connection.name} does not say what it offers: {name_of(answer.error_code)}")
        connection.versions = {
            one.api_key: (one.min_version, one.max_version) for one in answer.api_keys or ()
        }

    async def _login(self, connection: Connection) -> None:
        mechanism = self._mechanism()
        handshake = await connection.ask(SaslHandshakeRequest(mechanism=mechanism.name))
        if handshake.error_code:
            offered = ", ".join((handshake.mechanisms or ())[:8])
            raise LoginRefused(
                f"{connection.name} does not offer {mechanism.name}, it offers {offered[:100]}"
            )
        response = mechanism.initial() or b""
        try:
            for _ in range(_MAX_STEPS):
                answer = await connection.ask(SaslAuthenticateRequest(auth_bytes=response))
                if answer.error_code:
                    raise LoginRefused(f"{connection.name} refuses the credential of {self._access.username}")
                if answer.auth_bytes:
                    response = mechanism.answer(bytes(answer.auth_bytes))
                if mechanism.finished() or not answer.auth_bytes:
                    break
        except MechanismError as error:
            raise LoginRefused(f"{connection.name}: {error}") from None
        if not mechanism.finished():
            raise LoginRefused(f"{connection.name} broke the rules of {mechanism.name}")
        if getattr(answer, "session_lifetime_ms", 0):
            connection.lifetime = answer.session_lifetime_ms / 1000

    def _mechanism(self) -> ClientMechanism:
        access = self._access
        if access.mechanism == "SCRAM-SHA-256":
            from eson.identity.mechanisms.scram import ScramClient
            from eson.identity.verifier import BROKERS_ITERATIONS

            return ScramClient(access.username, access.password, max_iterations=BROKERS_ITERATIONS)
        if access.mechanism == "SCRAM-SHA-512":
            from eson.brokers.kafka.net.login import ScramSha512Client

            return ScramSha512Client(access.username, access.password)
        if access.mechanism == "PLAIN":
            from eson.identity.mechanisms.plain import PlainClient

            return PlainClient(access.username, access.password)
        raise LoginRefused(f"mechanism {access.mechanism or '(none)'} is not known here")


async def _ready(fd: int, write: bool) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    add(fd, ready)
    try:
        await future
    finally:
        remove(fd)
