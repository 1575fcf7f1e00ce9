"""The records of a flow, a copy and a namespace (design section 5; figures.md, "The records of one flow")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from eson.model.servers import Server
from eson.names.core.wire import PTR, SRV, TXT, RRset, encode_name, srv_rdata, txt_rdata
from eson.names.core.zone import Node
from eson.names.port import FlowNames

FLOW_PREFIX = b"\x05_flow\x04_tcp"
QUEUE_PREFIX = b"\x06_queue"
CATALOGUE_OCTETS = 60_000
"""Of a catalogue's records, uncompressed, so that the set fits into a message over TCP (65,535 octets)."""
PRIORITY = WEIGHT = 30
"""Of all our SRV records, as in the draft: servers of one broker share the load."""


@dataclass(frozen=True)
class Agent:
    """The agent that all records of this participant name.

    `port` is what DNS says, `tls` whether it speaks TLS from the first byte; `clear_port` is the one with STARTTLS for
    clients that know no TXT (0: there is none).
    """

    name: str
    port: int
    tls: bool
    clear_port: int = 0


@dataclass(frozen=True)
class Ttl:
    """Times to live in seconds: records of flows, of copies, and negative answers."""

    flow: int = 900
    copy: int = 60
    negative: int = 60

    def of(self, copy: bool) -> int:
        """That of a copy's records, or of another flow's."""
        return self.copy if copy else self.flow


def flow_owner(name: bytes) -> bytes:
    """`_flow._tcp.<name>`"""
    return FLOW_PREFIX + name


def queue_owner(name: bytes) -> bytes:
    """`_queue._flow._tcp.<name>`"""
    return QUEUE_PREFIX + FLOW_PREFIX + name


def flow_records(
    names: FlowNames, servers: Sequence[Server], agent: Agent, ttl: Ttl, poc: bool
) -> Iterable[tuple[bytes, Node]]:
    """Owner and records of a flow's own name and of its queue; its agent stands at `_flow._tcp.<name>` (`agent_service`).

    `servers` are those of `names` with host names in place of addresses; `poc` adds the SRV at the flow's own name.
    """
    seconds = ttl.of(names.copy)
    name = encode_name(names.flow)
    pointer = RRset(PTR, seconds, (flow_owner(name),))
    own = (pointer, *agent_service(agent, seconds, direct=True)) if poc else (pointer,)
    renamed = "" if names.queue == names.flow else names.queue
    yield name, own
    yield (
        queue_owner(name),
        queue_service(tuple(servers), names.broker_kind, names.broker_tls, renamed, seconds),
    )


@lru_cache(maxsize=64)
def agent_service(agent: Agent, ttl: int, direct: bool = False) -> Node:
    """SRV and TXT of the agent.  `direct`: the SRV alone, for the flow's or the agent's own name, as the published
    proof of concept looks it up; it reads no TXT, so the port with STARTTLS is named where there is one.

    The same node serves all flows: a hundred thousand of them hold it once.
    """
    if direct:
        return (RRset(SRV, ttl, (srv_rdata(0, 0, agent.clear_port or agent.port, agent.name),)),)
    return (
        RRset(SRV, ttl, (srv_rdata(PRIORITY, WEIGHT, agent.port, agent.name),)),
        RRset(TXT, ttl, (txt_rdata("tls") if agent.tls else txt_rdata(),)),
    )


@lru_cache(maxsize=1024)
def queue_service(servers: tuple[Server, ...], kind: str, tls: bool, renamed: str, ttl: int) -> Node:
    """SRV and TXT of a queue: one SRV for each server; `queue=` and `topic=` only where the real name differs."""
    words = [f"broker-type={kind}"]
    if tls:
        words.append("tls")
    if renamed:
        words += [f"queue={renamed}", f"topic={renamed}"]
    text = RRset(TXT, ttl, (txt_rdata(*words),))
    if not servers:
        return (text,)
    data = dict.fromkeys(srv_rdata(PRIORITY, WEIGHT, one.port, one.host) for one in servers)
    return (RRset(SRV, ttl, tuple(data)), text)


def namespace_node(agent: Agent, ttl: int, catalogue: Sequence[str]) -> Node:
    """What stands at `_flow._tcp.<namespace>`: its agent, and pointers to the flows that it lists, as many as fit."""
    service = agent_service(agent, ttl)
    targets: list[bytes] = []
    room = CATALOGUE_OCTETS
    for flow in catalogue:
        target = encode_name(flow)
        room -= len(target) + 12
        if room < 0:
            break
        targets.append(target)
    return (*service, RRset(PTR, ttl, tuple(targets))) if targets else service
