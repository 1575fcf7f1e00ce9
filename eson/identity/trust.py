"""A CA in one word of FNAP, as GET CREDENTIAL says it: `system`, or base64 of the certificate's DER."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

SYSTEM = "system"


def trust_word(pem: str) -> str:
    """The word for a CA's PEM, "" standing for the system's CAs."""
    if not pem:
        return SYSTEM
    certificate = load_pem_x509_certificate(pem.encode("ascii"))
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")


def trust_pem(word: str) -> str:
    """The CA's PEM, "" for the system's CAs (also where nothing is said).  Raises `ValueError` for no certificate."""
    if word in ("", SYSTEM):
        return ""
    certificate = load_der_x509_certificate(base64.b64decode(word, validate=True))
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
