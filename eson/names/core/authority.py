"""What this participant's DNS says: flows and namespaces into zones.

A configured zone holds all namespaces at or below it; a namespace that lies in no other zone is a zone of its own,
delegated by whoever holds the zone above.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from eson.errors import NameNotAllowed, NotHosted
from eson.model.names import MAX_FLOW, is_at_or_below, is_below, shown
from eson.model.servers import Server
from eson.names.core.records import (
    Agent,
    Ttl,
    agent_service,
    flow_owner,
    flow_records,
    namespace_node,
    queue_owner,
)
from eson.names.core.wire import address_rrsets, encode_name, suffixes
from eson.names.core.zone import Apex, Node, Zone
from eson.names.port import FlowNames


@dataclass(frozen=True)
class Settings:
    """What the records say beside flows and namespaces.

    `zones` are the configured ones: by name, the static hosts in them (relative, "@" for the zone itself) and their
    addresses.  `agent_addresses` stand at the agent's name where a zone of ours holds it and lists no host there.
    `nameservers`: FQDNs of the name servers, the agent's host if none are given.  `catalogue`: so many listed flows
    have a pointer in their namespace.
    """

    participant: str
    agent: Agent
    agent_addresses: tuple[str, ...] = ()
    zones: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    nameservers: tuple[str, ...] = ()
    catalogue: int = 200
    ttl: Ttl = field(default_factory=Ttl)
    poc_records: bool = False


class Authority:
    """All zones, and the flows and namespaces that they are made of."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._watcher: Callable[[bytes | None], None] = lambda _: None
        self._zones: dict[bytes, Zone] = {}
        self._flows: dict[str, FlowNames] = {}
        self._catalogues: dict[str, list[str]] = {}
        self._hosts: dict[bytes, Node] = {}
        # the deepest first: a host belongs to the zone that holds it
        for name in sorted(settings.zones, key=len, reverse=True):
            self._open(name)

    def watch(self, changed: Callable[[bytes | None], None]) -> None:
        """Tells `changed` each name whose answers are not what they were; None stands for all names."""
        self._watcher = changed

    def find(self, name: bytes) -> Zone | None:
        """The zone that holds a name, in octets."""
        for suffix in suffixes(name):
            zone = self._zones.get(suffix)
            if zone is not None:
                return zone
        return None

    def zone(self, name: str) -> Zone:
        """The zone of that name.  Raises `NotHosted`."""
        zone = self._zones.get(encode_name(name))
        if zone is None:
            raise NotHosted(name)
        return zone

    def zones(self) -> list[str]:
        return sorted(zone.name for zone in self._zones.values())

    def flows(self) -> list[str]:
        return sorted(self._flows)

    def namespaces(self) -> list[str]:
        return sorted(self._catalogues)

    def put_namespace(self, namespace: str) -> None:
        """Publishes a namespace, if it is not yet.  Raises `NameNotAllowed` if its records do not fit."""
        if namespace in self._catalogues:
            return
        if len(namespace) > MAX_FLOW:
            raise NameNotAllowed(f"{shown(namespace)} has more than {MAX_FLOW} octets")
        self._catalogues[namespace] = []
        if self.find(encode_name(namespace)) is None:
            for zone in list(self._zones.values()):
                if is_below(zone.name, namespace) and zone.name not in self._settings.zones:
                    self._close(zone)
            self._open(namespace)
            self._write_below(namespace)
        self._write_service(namespace)

    def remove_namespace(self, namespace: str) -> None:
        """Removes a namespace and the flows in it; namespaces below it stay."""
        for flow in [one.flow for one in self._flows.values() if one.namespace == namespace]:
            self.remove_flow(flow)
        if self._catalogues.pop(namespace, None) is None:
            return
        zone = self._zones.get(encode_name(namespace))
        if zone is not None and namespace not in self._settings.zones:
            self._close(zone)
            self._open_below(namespace)
        else:
            self._write_service(namespace)

    def put_flow(self, names: FlowNames) -> None:
        """Publishes a flow, or changes what is said of it.  Raises `ValueError` for what records cannot hold."""
        old = self._flows.get(names.flow)
        if old == names:
            return
        self.put_namespace(names.namespace)
        self._write_flow(names)
        if old is not None and (old.namespace != names.namespace or old.catalogued != names.catalogued):
            self._uncatalogue(old)
        self._catalogue(names)

    def remove_flow(self, flow: str) -> None:
        """Removes all records of a flow, if there are any."""
        names = self._flows.pop(flow, None)
        if names is None:
            return
        name = encode_name(flow)
        for owner in (name, queue_owner(name)):
            self._erase(owner)
        self._write_service(flow)
        self._uncatalogue(names)

    def _open(self, name: str) -> Zone:
        settings = self._settings
        apex = Apex(settings.nameservers or (settings.agent.name,), settings.ttl.flow, settings.ttl.negative)
        zone = Zone(name, apex, self._now, lambda changed: self._watcher(changed))
        self._zones[zone.origin] = zone
        self._write_hosts(zone)
        return zone

    def _close(self, zone: Zone) -> None:
        del self._zones[zone.origin]
        self._watcher(None)

    def _open_below(self, namespace: str) -> None:
        """Namespaces whose zone was closed become zones of their own, the highest first."""
        orphans = sorted((one for one in self._catalogues if is_below(one, namespace)), key=len)
        for one in orphans:
            if self.find(encode_name(one)) is None:
                self._open(one)
                self._write_below(one)

    def _write_below(self, top: str) -> None:
        for namespace in self._catalogues:
            if is_at_or_below(namespace, top):
                self._write_service(namespace)
        for names in self._flows.values():
            if is_below(names.flow, top):
                self._write_flow(names)

    def _write_hosts(self, zone: Zone) -> None:
        """Static hosts, the agent's host, and the agent that speaks for the participant."""
        settings = self._settings
        hosts = settings.zones.get(zone.name, {})
        for host, addresses in hosts.items():
            self._write_host(zone, zone.name if host == "@" else f"{host}.{zone.name}", addresses)
        agent = settings.agent.name
        if self.find(encode_name(agent)) is zone and agent not in _absolute(hosts, zone.name):
            self._write_host(zone, agent, settings.agent_addresses)
        self._write_service(settings.participant)

    def _write_host(self, zone: Zone, name: str, addresses: Iterable[str]) -> None:
        settings = self._settings
        node: Node = address_rrsets(addresses, settings.ttl.flow)
        if settings.poc_records and name == settings.agent.name:
            node += agent_service(settings.agent, settings.ttl.flow, direct=True)
        if node:
            owner = encode_name(name)
            if self._hosts.get(owner) != node:
                self._hosts[owner] = node
                self._watcher(None)  # answers elsewhere carry this host's addresses
            zone.put(owner, _merged(zone.get(owner) or (), node))

    def _write_service(self, name: str) -> None:
        """What stands at `_flow._tcp.<name>`: a namespace's agent and catalogue, else a flow's agent, else the agent that
        speaks for the participant, whom others ask and whose certificate stands for our users; else nothing."""
        settings = self._settings
        owner = flow_owner(encode_name(name))
        if name in self._catalogues:
            listed = self._catalogues[name][: settings.catalogue]
            self._write(owner, namespace_node(settings.agent, settings.ttl.flow, listed))
        elif name in self._flows:
            self._write(owner, agent_service(settings.agent, settings.ttl.of(self._flows[name].copy)))
        elif name == settings.participant:
            self._write(owner, agent_service(settings.agent, settings.ttl.flow))
        else:
            self._erase(owner)

    def _write_flow(self, names: FlowNames) -> None:
        settings = self._settings
        servers = [self._named(server, names) for server in names.servers]
        records = list(flow_records(names, servers, settings.agent, settings.ttl, settings.poc_records))
        self._flows[names.flow] = names
        for owner, node in records:
            self._write(owner, node)
        self._write_service(names.flow)

    def _named(self, server: Server, names: FlowNames) -> Server:
        """A server whose host is a name: SRV cannot hold addresses, so an address gets a name in the flow's zone."""
        try:
            address = ip_address(server.host)
        except ValueError:
            return server
        zone = self.find(encode_name(names.flow))
        if zone is None:
            return server
        label = address.exploded.replace(".", "-").replace(":", "-")
        host = f"ip-{label}.{zone.name}"
        self._write_host(zone, host, [str(address)])
        return Server(host, server.port)

    def _catalogue(self, names: FlowNames) -> None:
        if not names.catalogued:
            return
        catalogue = self._catalogues[names.namespace]
        index = bisect_left(catalogue, names.flow)
        if index == len(catalogue) or catalogue[index] != names.flow:
            insort(catalogue, names.flow)
            if index < self._settings.catalogue:
                self._write_service(names.namespace)

    def _uncatalogue(self, names: FlowNames) -> None:
        catalogue = self._catalogues.get(names.namespace, [])
        index = bisect_left(catalogue, names.flow)
        if index < len(catalogue) and catalogue[index] == names.flow:
            del catalogue[index]
            if index < self._settings.catalogue:
                self._write_service(names.namespace)

    def _write(self, owner: bytes, node: Node) -> None:
        zone = self.find(owner)
        if zone is not None:
            fixed = self._hosts.get(owner)
            zone.put(owner, _merged(node, fixed) if fixed else node)

    def _erase(self, owner: bytes) -> None:
        zone = self.find(owner)
        if zone is not None and owner in self._hosts:
            zone.put(owner, self._hosts[owner])
        elif zone is not None:
            zone.remove(owner)


def _merged(node: Node, other: Node) -> Node:
    """Both; of a type that both have, the second."""
    kinds = {rrset.kind for rrset in other}
    return (*(rrset for rrset in node if rrset.kind not in kinds), *other)


def _absolute(hosts: Iterable[str], zone: str) -> set[str]:
    return {zone if host == "@" else f"{host}.{zone}" for host in hosts}
