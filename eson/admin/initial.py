"""What `eson init` writes: texts of a participant's first files, made from a few facts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

FNAP, FNAPS, DNS, KAFKA, KAFKA_TLS = 61000, 61001, 5300, 9092, 9093
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without what looks like something else."""


@dataclass(frozen=True)
class Facts:
    """What the files are made from.

    `password` is of `account`; `ca` the file that clients must trust, "system" for a public CA; `state` as the
    configuration says it.
    """

    domain: str
    address: IPv4Address | IPv6Address
    draft: bool
    account: str
    password: str = field(repr=False)
    state: str
    ca: str

    @property
    def agent(self) -> str:
        return f"fnaa.{self.domain}"

    @property
    def namespace(self) -> str:
        return f"flows.{self.domain}"

    @property
    def nameserver(self) -> str:
        return f"ns1.{self.domain}"

    @property
    def dns_port(self) -> int:
        """Only loopback has a port of its own: the Internet asks port 53."""
        return DNS if self.address.is_loopback else 53

    def at(self, port: int) -> str:
        return f"[{self.address}]:{port}" if self.address.version == 6 else f"{self.address}:{port}"


def new_password() -> str:
    """Four groups of four from 32 signs: 80 bits."""
    signs = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(signs[at : at + 4] for at in range(0, 16, 4))


def configuration(facts: Facts) -> str:
    """The text of `eson.yaml`."""
    return f"""\
# {facts.domain} in the Event Streaming Open Network; every key: docs/operations.md
participant: {facts.domain}
agent: {facts.agent}
state: {facts.state}
address: ["{facts.address}"]

{_fnap(facts)}{_identity(facts)}names:
  listen: ["{facts.at(facts.dns_port)}"]
  zones:
    - {{name: {facts.domain}, hosts: {{{_hosts(facts)}}}}}
    - {{name: {facts.namespace}}}

brokers:
  - {_broker(facts)}

namespaces:
  - {{name: {facts.namespace}, administrators: ["user:{facts.account}"]}}
"""


def _fnap(facts: Facts) -> str:
    if facts.address.is_loopback:  # the certificate is of the agent's own CA, which keeps it fresh
        return f"""\
fnap:
  listen: ["{facts.at(FNAP)}"]
  listen_tls: ["{facts.at(FNAPS)}"]

"""
    return f"""\
fnap:
  listen: ["{facts.at(FNAP)}"]
  listen_tls: ["{facts.at(FNAPS)}"]
  certificate: keys/agent.pem
  key: keys/agent.key

"""


def _identity(facts: Facts) -> str:
    if not facts.draft:
        return ""
    return f"""\
identity:
  accounts:
    - {{name: {facts.account}, password: {facts.password}, home: {facts.namespace}}}

"""


def _hosts(facts: Facts) -> str:
    names = ["fnaa", *(["kf1"] if facts.draft else []), "ns1"]
    return ", ".join(f'{name}: "{facts.address}"' for name in names)


def _broker(facts: Facts) -> str:
    if facts.draft:
        return (
            f'{{name: local, type: embedded, listen: ["{facts.at(KAFKA)}"], '
            f'advertise: "kf1.{facts.domain}:{KAFKA}", login: none}}'
        )
    if facts.address.is_loopback:
        return f'{{name: local, type: embedded, listen: ["{facts.at(KAFKA)}"]}}'
    return (
        f'{{name: local, type: embedded, listen: ["127.0.0.1:{KAFKA}"], '
        f'listen_tls: ["{facts.at(KAFKA_TLS)}"]}}'
    )


def user_agent(facts: Facts) -> str:
    """The text of `fnua.yaml`, for the account."""
    name = f"fnaa-{facts.domain.partition('.')[0]}"
    return f"""\
# What fnua needs to know: copy it to ~/.config/eson/fnua.yaml, or name it with -c
agents:
  - name: {name}
    fqdn: {facts.agent}
    username: "{facts.account}"
    password: "{facts.password}"
    prefix: "{facts.domain}-"
    address: "{facts.at(FNAPS)}"
    tls: implicit
    trust: {facts.ca}
namespaces:
  - {{name: {facts.namespace}, agent: {name}}}
default: {name}
nameserver: "{facts.at(facts.dns_port)}"
"""


def records_beside(facts: Facts) -> str:
    """What another name server's zone of the domain must hold."""
    return _records(
        *_addresses(facts, facts.agent, facts.nameserver),
        (facts.namespace, "NS", f"{facts.nameserver}."),
        (f"_flow._tcp.{facts.domain}", "SRV", f"0 0 {FNAPS} {facts.agent}."),
        (f"_flow._tcp.{facts.domain}", "TXT", '"tls"'),
    )


def records_above(facts: Facts) -> str:
    """What the zone above must hold, where ours has the whole domain."""
    return _records((facts.domain, "NS", f"{facts.nameserver}."), *_addresses(facts, facts.nameserver))


def _addresses(facts: Facts, *names: str) -> list[tuple[str, str, str]]:
    kind = "AAAA" if facts.address.version == 6 else "A"
    return [(name, kind, str(facts.address)) for name in names]


def _records(*rows: tuple[str, str, str]) -> str:
    width = max(len(name) for name, _, _ in rows) + 2
    return "".join(f"{name + '.':<{width}} IN {kind:<4} {data}\n" for name, kind, data in rows)


def relative_state(directory: Path, usual: Path) -> str:
    """`state:` beside the file, but where the system has a place for it."""
    return "/var/lib/eson" if directory == usual else "state"
