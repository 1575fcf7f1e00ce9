"""The answers of the name server: what the RFCs ask, what compliance testers check, and whatever octets arrive."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.model.servers import Server
from eson.names.core.authority import Authority, Settings
from eson.names.core.records import Agent
from eson.names.core.responder import Responder
from eson.names.port import FlowNames

F = "time.flows.unix.ar"
QUEUE = f"_queue._flow._tcp.{F}"
SETTINGS = Settings(
    "unix.ar",
    Agent("fnaa.unix.ar", 61001, True),
    ("127.0.0.1",),
    {"unix.ar": {"kf1": ("127.0.0.2", "::2")}},
)


def names(flow: str = F, **changes: Any) -> FlowNames:
    return replace(
        FlowNames(flow, "flows.unix.ar", "kafka", (Server("kf1.unix.ar", 9092),), True, flow), **changes
    )


def make(**changes: Any) -> Responder:
    authority = Authority(replace(SETTINGS, **changes), lambda: 1000.0)
    authority.put_flow(names())
    return Responder(authority)


@pytest.fixture
def responder() -> Responder:
    return make()


def ask(
    responder: Responder, query: dns.message.Message | bytes, stream: bool = False
) -> dns.message.Message:
    """The reply, read strictly: trailing octets and broken records raise."""
    wire = responder.respond(query if isinstance(query, bytes) else query.to_wire(), stream)
    assert wire is not None
    return dns.message.from_wire(wire)


def flags(message: dns.message.Message) -> set[str]:
    return set(dns.flags.to_text(message.flags & ~0x000F & ~0x7800).split())


# --- what compliance testers ask of the apex: header bits, opcodes, types, EDNS ---------------------------------------

NSID, ECS, EXPIRE = b"\0\3\0\0", b"\0\x08\0\4\0\1\0\0", b"\0\x09\0\0"
COOKIE = b"\0\x0a\0\x08\1\2\3\4\5\6\7\x08"
UNKNOWN = b"\0\x64\0\0"
OPTLIST = NSID + ECS + EXPIRE + COOKIE
SOA, DNSKEY = 6, 48
TC, RD, RA, Z, AD, CD, AA = 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010, 0x0400

# name: bits of the header, type; OPT as (size, version, flags, options) or None; over TCP
PLAIN = {
    "dns": (0, SOA), "aa": (AA, SOA), "ad": (AD, SOA), "cd": (CD, SOA), "ra": (RA, SOA), "rd": (RD, SOA), "tc": (TC, SOA),
    "zflag": (Z, SOA), "type666": (0, 666), "tcp": (0, SOA),
}  # fmt: skip
EDNS = {
    "edns": (4096, 0, 0, b""), "ednsopt": (4096, 0, 0, UNKNOWN), "do": (4096, 0, 0x8000, b""), "docd": (4096, 0, 0x8000, b""),
    "ednsflags": (4096, 0, 0x0080, b""), "optlist": (4096, 0, 0, OPTLIST), "ednsnsid": (4096, 0, 0, NSID),
    "ednscookie": (4096, 0, 0, COOKIE), "ednsexpire": (4096, 0, 0, EXPIRE), "ednssubnet": (4096, 0, 0, ECS),
    "edns@512": (512, 0, 0x8000, b""), "ednstcp": (512, 0, 0x8000, b""), "signed": (4096, 0, 0x8000, b""),
}  # fmt: skip
EDNS1 = {
    "edns1": b"", "edns1opt": UNKNOWN, "edns1do": b"", "edns1nsid": NSID, "edns1cookie": COOKIE, "edns1expire": EXPIRE,
    "edns1subnet": ECS,
}  # fmt: skip


def packet(
    bits: int, kind: int, opt: tuple[int, int, int, bytes] | None = None, name: str = "unix.ar"
) -> bytes:
    question = dns.name.from_text(name).to_wire() + struct.pack("!HH", kind, 1)
    record = b""
    if opt is not None:
        size, version, edns_flags, options = opt
        record = struct.pack("!BHHBBHH", 0, 41, size, 0, version, edns_flags, len(options)) + options
    return struct.pack("!HHHHHH", 0xBEEF, bits, 1, 0, 0, 1 if record else 0) + question + record


def test_the_cases_are_thirty_two() -> None:
    assert len(PLAIN) + len(EDNS) + len(EDNS1) + len(["opcode", "opcodeflg"]) == 32


@pytest.mark.parametrize("case", PLAIN)
def test_plain_queries(case: str, responder: Responder) -> None:
    bits, kind = PLAIN[case]
    reply = ask(responder, packet(bits, kind), stream=case == "tcp")
    assert (reply.id, reply.rcode(), reply.edns) == (0xBEEF, 0, -1)
    assert flags(reply) == {"QR", "AA"} | ({"RD"} if bits & RD else set()) | ({"CD"} if bits & CD else set())
    if kind == SOA:
        assert reply.answer[0].rdtype == SOA
    else:
        assert not reply.answer
        assert reply.authority[0].rdtype == SOA


@pytest.mark.parametrize("bits", [0, TC | RD | RA | CD | AD | AA | Z])
def test_an_unknown_opcode_gets_a_clean_header(bits: int, responder: Responder) -> None:
    header = struct.pack("!HHHHHH", 0xBEEF, bits | 15 << 11, 0, 0, 0, 0)
    assert responder.respond(header) == struct.pack("!HHHHHH", 0xBEEF, 0x8000 | 15 << 11 | 4, 0, 0, 0, 0)


@pytest.mark.parametrize("case", EDNS)
def test_edns_queries(case: str, responder: Responder) -> None:
    opt = EDNS[case]
    kind = DNSKEY if case in ("edns@512", "ednstcp") else SOA
    reply = ask(responder, packet(CD if case == "docd" else 0, kind, opt), stream=case == "ednstcp")
    assert (reply.rcode(), reply.edns, reply.payload, reply.options) == (0, 0, 1232, ())
    assert flags(reply) - {"CD"} == {"QR", "AA"}
    assert reply.ednsflags == opt[2] & 0x8000, "DO comes back, no other flag does"
    assert (reply.answer or reply.authority)[0].rdtype == SOA


@pytest.mark.parametrize("case", EDNS1)
def test_a_later_version_of_edns_gets_badvers(case: str, responder: Responder) -> None:
    do = 0x8000 if case == "edns1do" else 0
    reply = ask(responder, packet(0, SOA, (4096, 1, do, EDNS1[case])))
    assert (reply.rcode(), reply.edns, reply.options) == (dns.rcode.BADVERS, 0, ())
    assert flags(reply) == {"QR"}
    assert (reply.answer, reply.authority) == ([], [])
    assert reply.ednsflags & 0x8000 == do
    assert len(reply.question) == 1


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_service_carries_the_addresses_of_its_target(responder: Responder) -> None:
    reply = ask(responder, dns.message.make_query(QUEUE, "SRV"))
    assert [one.to_text() for one in reply.additional] == [
        "kf1.unix.ar. 900 IN A 127.0.0.2",
        "kf1.unix.ar. 900 IN AAAA ::2",
    ]


@pytest.mark.parametrize("name", [f"_tcp.{F}", "flows.unix.ar", "_tcp.flows.unix.ar"])
def test_a_name_that_only_has_names_below_it_has_no_data(name: str, responder: Responder) -> None:
    reply = ask(responder, dns.message.make_query(name, "A"))
    assert (reply.rcode(), reply.answer, "AA" in flags(reply)) == (0, [], True)
    assert reply.authority[0].to_text().startswith("unix.ar. 60 IN SOA ")


@pytest.mark.parametrize("name", ["nothing.unix.ar", f"x.{F}", f"x._flow._tcp.{F}", f"_udp.{F}"])
def test_a_name_that_is_not_there_is_denied(name: str, responder: Responder) -> None:
    reply = ask(responder, dns.message.make_query(name, "A", use_edns=0))
    assert (reply.rcode(), reply.answer, "AA" in flags(reply), reply.edns) == (
        dns.rcode.NXDOMAIN,
        [],
        True,
        0,
    )
    assert reply.authority[0].to_text().startswith("unix.ar. 60 IN SOA ")


def test_names_match_in_any_case_and_come_back_as_they_were_sent(responder: Responder) -> None:
    for name in (F, F.upper(), "TiMe.fLoWs.UnIx.Ar", "NoThInG.unix.AR"):
        for edns in (-1, 0):
            wire = responder.respond(dns.message.make_query(name, "PTR", use_edns=edns).to_wire())
            assert wire is not None
            sent = dns.name.from_text(name).to_wire()
            assert wire[12 : 12 + len(sent)] == sent
            if name.lower() == F:
                assert (
                    dns.message.from_wire(wire).answer[0][0].to_text()
                    == f"_flow._tcp.{F if name == F else name}."
                )


def test_a_kept_answer_is_the_answer_that_was_rendered(responder: Responder) -> None:
    for name, kind in [
        (F, "PTR"),
        (QUEUE, "SRV"),
        (QUEUE, "TXT"),
        ("unix.ar", "NS"),
        ("kf1.unix.ar", "AAAA"),
        (QUEUE, "ANY"),
    ]:
        for query in (
            dns.message.make_query(name, kind),
            dns.message.make_query(name.upper(), kind, use_edns=0),
            dns.message.make_query(name, kind, use_edns=0, want_dnssec=True),
            dns.message.make_query(name, kind, use_edns=0, options=[dns.edns.GenericOption(100, b"x")]),
            dns.message.make_query(name, kind, flags=0),
        ):
            fresh = make().respond(query.to_wire())
            assert responder.respond(query.to_wire()) == fresh
            assert responder.respond(query.to_wire()) == fresh
            assert fresh is not None
            assert dns.message.from_wire(fresh).answer


@pytest.mark.parametrize("kind", [65, 64, 90, 97, 0x4101, 0x6101, 0, 65535, 99])
def test_types_that_a_lower_case_letter_could_be_are_not_mixed_up(kind: int, responder: Responder) -> None:
    for _ in range(2):
        reply = ask(responder, packet(0, kind, None, F))
        assert (reply.rcode(), reply.answer, reply.authority[0].rdtype, reply.question[0].rdtype) == (
            0,
            [],
            SOA,
            kind,
        )


def test_every_type_of_record_is_answered(responder: Responder) -> None:
    """At a name that has PTR alone; types that are questions of another kind are tested below."""
    for kind in [*range(12), *range(13, 41), *range(42, 249), 256, 257, 258, 32768, 65280, 65534]:
        reply = ask(responder, packet(0, kind, None, F))
        assert (reply.rcode(), reply.answer, len(reply.authority)) == (0, [], 1), kind


def test_any_is_answered_with_one_set(responder: Responder) -> None:
    reply = ask(responder, dns.message.make_query(QUEUE, "ANY"))
    assert len(reply.answer) == 1
    assert ask(responder, dns.message.make_query("unix.ar", "ANY")).answer[0].rdtype == dns.rdatatype.NS
    assert ask(responder, dns.message.make_query("flows.unix.ar", "ANY")).answer == []


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_transfers_are_refused(kind: str, responder: Responder) -> None:
    for stream in (False, True):
        reply = ask(responder, packet(0, dns.rdatatype.from_text(kind)), stream)
        assert (reply.rcode(), flags(reply)) == (dns.rcode.REFUSED, {"QR"})


@pytest.mark.parametrize(
    ("kind", "rcode"), [(41, "FORMERR"), (249, "FORMERR"), (250, "FORMERR"), (253, "NOTIMP"), (254, "NOTIMP")]
)
def test_types_that_no_record_has(kind: int, rcode: str, responder: Responder) -> None:
    assert dns.rcode.to_text(ask(responder, packet(0, kind)).rcode()) == rcode


@pytest.mark.parametrize("rdclass", [0, 3, 4, 254, 255, 300])
def test_other_classes_are_refused(rdclass: int, responder: Responder) -> None:
    query = packet(0, 16, None, "version.bind")[:-2] + rdclass.to_bytes(2, "big")
    assert ask(responder, query).rcode() == dns.rcode.REFUSED
    query = packet(0, SOA)[:-2] + rdclass.to_bytes(2, "big")
    assert ask(responder, query).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("name", [".", "ar", "emiliano.ar", "unix.ar.emiliano.ar", "xunix.ar"])
def test_other_zones_are_refused_with_the_question_and_opt(name: str, responder: Responder) -> None:
    reply = ask(responder, dns.message.make_query(name, "A", use_edns=0))
    assert (reply.rcode(), flags(reply), reply.edns, len(reply.question)) == (
        dns.rcode.REFUSED,
        {"QR", "RD"},
        0,
        1,
    )


# --- size -------------------------------------------------------------------------------------------------------------


def crowded(count: int) -> Responder:
    authority = Authority(SETTINGS, lambda: 1000.0)
    for number in range(count):
        authority.put_flow(names(f"f{number:04}.flows.unix.ar"))
    return Responder(authority)


def test_what_does_not_fit_is_cut_whole_and_given_over_tcp() -> None:
    """TC, no record at all (RFC 2181 section 9), OPT kept."""
    responder = crowded(200)
    catalogue = "_flow._tcp.flows.unix.ar"
    for _ in range(2):
        for edns, payload in [(-1, 0), (0, 512), (0, 1232), (0, 4096)]:
            query = dns.message.make_query(catalogue, "PTR", use_edns=edns, payload=payload)
            wire = responder.respond(query.to_wire())
            assert wire is not None
            assert len(wire) <= 512
            reply = dns.message.from_wire(wire)
            assert (flags(reply), reply.answer, reply.edns) == ({"QR", "AA", "TC", "RD"}, [], edns)
            full = ask(responder, query, stream=True)
            assert len(full.answer[0]) == 200
            assert "TC" not in flags(full)


def test_a_client_gets_what_it_takes_up_to_our_own_limit() -> None:
    responder = crowded(30)
    catalogue = "_flow._tcp.flows.unix.ar"
    for _ in range(2):
        for payload, fits in [
            (0, False),
            (511, False),
            (512, False),
            (800, True),
            (1232, True),
            (65535, True),
        ]:
            query = dns.message.make_query(catalogue, "PTR", use_edns=0, payload=payload)
            wire = responder.respond(query.to_wire())
            assert wire is not None
            assert 512 < len(wire) <= 800 or not fits
            assert bool(dns.message.from_wire(wire).answer) is fits
    assert "TC" in flags(
        ask(crowded(90), dns.message.make_query(catalogue, "PTR", use_edns=0, payload=65535))
    )


def test_what_no_message_can_hold_is_cut_over_tcp_too() -> None:
    """A broker of two thousand servers: more than 65,535 octets."""
    authority = Authority(SETTINGS, lambda: 1000.0)
    authority.put_flow(
        names(servers=tuple(Server(f"{'k' * 30}{number}.unix.ar", 9092) for number in range(2000)))
    )
    responder = Responder(authority)
    for _ in range(2):
        reply = ask(responder, dns.message.make_query(QUEUE, "SRV"), stream=True)
        assert (flags(reply), reply.answer) == ({"QR", "AA", "TC", "RD"}, [])


def test_addresses_are_left_out_before_anything_is_cut() -> None:
    """They are not required, so that no TC is set for them (RFC 2181 section 9)."""
    hosts = {f"kf{number}": ("127.0.0.2", "::2") for number in range(8)}
    authority = Authority(replace(SETTINGS, zones={"unix.ar": hosts}), lambda: 1000.0)
    authority.put_flow(names(servers=tuple(Server(f"{host}.unix.ar", 9092) for host in hosts)))
    responder = Responder(authority)
    for _ in range(2):
        plain = ask(responder, dns.message.make_query(QUEUE, "SRV"))
        assert (len(plain.answer[0]), plain.additional, "TC" in flags(plain)) == (8, [], False)
        large = ask(responder, dns.message.make_query(QUEUE, "SRV", use_edns=0, payload=1232))
        assert (len(large.answer[0]), len(large.additional)) == (8, 16)


# --- octets -----------------------------------------------------------------------------------------------------------

QUERY = packet(RD, 12, (1232, 0, 0, b""), F)


def test_replies_and_scraps_get_no_reply(responder: Responder) -> None:
    assert responder.respond(b"") is None
    assert responder.respond(QUERY[:11]) is None
    reply = responder.respond(QUERY)
    assert reply is not None
    assert responder.respond(reply) is None, "two servers must not talk for ever"


def test_a_query_that_ends_early_is_a_format_error_at_each_octet(responder: Responder) -> None:
    whole = responder.respond(QUERY)
    for end in range(12, len(QUERY)):
        assert responder.respond(QUERY[:end]) == QUERY[:2] + b"\x81\x01" + bytes(8)
    assert responder.respond(QUERY) == whole


def test_octets_behind_the_query_change_nothing(responder: Responder) -> None:
    plain = packet(RD, 12, None, F)
    for query in (QUERY, plain):
        for trailing in (b"\0", b"\xc0\x0c", QUERY, b"\0\0\x29\0\0\0\0\0\0\0\0"):
            assert responder.respond(query + trailing) == responder.respond(query)


HEADER = b"\0\7\0\0\0\1\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "query",
    [
        b"\0\7\0\0\0\0\0\0\0\0\0\0",
        packet(0, SOA)[:4] + b"\0\2" + packet(0, SOA)[6:] + packet(0, SOA)[12:],
        HEADER + b"\xc0\x0c\0\6\0\1",
        HEADER + b"\xc0\x00\0\6\0\1",
        HEADER + b"\4unix\xc0\x0c\0\6\0\1",
        HEADER + b"\x40aaaa\0\0\6\0\1",
        HEADER + b"\x80aaaa\0\0\6\0\1",
        HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\6\0\1",
        HEADER + b"\1a" * 127 + b"\1\0" + b"\0\0\6\0\1",
        packet(0, SOA, (1232, 0, 0, b"\0\3")),
        packet(0, SOA, (1232, 0, 0, b"\0\3\0\1")),
        packet(0, SOA, (1232, 0, 0, b"\0\3\0\0\1")),
        packet(0, SOA, (1232, 0, 0, b""))[:10] + b"\0\2" + packet(0, SOA, (1232, 0, 0, b""))[12:] + b"\0\0\x29" + bytes(8),
        packet(0, SOA)[:10] + b"\0\1" + packet(0, SOA)[12:] + b"\4unix\0\0\x29" + bytes(8),
        packet(0, SOA)[:6] + b"\0\1" + packet(0, SOA)[8:] + b"\0\0\x29" + bytes(8),
        packet(0, SOA)[:10] + b"\0\1" + packet(0, SOA)[12:] + b"\xc0\xff\0\x29" + bytes(8),
        packet(0, SOA)[:10] + b"\xff\xff" + packet(0, SOA)[12:],
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_a_format_error(query: bytes, responder: Responder) -> None:
    assert responder.respond(query) == query[:2] + b"\x80\x01" + bytes(8)
    assert responder.respond(query, True) == query[:2] + b"\x80\x01" + bytes(8)


def test_other_records_in_a_query_are_passed_over(responder: Responder) -> None:
    """A transaction signature, for one, whose key nobody here knows yet."""
    query = packet(0, SOA)
    record = b"\3key\0" + struct.pack("!HHIH", 250, 255, 0, 4) + b"\0\1\2\3"
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    both = query[:10] + b"\0\2" + query[12:] + opt + record
    reply = ask(responder, both)
    assert (reply.rcode(), reply.edns, len(reply.answer)) == (0, 0, 1)


def test_pointers_that_lead_to_pointers_cost_no_time(responder: Responder) -> None:
    """60,000 octets of chained pointers over TCP: skipped, never followed."""
    owner = b"".join((0xC000 | 12 + 2 * n & 0x3FFF).to_bytes(2, "big") for n in range(1))
    record = owner + struct.pack("!HHIH", 1, 1, 0, 0)
    count = 5000
    query = packet(0, SOA)
    bomb = query[:10] + count.to_bytes(2, "big") + query[12:] + record * count
    loop = query[:10] + b"\0\1" + query[12:] + b"\xc0" + bytes((len(query),)) + bytes(10)
    began = time.perf_counter()
    assert ask(responder, bomb, stream=True).rcode() == 0
    assert ask(responder, loop).rcode() == dns.rcode.FORMERR
    assert time.perf_counter() - began < 0.1


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=120))
def test_any_octets_are_answered_or_dropped(data: bytes) -> None:
    check_reply(RESPONDER, data)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_query_with_some_octets_changed_is_answered_or_dropped(data: st.DataObject) -> None:
    query = bytearray(
        data.draw(st.sampled_from([QUERY, packet(0, SOA), packet(AD, 33, (512, 0, 0x8000, OPTLIST), QUEUE)]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        query[data.draw(st.integers(0, len(query) - 1))] = data.draw(st.integers(0, 255))
    check_reply(RESPONDER, bytes(query))


RESPONDER = make()


def check_reply(responder: Responder, data: bytes) -> None:
    """A reply is a whole message with the query's id, QR set, RA clear, within the limit; and the same a second time."""
    reply = responder.respond(data)
    assert responder.respond(data) == reply
    if len(data) < 12 or data[2] & 0x80:
        assert reply is None
        return
    assert reply is not None
    assert reply[:2] == data[:2]
    assert reply[2] & 0x80
    assert not reply[3] & 0xE0
    assert len(reply) <= 1232
    if data[2] & 0x78:
        assert reply[4:] == bytes(8)
        return
    read = dns.message.from_wire(reply)
    assert len(read.question) == 0 or reply[12:].startswith(data[12 : 12 + 5])


