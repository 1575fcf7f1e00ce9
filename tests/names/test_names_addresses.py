"""Which addresses other participants' names may lead to."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.names.core.addresses import AddressPolicy, embedded, is_public

CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.251",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:c0a8:101::1",
    "2400:cb00::5efe:127.0.0.1",
    "2400:cb00::200:5efe:10.0.0.1",
]
OPEN = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2400:cb00::1",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]
NOT_ADDRESSES = [
    "",
    "localhost",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "127.0.0.1:80",
    "[::1]",
    "::1%",
    "1.1.1.1 ",
    "１.1.1.1",
]


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_the_internet_does_not_route_is_refused(address: str) -> None:
    assert not AddressPolicy().allowed(address)


@pytest.mark.parametrize("address", OPEN)
def test_an_address_that_the_internet_routes_is_allowed(address: str) -> None:
    assert AddressPolicy().allowed(address)


@pytest.mark.parametrize("text", NOT_ADDRESSES)
def test_what_is_no_address_is_refused_even_for_trusted_hosts(text: str) -> None:
    policy = AddressPolicy.of(allow_private=["0.0.0.0/0", "::/0"], agents=["fnaa.emiliano.ar"])
    assert not policy.allowed(text)
    assert not policy.permits("fnaa.emiliano.ar", text)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_allow_private_opens_an_address_in_each_of_its_forms_and_no_other(address: str) -> None:
    policy = AddressPolicy.of(allow_private=["127.0.0.0/8"])
    assert policy.allowed(address)
    assert not policy.allowed("10.0.0.1")
    assert not policy.allowed("::1")


def test_own_addresses_are_refused_unless_allow_private_opens_them() -> None:
    own = ["8.8.4.4", "2606:4700::1"]
    closed = AddressPolicy.of(own=own)
    for address in [*own, "::ffff:8.8.4.4", "64:ff9b::8.8.4.4", "2002:808:404::1"]:
        assert not closed.allowed(address)
    assert closed.allowed("8.8.8.8")
    assert AddressPolicy.of(own=own, allow_private=["8.8.4.4/32"]).allowed("8.8.4.4")


def test_hosts_of_remotes_and_names_below_domains_of_resolve_are_exempt() -> None:
    policy = AddressPolicy.of(agents=["fnaa.unix.ar"], domains=["emiliano.ar"])
    for host in ["fnaa.unix.ar", "FNAA.unix.ar.", "emiliano.ar", "kf1.emiliano.ar"]:
        assert policy.permits(host, "127.0.0.1")
    for host in ["kf1.unix.ar", "x.fnaa.unix.ar", "notemiliano.ar", "emiliano.ar.evil.net", "evil.net", ""]:
        assert not policy.permits(host, "127.0.0.1")
        assert policy.permits(host, "8.8.8.8")


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_each_form_that_embeds_it(address: IPv4Address) -> None:
    number = int(address)
    forms = [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(int(IPv6Address("2606:4700::")) | 0x5EFE << 32 | number),
    ]
    for form in forms:
        assert embedded(form) == address
        assert is_public(form) == is_public(address)


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_not_global_is_public(
    address: IPv4Address | IPv6Address,
) -> None:
    inner = embedded(address)
    if inner is None and not address.is_global:
        assert not is_public(address)
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        assert not is_public(address)


def test_the_policy_is_at_hand_without_twisted() -> None:
    """A processor's child asks it at connect and must not load the reactor for that."""
    code = "import sys, eson.names.core.addresses; print('twisted' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
