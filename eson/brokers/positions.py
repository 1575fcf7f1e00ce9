"""Positions as offsets of today."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from eson.errors import Usage
from eson.model.positions import AtOffsets, AtTime, Beginning, Now, Position


class Offsets(Protocol):
    """What is asked of a broker (`eson.brokers.port.Broker`)."""

    async def first_offsets(self, name: str) -> Mapping[int, int]: ...

    async def end_offsets(self, name: str) -> Mapping[int, int]: ...

    async def offsets_at(self, name: str, when: datetime) -> Mapping[int, int]: ...


async def offsets_of(broker: Offsets, queue: str, position: Position) -> Mapping[int, int]:
    """The position as an offset for every partition.  Raises `Usage` for a partition that is not there, `TryLater`."""
    if isinstance(position, Now):
        return await broker.end_offsets(queue)
    if isinstance(position, AtTime):
        return await broker.offsets_at(queue, position.when)
    first = await broker.first_offsets(queue)
    if isinstance(position, Beginning):
        return first
    return _within(position, first, await broker.end_offsets(queue))


def _within(position: AtOffsets, first: Mapping[int, int], end: Mapping[int, int]) -> Mapping[int, int]:
    """Partitions that are not named begin at their beginning; offsets beyond what is kept are moved to its border."""
    wanted = dict(first)
    for partition, offset in position.offsets:
        if partition not in first:
            raise Usage(f"Usage: FROM: there is no partition {partition}")
        wanted[partition] = min(max(offset, first[partition]), end[partition])
    return wanted
