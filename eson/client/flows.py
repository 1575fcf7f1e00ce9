"""A flow at its own broker, without the agent between: the flow-aware producer and consumer of draft Figure 9."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from eson.brokers.kafka.broker import KafkaBroker
from eson.brokers.port import Access, Capability, Record, Source
from eson.brokers.positions import Offsets, offsets_of
from eson.client.agent import BrokerCredential, Start, position
from eson.client.closing import Closing
from eson.errors import NotSupported, ProtocolViolation
from eson.fnap.net.client import each
from eson.identity.trust import trust_pem
from eson.model.events import Event, Mode, event_of, record_of
from eson.model.positions import Beginning, Position
from eson.model.servers import Server

BATCH = 500
"""Events that are written and synced together at most."""


class Queue(Offsets, Protocol):
    """What is needed of a broker (`eson.brokers.port.Broker`)."""

    async def read(self, name: str, start: Mapping[int, int], end: Mapping[int, int] | None) -> Source: ...

    async def write(self, name: str) -> Any: ...

    async def stop(self) -> None: ...


class BrokerFlow(Closing):
    """Reads and writes the queue of a flow as its broker's client.  Errors are those of brokers: `BackendFailed`, `NoSuch`.

    `broker` speaks to the broker with a credential of the flow; `mode` is how events are written.
    """

    def __init__(self, broker: Queue, flow: str, queue: str = "", mode: Mode = "binary") -> None:
        self._broker = broker
        self.flow = flow
        self.queue = queue or flow
        self.mode: Mode = mode

    async def close(self) -> None:
        """Drops the connections to the broker."""
        await self._broker.stop()

    def read(self, start: Start = None, follow: bool = False) -> BrokerEvents:
        """The events from `start` (default: the beginning) to the end that it has now; with `follow` on and on."""
        return BrokerEvents(self._broker, self.flow, self.queue, position(start) or Beginning(), follow)

    async def write(self, events: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]) -> int:
        """Writes CloudEvents, each batch synced before the next; how many.  Raises `Usage` for what is none."""
        sink = await self._broker.write(self.queue)
        count = 0
        try:
            async for batch in _batches(events, self.mode):
                await sink.send(batch)
                count += len(batch)
        finally:
            sink.close()
        return count


class BrokerEvents(Closing):
    """The events of a running read, as JSON CloudEvents.  `close` ends it, or leaving the `async with` around it."""

    def __init__(self, broker: Queue, flow: str, queue: str, start: Position, follow: bool) -> None:
        self._broker, self._flow, self._queue = broker, flow, queue
        self._start, self._follow = start, follow
        self._source: Source | None = None
        self._records: deque[Record] = deque()
        self._closed = False

    def __aiter__(self) -> BrokerEvents:
        return self

    async def __anext__(self) -> Event:
        if not self._records:
            if self._source is None and not self._closed:
                self._source = await self._open()
            records = () if self._source is None or self._closed else await self._source.next_records()
            if not records:
                await self.close()
                raise StopAsyncIteration
            self._records.extend(records)
        return event_of(self._records.popleft(), self._flow)

    async def _open(self) -> Source:
        # the end first: what is written from now on belongs to a follower alone
        end = None if self._follow else await self._broker.end_offsets(self._queue)
        begin = await offsets_of(self._broker, self._queue, self._start)
        return await self._broker.read(self._queue, begin, end)

    async def close(self) -> None:
        self._closed = True
        if self._source is not None:
            self._source.close()


def kafka(reactor: Any, credential: BrokerCredential, servers: Sequence[Server]) -> KafkaBroker:
    """The broker of a credential, at these of its servers.  Raises `NotSupported` for another kind than Kafka."""
    if credential.kind != "kafka":
        raise NotSupported(
            f"The queue of {credential.flow} is at a broker of type {credential.kind}: read it at its agent"
        )
    access = Access(
        servers=tuple(servers),
        security=credential.security,
        mechanism=credential.mechanism,
        username=credential.username,
        password=credential.password,
        trust=_pem(credential.trust),
    )
    return KafkaBroker(reactor, credential.flow, access, capabilities=Capability.NONE)


def _pem(trust: str) -> str:
    try:
        return trust_pem(trust)
    except ValueError:
        raise ProtocolViolation("The agent gave a credential whose trust is no certificate") from None


async def _batches(
    events: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]], mode: Mode
) -> AsyncIterator[list[Record]]:
    batch: list[Record] = []
    async for event in each(events):
        made = record_of(event, mode)
        batch.append(Record(-1, -1, made.timestamp, made.key, made.value, made.headers))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
