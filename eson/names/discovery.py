"""Finding agents and brokers by the names of flows (interface section 7, "Discovery").

The order for the agent of a flow F: PTR at F and its target's SRV and TXT; SRV at `_flow._tcp.F`; SRV at F; SRV at
`fnaa._flow._tcp.F`; `_flow._tcp.<parent>` for up to six parents, never above the registered domain.  The first
that answers ends the search, and an SRV with target `.` (RFC 2782: not offered) ends it too.  A question that
nobody answers also ends it: else whoever can drop packets could choose the agent.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice

from publicsuffixlist import PublicSuffixList

from eson.errors import AgentUnreachable, NoSuch
from eson.model.names import ancestors, is_at_or_below
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.core.lookup import Lookup, LookupFailed, Service

PREFIX = "_flow._tcp."
QUEUE = "_queue."
MAX_PARENTS = 6
MAX_POINTERS = 4
MAX_SERVERS = 16

_SERVICE_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\Z")


@dataclass(frozen=True)
class AgentLocation:
    """Where an agent listens.

    `servers` are in the order in which they are to be tried, never empty; `tls`: TLS from the first byte; `source`
    is the owner of the SRV records; `domain` what that name belongs to (the flow, or a parent that answered for it).
    """

    servers: tuple[Server, ...]
    tls: bool
    source: str
    domain: str

    @property
    def host(self) -> str:
        return self.servers[0].host

    @property
    def port(self) -> int:
        return self.servers[0].port


@dataclass(frozen=True)
class BrokerLocation:
    """Where the queue of a flow is.  `kind` is the protocol; `queue` the queue's real name; `servers` as in an agent."""

    kind: str
    servers: tuple[Server, ...]
    tls: bool
    queue: str


class Discovery:
    """Answers where the agent or broker of a name is."""

    def __init__(
        self,
        lookup: Lookup,
        policy: AddressPolicy = AddressPolicy(),  # noqa: B008 (frozen)
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._lookup = lookup
        self._policy = policy
        self._rand = rand

    async def discover_agent(self, flow: str) -> AgentLocation:
        """The agent of a flow.  Raises `AgentUnreachable`, whatever the reason."""
        try:
            pointed = await self._pointed_at(flow)
        except LookupFailed as error:
            raise _unreachable(flow, error) from error
        return await self._first(flow, places_of_flow(flow, pointed))

    async def discover_participant_agent(self, participant: str) -> AgentLocation:
        """The agent that speaks for a participant: `_flow._tcp.<participant>` alone.  Raises `AgentUnreachable`."""
        return await self._first(participant, _each([participant]))

    async def discover_broker(self, flow: str) -> BrokerLocation:
        """The queue of a flow and its broker's servers.  Raises `NoSuch` if DNS does not say, `LookupFailed`."""
        for place in [*await self._pointed_at(flow), PREFIX + flow]:
            servers = order(await self._lookup.services(QUEUE + place), self._rand)
            if servers:
                words = attributes(await self._lookup.texts(QUEUE + place))
                queue = words.get("queue") or words.get("topic") or flow
                kind = words.get("broker-type", "").lower()
                if kind:
                    return BrokerLocation(kind, servers, "tls" in words, queue)
        raise NoSuch("flow", flow)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of an SRV target that may be connected to, IPv6 first; none if it is an alias (RFC 2782).

        Raises `LookupFailed`.
        """
        found = await self._lookup.addresses(host)
        if found.aliased:
            return ()
        return tuple(one for one in found.addresses if self._policy.permits(host, one))

    async def _first(self, name: str, places: Iterable[tuple[str, str]]) -> AgentLocation:
        try:
            for place, domain in places:
                services = await self._lookup.services(place)
                if not services:
                    continue
                servers = order(services, self._rand)
                if not servers:
                    raise AgentUnreachable(name, why=f"SRV at {place} offers nothing")
                words = attributes(await self._lookup.texts(place))
                return AgentLocation(servers, "tls" in words, place, domain)
        except LookupFailed as error:
            raise _unreachable(name, error) from error
        raise AgentUnreachable(name, why="no SRV record names an agent")

    async def _pointed_at(self, flow: str) -> list[str]:
        """Targets of the flow's PTR records that look like a flow's service, its own first."""
        found = await self._lookup.pointers(flow)
        usable = {one: None for one in found if one.startswith(PREFIX) and _SERVICE_NAME.match(one)}
        return sorted(usable, key=lambda one: one != PREFIX + flow)[:MAX_POINTERS]


def places_of_flow(flow: str, pointed: Sequence[str]) -> list[tuple[str, str]]:
    """Where SRV records of a flow's agent may be, in order, each with the name that it belongs to.

    `pointed` are the targets of the flow's PTR records.
    """
    places = [(place, place.removeprefix(PREFIX)) for place in pointed]
    if PREFIX + flow not in pointed:
        places.append((PREFIX + flow, flow))
    places += [(flow, flow), (f"fnaa.{PREFIX}{flow}", flow)]
    return places + [(PREFIX + parent, parent) for parent in parents(flow)]


def _each(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(PREFIX + name, name) for name in names]


def _unreachable(name: str, error: LookupFailed) -> AgentUnreachable:
    return AgentUnreachable(name, why=f"{error.text}: {error.context.get('why', '')}")


def parents(name: str) -> list[str]:
    """The parents that may answer for a name: nearest first, at most six, none above the registered domain."""
    registered = _suffixes().privatesuffix(name)
    if not registered:
        return []
    inside = (one for one in ancestors(name) if is_at_or_below(one, registered))
    return list(islice(inside, MAX_PARENTS))


@cache
def _suffixes() -> PublicSuffixList:
    """With its private section: below github.io each name is somebody else's.  Read when it is first needed."""
    return PublicSuffixList()


def attributes(texts: Iterable[Sequence[str]]) -> dict[str, str]:
    """Keys and values of TXT records, one or several words a string; the first of a key wins (RFC 6763 section 6.4)."""
    found: dict[str, str] = {}
    for record in texts:
        for word in " ".join(record).split():
            key, _, value = word.partition("=")
            found.setdefault(key.lower(), value)
    return found


def order(services: Iterable[Service], rand: Callable[[], float] = random.random) -> tuple[Server, ...]:
    """The servers in the order in which a client tries them: by priority, then drawn by weight (RFC 2782).

    Targets that are no host names are left out; at most 16 servers.
    """
    usable = sorted(
        (one for one in set(services) if one.port and is_host_name(one.target)),
        key=lambda one: (one.priority, one.target, one.port),
    )
    ordered: list[Server] = []
    for _, group in groupby(usable, key=lambda one: one.priority):
        ordered += [Server(one.target, one.port) for one in _drawn(list(group), rand)]
    return tuple(ordered[:MAX_SERVERS])


def _drawn(group: list[Service], rand: Callable[[], float]) -> Iterable[Service]:
    """All of a group, each next one drawn with a probability that follows its weight."""
    waiting = sorted(group, key=lambda one: one.weight > 0)
    while waiting:
        mark = rand() * sum(one.weight for one in waiting)
        running = 0
        for index, one in enumerate(waiting):
            running += one.weight
            if running >= mark:
                yield waiting.pop(index)
                break


def is_host_name(name: str) -> bool:
    """Whether a name may be a server's; a number as the last label would be taken for an IP address."""
    return bool(_HOST_NAME.match(name)) and not name.rpartition(".")[2].isdigit()
