"""A broker in memory: the stand-in for tests of what uses brokers, held to the same contract as the real kinds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from twisted.internet.defer import Deferred

from eson.brokers.partitions import partition_of_key
from eson.brokers.port import Access, Capability, Queue, Record, Rights
from eson.errors import BackendFailed, Conflict, NoSuch
from eson.model.servers import Server

MAX_RECORDS, MAX_OCTETS = 500, 1024 * 1024


@dataclass
class _Partition:
    records: list[Record] = field(default_factory=list)
    first: int = 0
    """Offset of the first record that is kept."""

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class MemoryQueue:
    """What is in a queue: its settings, its partitions, and who waits for more."""

    def __init__(self, settings: Queue) -> None:
        self.settings = settings
        self.partitions = [_Partition() for _ in range(settings.partitions)]
        self.consumers: set[str] = set()
        self.sources: set[MemorySource] = set()

    def append(self, record: Record, now: int) -> None:
        partition = self.partitions[record.partition]
        timestamp = now if record.timestamp < 0 else record.timestamp
        partition.records.append(replace(record, offset=partition.end, timestamp=timestamp))

    def wake(self) -> None:
        for source in tuple(self.sources):
            source.look()


class MemoryBroker:
    """A whole broker in memory.  Tests may look at `queues`, `users`, `rights`, set `down`, and truncate queues.

    Every call is one step: what another call changes meanwhile is seen.  `calls` names the changing calls in order.
    """

    capabilities: Capability = (
        Capability.ISSUES_CREDENTIALS
        | Capability.EXACTLY_ONCE
        | Capability.SEEK_BY_TIME
        | Capability.CLOSES_CONNECTIONS
    )

    def __init__(
        self,
        name: str = "local",
        servers: Sequence[Server] = (Server("kf1.unix.ar", 9092),),
        tls_servers: Sequence[Server] = (),
        security: str = "plaintext",
        trust: str = "",
        capabilities: Capability | None = None,
        kind: str = "memory",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.kind = name, kind
        if capabilities is not None:
            self.capabilities = capabilities
        self.queues: dict[str, MemoryQueue] = {}
        self.users: dict[str, str] = {}
        self.rights: dict[str, Rights] = {}
        self.calls: list[tuple[str, str]] = []
        self.told: tuple[str, ...] = ()
        """What it says of its settings."""
        self.down = False
        """A broker that is down raises `BackendFailed` for every call and ends running reads with it."""
        self._servers, self._tls_servers = tuple(servers), tuple(tls_servers)
        self._security, self._trust = security, trust
        self._now = now

    # what clients are told

    async def servers(self, tls: bool = False) -> Sequence[Server]:
        return self._tls_servers if tls else self._servers

    def access(self) -> Access:
        return Access(self._servers)

    def client_security(self) -> str:
        return self._security

    def client_trust(self) -> str:
        return self._trust

    def concerns(self) -> Sequence[str]:
        return self.told

    # queues

    async def create_queue(
        self,
        name: str,
        partitions: int = 1,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> Queue:
        self._changes("create_queue", name)
        existing = self.queues.get(name)
        if existing is None:
            settings = Queue(name, partitions, uuid.uuid4().hex, retention_ms, retention_bytes)
            existing = self.queues[name] = MemoryQueue(settings)
        elif existing.settings.partitions != partitions:
            raise Conflict(f"queue {name} has {existing.settings.partitions} partitions")
        return existing.settings

    async def describe_queue(self, name: str) -> Queue | None:
        self._reached()
        queue = self.queues.get(name)
        return queue.settings if queue is not None else None

    async def update_queue(self, name: str, retention_ms: int | None, retention_bytes: int | None) -> None:
        self._changes("update_queue", name)
        queue = self._queue(name)
        queue.settings = replace(queue.settings, retention_ms=retention_ms, retention_bytes=retention_bytes)

    async def add_partitions(self, name: str, partitions: int) -> None:
        self._changes("add_partitions", name)
        queue = self._queue(name)
        if partitions < queue.settings.partitions:
            raise Conflict(
                f"queue {name} has {queue.settings.partitions} partitions, which cannot become fewer"
            )
        queue.partitions += [_Partition() for _ in range(partitions - queue.settings.partitions)]
        queue.settings = replace(queue.settings, partitions=partitions)

    async def delete_queue(self, name: str) -> None:
        self._changes("delete_queue", name)
        queue = self.queues.pop(name, None)
        if queue is not None:
            queue.wake()

    async def list_queues(self) -> Sequence[str]:
        self._reached()
        return sorted(self.queues)

    async def list_consumers(self, name: str) -> Sequence[str]:
        self._reached()
        queue = self.queues.get(name)
        return sorted(queue.consumers) if queue is not None else []

    # positions

    async def first_offsets(self, name: str) -> Mapping[int, int]:
        self._reached()
        return {number: part.first for number, part in enumerate(self._queue(name).partitions)}

    async def end_offsets(self, name: str) -> Mapping[int, int]:
        self._reached()
        return {number: part.end for number, part in enumerate(self._queue(name).partitions)}

    async def offsets_at(self, name: str, when: datetime) -> Mapping[int, int]:
        self._reached()
        wanted = when.timestamp() * 1000
        return {
            number: next((r.offset for r in part.records if r.timestamp >= wanted), part.end)
            for number, part in enumerate(self._queue(name).partitions)
        }

    # users

    async def set_credential(self, username: str, password: str) -> None:
        self._changes("set_credential", username)
        self.users[username] = password

    async def allow(self, username: str, rights: Rights) -> None:
        self._changes("allow", username)
        had = self.rights.get(username, Rights())
        self.rights[username] = Rights(
            read=tuple(dict.fromkeys((*had.read, *rights.read))),
            write=tuple(dict.fromkeys((*had.write, *rights.write))),
            groups_prefix=rights.groups_prefix or had.groups_prefix,
            group=rights.group or had.group,
        )

    async def disallow(self, username: str) -> None:
        self._changes("disallow", username)
        self.rights.pop(username, None)

    async def delete_credential(self, username: str) -> None:
        self._changes("delete_credential", username)
        self.users.pop(username, None)

    async def list_users(self) -> Sequence[str]:
        self._reached()
        return sorted(self.users)

    # records

    async def read(self, name: str, start: Mapping[int, int], end: Mapping[int, int] | None) -> MemorySource:
        self._reached()
        return MemorySource(self, self._queue(name), start, end)

    async def write(self, name: str) -> MemorySink:
        self._reached()
        return MemorySink(self, self._queue(name))

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        for queue in self.queues.values():
            for source in tuple(queue.sources):
                source.close()

    # for tests

    def truncate(self, name: str, partition: int, first: int) -> None:
        """Removes the records before `first`, as retention does."""
        part = self._queue(name).partitions[partition]
        del part.records[: max(0, first - part.first)]
        part.first = max(part.first, first)

    def records(self, name: str) -> list[Record]:
        """All that the queue holds, partition by partition."""
        return [record for part in self._queue(name).partitions for record in part.records]

    def now_ms(self) -> int:
        return int(self._now() * 1000)

    def _reached(self) -> None:
        if self.down:
            raise BackendFailed(f"Broker {self.name} cannot be reached")

    def _changes(self, call: str, subject: str) -> None:
        self._reached()
        self.calls.append((call, subject))

    def _queue(self, name: str) -> MemoryQueue:
        queue = self.queues.get(name)
        if queue is None:
            raise NoSuch("queue", name)
        return queue


class MemorySource:
    """A running read of a queue in memory."""

    def __init__(
        self,
        broker: MemoryBroker,
        queue: MemoryQueue,
        start: Mapping[int, int],
        end: Mapping[int, int] | None,
    ) -> None:
        self._broker, self._queue = broker, queue
        self._positions = dict(start)
        self._end = end
        self._waiting: Deferred[None] | None = None
        self._closed = False
        queue.sources.add(self)

    async def next_records(self) -> Sequence[Record]:
        while not self._closed:
            self._check()
            found = self._take()
            if found or self._at_end():
                return found
            self._waiting = Deferred(lambda _: self.close())
            await self._waiting
        return []

    def close(self) -> None:
        self._closed = True
        self._queue.sources.discard(self)
        self.look()

    def look(self) -> None:
        """Something changed: a parked read looks again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _check(self) -> None:
        name = self._queue.settings.name
        if self._broker.down:
            raise BackendFailed(f"Broker {self._broker.name} cannot be reached")
        if self._broker.queues.get(name) is not self._queue:
            raise BackendFailed(f"Queue {name} was deleted")
        for number, offset in self._positions.items():
            if number >= len(self._queue.partitions):
                raise NoSuch("partition", f"{name}:{number}")
            part = self._queue.partitions[number]
            if not part.first <= offset <= part.end:
                raise BackendFailed(f"Queue {name} has no offset {offset} in partition {number}")

    def _take(self) -> list[Record]:
        found: list[Record] = []
        octets = 0
        for number, offset in self._positions.items():
            part = self._queue.partitions[number]
            stop = part.end if self._end is None else min(part.end, self._end.get(number, offset))
            for record in part.records[max(0, offset - part.first) : max(0, stop - part.first)]:
                if len(found) == MAX_RECORDS or (found and octets > MAX_OCTETS):
                    break
                found.append(record)
                octets += len(record.key or b"") + len(record.value or b"")
                self._positions[number] = record.offset + 1
        return found

    def _at_end(self) -> bool:
        if self._end is None:
            return False
        return all(offset >= self._end.get(number, offset) for number, offset in self._positions.items())


class MemorySink:
    """A running write to a queue in memory."""

    def __init__(self, broker: MemoryBroker, queue: MemoryQueue) -> None:
        self._broker, self._queue = broker, queue
        self._turn = 0
        self._closed = False

    async def send(self, records: Sequence[Record]) -> None:
        name = self._queue.settings.name
        if self._broker.down or self._closed:
            raise BackendFailed(f"Broker {self._broker.name} cannot be reached")
        if self._broker.queues.get(name) is not self._queue:
            raise BackendFailed(f"Queue {name} was deleted")
        count = len(self._queue.partitions)
        placed = [self._placed(record, count) for record in records]
        for record in placed:
            self._queue.append(record, self._broker.now_ms())
        self._turn += 1
        self._queue.wake()

    def close(self) -> None:
        self._closed = True

    def _placed(self, record: Record, count: int) -> Record:
        if record.partition >= count:
            raise NoSuch("partition", f"{self._queue.settings.name}:{record.partition}")
        if record.partition >= 0:
            return record
        return replace(
            record,
            partition=self._turn % count if record.key is None else partition_of_key(record.key, count),
        )
