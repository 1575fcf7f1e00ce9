"""An end of a processor while a session is open: its cluster, its queue, and the connections to the queue's leaders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from eson.processors.child.cluster import Cluster, Topic
from eson.processors.child.connection import Connection


@dataclass
class End:
    cluster: Cluster
    topic: Topic
    connections: dict[int, Connection] = field(default_factory=dict)
    """Node → connection for carrying."""

    def leader(self, partition: int) -> Connection:
        return self.connections[self.topic.leaders[partition]]

    def by_leader(self, partitions: Iterable[int]) -> dict[int, list[int]]:
        """Node → those of the partitions that it leads; -1 for those that nobody does."""
        groups: dict[int, list[int]] = {}
        for partition in sorted(partitions):
            groups.setdefault(self.topic.leaders.get(partition, -1), []).append(partition)
        return groups

    async def offset(self, partition: int, when: int) -> int:
        """One offset of one partition, as `Cluster.offsets` finds it."""
        return (await self.cluster.offsets(self.leader(partition), [partition], when))[partition]

    async def offsets(self, partitions: Iterable[int], when: int) -> dict[int, int]:
        """Those of some partitions, each asked of its leader."""
        found: dict[int, int] = {}
        for node, mine in self.by_leader(partitions).items():
            found |= await self.cluster.offsets(self.connections[node], mine, when)
        return found
