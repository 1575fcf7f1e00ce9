"""What a server offers and how much it bears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from eson.identity.mechanisms import ServerMechanism


@dataclass(frozen=True)
class Policy:
    """What a server offers; one value for all its sessions.

    `mechanism` makes a fresh server mechanism for a name, None if it is not offered at all; `clear_text_mechanisms` show a
    password to whoever listens.
    """

    hostname: str
    mechanisms: Sequence[str]
    mechanism: Callable[[str], ServerMechanism | None]
    starttls: bool = True
    clear_text_mechanisms: frozenset[str] = frozenset({"PLAIN"})
    line: int = 8192
    sasl_line: int = 12288
    event: int = 1 << 20
    bad_before_login: int = 3
    bad_after_login: int = 20
    failed_logins: int = 3
    brokers: Sequence[str] = ("kafka",)
    processors: Sequence[str] = ("BRIDGE",)
    known_mechanisms: frozenset[str] = field(
        default=frozenset(
            {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "ANONYMOUS", "EXTERNAL", "OAUTHBEARER", "GSSAPI"}
        )
    )
