"""Brokers' names are asked of the client's name servers, wherever in an adapter a connection is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from eson.client.naming import NamingReactor
from eson.names.core.lookup import LookupFailed


@implementer(IHostnameResolver)
class System:
    """The system's resolver: every name is at 198.51.100.1."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resolveHostName(
        self, receiver: Any, name: str, port: int = 0, types: Any = None, semantics: str = "TCP"
    ) -> Any:
        self.asked.append(name)
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", "198.51.100.1", port))
        receiver.resolutionComplete()


@pytest.fixture
def reactor() -> Any:
    made: Any = MemoryReactorClock()
    made.nameResolver = System()
    return made


def connects_to(reactor: Any, host: str, lookup: Any) -> list[tuple[str, int]]:
    Deferred.fromCoroutine(_connect(NamingReactor(reactor, lookup), host))
    reactor.advance(1)
    return [(one[0], one[1]) for one in reactor.tcpClients]


async def _connect(reactor: Any, host: str) -> None:
    await HostnameEndpoint(reactor, host, 9092).connect(Factory())


def test_the_clients_name_servers_come_first(reactor: Any) -> None:
    async def lookup(host: str) -> Sequence[str]:
        assert host == "kf1.unix.ar"
        return ("192.0.2.7",)

    assert connects_to(reactor, "kf1.unix.ar", lookup) == [("192.0.2.7", 9092)]
    assert reactor.nameResolver.asked == []


def test_both_families_are_tried(reactor: Any) -> None:
    async def lookup(_host: str) -> Sequence[str]:
        return ("2001:db8::7", "192.0.2.7")

    assert connects_to(reactor, "kf1.unix.ar", lookup) == [("2001:db8::7", 9092), ("192.0.2.7", 9092)]


def test_what_they_do_not_know_the_system_may(reactor: Any) -> None:
    async def nothing(_host: str) -> Sequence[str]:
        return ()

    async def fails(host: str) -> Sequence[str]:
        raise LookupFailed(host, "it answers REFUSED")

    for lookup in (nothing, fails):
        reactor.tcpClients.clear()
        assert connects_to(reactor, "kf1.example.org", lookup) == [("198.51.100.1", 9092)]


def test_an_address_is_no_name(reactor: Any) -> None:
    async def lookup(_host: str) -> Sequence[str]:
        raise AssertionError

    connects_to(reactor, "192.0.2.9", lookup)
    assert reactor.nameResolver.asked == ["192.0.2.9"]


def test_a_lookup_that_is_not_wanted_any_more_is_not_heard_of(reactor: Any) -> None:
    waiting: Deferred[Sequence[str]] = Deferred()

    async def lookup(_host: str) -> Sequence[str]:
        return await waiting

    heard: list[Any] = []

    class Receiver:
        resolutionBegan = addressResolved = heard.append

    resolution = NamingReactor(reactor, lookup).nameResolver.resolveHostName(Receiver(), "kf1.unix.ar", 9092)
    resolution.cancel()
    waiting.callback(("192.0.2.7",))
    assert (heard, reactor.nameResolver.asked) == ([], [])
