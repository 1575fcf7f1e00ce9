"""What a processor asks of a cluster before and beside carrying: topics, leaders, offsets, producers."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eson.brokers.kafka.wire.apis import (
    DescribeConfigsRequest,
    DescribeProducersRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetForLeaderEpochRequest,
)
from eson.brokers.kafka.wire.errors import AUTHORIZATION, ErrorCode, name_of
from eson.model.servers import Server
from eson.processors.child.connection import Connection
from eson.processors.child.opening import Opener
from eson.processors.child.trouble import Failing, LoginRefused, Trouble, Unreachable
from eson.processors.core.resume import Active

EARLIEST, LATEST = -2, -1
DEFAULT_MAX_BYTES = 1048588
"""Kafka's default of max.message.bytes."""
_TOPIC = 2


@dataclass(frozen=True)
class Topic:
    """`id` is "" where the broker has none; `leaders`: partition → node, -1 while there is none."""

    name: str
    id: str
    leaders: Mapping[int, int]

    @property
    def uuid(self) -> UUID:
        return UUID(self.id)


def listed(value: Sequence[Any] | None) -> Sequence[Any]:
    """A list that Kafka's protocol does not let be null.  Raises `Failing`."""
    if value is None:
        raise Failing("a broker breaks Kafka's protocol: a list is missing")
    return value


