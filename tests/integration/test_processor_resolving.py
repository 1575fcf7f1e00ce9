"""Addresses of broker hosts, asked of a name server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading

import dns.flags
import dns.message
import dns.rrset
import pytest

from eson.model.servers import Server
from eson.processors.child.resolving import addresses
from eson.processors.child.trouble import Unreachable

RECORDS = {("kf1.unix.ar.", "A"): "192.0.2.7", ("kf1.unix.ar.", "AAAA"): "2001:db8::7"}


@pytest.fixture
def name_server() -> Server:
    """Answers each of the queries of one test, then ends."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(5)

    def serve() -> None:
        with sock:
            for _ in range(2):
                try:
                    wire, peer = sock.recvfrom(4096)
                except TimeoutError:
                    return
                query = dns.message.from_wire(wire)
                question = query.question[0]
                reply = dns.message.make_response(query)
                kind = question.to_text().split()[-1]
                found = RECORDS.get((question.name.to_text(), kind))
                if found:
                    reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, found))
                reply.flags |= dns.flags.RA
                sock.sendto(reply.to_wire(), peer)

    threading.Thread(target=serve, daemon=True).start()
    return Server("127.0.0.1", sock.getsockname()[1])


def test_both_families_are_asked_for(name_server: Server) -> None:
    assert asyncio.run(addresses("kf1.unix.ar", name_server)) == ["192.0.2.7", "2001:db8::7"]


def test_a_host_without_an_address_is_unreachable(name_server: Server) -> None:
    with pytest.raises(Unreachable, match=r"kf2\.unix\.ar has no address"):
        asyncio.run(addresses("kf2.unix.ar", name_server))


def test_an_address_is_asked_of_nobody() -> None:
    assert asyncio.run(addresses("::1", Server("192.0.2.1", 53))) == ["::1"]


def test_the_system_is_asked_where_no_server_is_named() -> None:
    assert "127.0.0.1" in asyncio.run(addresses("localhost", None))
