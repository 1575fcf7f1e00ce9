"""What the parent hands to the child: one line of JSON on its standard input, secrets and all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

Address = tuple[str, int]


@dataclass(frozen=True)
class Settings:
    """Listeners as (host, port), port 0 for any free one; `certificate` and `key` are paths of PEM files.

    `login` False: anyone may do anything.  `admin_password` is that of the super user `admin`, "" for none.
    """

    data: str
    listen: tuple[Address, ...] = (("127.0.0.1", 9092),)
    listen_tls: tuple[Address, ...] = ()
    advertise: Address | None = None
    login: bool = True
    admin: str = "admin"
    admin_password: str = field(default="", repr=False)
    retention_ms: int = 7 * 86_400_000
    certificate: str = ""
    key: str = ""
    produce_cap: int = 16 << 20

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Undoes `line`.  Raises `ValueError`."""
        try:
            fields: dict[str, Any] = json.loads(line)
            for name in ("listen", "listen_tls"):
                fields[name] = tuple((host, port) for host, port in fields[name])
            if fields["advertise"] is not None:
                fields["advertise"] = (fields["advertise"][0], fields["advertise"][1])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"settings that are none: {error}") from None


@dataclass(frozen=True)
class Bound:
    """Where the child listens."""

    listen: tuple[Address, ...]
    listen_tls: tuple[Address, ...]

    def line(self) -> bytes:
        return json.dumps({"ready": asdict(self)}).encode() + b"\n"

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """Raises `KeyError`, `ValueError`, `TypeError`."""
        bound = message["ready"]
        return cls(*(tuple((host, port) for host, port in bound[name]) for name in ("listen", "listen_tls")))
