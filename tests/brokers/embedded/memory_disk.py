"""A partition on a disk in memory."""

from __future__ import annotations

from random import Random
from typing import Any

from brokers.embedded.batch_samples import batch
from brokers.embedded.faulty_files import FaultyFiles
from servers.outcomes import result_of

from eson.brokers.embedded.log.committing import ManualCommitter
from eson.brokers.embedded.log.epochs import LeaderEpoch
from eson.brokers.embedded.log.partition import Limits, Partition
from eson.brokers.kafka.wire.batches import iterate

FOLDER = "data/log/topic/0"


class Disk:
    """A partition, its files and its clock; `reopen` is a new process on what the old one left."""

    def __init__(self, **limits: int) -> None:
        self.files = FaultyFiles()
        self.limits = Limits(**limits)
        self.now = 1_700_000_000_000
        self.epoch = LeaderEpoch()
        self.open()

    def open(self) -> Partition:
        self.committer = ManualCommitter()
        self.partition = Partition(
            self.files, self.committer, FOLDER, self.limits, lambda: self.now, self.epoch
        )
        return self.partition

    def crash(self, random: Random | None = None) -> Partition:
        """Power is lost: what was not synced may be gone."""
        self.files = self.files.crash(random)
        return self.open()

    def append(self, *args: Any, **fields: Any) -> int:
        """Appends, syncs, gives the base offset."""
        waiting = self.partition.append(batch(*args, **fields))
        self.committer.flush()
        return result_of(waiting)

    def all(self) -> list[tuple[int, bytes]]:
        """Base offset and payload of each batch that can be read."""
        found = []
        offset = self.partition.start
        while (part := self.partition.read(offset, 1 << 20)) is not None:
            data = memoryview(part.file.read_at(part.position, part.size))
            for header, octets in iterate(data):
                assert header.base_offset >= offset or header.last_offset >= offset
                found.append((header.base_offset, bytes(octets[61:])))
                offset = header.last_offset + 1
        assert offset == self.partition.synced
        return found