def test_answers_that_are_kept_are_bounded() -> None:
    authority = Authority(SETTINGS, lambda: 1000.0)
    for number in range(30):
        authority.put_flow(names(f"f{number}.flows.unix.ar"))
    responder = Responder(authority, keep=8)
    for _ in range(2):
        for number in range(30):
            flow = f"f{number}.flows.unix.ar"
            assert ask(responder, packet(0, 12, None, flow)).answer[0][0].to_text() == f"_flow._tcp.{flow}."
            assert responder.kept <= 8


def test_what_is_denied_is_not_kept(responder: Responder) -> None:
    """Else anybody could fill the memory with names that he makes up."""
    for number in range(50):
        assert ask(responder, packet(0, 12, None, f"x{number}.unix.ar")).rcode() == dns.rcode.NXDOMAIN
        assert ask(responder, packet(0, 1000 + number, None, F)).answer == []
    assert responder.kept == 0


def test_a_denial_carries_the_soa_as_it_now_is() -> None:
    authority = Authority(SETTINGS, lambda: 1000.0)
    responder = Responder(authority)
    for serial in range(1000, 1005):
        for name in ("x.unix.ar", "longer.unix.ar", "a.fnaa.unix.ar", "hostmaster.unix.ar", "unix.ar"):
            reply = ask(responder, packet(0, 16, None, name))
            assert [one.to_text() for one in reply.authority] == [
                f"unix.ar. 60 IN SOA fnaa.unix.ar. hostmaster.unix.ar. {serial} 1200 180 1209600 60"
            ]
        authority.put_flow(names(f"f{serial}.flows.unix.ar"))
