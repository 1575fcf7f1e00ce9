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

    `internal` is the agent's own way in, on loopback, which is never advertised.  `advertise` is what clients of the
    other listeners are told; where there are TLS listeners, clients of those.  `login` False: anyone may do anything.
    `admin_password` is that of the super user `admin`, "" for none.  `decoy_secret`, in hex, makes the salts of unknown
    users, the same after each start; "" for one that lasts until the end.
    """

    data: str
    listen: tuple[Address, ...] = (("127.0.0.1", 9092),)
    listen_tls: tuple[Address, ...] = ()
    internal: Address | None = None
    advertise: Address | None = None
    login: bool = True
    admin: str = "admin"
    admin_password: str = field(default="", repr=False)
    decoy_secret: str = field(default="", repr=False)
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
            for name in ("internal", "advertise"):
                if fields[name] is not None:
                    fields[name] = (fields[name][0], fields[name][1])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"settings that are none: {error}") from None


@dataclass(frozen=True)
class Bound:
    """Where the child listens."""

    listen: tuple[Address, ...]
    listen_tls: tuple[Address, ...]
    internal: Address | None = None

    def __str__(self) -> str:
        """For the log: addresses, and what they are for where that is not plain."""
        shown = [_address(one) for one in self.listen]
        shown += [f"{_address(one)} with TLS" for one in self.listen_tls]
        if self.internal is not None:
            shown.append(f"{_address(self.internal)} for the agent itself")
        return ", ".join(shown)

    def line(self) -> bytes:
        return json.dumps({"ready": asdict(self)}).encode() + b"\n"

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """Raises `KeyError`, `ValueError`, `TypeError`."""
        bound = message["ready"]
        plain, tls = (tuple((host, port) for host, port in bound[name]) for name in ("listen", "listen_tls"))
        internal = bound["internal"]
        return cls(plain, tls, None if internal is None else (internal[0], internal[1]))


def _address(address: Address) -> str:
    host, port = address
    return f"{host} port {port}"
