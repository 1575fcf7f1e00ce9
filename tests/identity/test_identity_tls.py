"""TLS policy, client and server joined in memory by OpenSSL's own buffers."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.python.failure import Failure

from eson.errors import TlsFailed
from eson.identity.certificates import KeyPair, make_ca, make_certificate
from eson.identity.tls import BadTlsFile, ClientTls, ServerTls, load_chain, public_key_pin

NAME = "fnaa.unix.ar"
CA = make_ca()
PAIR = make_certificate(CA, [NAME], ["192.0.2.1", "2001:db8::1"])


class Told:
    """Stands for the TLS protocol: is told why a verification failed."""

    def __init__(self) -> None:
        self.why = ""

    def failVerification(self, failure: Failure) -> None:
        assert isinstance(failure.value, TlsFailed)
        self.why = failure.value.text


def server(directory: Path, pair: KeyPair = PAIR, **options: Any) -> ServerTls:
    certificate, key = directory / "c.pem", directory / "k.pem"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    return ServerTls(certificate, key, **options)


def shake_hands(client: ClientTls, tls: ServerTls) -> tuple[SSL.Connection, SSL.Connection, str]:
    """Both connections, and why the client refused ("" if it did not)."""
    told = Told()
    ends = [client.clientConnectionForTLS(told), tls.serverConnectionForTLS(Told())]  # type: ignore[arg-type]
    ends[0].set_connect_state()
    ends[1].set_accept_state()
    for _ in range(10):
        for end, other in (ends, ends[::-1]):
            try:
                end.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                told.why = told.why or str(error)
            with suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(1 << 16))
    return ends[0], ends[1], told.why


def test_modern_is_tls_1_3(tmp_path: Path) -> None:
    """Name and chain hold; the version is 1.3; both interfaces are provided."""
    client = ClientTls(NAME, CA.certificate)
    assert IOpenSSLClientConnectionCreator.providedBy(client)
    assert IOpenSSLServerConnectionCreator.providedBy(server(tmp_path))
    one, other, why = shake_hands(client, server(tmp_path))
    assert why == ""
    assert one.get_protocol_version_name() == other.get_protocol_version_name() == "TLSv1.3"
    assert other.get_servername() == NAME.encode()


@pytest.mark.parametrize("name", [NAME.upper(), NAME + ".", "192.0.2.1", "2001:db8::1"])
def test_names_and_addresses_are_verified(name: str, tmp_path: Path) -> None:
    """Case and a final dot do not matter; addresses are compared as addresses and not sent as names."""
    _, other, why = shake_hands(ClientTls(name, CA.certificate), server(tmp_path))
    assert why == ""
    assert (other.get_servername() is None) == (name[0] in "12")


@pytest.mark.parametrize(
    ("name", "trust", "pair", "why"),
    [
        ("fnab.unix.ar", CA.certificate, PAIR, "not for fnab.unix.ar"),
        ("192.0.2.2", CA.certificate, PAIR, "not for 192.0.2.2"),
        (NAME, make_ca().certificate, PAIR, "a CA that is not trusted"),
        (NAME, "system", PAIR, "a CA that is not trusted"),
        (NAME, CA.certificate, make_certificate(CA, [NAME], life=timedelta(minutes=1)), "has expired"),
        (NAME, CA.certificate, make_ca(NAME), "self-signed"),
        (NAME, public_key_pin(load_chain(CA.certificate)[0]), PAIR, "not the pinned one"),
    ],
    ids=["other-name", "other-address", "other-CA", "system", "expired", "self-signed", "pin"],
)
def test_who_is_not_trusted(name: str, trust: str, pair: KeyPair, why: str, tmp_path: Path) -> None:
    """The client refuses within the handshake, and says why."""
    _, other, said = shake_hands(ClientTls(name, trust), server(tmp_path, pair))
    assert said.startswith("The server is not trusted: ")
    assert why in said
    with pytest.raises(SSL.Error):
        other.recv(1)


def test_a_pin_is_all_that_counts(tmp_path: Path) -> None:
    """The key is right: name, dates and issuer are not looked at."""
    expired = make_certificate(make_ca(), ["other.name"], life=timedelta(minutes=1))
    pin = public_key_pin(load_chain(expired.certificate)[0])
    assert pin.startswith("pin-sha256:")
    assert shake_hands(ClientTls(NAME, pin), server(tmp_path, expired))[2] == ""


def test_versions(tmp_path: Path) -> None:
    """*modern* refuses who knows only 1.2; *intermediate* takes both, with forward secrecy."""

    def old(profile: Any) -> tuple[SSL.Connection, str]:
        client = ClientTls(NAME, CA.certificate, profile="intermediate")
        client._context.set_max_proto_version(SSL.TLS1_2_VERSION)
        one, _, why = shake_hands(client, server(tmp_path, profile=profile))
        return one, why

    one, why = old("intermediate")
    assert why == ""
    assert one.get_protocol_version_name() == "TLSv1.2"
    assert str(one.get_cipher_name()).startswith("ECDHE-ECDSA")
    assert old("modern")[1] != ""


def test_client_certificates_are_asked_where_they_are_wanted(tmp_path: Path) -> None:
    """A client may show one; one of a stranger's CA ends the handshake; none is fine."""
    mine, strange = make_certificate(CA, ["a.b"]), make_certificate(make_ca(), ["a.b"])
    tls = server(tmp_path, client_trust=CA.certificate)
    for pair in (None, mine):
        shown = {"certificate": pair.certificate, "key": pair.key} if pair else {}
        _, other, why = shake_hands(ClientTls(NAME, CA.certificate, **shown), tls)
        assert why == ""
        assert (other.get_peer_certificate() is not None) == (pair is not None)
    client = ClientTls(NAME, CA.certificate, certificate=strange.certificate, key=strange.key)
    assert "certificate verify failed" in shake_hands(client, tls)[2]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Each fault says what is wrong; a reload that fails keeps what was there."""
    tls = server(tmp_path)
    other = make_certificate(CA, [NAME])
    for certificate, key, why in (
        ("", PAIR.key, "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", PAIR.key, "cannot be read"),
        (PAIR.certificate, "x", "unencrypted PEM private key"),
        (PAIR.certificate, other.key, "does not belong"),
    ):
        (tmp_path / "c.pem").write_text(certificate)
        (tmp_path / "k.pem").write_text(key)
        with pytest.raises(BadTlsFile, match=why):
            tls.reload()
        assert shake_hands(ClientTls(NAME, CA.certificate), tls)[2] == ""
    (tmp_path / "c.pem").unlink()
    with pytest.raises(BadTlsFile, match="cannot be read"):
        tls.reload()
    for trust in ("/nowhere/ca.pem", "pin-sha256:AAAA", "pin-sha256:!", "-----BEGIN nothing"):
        with pytest.raises(BadTlsFile):
            ClientTls(NAME, trust)
    for name in ("not a name", "", "bücher.example"):
        with pytest.raises(BadTlsFile, match="no host name"):
            ClientTls(name, CA.certificate)


def test_trust_may_be_a_file(tmp_path: Path) -> None:
    """A path of a PEM file with several CAs."""
    path = tmp_path / "cas.pem"
    path.write_text("some text\n" + make_ca().certificate + CA.certificate)
    assert shake_hands(ClientTls(NAME, str(path)), server(tmp_path))[2] == ""
