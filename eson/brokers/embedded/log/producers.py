"""What a partition remembers of idempotent producers: the last five batches of each, as Kafka does.

Kafka's rules, seen on 4.3 (`ProducerAppendInfo`, `ProducerStateEntry`): where nothing is known any sequence is
accepted; afterwards each batch follows the last one, or repeats one of the last five whole, or is refused.  Unlike
Kafka all five survive a restart, and a producer lapses by the time at which it wrote, not by its records' timestamps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from eson.brokers.kafka.wire.batches import BatchHeader, next_sequence

BATCHES = 5
EXPIRATION_MS = 86_400_000
MAX_PRODUCERS = 10_000
"""Per partition; the one that was silent longest gives way."""

_ENTRY = struct.Struct(">qhqB")
_BATCH = struct.Struct(">iiqq")


class StaleEpoch(Exception):
    """A newer incarnation of the producer has written (INVALID_PRODUCER_EPOCH).  Retry: no."""


class OutOfOrder(Exception):
    """A gap, an overlap, or a repetition too old to be known (OUT_OF_ORDER_SEQUENCE_NUMBER).  Retry: no."""


class Appended(NamedTuple):
    """One batch of a producer: its sequences, where it lies, and its largest timestamp."""

    first: int
    last: int
    base_offset: int
    timestamp: int


class Producer(NamedTuple):
    """One producer; `seen` is when it last wrote, milliseconds since 1970."""

    epoch: int
    seen: int
    batches: tuple[Appended, ...]

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last


class Producers:
    """The producers of one partition.  Entries are values, so that taking an append back is putting the old one."""

    def __init__(self) -> None:
        self._known: dict[int, Producer] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[tuple[int, Producer]]:
        return iter(self._known.items())

    def get(self, producer_id: int) -> Producer | None:
        return self._known.get(producer_id)

    def check(self, header: BatchHeader) -> Appended | None:
        """None: append it.  A batch: it is already there.  Raises `StaleEpoch`, `OutOfOrder`."""
        known = self._known.get(header.producer_id)
        if known is None:
            return None
        if header.producer_epoch < known.epoch:
            raise StaleEpoch(f"epoch {header.producer_epoch} of producer {header.producer_id} is fenced")
        if header.producer_epoch > known.epoch:
            if header.base_sequence != 0:
                raise OutOfOrder(f"a new epoch begins with sequence {header.base_sequence}")
            return None
        first, last = header.base_sequence, header.last_sequence
        for batch in known.batches:
            if batch.first == first and batch.last == last:
                return batch
        if first != next_sequence(known.last_sequence, 1):
            raise OutOfOrder(f"sequence {first} does not follow {known.last_sequence}")
        return None

    def append(self, header: BatchHeader, base_offset: int, now: int) -> Producer | None:
        """Notes an appended batch; what was known before, for `restore`."""
        old = self._known.pop(header.producer_id, None)
        batch = Appended(header.base_sequence, header.last_sequence, base_offset, header.max_timestamp)
        before = old.batches if old is not None and old.epoch == header.producer_epoch else ()
        batches = (*before[-(BATCHES - 1) :], batch)
        self._known[header.producer_id] = Producer(header.producer_epoch, now, batches)
        if len(self._known) > MAX_PRODUCERS:
            del self._known[next(iter(self._known))]
        return old

    def restore(self, producer_id: int, old: Producer | None) -> None:
        """Takes an append back."""
        if old is None:
            self._known.pop(producer_id, None)
        else:
            self._known[producer_id] = old

    def expire(self, now: int, after_ms: int = EXPIRATION_MS) -> None:
        """Forgets who has been silent for so long.  Sequences are free for them afterwards."""
        for producer_id in [key for key, entry in self._known.items() if now - entry.seen >= after_ms]:
            del self._known[producer_id]

    def dump(self) -> bytes:
        parts = []
        for producer_id, entry in self._known.items():
            parts.append(_ENTRY.pack(producer_id, entry.epoch, entry.seen, len(entry.batches)))
            parts.extend(_BATCH.pack(*batch) for batch in entry.batches)
        return b"".join(parts)

    @classmethod
    def load(cls, data: bytes) -> Producers:
        """Undoes `dump`.  Raises `struct.error` for octets that it did not write."""
        producers, position = cls(), 0
        while position < len(data):
            producer_id, epoch, seen, count = _ENTRY.unpack_from(data, position)
            position += _ENTRY.size
            batches = []
            for _ in range(count):
                batches.append(Appended._make(_BATCH.unpack_from(data, position)))
                position += _BATCH.size
            producers._known[producer_id] = Producer(epoch, seen, tuple(batches))
        return producers
