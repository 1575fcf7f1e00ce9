"""What `eson.yaml` says, as frozen values.  All defaults stand here; where a room has one too, it is the same.

Times are `timedelta`, sizes octets, files absolute paths.  A listener that is off is an empty tuple.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from eson.model.flows import Namespace

KIB, MIB, GIB = 1024, 1024**2, 1024**3
IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class Secret:
    """A password or key that shows itself only when asked by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")


class Address(NamedTuple):
    """Host and port; the host is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it cannot be reached from another machine; a name other than `localhost` may always be."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        return self.host in ("0.0.0.0", "::")


def _loopback(*ports: int) -> tuple[Address, ...]:
    return tuple(Address("127.0.0.1", port) for port in ports)


@dataclass(frozen=True)
class Fnap:
    """`fnap:`  `trust` is "system" or a PEM file; no `certificate`: the agent's own CA makes one (loopback only)."""

    listen: tuple[Address, ...] = _loopback(61000)
    listen_tls: tuple[Address, ...] = _loopback(61001)
    certificate: Path | None = None
    key: Path | None = None
    trust: str = "system"
    login_in_clear: Literal["loopback", "never"] = "loopback"
    tls: Literal["modern", "intermediate"] = "modern"


@dataclass(frozen=True)
class Account:
    """One of `identity.accounts`.  `participant`: another participant's agent, which may act for its users."""

    name: str
    password: Secret | None = None
    home: str = ""
    groups: tuple[str, ...] = ()
    operator: bool = False
    participant: str = ""


@dataclass(frozen=True)
class Identity:
    """`identity:`  The mechanisms offered, best first."""

    mechanisms: tuple[str, ...] = ("SCRAM-SHA-256", "PLAIN", "ANONYMOUS")
    accounts: tuple[Account, ...] = ()
    oauth: None = None
    gssapi: None = None


@dataclass(frozen=True)
class Zone:
    """One of `names.zones`: static hosts, by name relative to the zone ("@": the zone itself)."""

    name: str
    hosts: Mapping[str, tuple[IpAddress, ...]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Ttl:
    """`names.ttl`, in seconds."""

    flow: int = 900
    copy: int = 60
    negative: int = 60


@dataclass(frozen=True)
class Names:
    """`names:`  `resolver` None: the system's; `resolve`: the server to ask for a domain and all below it."""

    listen: tuple[Address, ...] = _loopback(5300)
    zones: tuple[Zone, ...] = ()
    secondaries: tuple[()] = ()
    servers: tuple[()] = ()
    resolver: Address | None = None
    resolve: Mapping[str, Address] = field(default_factory=lambda: MappingProxyType({}))
    dnssec: bool = False
    poc_records: bool = False
    catalogue: int = 200
    ttl: Ttl = Ttl()


@dataclass(frozen=True)
class EmbeddedBroker:
    """A broker of type `embedded`: a child process of the agent that speaks Kafka's protocol.

    `advertise` None: clients are told the agent's host.  `login` "none": anyone may do anything (loopback only).
    """

    name: str
    type: Literal["embedded"] = "embedded"
    listen: tuple[Address, ...] = _loopback(9092)
    listen_tls: tuple[Address, ...] = ()
    advertise: Address | None = None
    login: Literal["required", "none"] = "required"
    sync: Literal["always"] = "always"
    retention: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class KafkaBroker:
    """A broker of type `kafka`: a cluster of its own.  `trust` is "system" or a PEM file.

    `credentials` None: issued where `security` has a login.
    """

    name: str
    type: Literal["kafka"] = "kafka"
    servers: tuple[Address, ...] = ()
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-256"
    username: str = ""
    password: Secret | None = None
    trust: str = "system"
    credentials: Literal["issue", "none"] | None = None

    @property
    def has_login(self) -> bool:
        return self.security.startswith("sasl_")

    @property
    def has_tls(self) -> bool:
        return self.security.endswith("ssl")

    @property
    def issues_credentials(self) -> bool:
        return self.has_login and self.credentials != "none"


Broker = EmbeddedBroker | KafkaBroker


@dataclass(frozen=True)
class Copies:
    """`copies:`  What a subscriber's copy keeps, and how long its lease runs without renewal."""

    retention: timedelta = timedelta(hours=24)
    bytes: int = GIB
    lease: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Remote:
    """One of `remotes`: how another participant's agent is reached where that differs from what DNS says.

    `trust`: "system", a PEM file, or `pin-sha256:` and the base64 of the SHA-256 of the server's public key.
    `mechanism` "" stands for what the two agents have by default.  `login_as` is the key `as`.
    """

    agent: str
    address: Address | None = None
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    trust: str = "system"
    mechanism: Literal["", "SCRAM-SHA-256", "PLAIN", "ANONYMOUS"] = ""
    username: str = ""
    password: Secret | None = None
    login_as: Literal["account", "user"] = "account"


@dataclass(frozen=True)
class Processors:
    """`processors:`  `start_rate` is the number of processes started in a second at most."""

    per_process: int = 1
    start_rate: int = 20
    launcher: Literal["spawn"] = "spawn"


@dataclass(frozen=True)
class BadCommands:
    """`limits.bad_commands`: the last one ends the session."""

    before_login: int = 3
    after: int = 20


@dataclass(frozen=True)
class Connections:
    """`limits.connections`."""

    total: int = 10000
    per_address: int = 50
    per_user: int = 10


@dataclass(frozen=True)
class Limits:
    """`limits:`  Lines and events in octets."""

    line: int = 8192
    sasl_line: int = 12288
    event: int = MIB
    login: timedelta = timedelta(seconds=60)
    sasl_step: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(minutes=30)
    command: timedelta = timedelta(seconds=60)
    bad_commands: BadCommands = BadCommands()
    connections: Connections = Connections()
    flows_per_account: int = 1000
    subscriptions_per_participant: int = 100
    pending: int = 1000


@dataclass(frozen=True)
class Web:
    """`web:`  The page for users is off; metrics and health are for whoever looks after the participant."""

    listen: tuple[Address, ...] = ()
    metrics: tuple[Address, ...] = _loopback(9464)


@dataclass(frozen=True)
class Log:
    """`log:`"""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Config:
    """All of `eson.yaml`.  `brokers` has at least one; each namespace names the brokers that it uses."""

    participant: str
    agent: str
    namespaces: tuple[Namespace, ...]
    state: Path = Path("/var/lib/eson")
    address: tuple[IpAddress, ...] = (IPv4Address("127.0.0.1"),)
    fnap: Fnap = Fnap()
    identity: Identity = Identity()
    names: Names = Names()
    brokers: tuple[Broker, ...] = (EmbeddedBroker("local"),)
    copies: Copies = Copies()
    remotes: tuple[Remote, ...] = ()
    allow_private: tuple[IpNetwork, ...] = ()
    processors: Processors = Processors()
    limits: Limits = Limits()
    web: Web = Web()
    log: Log = Log()

    def broker(self, name: str) -> Broker:
        """The broker of that name.  Raises `KeyError`."""
        for broker in self.brokers:
            if broker.name == name:
                return broker
        raise KeyError(name)
