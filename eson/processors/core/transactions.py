"""Which batches of a transactional source a reader of what is committed must not see.

A raw Fetch returns batches of aborted transactions and the markers too, and beside them the list of aborted
transactions.  A batch belongs to one producer, so that whole batches are kept or dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop

ABORT, COMMIT = 0, 1


class AbortedFilter:
    """For the batches of one partition in one Fetch response, in their order.

    `aborted`: pairs (producer id, first offset) as the response gives them.
    """

    __slots__ = ("_active", "_waiting")

    def __init__(self, aborted: Sequence[tuple[int, int]]) -> None:
        self._waiting = [(first, producer) for producer, first in aborted]
        heapify(self._waiting)
        self._active: set[int] = set()

    def drops(self, producer: int, last_offset: int) -> bool:
        """Whether the transactional batch of `producer` that ends at `last_offset` was aborted."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= last_offset:
            self._active.add(heappop(waiting)[1])
        return producer in self._active

    def marker(self, producer: int, last_offset: int, kind: int) -> None:
        """A control batch; an ABORT ends what its producer's aborted transaction covers."""
        if self.drops(producer, last_offset) and kind == ABORT:
            self._active.discard(producer)


def marker_kind(batch: bytes | memoryview) -> int:
    """The kind of a control batch (`ABORT`, `COMMIT`, or another), -1 if it holds none that can be read.

    The first record's key is version (16 bits) and kind (16 bits); control batches are never compressed.
    """
    at = 61
    try:
        for _ in range(
            4
        ):  # length, (attributes,) timestamp delta, offset delta, key length: variable-length integers
            if _ == 1:
                at += 1
            while batch[at] & 0x80:
                at += 1
            at += 1
        return int.from_bytes(batch[at + 2 : at + 4], "big") if len(batch) >= at + 4 else -1
    except IndexError:
        return -1
