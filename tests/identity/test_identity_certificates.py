"""The private CA: what it issues, for whom, and how long."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from eson.identity.certificates import expires, make_ca, make_certificate, make_request
from eson.identity.tls import load_chain

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_server_certificate() -> None:
    """ECDSA P-256, at most 90 days, names and addresses as alternatives, for servers and clients, the CA behind it."""
    ca = make_ca(now=NOW)
    pair = make_certificate(ca, ["fnaa.unix.ar", "kf1.unix.ar"], ["127.0.0.1", "::1"], now=NOW)
    own, above = load_chain(pair.certificate)
    assert above == load_chain(ca.certificate)[0]
    own.verify_directly_issued_by(above)
    key = own.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert own.not_valid_after_utc - own.not_valid_before_utc <= timedelta(days=90)
    assert own.not_valid_before_utc < NOW < own.not_valid_after_utc == expires(pair.certificate)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fnaa.unix.ar", "kf1.unix.ar"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usages = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "PRIVATE KEY" not in repr(pair) + pair.certificate


def test_openssl_agrees(tmp_path: Path) -> None:
    """`openssl verify` accepts the chain for its name and in strict mode, and for no other name."""
    ca = make_ca()
    pair = make_certificate(ca, ["fnaa.unix.ar"])
    (tmp_path / "ca.pem").write_text(ca.certificate)
    (tmp_path / "own.pem").write_text(pair.certificate)

    def verify(*options: str) -> int:
        command = ["openssl", "verify", "-x509_strict", "-CAfile", str(tmp_path / "ca.pem"), *options]
        return subprocess.run(
            [*command, str(tmp_path / "own.pem")], capture_output=True, check=False
        ).returncode

    assert verify("-purpose", "sslserver", "-verify_hostname", "fnaa.unix.ar") == 0
    assert verify("-purpose", "sslclient") == 0
    assert verify("-verify_hostname", "other.unix.ar") != 0


def test_names_are_needed() -> None:
    """A certificate for nothing is refused; one for an address alone is not; each has its own serial number."""
    ca = make_ca()
    with pytest.raises(ValueError, match="name or an address"):
        make_certificate(ca, [])
    one, two = (load_chain(make_certificate(ca, [], ["127.0.0.1"]).certificate)[0] for _ in range(2))
    assert one.serial_number != two.serial_number


def test_long_names_fit() -> None:
    """A common name has at most 64 characters; the alternatives hold the whole name."""
    name = ".".join(["x" * 60] * 4)
    certificate = load_chain(make_certificate(make_ca(), [name]).certificate)[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]


def test_a_request() -> None:
    """A CSR with its names, signed by its key."""
    pair = make_request(["fnaa.unix.ar", "b.unix.ar"])
    request = x509.load_pem_x509_csr(pair.certificate.encode())
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fnaa.unix.ar", "b.unix.ar"]
    assert "BEGIN PRIVATE KEY" in pair.key
