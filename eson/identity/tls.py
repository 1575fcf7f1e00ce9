"""TLS policy of servers and clients (Mozilla's guidelines 6.0): *modern* is TLS 1.3 alone, *intermediate* 1.2 too.

A client verifies the server's certificate and name inside the handshake, so that nothing is sent to the wrong one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto
from service_identity.exceptions import VerificationError
from service_identity.hazmat import (
    DNS_ID,
    CertificatePattern,
    IPAddress_ID,
    ServiceID,
    verify_service_identity,
)
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from eson.errors import EsonError, TlsFailed

Profile = Literal["modern", "intermediate"]
PIN = "pin-sha256:"
_TLS_1_2_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_TLS_1_3_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_WHY = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed and not trusted",
    19: "its certificate comes from a CA that is not trusted",
    20: "its certificate comes from a CA that is not trusted",
    21: "its certificate comes from a CA that is not trusted",
}


class BadTlsFile(EsonError):
    """A certificate, key or `trust` cannot be used; the text says why.  Retry: after it was mended."""


def _context(method: int, profile: Profile) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION if profile == "modern" else SSL.TLS1_2_VERSION)
    context.set_cipher_list(_TLS_1_2_CIPHERS)
    context.set_tls13_ciphersuites(_TLS_1_3_CIPHERS)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def load_chain(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text, the own one first.  Raises `BadTlsFile`."""
    try:
        found = [x509.load_pem_x509_certificate(part.encode()) for part in _PEM.findall(pem)]
    except ValueError:
        raise BadTlsFile("holds a certificate that cannot be read: PEM is expected") from None
    if not found:
        raise BadTlsFile("holds no certificate: a PEM file with BEGIN CERTIFICATE is expected")
    return found


def _use(context: SSL.Context, chain: Sequence[x509.Certificate], key_pem: str) -> None:
    """Gives `context` a certificate, those above it, and its key.  Raises `BadTlsFile`."""
    try:
        key = load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadTlsFile("the key cannot be read: an unencrypted PEM private key is expected") from None
    context.use_certificate(crypto.X509.from_cryptography(chain[0]))
    for above in chain[1:]:
        context.add_extra_chain_cert(crypto.X509.from_cryptography(above))
    try:
        context.use_privatekey(crypto.PKey.from_cryptography_key(key))  # type: ignore[arg-type]
        context.check_privatekey()
    except (SSL.Error, TypeError):
        raise BadTlsFile("the key does not belong to the certificate") from None


def _trust(context: SSL.Context, trust: str) -> None:
    """Fills `context` with the CAs that `trust` names: `system`, a PEM text, or the path of one."""
    if trust == "system":
        context.set_default_verify_paths()
        return
    pem = trust if "-----BEGIN" in trust else _read(Path(trust))
    store = context.get_cert_store()
    if store is None:
        raise BadTlsFile("OpenSSL gives no certificate store")
    for certificate in load_chain(pem):
        store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTlsFile(f"{path} cannot be read: {error}") from None


def public_key_pin(certificate: x509.Certificate) -> str:
    """`pin-sha256:` and the base64 of the SHA-256 of its SubjectPublicKeyInfo (RFC 7469 section 2.4)."""
    return PIN + base64.b64encode(_pin(certificate)).decode()


def _pin(certificate: x509.Certificate) -> bytes:
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).digest()


def _service(name: str) -> ServiceID:
    try:
        ip_address(name)
    except ValueError:
        try:
            return DNS_ID(name.encode("ascii").decode())
        except ValueError:
            raise BadTlsFile(f"{name!r} is no host name: IDNs are written as A-labels") from None
    return IPAddress_ID(name)


def _holds(patterns: Sequence[CertificatePattern], service: ServiceID) -> bool:
    try:
        verify_service_identity(patterns, [service], [])
    except (VerificationError, ValueError):
        return False
    return True


