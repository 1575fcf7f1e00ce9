"""TLS of the broker's listeners: 1.2 and newer, a certificate and a key in PEM files."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer


@implementer(IOpenSSLContextFactory)
class TlsContext:
    """Reads the files when it is made.  Raises `SSL.Error`, `OSError`."""

    def __init__(self, certificate: str, key: str) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
        context.check_privatekey()
        self._context = context

    def getContext(self) -> SSL.Context:
        return self._context
