"""The rooms of a participant, made from its configuration; nothing is opened here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eson.agent.hosting import Hosting, Nameserver, Participant
from eson.agent.hosting import Limits as AgentLimits
from eson.agent.logins import Logins
from eson.agent.remotes import RemoteAgents
from eson.config import Config
from eson.config.values import Address
from eson.fnap.core.policy import Policy
from eson.fnap.net.places import Limits as SessionLimits
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.core.authority import Settings
from eson.names.core.records import Agent as AgentRecord
from eson.names.core.records import Ttl
from eson.names.discovery import Discovery
from eson.names.embedded import EmbeddedNames
from eson.names.net.resolver import Resolver
from eson.processors.core.reach import Reach
from eson.processors.port import KINDS
from eson.tap.certificates import AgentCertificate


def participant(config: Config, clear: Sequence[Address], tls: Sequence[Address], names: int) -> Participant:
    """Who we are; the addresses are those that are bound, `names` the name server's port (0: there is none)."""
    preferred = tls or clear
    hosts = nameservers(config) if names else ()
    return Participant(
        domain=config.participant,
        agent=config.agent,
        addresses=tuple(str(address) for address in config.address),
        port=preferred[0].port,
        tls=bool(tls),
        nameservers=tuple(Nameserver(host, f"{host}:{names}") for host in hosts),
    )


def nameservers(config: Config) -> tuple[str, ...]:
    """FQDNs of the name servers: static hosts called `ns`, `ns1`, …, else the agent."""
    found = [
        f"{host}.{zone.name}"
        for zone in config.names.zones
        for host in zone.hosts
        if host.startswith("ns") and (host == "ns" or host[2:].isdigit())
    ]
    return tuple(sorted(found)) or (config.agent,)


def hosting(config: Config, who: Participant) -> Hosting:
    return Hosting(who, {namespace.name: namespace for namespace in config.namespaces})


def agent_limits(config: Config) -> AgentLimits:
    limits, copies = config.limits, config.copies
    return AgentLimits(
        flows_per_account=limits.flows_per_account,
        subscriptions_per_participant=limits.subscriptions_per_participant,
        pending=limits.pending,
        event=limits.event,
        copies_retention=copies.retention,
        copies_bytes=copies.bytes,
        lease=copies.lease,
    )


def session_limits(config: Config) -> SessionLimits:
    limits = config.limits
    return SessionLimits(
        login=limits.login,
        sasl_step=limits.sasl_step,
        idle=limits.idle,
        command=limits.command,
        total=limits.connections.total,
        per_address=limits.connections.per_address,
        per_user=limits.connections.per_user,
    )


def policy(config: Config, logins: Logins, brokers: Sequence[str]) -> Policy:
    """What FNAP sessions offer; `brokers`: the protocols of ours."""
    limits = config.limits
    return Policy(
        hostname=config.agent,
        mechanisms=config.identity.mechanisms,
        mechanism=logins.mechanism,
        line=limits.line,
        sasl_line=limits.sasl_line,
        event=limits.event,
        bad_before_login=limits.bad_commands.before_login,
        bad_after_login=limits.bad_commands.after,
        brokers=tuple(dict.fromkeys(brokers)),
        processors=[kind.upper() for kind in KINDS],
    )


def names(config: Config, who: Participant, clear: Sequence[Address]) -> EmbeddedNames:
    ttl = config.names.ttl
    return EmbeddedNames(
        Settings(
            participant=config.participant,
            agent=AgentRecord(who.agent, who.port, who.tls, clear[0].port if clear else 0),
            agent_addresses=who.addresses,
            zones={
                zone.name: {host: [str(ip) for ip in ips] for host, ips in zone.hosts.items()}
                for zone in config.names.zones
            },
            nameservers=nameservers(config),
            catalogue=config.names.catalogue,
            ttl=Ttl(ttl.flow, ttl.copy, ttl.negative),
            poc_records=config.names.poc_records,
        )
    )


def address_policy(config: Config) -> AddressPolicy:
    """Where other participants' names may lead."""
    return AddressPolicy.of(
        allow_private=config.allow_private,
        own=config.address,
        agents=[remote.agent for remote in config.remotes],
        domains=config.names.resolve,
    )


def reach(config: Config) -> Reach:
    """How brokers are reached: by the names and addresses that the agent itself would use."""
    resolver = config.names.resolver
    return Reach(
        address_policy(config),
        None if resolver is None else _server(resolver),
        {domain: _server(address) for domain, address in config.names.resolve.items()},
    )


def remotes(config: Config, reactor: Any, certificate: AgentCertificate) -> RemoteAgents:
    known = reach(config)
    permitted = known.policy
    lookup = Resolver(reactor, None if known.resolver is None else [known.resolver], known.resolve)
    return RemoteAgents(
        reactor,
        Discovery(lookup, permitted),
        permitted,
        config.participant,
        config.remotes,
        config.fnap.trust,
        certificate.certificate,
        certificate.key,
        config.fnap.tls,
    )


def _server(address: Address) -> Server:
    return Server(address.host, address.port)
