"""Batches on their way to the leaders of their destinations' partitions, as many at a time as may wait there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eson.processors.child.ends import End
from eson.processors.child.fetcher import FETCH_BYTES
from eson.processors.child.lanes import Planned
from eson.processors.child.producer import Producer
from eson.processors.child.window import Windows

OUTSTANDING = 2 * FETCH_BYTES
"""Octets that wait for acknowledgement before the next answer is planned."""


class Sender:
    """`producers`: one for each destination's number and node."""

    def __init__(
        self,
        producers: Mapping[tuple[int, int], Producer],
        destinations: Mapping[int, End],
        windows: Windows,
    ) -> None:
        self._producers, self._destinations, self._windows = producers, destinations, windows

    async def send(self, planned: Sequence[Planned]) -> None:
        """Returns when more may be planned."""
        outstanding = min(OUTSTANDING, 2 * self._windows.share)
        if len(self._producers) == 1:
            (producer,) = self._producers.values()
            producer.add(planned)
            await producer.below(outstanding)
            return
        for key, batches in self._by_producer(planned).items():
            self._producers[key].add(batches)
        for producer in self._producers.values():
            await producer.below(outstanding)

    def _by_producer(self, planned: Sequence[Planned]) -> dict[tuple[int, int], list[Planned]]:
        groups: dict[tuple[int, int], list[Planned]] = {}
        for batch in planned:
            number = batch.lane.state.lane.destination
            node = self._destinations[number].topic.leaders[batch.lane.partition]
            groups.setdefault((number, node), []).append(batch)
        return groups
