"""EXTERNAL (RFC 4422 appendix A), client side: who we are says the certificate that TLS has shown."""

from __future__ import annotations


class ExternalClient:
    """Names the identity that it wants to act for, "" for the certificate's own."""

    name = "EXTERNAL"

    def __init__(self, authorisation: str = "") -> None:
        self._message = authorisation.encode()

    def initial(self) -> bytes | None:
        return self._message

    def answer(self, challenge: bytes) -> bytes:
        return self._message

    def finished(self) -> bool:
        return True