@implementer(IOpenSSLClientConnectionCreator)
class ClientTls:
    """How a client does TLS with the server `name` (a host name or an address).

    `trust`: `system`, a PEM text, the path of a PEM file with CAs, or `pin-sha256:` of the server's public key, which then
    is all that counts: name, dates and issuer do not.  `certificate` and `key` are PEM texts shown to a server that asks.
    `vouchers`: the certificate must hold one of these names too.  Raises `BadTlsFile`.
    """

    def __init__(
        self,
        name: str,
        trust: str = "system",
        profile: Profile = "modern",
        certificate: str = "",
        key: str = "",
        vouchers: Sequence[str] = (),
    ) -> None:
        self.name = name.removesuffix(".")
        self._service = _service(self.name)
        self._vouchers = [_service(voucher) for voucher in vouchers]
        self._vouched = vouchers[0] if vouchers else ""
        self._pin = _parse_pin(trust) if trust.startswith(PIN) else b""
        self._context = _context(SSL.TLS_CLIENT_METHOD, profile)
        if not self._pin:
            _trust(self._context, trust)
        if certificate:
            _use(self._context, load_chain(certificate), key)

    def clientConnectionForTLS(self, tls: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if isinstance(self._service, DNS_ID):
            connection.set_tlsext_host_name(self.name.encode("ascii"))
        check = self._pin_check(tls) if self._pin else self._name_check(tls)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        return connection

    def _name_check(self, tls: TLSMemoryBIOProtocol) -> _Check:
        def judge(certificate: crypto.X509, error: int, depth: int, ok: bool) -> str:
            if not ok:
                return _WHY.get(error, f"its certificate is not acceptable (OpenSSL error {error})")
            if depth == 0:
                patterns = extract_patterns(certificate)
                if not _holds(patterns, self._service):
                    return f"its certificate is not for {self.name}"
                if self._vouchers and not any(_holds(patterns, voucher) for voucher in self._vouchers):
                    return f"its certificate is not for {self._vouched} or a domain above it"
            return ""

        return _check(tls, judge)

    def _pin_check(self, tls: TLSMemoryBIOProtocol) -> _Check:
        def judge(certificate: crypto.X509, error: int, depth: int, ok: bool) -> str:
            if depth == 0 and not hmac.compare_digest(_pin(certificate.to_cryptography()), self._pin):
                return "its public key is not the pinned one"
            return ""

        return _check(tls, judge)


_Check = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]
_log = Logger()


def _check(tls: TLSMemoryBIOProtocol, judge: Callable[[crypto.X509, int, int, bool], str]) -> _Check:
    """A callback for OpenSSL; it lets go of the connection after its verdict on the server's own certificate."""
    held: list[TLSMemoryBIOProtocol] = [tls]

    def verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        # an exception must not leave a callback of OpenSSL: it would be lost, and nobody refused
        try:
            why = judge(certificate, error, depth, bool(ok))
        except Exception:
            _log.failure("while verifying a certificate")
            why = "its certificate cannot be read"
        if why and held:
            held.pop().failVerification(Failure(TlsFailed(f"The server is not trusted: {why}")))
        return not why

    return verify


def _parse_pin(trust: str) -> bytes:
    try:
        pin = base64.b64decode(trust[len(PIN) :], validate=True)
    except (ValueError, binascii.Error):
        pin = b""
    if len(pin) != 32:
        raise BadTlsFile("a pin is pin-sha256: and the base64 of 32 octets")
    return pin


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """How a server does TLS: certificate chain and key as paths of PEM files, read again by `reload`.

    `client_trust`: CAs (as for `ClientTls`) whose certificates are accepted from clients that show one; "": none are asked.
    Raises `BadTlsFile`.
    """

    def __init__(
        self, certificate: Path, key: Path, profile: Profile = "modern", client_trust: str = ""
    ) -> None:
        self._certificate, self._key = certificate, key
        self._profile, self._client_trust = profile, client_trust
        self._context = self._load()

    def _load(self) -> SSL.Context:
        context = _context(SSL.TLS_SERVER_METHOD, self._profile)
        try:
            _use(context, load_chain(_read(self._certificate)), _read(self._key))
        except BadTlsFile as error:
            raise BadTlsFile(f"{self._certificate}: {error.text}") from None
        if self._client_trust:
            _trust(context, self._client_trust)
            context.set_verify(SSL.VERIFY_PEER)
            context.set_session_id(b"eson")
        return context

    def reload(self) -> None:
        """Reads the files again, for connections from now on.  Raises `BadTlsFile`; then the old ones stay."""
        self._context = self._load()

    def serverConnectionForTLS(self, tls: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)
