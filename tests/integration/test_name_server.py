"""The embedded name server over real sockets: as `dig` shows it, beside BIND 9, and as the resolver finds flows in it."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from servers.bind import program, running_bind
from servers.twisted_reactor import InReactor

from eson.errors import BackendFailed
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.core.authority import Authority, Settings
from eson.names.core.records import Agent
from eson.names.core.zonefile import zone_text
from eson.names.discovery import Discovery
from eson.names.embedded import EmbeddedNames
from eson.names.net.resolver import Resolver
from eson.names.net.server import Limits, NameServer
from eson.names.port import FlowNames

FLOW = "notifications.calendar.people.syndeno.com"
SETTINGS = Settings(
    participant="syndeno.com",
    agent=Agent("fnaa.syndeno.com", 65432, True),
    zones={
        "syndeno.com": {"fnaa": ("208.68.163.200",), "kafka": ("208.68.163.218",), "ns1": ("208.68.163.200",)}
    },
    nameservers=("ns1.syndeno.com",),
)
DRAFT = FlowNames(FLOW, "people.syndeno.com", "kafka", (Server("kafka.syndeno.com", 9092),), True, FLOW)
COPY = f"ksdj898.{FLOW}"
RENAMED = replace(DRAFT, flow="a.b.people.syndeno.com", queue="a_b_people_syndeno_com")


def flows() -> list[FlowNames]:
    copy = replace(DRAFT, flow=COPY, queue=COPY, copy=True, catalogued=False)
    many = [
        replace(
            DRAFT,
            flow=f"f{n:03}.many.syndeno.com",
            namespace="many.syndeno.com",
            queue=f"f{n:03}.many.syndeno.com",
        )
        for n in range(100)
    ]
    return [DRAFT, copy, RENAMED, *many]


async def publish(names: EmbeddedNames) -> None:
    for flow in flows():
        await names.publish_flow(flow)


@pytest.fixture
def serve(
    reactor_thread: Any, in_reactor: InReactor
) -> Generator[Callable[..., tuple[NameServer, int]], None, None]:
    """Starts a server on a free port of 127.0.0.1."""
    with ExitStack() as ends:

        def start(names: EmbeddedNames, limits: Limits | None = None) -> tuple[NameServer, int]:
            service = NameServer(reactor_thread, names.respond, [("127.0.0.1", 0)], limits)
            in_reactor(service.privilegedStartService)
            in_reactor(service.startService)
            ends.callback(in_reactor, service.stopService)
            return service, service.addresses[0][1]

        yield start


@pytest.fixture
def port(serve: Callable[..., tuple[NameServer, int]], in_reactor: InReactor) -> int:
    names = EmbeddedNames(SETTINGS)
    in_reactor(publish, names)
    return serve(names)[1]


def dig(port: int, *arguments: str) -> str:
    command = ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def answers(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line, count=4) for line in text.splitlines() if line]


def test_dig_shows_the_records_of_the_draft(port: int) -> None:
    """The seven records of figures.md; the times to live are ours."""
    shown = lambda name, kind: answers(dig(port, "+noall", "+answer", name, kind))  # noqa: E731
    assert shown(FLOW, "PTR") == [f"{FLOW}. 900 IN PTR _flow._tcp.{FLOW}."]
    assert shown(f"_flow._tcp.{FLOW}", "SRV") == [
        f"_flow._tcp.{FLOW}. 900 IN SRV 30 30 65432 fnaa.syndeno.com."
    ]
    assert shown(f"_flow._tcp.{FLOW}", "TXT") == [f'_flow._tcp.{FLOW}. 900 IN TXT "tls"']
    assert shown(f"_queue._flow._tcp.{FLOW}", "SRV") == [
        f"_queue._flow._tcp.{FLOW}. 900 IN SRV 30 30 9092 kafka.syndeno.com."
    ]
    assert shown(f"_queue._flow._tcp.{FLOW}", "TXT") == [
        f'_queue._flow._tcp.{FLOW}. 900 IN TXT "broker-type=kafka" "tls"'
    ]
    assert shown("fnaa.syndeno.com", "A") == ["fnaa.syndeno.com. 900 IN A 208.68.163.200"]
    assert shown("kafka.syndeno.com", "A") == ["kafka.syndeno.com. 900 IN A 208.68.163.218"]


@pytest.mark.parametrize(
    "options", [(), ("+tcp",), ("+noedns",), ("+dnssec",), ("+nocookie",), ("+keepopen", "+tcp")]
)
def test_dig_shows_a_whole_answer_without_a_complaint(port: int, options: tuple[str, ...]) -> None:
    text = dig(port, "+norecurse", *options, f"_queue._flow._tcp.{FLOW}", "SRV")
    assert "status: NOERROR" in text
    assert re.search(r";; flags: qr aa; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: [12]\n", text)
    assert "kafka.syndeno.com.\t900\tIN\tA\t208.68.163.218" in text
    assert ";; WARNING" not in text
    assert "malformed" not in text.lower()


def test_dig_fetches_over_tcp_what_udp_cannot_hold(port: int) -> None:
    text = dig(port, "+norecurse", "_flow._tcp.many.syndeno.com", "PTR")
    assert ";; Truncated, retrying in TCP mode." in text
    assert "ANSWER: 100," in text


# --- beside BIND ------------------------------------------------------------------------------------------------------

QUESTIONS = [
    (FLOW, "PTR"), (FLOW, "A"), (FLOW, "SRV"), (FLOW.upper(), "PTR"), (f"_flow._tcp.{FLOW}", "SRV"), (f"_flow._tcp.{FLOW}", "TXT"),
    (f"_queue._flow._tcp.{FLOW}", "SRV"), (f"_queue._flow._tcp.{FLOW}", "TXT"), (f"_tcp.{FLOW}", "A"), (f"_tcp.{FLOW}", "SRV"),
    (f"_udp.{FLOW}", "SRV"), (f"x.{FLOW}", "PTR"), (COPY, "PTR"), (f"_queue._flow._tcp.{COPY}", "SRV"), (f"x.{COPY}", "A"),
    ("_queue._flow._tcp.a.b.people.syndeno.com", "TXT"), ("b.people.syndeno.com", "A"), ("people.syndeno.com", "SOA"),
    ("people.syndeno.com", "NS"), ("_flow._tcp.people.syndeno.com", "SRV"), ("_flow._tcp.people.syndeno.com", "PTR"),
    ("_flow._tcp.many.syndeno.com", "PTR"), ("_flow._tcp.many.syndeno.com", "SRV"), ("_flow._tcp.syndeno.com", "SRV"),
    ("syndeno.com", "SOA"), ("syndeno.com", "NS"), ("syndeno.com", "A"), ("syndeno.com", "DNSKEY"), ("syndeno.com", "DS"),
    ("syndeno.com", "TYPE666"), ("syndeno.com", "HTTPS"), ("syndeno.com", "CNAME"), ("SYNDENO.com", "MX"), ("fnaa.syndeno.com", "A"),
    ("fnaa.syndeno.com", "AAAA"), ("ns1.syndeno.com", "A"), ("nothing.syndeno.com", "A"), ("a.b.c.d.e.nothing.syndeno.com", "TXT"),
    ("com", "NS"), (".", "NS"), (".", "SOA"), ("emiliano.ar", "A"), ("notsyndeno.com", "A"), ("syndeno.com.ar", "A"),
    ("syndeno.com", "AXFR"), ("syndeno.com", "MAILB"), ("syndeno.com", "TYPE41"),
    ("syndeno.com", "TYPE250"), ("*.syndeno.com", "A"), ("\\000.syndeno.com", "A"), ("a\\.b.syndeno.com", "A"),
]  # fmt: skip


def test_answers_are_those_of_bind(port: int, tmp_path: Path) -> None:
    """The same zone in BIND 9: same rcode, flags and sections, over UDP of two sizes and over TCP."""
    authority = Authority(SETTINGS, lambda: 1000.0)
    for flow in flows():
        authority.put_flow(flow)
    differences = []
    with running_bind(tmp_path, {"syndeno.com": zone_text(authority.zone("syndeno.com"))}) as bind:
        for name, kind in QUESTIONS:
            for options in (
                {},
                {"use_edns": 0, "payload": 1232},
                {"use_edns": 0, "payload": 512, "want_dnssec": True},
                {"tcp": True},
            ):
                if options.get("tcp") and kind in ("AXFR", "IXFR"):
                    continue  # a transfer over TCP is another conversation
                ours, theirs = (exchange(one, name, kind, **options) for one in (port, bind))
                if ours != theirs:
                    differences.append((name, kind, options, ours, theirs))
    assert differences == []


def exchange(port: int, name: str, kind: str, tcp: bool = False, **options: Any) -> dict[str, Any]:
    """A reply as comparable values.

    Left out: the serial and the order of records; what BIND adds to be helpful (NS of the zone behind each answer, with
    their addresses); the part of a set that BIND puts into a truncated reply; addresses where 512 octets are the limit,
    which BIND leaves out earlier than it must.
    """
    query = dns.message.make_query(name, kind, flags=0, **options)
    send = dns.query.tcp if tcp else dns.query.udp
    reply = send(query, "127.0.0.1", port=port, timeout=5)
    whole = not reply.flags & dns.flags.TC
    answer = {
        rrset.to_text().lower() for rrset in reply.answer if whole and rrset.rdtype != dns.rdatatype.SOA
    }
    helped = options.get("payload") != 512
    return {
        "rcode": dns.rcode.to_text(reply.rcode()),
        "flags": dns.flags.to_text(reply.flags),
        "edns": (reply.edns, reply.payload if reply.edns >= 0 else 0, reply.ednsflags & 0x8000),
        "question": [one.to_text() for one in reply.question],
        "answer": sorted("\n".join(sorted(text.split("\n"))) for text in answer),
        "soa": [
            (one.name.to_text().lower(), one.ttl)
            for one in [*reply.answer, *reply.authority]
            if one.rdtype == dns.rdatatype.SOA
        ],
        "additional": sorted(
            one.to_text()
            for one in reply.additional
            if helped and (one.name.to_text() != "ns1.syndeno.com." or kind == "NS")
        ),
    }


def test_both_refuse_what_is_no_query(port: int, tmp_path: Path) -> None:
    """Octets, not messages: opcodes, counts, scraps; compared by the header of the reply, or that there is none."""
    question = b"\7syndeno\3com\0\0\6\0\1"
    packets = {
        "status": struct.pack("!6H", 7, 2 << 11, 0, 0, 0, 0),
        "opcode 15, all flags": struct.pack("!6H", 7, 15 << 11 | 0x07F0, 0, 0, 0, 0),
        "a reply": struct.pack("!6H", 7, 0x8000, 1, 0, 0, 0) + question,
        "eleven octets": bytes(11),
        "no question": struct.pack("!6H", 7, 0x0100, 0, 0, 0, 0),
        "two questions": struct.pack("!6H", 7, 0, 2, 0, 0, 0) + question * 2,
        "a question cut": struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + question[:-1],
        "a pointer to itself": struct.pack("!6H", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\6\0\1",
        "two OPT": struct.pack("!6H", 7, 0, 1, 0, 0, 2) + question + (b"\0\0\x29\x04\xd0" + bytes(6)) * 2,
        "an option cut": struct.pack("!6H", 7, 0, 1, 0, 0, 1)
        + question
        + b"\0\0\x29\x04\xd0"
        + bytes(4)
        + b"\0\3\0\3\0",
        "class CH": struct.pack("!6H", 7, 0, 1, 0, 0, 0) + b"\5other\0\0\x10\0\3",
        "a trailing octet": struct.pack("!6H", 7, 0, 1, 0, 0, 0) + question + b"\0",
    }
    authority = Authority(SETTINGS, lambda: 1000.0)
    with running_bind(tmp_path, {"syndeno.com": zone_text(authority.zone("syndeno.com"))}) as bind:
        ours, theirs = (
            {name: header(one, packet) for name, packet in packets.items()} for one in (port, bind)
        )
    assert ours == theirs


def header(port: int, packet: bytes) -> tuple[int, str] | None:
    """Opcode and rcode of the reply.  A second, good query tells that none is coming, without a wait."""
    good = struct.pack("!6H", 8, 0, 1, 0, 0, 0) + b"\7syndeno\3com\0\0\2\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(5)
        client.send(packet)
        client.send(good)
        replies = [client.recv(4096)]
        if replies[0][:2] != b"\0\x08":
            replies.append(client.recv(4096))
        first = next((one for one in replies if one[:2] == b"\0\7"), None)
        return (
            None if first is None else (first[2] >> 3 & 15, dns.rcode.to_text(dns.rcode.Rcode(first[3] & 15)))
        )


def test_a_zone_file_passes_the_check_of_bind(tmp_path: Path) -> None:
    authority = Authority(SETTINGS, lambda: 1000.0)
    for flow in flows():
        authority.put_flow(flow)
    file = tmp_path / "zone"
    file.write_text(zone_text(authority.zone("syndeno.com")))
    check = program("named-checkzone")
    assert check
    done = subprocess.run(
        [check, "-i", "full-sibling", "syndeno.com", str(file)], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "OK"), done.stdout


# --- ports and connections --------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_an_error_with_a_remedy(
    port: int, reactor_thread: Any, in_reactor: InReactor
) -> None:
    service = NameServer(reactor_thread, EmbeddedNames(SETTINGS).respond, [("127.0.0.1", port)])
    with pytest.raises(BackendFailed) as caught:
        in_reactor(service.privilegedStartService)
    assert caught.value.text.startswith(
        f"The name server cannot listen on 127.0.0.1 port {port}: Address already in use. Find "
    )


def test_several_queries_share_a_connection_however_they_are_cut(port: int) -> None:
    queries = [dns.message.make_query(f"f{n:03}.many.syndeno.com", "PTR") for n in range(50)]
    octets = b"".join(struct.pack("!H", len(wire)) + wire for wire in (one.to_wire() for one in queries))
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        for at in range(0, len(octets), 97):
            client.sendall(octets[at : at + 97])
        stream = client.makefile("rb")
        for query in queries:
            (length,) = struct.unpack("!H", stream.read(2))
            reply = dns.message.from_wire(stream.read(length))
            assert query.is_response(reply)
            assert len(reply.answer) == 1


def test_idle_connections_are_closed_and_too_many_refused(
    serve: Callable[..., tuple[NameServer, int]], in_reactor: InReactor
) -> None:
    service, port = serve(EmbeddedNames(SETTINGS), Limits(connections=2, per_address=2, idle=0.3))
    open_ones = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", port), 5) as third:
        assert third.recv(1) == b"", "closed at once"
    for one in open_ones:
        with pytest.raises(ConnectionResetError):
            one.recv(1)
        one.close()
    assert in_reactor(lambda: (service.counts.refused, service.counts.idle)) == (1, 2)


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_a_flow_is_found_by_its_name_alone(port: int, reactor_thread: Any, in_reactor: InReactor) -> None:
    resolver = Resolver(reactor_thread, (), {"syndeno.com": Server("127.0.0.1", port)})
    discovery = Discovery(resolver, AddressPolicy.of())
    agent = in_reactor(discovery.discover_agent, FLOW)
    assert (agent.servers, agent.tls, agent.domain) == ((Server("fnaa.syndeno.com", 65432),), True, FLOW)
    assert in_reactor(discovery.discover_agent, "unknown.people.syndeno.com").domain == "people.syndeno.com"
    assert in_reactor(discovery.discover_participant_agent, "syndeno.com").host == "fnaa.syndeno.com"
    broker = in_reactor(discovery.discover_broker, RENAMED.flow)
    assert (broker.kind, broker.tls, broker.queue) == ("kafka", True, "a_b_people_syndeno_com")
    assert in_reactor(discovery.addresses, "kafka.syndeno.com") == ("208.68.163.218",)


def test_the_resolver_fetches_a_large_answer_over_tcp(
    port: int, reactor_thread: Any, in_reactor: InReactor
) -> None:
    resolver = Resolver(reactor_thread, [Server("127.0.0.1", port)])
    assert len(in_reactor(resolver.pointers, "_flow._tcp.many.syndeno.com")) == 100


def test_the_resolver_survives_a_server_that_talks_nonsense_first(
    reactor_thread: Any, in_reactor: InReactor
) -> None:
    """Over a real socket: garbage, another id, and a datagram from another port come before the true reply."""
    names = EmbeddedNames(SETTINGS)
    in_reactor(publish, names)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            query, client = server.recvfrom(4096)
            reply = names.respond(query)
            assert reply is not None
            server.sendto(b"\xff" * 40, client)
            server.sendto(bytes((query[0] ^ 1,)) + reply[1:], client)
            server.sendto(reply[:-4], client)
            other.sendto(reply.replace(b"\xff\x98", b"\0\1"), client)
            server.sendto(reply, client)

        reactor_thread.callInThread(answer)
        resolver = Resolver(reactor_thread, [Server("127.0.0.1", server.getsockname()[1])], attempts=(5.0,))
        found = in_reactor(resolver.services, f"_flow._tcp.{FLOW}")
    assert [(one.port, one.target) for one in found] == [(65432, "fnaa.syndeno.com")]


def test_the_resolver_learns_at_once_that_nobody_listens(reactor_thread: Any, in_reactor: InReactor) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        server = Server("127.0.0.1", free.getsockname()[1])
    with pytest.raises(BackendFailed) as caught:
        in_reactor(Resolver(reactor_thread, [server]).services, FLOW)
    assert "nobody listens there" in str(caught.value.context["why"])
