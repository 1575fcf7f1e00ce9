"""Leader epochs: to which life of the log a batch belongs, so that whoever carried another one can tell (KIP-101, KIP-320).

The broker has one epoch for each of its starts, larger than all before, and writes it into every batch.  Where each epoch
of a partition began follows from its batches; checkpoints keep it, so that they need not be read.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable

NONE = -1
LARGEST = 2**31 - 1
MOST_KEPT = 4096
"""Epochs remembered of a partition: that many starts after which something was written.  The oldest give way."""
_ORIGIN = 1_577_836_800
"""2020-01-01: seconds since then fit into what the protocol has until 2088."""
_LATEST_CLOCK = LARGEST - (1 << 24)
"""A clock that is wrong by decades must leave room to count on."""
_ENTRY = struct.Struct(">iq")


def next_epoch(last: int, now: int) -> int:
    """The epoch of a start at `now` (milliseconds since 1970) behind `last`: a copy that was put back knows no better one.

    It counts the seconds of the clock, so that two that go on from the same `last` do not take the same.
    """
    return min(max(last + 1, min(now // 1000 - _ORIGIN, _LATEST_CLOCK)), LARGEST)


class LeaderEpoch:
    """The epoch of the broker's start, the same for all partitions.  `raised` is called when it had to grow meanwhile."""

    __slots__ = ("_raised", "value")

    def __init__(self, raised: Callable[[], object] = lambda: None) -> None:
        self.value = 0
        self._raised = raised

    def raise_above(self, epoch: int) -> None:
        """For a log that has a larger one than the broker knows of: its catalogue is older than the log."""
        if epoch > self.value:
            self.value = min(epoch + 1, LARGEST)
            self._raised()


class Epochs:
    """Where the epochs of one partition began, both ascending, as Kafka's `LeaderEpochFileCache` has them."""

    __slots__ = ("_epochs", "_starts")

    def __init__(self) -> None:
        self._epochs, self._starts = array("i"), array("q")

    @property
    def latest(self) -> int:
        return self._epochs[-1] if self._epochs else NONE

    def begin(self, epoch: int, offset: int) -> None:
        """From `offset` on batches are of `epoch`.  One that is not larger than the latest changes nothing."""
        if epoch <= self.latest:
            return
        self.cut_behind(offset - 1)  # of those nothing was written
        self._epochs.append(epoch)
        self._starts.append(offset)
        del self._epochs[:-MOST_KEPT], self._starts[:-MOST_KEPT]

    def at(self, offset: int) -> int:
        """The epoch of the batch that holds `offset`, `NONE` if that is before all that is known."""
        found = bisect_right(self._starts, offset) - 1
        return self._epochs[found] if found >= 0 else NONE

    def end_of(self, epoch: int, end: int) -> tuple[int, int]:
        """The largest epoch up to `epoch`, and the offset at which the log left it; `end` is where the log ends.

        (`NONE`, -1) of an epoch larger than all; of one smaller than all itself, and where the log begins.
        """
        if epoch == self.latest != NONE:
            return epoch, end
        following = bisect_right(self._epochs, epoch)
        if epoch == NONE or following == len(self._epochs):
            return NONE, -1
        found = self._epochs[following - 1] if following else epoch
        return found, min(self._starts[following], end)

    def cut_before(self, start: int) -> None:
        """The log begins at `start` now."""
        gone = bisect_right(self._starts, start) - 1
        if gone >= 0:
            del self._epochs[:gone], self._starts[:gone]
            self._starts[0] = start

    def cut_behind(self, last: int) -> None:
        """Forgets epochs that begin behind `last`."""
        kept = bisect_right(self._starts, last)
        del self._epochs[kept:], self._starts[kept:]

    def dump(self) -> bytes:
        return b"".join(map(_ENTRY.pack, self._epochs, self._starts))

    @classmethod
    def load(cls, data: bytes) -> Epochs:
        """Undoes `dump`.  Raises `struct.error` for octets that it did not write."""
        made = cls()
        for epoch, start in _ENTRY.iter_unpack(data):
            made._epochs.append(epoch)
            made._starts.append(start)
        return made
