"""Offsets of a queue, and who has a position in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from eson.brokers.kafka.failures import answered
from eson.brokers.kafka.net.cluster import NO_NODE, Cluster
from eson.brokers.kafka.net.gathering import gather
from eson.brokers.kafka.wire.apis import ListGroupsRequest, ListOffsetsRequest, OffsetFetchRequest
from eson.brokers.kafka.wire.errors import AUTHORIZATION, ErrorCode

LATEST, EARLIEST = -1, -2
_AT_ONCE = 64
"""Consumer groups that are asked about at the same time."""


class Positions:
    """Asks for offsets; run every call in `Cluster.within`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def first(self, name: str) -> Mapping[int, int]:
        return await self._offsets(name, EARLIEST)

    async def end(self, name: str) -> Mapping[int, int]:
        return await self._offsets(name, LATEST)

    async def at(self, name: str, when: datetime) -> Mapping[int, int]:
        """First offset at or after `when`; the end where there is none."""
        # the end is asked first: a record that comes meanwhile lies behind it and is not lost
        end = await self.end(name)
        found = await self._offsets(name, max(0, int(when.timestamp() * 1000)))
        return {number: offset if offset >= 0 else end.get(number, 0) for number, offset in found.items()}

    async def _offsets(self, name: str, timestamp: int) -> dict[int, int]:
        return await self._cluster.retrying(lambda: self._ask(name, timestamp))

    async def _ask(self, name: str, timestamp: int) -> dict[int, int]:
        topic = await self._cluster.topic(name)
        led: defaultdict[int, list[int]] = defaultdict(list)
        for number, node in topic.leaders.items():
            led[node].append(number)
        if NO_NODE in led:
            raise answered(self._cluster.name, ErrorCode.LEADER_NOT_AVAILABLE, f"offsets of {name}")
        offsets: dict[int, int] = {}
        for part in await gather(
            self._ask_node(node, name, numbers, timestamp) for node, numbers in led.items()
        ):
            offsets.update(part)
        return dict(sorted(offsets.items()))

    async def _ask_node(self, node: int, name: str, numbers: Sequence[int], timestamp: int) -> dict[int, int]:
        topic: Any = ListOffsetsRequest.ListOffsetsTopic
        asked = topic(
            name=name,
            partitions=[
                topic.ListOffsetsPartition(partition_index=n, current_leader_epoch=-1, timestamp=timestamp)
                for n in numbers
            ],
        )
        request = ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=[asked])
        response = await self._cluster.to_node(node, request)
        offsets: dict[int, int] = {}
        for part in (part for topic in response.topics for part in topic.partitions):
            if part.error_code:
                raise answered(self._cluster.name, part.error_code, f"offsets of {name}")
            offsets[part.partition_index] = part.offset
        return offsets

    async def consumers(self, name: str) -> Sequence[str]:
        """Groups that have committed an offset of the queue."""
        found: set[str] = set()
        for node in await self._cluster.nodes():
            groups = await self._groups_of(node)
            for start in range(0, len(groups), _AT_ONCE):
                some = groups[start : start + _AT_ONCE]
                answers = await gather(self._reads(node, group, name) for group in some)
                found.update(group for group, reads in zip(some, answers, strict=True) if reads)
        return sorted(found)

    async def _groups_of(self, node: int) -> list[str]:
        response = await self._cluster.retrying(lambda: self._list_groups(node))
        return [group.group_id for group in response.groups]

    async def _list_groups(self, node: int) -> Any:
        response = await self._cluster.to_node(node, ListGroupsRequest(states_filter=[]))
        if response.error_code:
            raise answered(self._cluster.name, response.error_code, "list consumers")
        return response

    async def _reads(self, node: int, group: str, name: str) -> bool:
        # a server lists the groups that it coordinates itself
        response = await self._cluster.to_node(
            node, OffsetFetchRequest(group_id=group, topics=None, require_stable=False)
        )
        code = response.error_code
        if code in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.NOT_COORDINATOR) or code in AUTHORIZATION:
            return False
        if code:
            raise answered(self._cluster.name, code, "list consumers")
        return any(
            topic.name == name and any(p.committed_offset >= 0 for p in topic.partitions)
            for topic in response.topics
        )
