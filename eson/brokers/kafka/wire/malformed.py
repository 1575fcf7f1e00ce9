"""The one error of the wire."""

from __future__ import annotations


class MalformedMessage(Exception):
    """Octets that break Kafka's protocol, or claim more than is allowed.  Retry: no; end the connection."""
