"""A private CA and the certificates that it issues: ECDSA P-256, server certificates for at most 90 days."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=90)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM texts."""

    certificate: str
    key: str = field(repr=False)


def make_ca(name: str = "ESON private CA", now: datetime | None = None) -> KeyPair:
    """A new CA that may only issue end-entity certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), now, CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=False, ca=True), critical=True)
    return _pair(builder.sign(key, SHA256()), key)


def make_certificate(
    ca: KeyPair,
    names: Iterable[str],
    ips: Iterable[str] = (),
    now: datetime | None = None,
    life: timedelta = SERVER_LIFE,
) -> KeyPair:
    """A certificate of `ca` for TLS servers and clients with these DNS names and addresses; the first is its subject.

    The certificate's PEM is followed by the CA's, as servers send it.  Raises `ValueError` without a name or address.
    """
    wanted = [*names]
    addresses = [ip_address(ip) for ip in ips]
    if not wanted and not addresses:
        raise ValueError("a certificate needs a name or an address")
    issuer = x509.load_pem_x509_certificate(ca.certificate.encode())
    ca_key = load_pem_private_key(ca.key.encode(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key of the CA is not of an elliptic curve")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(wanted[0] if wanted else str(addresses[0]))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in wanted]
    alternatives += [x509.IPAddress(address) for address in addresses]
    builder = _builder(subject, issuer.subject, key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=True, ca=False), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    made = _pair(builder.sign(ca_key, SHA256()), key)
    return KeyPair(made.certificate + ca.certificate, made.key)


def make_request(names: Iterable[str]) -> KeyPair:
    """A new key and a request (CSR) for a certificate of these DNS names: `certificate` holds the request's PEM."""
    wanted = [*names]
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(wanted[0]))
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in wanted])
    request = builder.add_extension(alternatives, critical=False).sign(key, SHA256())
    return KeyPair(request.public_bytes(Encoding.PEM).decode(), _key_pem(key))


def expires(certificate: str) -> datetime:
    """When the first certificate of a PEM text ends, aware UTC.  Raises `ValueError`."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime | None,
    life: timedelta,
) -> x509.CertificateBuilder:
    begin = (now or datetime.now(UTC)) - _CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(sign: bool, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(certificate.public_bytes(Encoding.PEM).decode(), _key_pem(key))
