"""Orders as messages and back; no message is trusted to be complete."""

from __future__ import annotations

from typing import Literal

from eson.brokers.port import Access
from eson.model.rates import RateLimit
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.reach import Reach
from eson.processors.port import Kind, ProcessorEnd, ProcessorOrder

VERSION = 1
NOTHING_PRIVATE = Reach()
SECURITIES = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
_KINDS: dict[Kind, pb.Kind.ValueType] = {
    "bridge": pb.BRIDGE,
    "collector": pb.COLLECTOR,
    "distributor": pb.DISTRIBUTOR,
    "signal": pb.SIGNAL,
}


class OrderError(Exception):
    """An order that no processor can follow; its text says why.  Retry: after the order was mended."""


def create_message(
    order: ProcessorOrder,
    journal: str,
    reach: Reach = NOTHING_PRIVATE,
    paused: bool = False,
) -> pb.Create:
    """The one message that carries credentials."""
    message = pb.Create(
        processor=order.id,
        kind=_KINDS[order.kind],
        sources=[_end_message(end) for end in order.sources],
        destinations=[_end_message(end) for end in order.destinations],
        journal=journal,
        when=order.when,
        addresses=_addresses_message(reach),
        paused=paused,
        lanes=order.lanes,
    )
    if order.start == "now":
        message.start.where = pb.Start.NOW
    elif order.start != "beginning":
        message.start.offsets.update(order.start)
    return message


def read_create(message: pb.Create) -> ProcessorOrder:
    """The order in a Create.  Raises `OrderError`."""
    sources = tuple(_end(one) for one in message.sources)
    destinations = tuple(_end(one) for one in message.destinations)
    names = {number: name for name, number in _KINDS.items()}
    kind = names.get(message.kind)
    if kind is None or not message.processor or not message.journal:
        raise OrderError("an order has a kind, a processor's name and a journal")
    _check_ends(kind, len(sources), len(destinations))
    return ProcessorOrder(
        id=message.processor,
        kind=kind,
        sources=sources,
        destinations=destinations,
        start=_start(message.start),
        when=message.when,
        lanes=message.lanes,
    )


def _addresses_message(reach: Reach) -> pb.Addresses:
    policy = reach.policy
    return pb.Addresses(
        allow_private=[str(network) for network in policy.allow_private],
        own=sorted(str(address) for address in policy.own),
        agents=sorted(policy.agents),
        domains=sorted(policy.domains),
        resolver="" if reach.resolver is None else _address(reach.resolver),
        resolve={domain: _address(server) for domain, server in reach.resolve.items()},
    )


def read_reach(message: pb.Create) -> Reach:
    """How hosts are reached, and what foreign ends may lead to.  Raises `OrderError`."""
    given = message.addresses
    try:
        policy = AddressPolicy.of(given.allow_private, given.own, given.agents, given.domains)
    except ValueError:
        raise OrderError("a network or an address that is none") from None
    resolver = _server(given.resolver) if given.resolver else None
    return Reach(policy, resolver, {domain: _server(text) for domain, text in given.resolve.items()})


def _check_ends(kind: str, sources: int, destinations: int) -> None:
    one_source, one_destination = kind in ("bridge", "distributor"), kind in ("bridge", "collector")
    if (
        not sources
        or not destinations
        or (one_source and sources > 1)
        or (one_destination and destinations > 1)
    ):
        raise OrderError(f"a {kind} cannot have {sources} sources and {destinations} destinations")


def _start(start: pb.Start) -> dict[int, int] | Literal["beginning", "now"]:
    if start.offsets:
        return dict(start.offsets)
    return "now" if start.where == pb.Start.NOW else "beginning"


def _end_message(end: ProcessorEnd) -> pb.End:
    access = end.access
    return pb.End(
        servers=[_address(server) for server in access.servers],
        security=access.security,
        mechanism=access.mechanism,
        username=access.username,
        password=access.password,
        trust=access.trust,
        queue=end.queue,
        flow=end.flow,
        foreign=end.foreign,
        records_per_second=end.limit.records or 0,
        bytes_per_second=end.limit.octets or 0,
    )


def _end(message: pb.End) -> ProcessorEnd:
    if message.security not in SECURITIES:
        raise OrderError(f"security is one of {', '.join(SECURITIES)}")
    if not message.servers or not message.queue:
        raise OrderError("an end has a server and a queue")
    access = Access(
        servers=tuple(_server(text) for text in message.servers),
        security=message.security,
        mechanism=message.mechanism,
        username=message.username,
        password=message.password,
        trust=message.trust,
    )
    limit = RateLimit(message.records_per_second or None, message.bytes_per_second or None)
    return ProcessorEnd(access, message.queue, message.flow, message.foreign, limit)


def _address(server: Server) -> str:
    return f"[{server.host}]:{server.port}" if ":" in server.host else f"{server.host}:{server.port}"


def _server(text: str) -> Server:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise OrderError("a server is host:port")
    return Server(host.removeprefix("[").removesuffix("]"), int(port))
