"""From where an agent may be to a session with it: one server and address after the other, within one deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from eson.errors import AuthenticationFailed, EsonError, PeerFailed, ReplyError, Unreachable
from eson.fnap.core.commands import Format
from eson.fnap.net.client import Dialogue, Session, TlsMode, connect
from eson.fnap.net.dialing import Allowed
from eson.identity.tls import ClientTls
from eson.model.servers import Server

ATTEMPT = 10.0
"""Seconds that one address may take at most, so that a dead one leaves time for the next."""

Trace = Callable[[str], None]
"""Gets what is done, in the words of the draft, section 6.4."""
Addresses = Callable[[str], Awaitable[tuple[str, ...]]]
Login = Callable[[Session], Awaitable[object]]


@dataclass(frozen=True)
class Target:
    """Where an agent may be, in the order to try.  `tls_options`: whom it must prove to be (None with tls="none")."""

    servers: tuple[Server, ...]
    tls: TlsMode
    tls_options: ClientTls | None = None


async def reach(
    reactor: Any,
    target: Target,
    addresses: Addresses,
    login: Login,
    allowed: Allowed | None = None,
    timeout: float = 30.0,
    dialogue: Dialogue | None = None,
    trace: Trace = lambda said: None,
) -> Session:
    """A session that is logged in by `login`.  `timeout` in seconds, for all of it.

    `addresses` gives the addresses of a host, and `allowed` is asked for each again before it is connected to.  A server
    that cannot be reached or is not trusted is passed over; a login that is refused ends it.

    Raises the last one's error: `Unreachable`, `TlsFailed`, `ProtocolViolation`, `ReplyError`, or what `login` raised.
    """
    end = reactor.seconds() + timeout
    failure: EsonError = Unreachable("It has no address that may be connected to")
    for server in target.servers:
        try:
            found = (server.host,) if is_address(server.host) else await addresses(server.host)
        except EsonError as error:
            failure = error
            continue
        for address in found:
            left = end - reactor.seconds()
            if left <= 0:
                raise Unreachable(f"No server answered within {timeout:g} seconds") from failure
            trace(f"C: Connecting to {Server(address, server.port)}")
            try:
                return await _attempt(reactor, target, address, server.port, login, allowed, left, dialogue)
            except AuthenticationFailed:
                raise
            except EsonError as error:
                trace(f"C: {error.text}")
                failure = error
    raise failure


async def _attempt(
    reactor: Any,
    target: Target,
    address: str,
    port: int,
    login: Login,
    allowed: Allowed | None,
    left: float,
    dialogue: Dialogue | None,
) -> Session:
    session = await connect(
        reactor,
        address,
        port,
        tls=target.tls,
        tls_options=target.tls_options,
        timeout=min(left, ATTEMPT),
        allowed=allowed,
        dialogue=dialogue,
    )
    try:
        await login(session)
    except PeerFailed:
        session.abort()
        raise
    except BaseException:  # cancelled too: the session is nobody's yet
        await session.quit()
        raise
    return session


def is_address(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def prefer_json(session: Session) -> None:
    """Asks for JSON where the agent offers it: TEXT is read too, but tells less."""
    if "JSON" in (session.word("FORMAT") or "").upper().split():
        with suppress(ReplyError):
            await session.execute(Format(json=True))
