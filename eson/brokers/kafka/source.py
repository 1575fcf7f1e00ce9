"""A running read of one queue: bounded or on and on, pulled, one Fetch a server under way at most."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from eson.brokers.kafka.committed import committed_records
from eson.brokers.kafka.failures import Answered, Unreachable, answered
from eson.brokers.kafka.net.cluster import FIRST_PAUSE, LONGEST_PAUSE, NO_NODE, Cluster, Topic
from eson.brokers.kafka.net.connection import KafkaConnection
from eson.brokers.kafka.wire.apis import FetchRequest
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.brokers.kafka.wire.records import BatchRecord
from eson.brokers.port import Record
from eson.errors import BackendFailed, NoSuch

MAX_RECORDS, MAX_OCTETS = 500, 1024 * 1024
FETCH_OCTETS = 2 * 1024 * 1024
PARKED = 10.0
"""Seconds that a server holds a Fetch for which it has nothing."""
ANSWERED_WITHIN = PARKED + 15.0
READ_COMMITTED = 1

Arrival = tuple[int, Any]
"""A server's node id, and its response or the error in its place."""


class KafkaSource:
    """Reads from `positions` (partition → offset), to `end` (exclusive) if it is given.

    Records of transactions that are open or aborted are left out.  What a reader does not pull is not fetched: at most
    one response of each server is kept, and one batch of it is decoded at a time.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: Topic,
        positions: Mapping[int, int],
        end: Mapping[int, int] | None,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._end = None if end is None else {number: end.get(number, at) for number, at in positions.items()}
        self._positions = dict(positions)
        self._connections: dict[int, KafkaConnection] = {}
        self._parked: set[int] = set()
        self._arrivals: deque[Arrival] = deque()
        self._arrived: Deferred[None] | None = None
        self._ready: Iterator[Record] = iter(())
        self._failing_since: float | None = None
        self._unsettled = False
        self._pause = FIRST_PAUSE
        self._closed = False

    async def next_records(self) -> Sequence[Record]:
        """Raises `BackendFailed`: unreachable for too long, an offset that is gone, a queue that was made anew."""
        while not self._closed:
            records = self._take()
            if records:
                return records
            if self._arrivals:
                self._accept(*self._arrivals.popleft())
            elif self._at_end():
                self.close()
            else:
                await self._await_arrival()
        return []

    def close(self) -> None:
        """Ends a parked `next_records` too, which gives []."""
        self._closed = True
        self._drop_connections()
        self._wake()

    # what has arrived

    def _take(self) -> list[Record]:
        taken: list[Record] = []
        octets = 0
        while len(taken) < MAX_RECORDS and octets < MAX_OCTETS:
            try:
                record = next(self._ready, None)
            except BackendFailed as error:
                if not taken:
                    raise
                self._ready = _failing(error)  # what came before it is told first
                break
            if record is None:
                break
            taken.append(record)
            octets += len(record.key or b"") + len(record.value or b"")
        return taken

    def _accept(self, node: int, response: Any) -> None:
        if isinstance(response, Exception):
            self._trouble(response)
            return
        if response.error_code:
            self._trouble(self._answered(response.error_code))
            return
        self._failing_since, self._pause = None, FIRST_PAUSE
        parts = [part for topic in response.responses for part in topic.partitions]
        for part in parts:
            if part.error_code:
                self._refused(part)
        self._ready = self._records(parts)

    def _refused(self, part: Any) -> None:
        number, code = part.partition_index, part.error_code
        if code == ErrorCode.OFFSET_OUT_OF_RANGE:
            at = self._positions[number]
            raise BackendFailed(
                f"Queue {self._topic.name} does not hold offset {at} of partition {number} any more",
                first=part.log_start_offset,
            )
        self._trouble(self._answered(code))

    def _records(self, parts: Sequence[Any]) -> Iterator[Record]:
        for part in parts:
            number = part.partition_index
            if part.error_code or number not in self._positions:
                continue
            yield from self._of_partition(number, part)
            if self._end is not None and 0 <= part.last_stable_offset <= self._positions[number]:
                # what lies behind belongs to an open transaction: for a reader, this is the end
                self._end[number] = min(self._end[number], self._positions[number])

    def _of_partition(self, number: int, part: Any) -> Iterator[Record]:
        end = None if self._end is None else self._end[number]
        try:
            for following, records in committed_records(part):
                for record in records:
                    if record.offset >= self._positions[number] and (end is None or record.offset < end):
                        self._positions[number] = record.offset + 1
                        yield _record(number, record)
                self._positions[number] = max(self._positions[number], following)
                if end is not None and following >= end:
                    return
        except MalformedMessage as error:
            raise BackendFailed(
                f"Queue {self._topic.name} holds a batch that cannot be read", why=str(error)
            ) from error

    def _at_end(self) -> bool:
        return self._end is not None and not self._open_partitions()

    def _open_partitions(self) -> list[int]:
        if self._end is None:
            return list(self._positions)
        return [number for number, at in self._positions.items() if at < self._end[number]]

    # asking for more

    async def _await_arrival(self) -> None:
        if self._unsettled:
            await self._settle()
            return
        try:
            await self._ask()
        except (Unreachable, Answered) as error:
            self._trouble(error)
            return
        if not self._closed and not self._arrivals:
            self._arrived = Deferred()
            await self._arrived

    async def _ask(self) -> None:
        led: defaultdict[int, list[int]] = defaultdict(list)
        for number in self._open_partitions():
            led[self._topic.leaders.get(number, NO_NODE)].append(number)
        if NO_NODE in led:
            raise self._answered(ErrorCode.LEADER_NOT_AVAILABLE)
        for node, numbers in led.items():
            if node not in self._parked:
                await self._park(node, numbers)

    async def _park(self, node: int, numbers: Sequence[int]) -> None:
        connection = self._connections.get(node)
        if connection is None or not connection.usable:
            if connection is not None:
                connection.close()
            connection = await self._cluster.within(self._cluster.dedicated(node))
            if self._closed:
                connection.close()
                return
            self._connections[node] = connection
        self._parked.add(node)
        waiting = connection.send(self._fetch(numbers), ANSWERED_WITHIN)
        waiting.addCallbacks(
            lambda response: self._arrive(node, response), lambda failure: self._arrive(node, failure.value)
        )

    def _arrive(self, node: int, response: Any) -> None:
        self._parked.discard(node)
        if not self._closed:
            self._arrivals.append((node, response))
        self._wake()

    def _fetch(self, numbers: Sequence[int]) -> Any:
        topic: Any = FetchRequest.FetchTopic
        asked = topic(
            topic=self._topic.name,
            topic_id=self._topic.id,
            partitions=[
                topic.FetchPartition(
                    partition=number,
                    current_leader_epoch=-1,
                    fetch_offset=self._positions[number],
                    last_fetched_epoch=-1,
                    log_start_offset=-1,
                    partition_max_bytes=FETCH_OCTETS,
                )
                for number in numbers
            ],
        )
        return FetchRequest(
            max_wait_ms=int(PARKED * 1000),
            min_bytes=1,
            max_bytes=FETCH_OCTETS,
            isolation_level=READ_COMMITTED,
            topics=[asked],
            forgotten_topics_data=[],
            rack_id="",
        )

    # trouble

    def _answered(self, code: int) -> Answered:
        return answered(self._cluster.name, code, f"read queue {self._topic.name}")

    def _trouble(self, error: Exception) -> None:
        """Notes what may pass by itself; raises the rest, and that too when it lasts for longer than the deadline."""
        passing = isinstance(error, Unreachable) or (isinstance(error, Answered) and error.passing)
        self._unsettled = True
        now = self._cluster.seconds()
        if self._failing_since is None:
            self._failing_since = now
        if not passing or now - self._failing_since > self._cluster.timeout:
            self.close()
            raise error

    async def _settle(self) -> None:
        """Waits a little and asks who leads now."""
        self._drop_connections()
        await self._cluster.pause(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        try:
            found = await self._cluster.within(self._cluster.metadata([self._topic.name]))
        except (Unreachable, Answered) as error:
            self._trouble(error)
            return
        topic = found.get(self._topic.name)
        if topic is None or topic.id != self._topic.id:
            self.close()
            raise BackendFailed(f"Queue {self._topic.name} was deleted")
        self._topic = topic
        self._unsettled = False

    def _drop_connections(self) -> None:
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()
        self._arrivals.clear()
        self._parked.clear()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None and not arrived.called:
            arrived.callback(None)


def check_partitions(topic: Topic, positions: Mapping[int, int]) -> None:
    """Raises `NoSuch` for a position in a partition that is not there."""
    for number in positions:
        if number not in topic.leaders:
            raise NoSuch("partition", f"{topic.name}:{number}")


def _failing(error: BackendFailed) -> Iterator[Record]:
    raise error
    yield


def _record(number: int, record: BatchRecord) -> Record:
    return Record(number, record.offset, record.timestamp, record.key, record.value, record.headers)