class Cluster:
    """One end's brokers.  Opened by `open`, closed by `close`; every connection belongs to it."""

    def __init__(self, queue: str, servers: Iterable[Server], opener: Opener, side: str) -> None:
        self.queue = queue
        self.side = side
        self._servers = list(servers)
        self._opener = opener
        self._nodes: dict[int, Server] = {}
        self._connections: list[Connection] = []
        self._first: Connection | None = None

    async def open(self) -> Topic:
        """Reaches the first bootstrap server that answers.  Raises `Unreachable`, `Failing`."""
        servers = random.sample(self._servers, len(self._servers))
        trouble: Trouble = Unreachable(f"{self.side}: no server")
        for server in servers:
            try:
                self._first = self._own(await self._opener.open(server))
                return await self.topic()
            except LoginRefused:
                raise
            except Trouble as error:
                trouble = error
        raise trouble

    async def topic(self) -> Topic:
        """The queue as its cluster knows it now.  Raises `Unreachable`."""
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(topic_id=UUID(int=0), name=self.queue)],
            allow_auto_topic_creation=False,
            include_topic_authorized_operations=False,
        )
        answer = await self._ask_first(request)
        self._nodes = {node.node_id: Server(node.host, node.port) for node in listed(answer.brokers)}
        topics = listed(answer.topics)
        if len(topics) != 1:
            raise Failing(f"{self.side} {self.queue}: its cluster answers for {len(topics)} queues")
        (topic,) = topics
        self._check(topic.error_code, "the queue")
        id = topic.topic_id.hex if topic.topic_id is not None and topic.topic_id.int else ""
        leaders = {one.partition_index: one.leader_id for one in listed(topic.partitions)}
        if not leaders:
            raise Unreachable(f"{self.side} {self.queue} has no partition")
        return Topic(self.queue, id, leaders)

    async def connect(self, node: int) -> Connection:
        """A new connection to a node.  Raises `Unreachable`."""
        server = self._nodes.get(node)
        if server is None:
            raise Unreachable(f"{self.side} {self.queue} has a partition without a leader")
        return self._own(await self._opener.open(server))

    async def offsets(self, connection: Connection, partitions: Iterable[int], when: int) -> dict[int, int]:
        """Partition → first (`EARLIEST`) or next (`LATEST`) offset; `connection` leads to their leader."""
        part = ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition
        topic = ListOffsetsRequest.ListOffsetsTopic(
            name=self.queue,
            partitions=[part(partition_index=p, current_leader_epoch=-1, timestamp=when) for p in partitions],
        )
        # what we wrote to a destination counts, whoever's transaction lies open before it
        committed = int(self.side == "source")
        request = ListOffsetsRequest(
            replica_id=-1, isolation_level=committed, topics=[topic], timeout_ms=10000
        )
        version = connection.version(request.API_KEY, 7, 1)
        if version is None:
            raise Unreachable(f"{connection.name} does not tell offsets")
        answer = await connection.ask(request, version)
        found = {}
        for one in (one for topic in listed(answer.topics) for one in listed(topic.partitions)):
            self._check(one.error_code, f"partition {one.partition_index}")
            found[one.partition_index] = one.offset
        return found

    async def producer_id(self) -> tuple[int, int]:
        """A new producer's id and epoch."""
        request = InitProducerIdRequest(
            transactional_id=None, transaction_timeout_ms=60000, producer_id=-1, producer_epoch=-1
        )
        assert self._first is not None
        answer = await self._first.ask(request, self._first.version(request.API_KEY, 4))
        self._check(answer.error_code, "a producer id")
        return answer.producer_id, answer.producer_epoch

    def keeps_producers(self, connections: Iterable[Connection]) -> bool:
        """Whether the brokers can tell what has arrived: exactly once is possible."""
        keys = (InitProducerIdRequest.API_KEY, DescribeProducersRequest.API_KEY)
        return all(key in one.versions for one in connections for key in keys)

    async def producers(
        self, connection: Connection, partitions: Iterable[int]
    ) -> dict[int, dict[int, Active]]:
        """Partition → producer id → what the leader knows of it."""
        topic = DescribeProducersRequest.TopicRequest(name=self.queue, partition_indexes=list(partitions))
        answer = await connection.ask(DescribeProducersRequest(topics=[topic]))
        found: dict[int, dict[int, Active]] = {}
        for one in (one for topic in listed(answer.topics) for one in listed(topic.partitions)):
            self._check(one.error_code, f"partition {one.partition_index}; reading it is needed too")
            found[one.partition_index] = {
                state.producer_id: Active(state.last_sequence, state.producer_epoch)
                for state in listed(one.active_producers)
                if state.last_sequence >= 0
            }
        return found

    async def epoch_ends(
        self, connection: Connection, partitions: Iterable[int], epoch: int
    ) -> dict[int, int]:
        """Partition → where its log left this leader epoch, or ends (KIP-320); without those that cannot tell."""
        of_topic = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
        of_partition = of_topic.OffsetForLeaderPartition
        topic = of_topic(
            topic=self.queue,
            partitions=[
                of_partition(partition=p, current_leader_epoch=-1, leader_epoch=epoch) for p in partitions
            ],
        )
        request = OffsetForLeaderEpochRequest(replica_id=-1, topics=[topic])
        version = connection.version(request.API_KEY, 4, 2)
        if version is None:
            return {}
        answer = await connection.ask(request, version)
        found = {}
        for one in (one for topic in listed(answer.topics) for one in listed(topic.partitions)):
            if one.error_code not in AUTHORIZATION:
                self._check(one.error_code, f"partition {one.partition}")
                if one.end_offset >= 0:
                    found[one.partition] = one.end_offset
        return found

    async def max_bytes(self) -> int:
        """The queue's max.message.bytes; Kafka's default where we may not ask."""
        assert self._first is not None
        resource = DescribeConfigsRequest.DescribeConfigsResource(
            resource_type=_TOPIC, resource_name=self.queue, configuration_keys=["max.message.bytes"]
        )
        request = DescribeConfigsRequest(
            resources=[resource], include_synonyms=False, include_documentation=False
        )
        if self._first.version(request.API_KEY, request.max_version) is None:
            return DEFAULT_MAX_BYTES
        answer = await self._first.ask(request)
        for config in (config for result in listed(answer.results) for config in result.configs or ()):
            if config.name == "max.message.bytes" and (config.value or "").isdecimal():
                return int(config.value)
        return DEFAULT_MAX_BYTES

    def lifetime(self) -> float | None:
        """The shortest time that a login holds."""
        return min((one.lifetime for one in self._connections if one.lifetime), default=None)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def trouble(self, code: int, what: str) -> Trouble:
        """What an error code of this cluster means."""
        text = f"{self.side} {self.queue}, {what}: {name_of(code)}"
        if code in AUTHORIZATION:
            return Unreachable(f"not allowed at {text}")
        if code in (ErrorCode.INVALID_RECORD, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE):
            return Failing(text)
        return Unreachable(text)

    def _check(self, code: int, what: str) -> None:
        if code:
            raise self.trouble(code, what)

    async def _ask_first(self, request: Any) -> Any:
        assert self._first is not None
        version = self._first.version(request.API_KEY, 12, 1)
        if version is None:
            raise Unreachable(f"{self._first.name} does not tell its topics")
        return await self._first.ask(request, version)

    def _own(self, connection: Connection) -> Connection:
        self._connections.append(connection)
        return connection
