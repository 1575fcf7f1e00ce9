"""The resolver against servers that answer well, badly, late, twice, falsely, or not at all; on a network in memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.outcomes import result_of
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from eson.model.servers import Server
from eson.names.core.lookup import HostAddresses, LookupFailed, Service
from eson.names.core.query import Kind, Query, Verdict
from eson.names.net.exchange import MAX_FOREIGN
from eson.names.net.resolver import Resolver, system_servers

NAME = "_flow._tcp.time.flows.unix.ar"
SRV = "30 30 61001 fnaa.unix.ar."
FIRST, SECOND = Server("192.0.2.1", 53), Server("192.0.2.2", 53)
Answer = Callable[[bytes], list[bytes]]


def reply(query: bytes, *records: str, rcode: int = 0, set_flags: int = 0, authority: str = "") -> bytes:
    """A reply as an honest recursive server gives it; records in the words of zone files."""
    message = dns.message.make_response(dns.message.from_wire(query), recursion_available=True)
    message.flags |= set_flags
    message.set_rcode(rcode)
    for line in records:
        owner, kind, data = line.split(" ", 2)
        message.answer.append(dns.rrset.from_text(f"{owner}.", 60, "IN", kind, data))
    if authority:
        owner, kind, data = authority.split(" ", 2)
        message.authority.append(dns.rrset.from_text(f"{owner}.", 60, "IN", kind, data))
        message.flags &= ~dns.flags.RA
    return message.to_wire(max_size=65535)


def honest(*records: str, **more: Any) -> Answer:
    return lambda query: [reply(query, *records, **more)]


def silent(query: bytes) -> list[bytes]:
    return []


class UdpPort:
    def __init__(self, network: Network, protocol: Any) -> None:
        self.network, self.protocol = network, protocol
        self.open = True
        protocol.makeConnection(self)

    def connect(self, host: str, port: int) -> None:
        self.peer = Server(host, port)

    def write(self, data: bytes) -> None:
        self.network.sent.append((self.peer, data))
        answer = self.network.udp.get(self.peer)
        if answer is None:
            self.network.callLater(0.01, self._if_open, self.protocol.connectionRefused)
            return
        for one in answer(data):
            self.deliver(one, (self.peer.host, self.peer.port))
        for one, sender in self.network.forged(data):
            self.deliver(one, sender)

    def deliver(self, data: bytes, sender: tuple[str, int]) -> None:
        self.network.callLater(0.01, self._if_open, self.protocol.datagramReceived, data, sender)

    def _if_open(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.open:
            call(*arguments)

    def stopListening(self) -> None:
        self.open = False
        self.network.sockets -= 1


class Connection(StringTransport):
    def __init__(self, network: Network, answer: Answer | None, factory: Any) -> None:
        super().__init__()
        self.network, self.factory = network, factory
        self.state = "connecting"
        self.answer = answer
        self.ended = False
        network.callLater(0.01, self._connect)

    def _connect(self) -> None:
        if self.ended:
            return
        if self.answer is None:
            self._release()
            self.factory.clientConnectionFailed(self, Failure(Refused()))
            return
        self.state = "connected"
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        super().write(data)
        assert self.answer is not None
        assert struct.unpack("!H", data[:2])[0] == len(data) - 2
        octets = b"".join(struct.pack("!H", len(one)) + one for one in self.answer(data[2:]))
        for at in range(len(octets)):
            self.network.callLater(0.01, self._deliver, octets[at : at + 1])

    def _deliver(self, octets: bytes) -> None:
        if not self.ended:
            self.protocol.dataReceived(octets)

    def close(self) -> None:
        self._release()
        self.protocol.connectionLost(Failure(Refused()))

    def abortConnection(self) -> None:
        self._release()

    def disconnect(self) -> None:
        self._release()

    def _release(self) -> None:
        if not self.ended:
            self.network.sockets -= 1
        self.ended = True
        self.state = "disconnected"


class Network(Clock):
    """A reactor whose servers are functions from the octets of a query to those of replies."""

    def __init__(self) -> None:
        super().__init__()
        self.udp: dict[Server, Answer] = {}
        self.tcp: dict[Server, Answer] = {}
        self.sent: list[tuple[Server, bytes]] = []
        self.sockets = 0
        self.forged: Callable[[bytes], list[tuple[bytes, tuple[str, int]]]] = lambda _: []
        self.hosts: dict[str, str] = {}

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 0) -> UdpPort:
        assert port == 0
        self.sockets += 1
        return UdpPort(self, protocol)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float) -> Connection:
        self.sockets += 1
        return Connection(self, self.tcp.get(Server(host, port)), factory)

    def resolve(self, host: str) -> Deferred[str]:
        return succeed(self.hosts[host]) if host in self.hosts else fail(DNSLookupError(host))

    def run(self, steps: Any, seconds: float = 60.0) -> Any:
        """The result of a look-up, the clock moved as far as it needs; no socket and no timer may be left."""
        waiting = Deferred.fromCoroutine(steps)
        while not waiting.called and self.seconds() < seconds:
            self.advance(0.01)
        assert waiting.called, "the look-up does not end"
        self.took = self.seconds()
        assert self.sockets == 0
        self.advance(0.02)
        assert [one for one in self.getDelayedCalls() if one.getTime() > self.seconds() + 1] == []
        return result_of(waiting)


@pytest.fixture
def network() -> Network:
    return Network()


def resolver(network: Network, *servers: Server, **more: Any) -> Resolver:
    return Resolver(network, servers or (FIRST,), **more)


def failure(network: Network, one: Resolver, name: str = NAME) -> str:
    with pytest.raises(LookupFailed) as caught:
        network.run(one.services(name))
    assert caught.value.text == f"{name} cannot be resolved at the moment"
    return str(caught.value.context["why"])


# --- honest servers ---------------------------------------------------------------------------------------------------


def test_services_come_as_values(network: Network) -> None:
    network.udp[FIRST] = honest(f"{NAME} SRV {SRV}", f"{NAME} SRV 10 0 1 KF1.unix.ar.", f"{NAME} SRV 0 0 0 .")
    assert network.run(resolver(network).services(NAME)) == (
        Service(30, 30, 61001, "fnaa.unix.ar"),
        Service(10, 0, 1, "kf1.unix.ar"),
        Service(0, 0, 0, ""),
    )
    query = dns.message.from_wire(network.sent[0][1])
    assert (query.flags, query.edns, query.payload) == (dns.flags.RD, 0, 1232)


def test_pointers_texts_and_addresses(network: Network) -> None:
    f = "time.flows.unix.ar"
    records = {
        (f, Kind.PTR): f"{f} PTR _Flow._tcp.{f}.",
        (NAME, Kind.TXT): f'{NAME} TXT "broker-type=kafka" "tls" "\\255"',
        ("kf1.unix.ar", Kind.A): "kf1.unix.ar A 192.0.2.9",
        ("kf1.unix.ar", Kind.AAAA): "kf1.unix.ar AAAA 2001:db8::9",
    }

    def answer(query: bytes) -> list[bytes]:
        question = dns.message.from_wire(query).question[0]
        return [reply(query, records[question.name.to_text(True), question.rdtype])]

    network.udp[FIRST] = answer
    one = resolver(network)
    assert network.run(one.pointers(f)) == (f"_flow._tcp.{f}",)
    assert network.run(one.texts(NAME)) == (("broker-type=kafka", "tls", "�"),)
    assert network.run(one.addresses("kf1.unix.ar")) == HostAddresses(("2001:db8::9", "192.0.2.9"))


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.NOERROR])
def test_what_does_not_exist_is_empty(network: Network, rcode: int) -> None:
    network.udp[FIRST] = honest(rcode=rcode)
    assert network.run(resolver(network).services(NAME)) == ()
    assert len(network.sent) == 1


def test_records_of_other_names_and_types_are_not_taken(network: Network) -> None:
    network.udp[FIRST] = honest(
        "evil.net SRV 0 0 1 evil.net.", f"{NAME} TXT tls", f"x.{NAME} SRV 0 0 1 evil.net."
    )
    assert network.run(resolver(network).services(NAME)) == ()


def test_aliases_are_followed_and_told(network: Network) -> None:
    network.udp[FIRST] = honest(
        "kf1.unix.ar CNAME a.unix.ar.",
        "a.unix.ar CNAME b.unix.ar.",
        "b.unix.ar A 192.0.2.9",
        "b.unix.ar AAAA ::9",
    )
    assert network.run(resolver(network).addresses("kf1.unix.ar")) == HostAddresses(
        ("::9", "192.0.2.9"), aliased=True
    )


@pytest.mark.parametrize(("lame", "expected"), [(Kind.AAAA, "192.0.2.9"), (Kind.A, "2001:db8::9")])
def test_one_family_of_addresses_is_enough(network: Network, lame: Kind, expected: str) -> None:
    """Some servers answer nothing to AAAA; the other family is asked meanwhile, not after."""

    def answer(query: bytes) -> list[bytes]:
        kind = dns.message.from_wire(query).question[0].rdtype
        data = "A 192.0.2.9" if kind == Kind.A else "AAAA 2001:db8::9"
        return [] if kind == lame else [reply(query, f"kf1.unix.ar {data}")]

    network.udp[FIRST] = answer
    assert network.run(resolver(network).addresses("kf1.unix.ar")) == HostAddresses((expected,))
    assert network.took < 6.5
    network.udp[FIRST] = silent
    with pytest.raises(LookupFailed):
        network.run(resolver(network).addresses("kf1.unix.ar"))


def test_a_family_that_fails_where_the_other_has_nothing_is_a_failure(network: Network) -> None:
    network.udp[FIRST] = lambda query: (
        [] if dns.message.from_wire(query).question[0].rdtype == Kind.A else [reply(query)]
    )
    with pytest.raises(LookupFailed):
        network.run(resolver(network).addresses("kf1.unix.ar"))
    network.udp[FIRST] = honest()
    assert network.run(resolver(network).addresses("kf1.unix.ar")) == HostAddresses(())


def test_an_alias_out_of_what_a_server_knows_is_asked_for_where_it_belongs(network: Network) -> None:
    network.udp[FIRST] = honest(f"{NAME} CNAME {NAME.replace('unix', 'emiliano')}.")
    network.udp[SECOND] = honest(f"{NAME.replace('unix', 'emiliano')} SRV {SRV}")
    one = resolver(network, FIRST, resolve={"emiliano.ar": SECOND})
    assert len(network.run(one.services(NAME))) == 1
    assert [server for server, _ in network.sent] == [FIRST, SECOND]


def test_names_below_a_domain_of_resolve_are_asked_at_its_server(network: Network) -> None:
    third = Server("192.0.2.3", 53)
    for server in (FIRST, SECOND, third):
        network.udp[server] = honest()
    one = resolver(network, FIRST, resolve={"unix.ar": SECOND, "flows.unix.ar": third})
    for name, server in {
        "a.flows.unix.ar": third,
        "flows.unix.ar": third,
        "unix.ar": SECOND,
        "xflows.unix.ar": SECOND,
        "xunix.ar": FIRST,
        "ar": FIRST,
    }.items():
        del network.sent[:]
        network.run(one.services(name))
        assert network.sent[0][0] == server


def test_a_server_may_be_written_in_any_form_of_its_address(network: Network) -> None:
    network.udp[Server("2001:db8::1", 53)] = honest(f"{NAME} SRV {SRV}")
    assert network.run(resolver(network, Server("2001:0DB8:0::1", 53)).services(NAME))


def test_ids_differ_from_query_to_query(network: Network) -> None:
    network.udp[FIRST] = honest()
    one = resolver(network)
    for _ in range(20):
        network.run(one.services(NAME))
    assert len({data[:2] for _, data in network.sent}) > 15


# --- servers that fail ------------------------------------------------------------------------------------------------


def test_a_server_that_is_silent_is_left_for_the_next(network: Network) -> None:
    network.udp = {FIRST: silent, SECOND: honest(f"{NAME} SRV {SRV}")}
    assert network.run(resolver(network, FIRST, SECOND).services(NAME))
    assert network.took < 1.5


def test_a_lost_query_is_repeated(network: Network) -> None:
    rounds: list[bytes] = []

    def third_time(query: bytes) -> list[bytes]:
        rounds.append(query)
        return [reply(query, f"{NAME} SRV {SRV}")] if len(rounds) == 3 else []

    network.udp[FIRST] = third_time
    assert network.run(resolver(network).services(NAME))
    assert len({query[:2] for query in rounds}) > 1, "a repeated query has an id of its own"


def test_silence_everywhere_ends_at_the_deadline(network: Network) -> None:
    network.udp = {FIRST: silent, SECOND: silent}
    assert "no reply in time" in failure(network, resolver(network, FIRST, SECOND, deadline=4.0))
    assert 3.9 < network.took < 4.2


def test_a_server_that_nobody_runs_fails_at_once(network: Network) -> None:
    assert "nobody listens there" in failure(network, resolver(network))
    assert network.took < 0.5


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTAUTH", "YXDOMAIN"])
def test_a_server_that_refuses_is_left_for_the_next(network: Network, rcode: str) -> None:
    network.udp = {FIRST: honest(rcode=dns.rcode.from_text(rcode)), SECOND: honest(f"{NAME} SRV {SRV}")}
    assert network.run(resolver(network, FIRST, SECOND).services(NAME))
    del network.udp[SECOND]
    assert f": it answers {rcode}" in failure(network, resolver(network, FIRST))


def test_a_referral_is_no_answer(network: Network) -> None:
    network.udp[FIRST] = honest(authority="unix.ar NS ns1.unix.ar.")
    assert "refers" in failure(network, resolver(network))


def test_a_chain_of_aliases_ends(network: Network) -> None:
    def endless(query: bytes) -> list[bytes]:
        name = dns.message.from_wire(query).question[0].name.to_text(True)
        return [reply(query, f"{name} CNAME x{len(network.sent)}.unix.ar.")]

    network.udp[FIRST] = endless
    assert "alias" in failure(network, resolver(network))
    loop = honest(f"{NAME} CNAME a.unix.ar.", f"a.unix.ar CNAME {NAME}.")
    network.udp[FIRST] = loop
    assert "alias" in failure(network, resolver(network))
    assert len(network.sent) < 60


def test_no_server_at_all() -> None:
    network = Network()
    assert failure(network, Resolver(network, ())) == "no name server is known"


@pytest.mark.parametrize("name", ["a" * 64 + ".ar", ".".join(["a" * 60] * 5), "a..ar"])
def test_what_is_no_name_is_not_asked_for(network: Network, name: str) -> None:
    assert "is no name" in failure(network, resolver(network), name)
    assert network.sent == []


def test_a_server_without_edns_is_asked_without(network: Network) -> None:
    def old(query: bytes) -> list[bytes]:
        if dns.message.from_wire(query).edns >= 0:
            return [query[:2] + b"\x81\x81" + bytes(8)]
        return [reply(query, f"{NAME} SRV {SRV}")]

    network.udp[FIRST] = old
    assert network.run(resolver(network).services(NAME))
    assert len(network.sent) == 2
    network.udp[FIRST] = lambda query: [query[:2] + b"\x81\x81" + bytes(8)]
    assert "FORMERR" in failure(network, resolver(network))


def test_a_truncated_answer_is_fetched_over_tcp(network: Network) -> None:
    records = [f"{NAME} SRV 0 0 {port} kf.unix.ar." for port in range(1, 50)]
    network.udp[FIRST] = honest(set_flags=dns.flags.TC)
    network.tcp[FIRST] = honest(*records)
    assert len(network.run(resolver(network).services(NAME))) == 49


@pytest.mark.parametrize("tcp", [None, silent, honest(set_flags=dns.flags.TC), lambda _: [b"", b"\0" * 20]])
def test_a_truncated_answer_that_cannot_be_fetched_is_no_answer(network: Network, tcp: Answer | None) -> None:
    network.udp[FIRST] = honest(f"{NAME} SRV {SRV}", set_flags=dns.flags.TC)
    if tcp is not None:
        network.tcp[FIRST] = tcp
    failure(network, resolver(network))


def test_a_name_server_may_be_given_by_name(network: Network) -> None:
    network.hosts["ns1.unix.ar"] = FIRST.host
    network.udp[FIRST] = honest(f"{NAME} SRV {SRV}")
    assert network.run(resolver(network, Server("ns1.unix.ar", 53)).services(NAME))
    assert "no address" in failure(network, resolver(network, Server("ns2.unix.ar", 53)))


@pytest.mark.parametrize(("question", "expected"), [("services", 1), ("addresses", 2)])
def test_a_look_up_that_is_given_up_leaves_nothing_open(
    network: Network, question: str, expected: int
) -> None:
    network.udp[FIRST] = silent
    waiting = Deferred.fromCoroutine(getattr(resolver(network), question)(NAME))
    network.advance(0.5)
    assert network.sockets == expected
    waiting.cancel()
    with pytest.raises(CancelledError):
        result_of(waiting)
    assert network.sockets == 0
    assert network.getDelayedCalls() == []


# --- liars ------------------------------------------------------------------------------------------------------------

FALSE = f"{NAME} SRV 0 0 666 evil.net."


def other_id(query: bytes) -> bytes:
    return (int.from_bytes(query[:2], "big") ^ 1).to_bytes(2, "big") + reply(query, FALSE)[2:]


def other_question(query: bytes) -> bytes:
    return reply(query, FALSE).replace(b"\x04time", b"\x04tame")


def other_type(query: bytes) -> bytes:
    wire = bytearray(reply(query, FALSE))
    wire[wire.index(b"\2ar\0") + 5] = 16
    return bytes(wire)


def broken(query: bytes) -> bytes:
    return reply(query, FALSE)[:-3]


def a_query(query: bytes) -> bytes:
    return query


def pointer_loop(query: bytes) -> bytes:
    end = query.index(b"\0\0\x29")
    return (
        query[:2]
        + b"\x81\x80\0\1\0\1\0\0\0\0"
        + query[12:end]
        + b"\xc0"
        + bytes((end,))
        + b"\0\x21\0\1"
        + bytes(6)
    )


def garbage(query: bytes) -> bytes:
    return query[:2] + b"\xff" * 200


FORGERIES = [
    other_id,
    other_question,
    other_type,
    broken,
    a_query,
    pointer_loop,
    garbage,
    lambda _: b"",
    lambda query: query[:11],
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_bad_reply_does_not_end_the_query(network: Network, forge: Callable[[bytes], bytes]) -> None:
    """The true reply, which comes after it, is waited for."""
    network.udp[FIRST] = lambda query: [forge(query), forge(query), reply(query, f"{NAME} SRV {SRV}")]
    assert network.run(resolver(network).services(NAME)) == (Service(30, 30, 61001, "fnaa.unix.ar"),)
    assert len(network.sent) == 1


def test_a_perfect_reply_from_another_address_is_dropped(network: Network) -> None:
    for sender in [("192.0.2.66", 53), ("192.0.2.1", 54)]:
        network.udp[FIRST] = silent
        network.forged = lambda query, sender=sender: [(reply(query, FALSE), sender)]
        failure(network, resolver(network, attempts=(0.2,)))


def test_a_flood_of_guesses_ends_the_attempt(network: Network) -> None:
    network.udp[FIRST] = lambda query: [other_id(query)] * (MAX_FOREIGN + 50) + [reply(query, FALSE)]
    assert "no reply" in failure(network, resolver(network))


@pytest.mark.parametrize("forge", FORGERIES)
def test_bad_messages_over_tcp_are_passed_over(network: Network, forge: Callable[[bytes], bytes]) -> None:
    network.udp[FIRST] = honest(set_flags=dns.flags.TC)
    network.tcp[FIRST] = lambda query: [forge(query), reply(query, f"{NAME} SRV {SRV}")]
    assert network.run(resolver(network).services(NAME)) == (Service(30, 30, 61001, "fnaa.unix.ar"),)


# --- replies as octets ------------------------------------------------------------------------------------------------

QUERY = Query(NAME, Kind.SRV, 0xBEEF)
GOOD = reply(QUERY.wire, f"{NAME} SRV {SRV}", f"{NAME} SRV 1 2 3 kf1.unix.ar.")


def test_a_reply_that_is_cut_anywhere_is_no_reply() -> None:
    assert QUERY.judge(GOOD).verdict is Verdict.ANSWER
    assert QUERY.judge(GOOD + b"trailing").verdict is Verdict.ANSWER
    for end in range(len(GOOD)):
        assert QUERY.judge(GOOD[:end]).verdict is Verdict.FOREIGN


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_judged(data: bytes) -> None:
    QUERY.judge(data)
    QUERY.judge(GOOD[:12] + data)
    QUERY.judge(GOOD[: 12 + len(NAME) + 2 + 4] + data)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_reply_with_some_octets_changed_is_judged(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    QUERY.judge(bytes(data))


def test_the_systems_name_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# made by hand\nsearch unix.ar\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
    )
    assert system_servers(str(file)) == (
        Server("192.0.2.1", 53),
        Server("2001:db8::1", 53),
        Server("192.0.2.3", 53),
    )
    assert system_servers(str(tmp_path / "missing")) == ()
