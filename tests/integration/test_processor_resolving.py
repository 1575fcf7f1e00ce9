"""Addresses of broker hosts, asked of a name server on loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator
from contextlib import suppress

import dns.flags
import dns.message
import dns.rrset
import pytest

from eson.brokers.port import Access
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.processors.child.opening import Opener
from eson.processors.child.resolving import addresses
from eson.processors.child.trouble import Unreachable
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd

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


@pytest.fixture
def rebinding() -> Generator[tuple[Server, list[str]], None, None]:
    """A name server that says 127.0.0.2 once and 127.0.0.1 from then on; and what it said."""
    said: list[str] = []
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                wire, peer = sock.recvfrom(4096)
                if not wire:
                    return
                query = dns.message.from_wire(wire)
                reply = dns.message.make_response(query)
                if query.question[0].to_text().endswith(" A"):
                    said.append("127.0.0.1" if said else "127.0.0.2")
                    reply.answer.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "A", said[-1]))
                reply.flags |= dns.flags.RA
                sock.sendto(reply.to_wire(), peer)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    yield Server("127.0.0.1", sock.getsockname()[1]), said
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"", sock.getsockname())
    serving.join(5)
    sock.close()


def test_a_broker_that_leads_elsewhere_once_it_was_checked_leads_nowhere(
    rebinding: tuple[Server, list[str]],
) -> None:
    """What is connected to is the address that was checked; the next time it is checked anew."""
    name_server, said = rebinding
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)
        broker = Server("kf1.unix.ar", inside.getsockname()[1])
        end = ProcessorEnd(Access((broker,)), "q", "f.flows.unix.ar", foreign=True)
        opener = Opener(end, Reach(AddressPolicy.of(["127.0.0.2/32"]), name_server))
        for why in ("Connect call failed", "addresses that are not connected to"):
            with pytest.raises(Unreachable, match=why):
                asyncio.run(opener.open(broker))
        assert said == ["127.0.0.2", "127.0.0.1"]
        with pytest.raises(BlockingIOError):
            inside.accept()
