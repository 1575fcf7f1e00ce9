"""Names and records in wire format, compared with dnspython."""

from __future__ import annotations

import dns.message
import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.names.core import wire

LABEL = st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True)
NAME = st.lists(LABEL, min_size=0, max_size=8).map(".".join)


@settings(max_examples=50, deadline=None)
@given(NAME)
def test_names_have_the_octets_that_dnspython_gives_them(name: str) -> None:
    assert wire.encode_name(name) == dns.name.from_text(name).to_wire()
    assert wire.decode_name(wire.encode_name(name)) == name


def test_names_are_lower_case() -> None:
    assert wire.encode_name("TIME.Flows.unix.AR") == wire.encode_name("time.flows.unix.ar")


@pytest.mark.parametrize(
    "name", ["a..b", ".", ".a", "a.", "a" * 64 + ".ar", ".".join(["a" * 50] * 5), "é.ar"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        wire.encode_name(name)


def test_the_longest_name_fits() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(wire.encode_name(longest)) == 255
    with pytest.raises(ValueError):
        wire.encode_name(longest + "d")


def test_suffixes_end_at_the_root() -> None:
    assert list(wire.suffixes(wire.encode_name("a.b"))) == [b"\1a\1b\0", b"\1b\0", b"\0"]
    assert wire.parent_of(b"\1a\1b\0") == b"\1b\0"


def test_a_text_of_no_string_is_one_empty_string() -> None:
    assert wire.txt_rdata() == b"\0"
    assert wire.txt_rdata("broker-type=kafka", "tls") == b"\x11broker-type=kafka\x03tls"
    assert len(wire.txt_rdata("a" * 255)) == 256
    with pytest.raises(ValueError):
        wire.txt_rdata("a" * 256)


def test_addresses_become_one_set_of_each_family() -> None:
    sets = wire.address_rrsets(["127.0.0.1", "::1", "192.0.2.1"], 60)
    assert [(one.kind, len(one.rdatas)) for one in sets] == [(wire.A, 2), (wire.AAAA, 1)]
    assert wire.address_rrsets([], 60) == ()


@settings(max_examples=50, deadline=None)
@given(st.lists(NAME.filter(bool), min_size=1, max_size=6), NAME.filter(bool), NAME.filter(bool))
def test_what_is_written_compressed_is_read_back_the_same(targets: list[str], owner: str, qname: str) -> None:
    question = wire.encode_name(qname)
    rrsets = [
        (qname, wire.RRset(wire.PTR, 1, tuple(dict.fromkeys(wire.encode_name(one) for one in targets)))),
        (owner, wire.RRset(wire.SRV, 2, (wire.srv_rdata(1, 2, 3, targets[0]),))),
        (owner, wire.RRset(wire.NS, 3, (wire.encode_name(targets[-1]),))),
        (
            qname,
            wire.RRset(wire.SOA, 4, (wire.soa_rdata(wire.encode_name(owner), question, 7, (1, 2, 3, 4)),)),
        ),
        (owner, wire.RRset(wire.TXT, 5, (wire.txt_rdata("a", "b"),))),
    ]
    writer = wire.SectionWriter(question)
    count = sum(writer.rrset(wire.encode_name(name), rrset) for name, rrset in rrsets)
    header = b"\0\1\x84\0\0\1" + count.to_bytes(2, "big") + b"\0\0\0\0"
    message = dns.message.from_wire(
        header + question + b"\0\x0c\0\1" + writer.octets(), one_rr_per_rrset=True
    )
    got = [
        (rr.name.to_text(True), rr.ttl, int(rr.rdtype), rr[0].to_wire(origin=dns.name.root))
        for rr in message.answer
    ]
    wanted = [(name, rrset.ttl, rrset.kind, rdata) for name, rrset in rrsets for rdata in rrset.rdatas]
    assert got == wanted


def test_names_far_into_a_message_are_written_whole() -> None:
    """A pointer reaches 16,383 octets; what lies behind must not be pointed at."""
    question = wire.encode_name("q.ar")
    names = tuple(wire.encode_name(f"a{n}.{'x' * 40}{n % 100}.ar") for n in range(1500))
    writer = wire.SectionWriter(question)
    count = writer.rrset(question, wire.RRset(wire.PTR, 1, names))
    header = b"\0\1\x84\0\0\1" + count.to_bytes(2, "big") + b"\0\0\0\0"
    message = dns.message.from_wire(header + question + b"\0\x0c\0\1" + writer.octets())
    assert {one.target.to_wire() for one in message.answer[0]} == set(names)
    assert len(header) + len(writer) > 0x3FFF
