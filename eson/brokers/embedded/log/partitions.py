"""All partitions of the broker: opened when first used, closed when idle, retained, deleted with their topic.

A topic's folder is named by its id, so that a topic that is deleted and created again never meets its old self.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.logger import Logger

from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.epochs import LeaderEpoch
from eson.brokers.embedded.log.files import File, Files
from eson.brokers.embedded.log.partition import Limits, Partition

MAX_OPEN = 1000
"""Partitions kept open; beyond it those that were idle longest are closed."""


class _RemoveFolder:
    """Removes a topic's folder."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files, self._folder = files, folder

    def write(self) -> tuple[File, ...]:
        for partition in self._files.names(self._folder):
            for name in self._files.names(f"{self._folder}/{partition}"):
                self._files.remove(f"{self._folder}/{partition}/{name}")
            self._files.remove_folder(f"{self._folder}/{partition}")
        self._files.remove_folder(self._folder)
        return ()

    def failed(self, error: OSError) -> None:
        """It is tried again at the next start."""

    def done(self, error: OSError | None) -> None:
        if error is not None:
            Partitions.log.warn("{folder}: not removed: {error}", folder=self._folder, error=error)


class Partitions:
    """`limits_of` gives a topic's settings by its id."""

    log = Logger()

    def __init__(
        self,
        files: Files,
        committer: Committer,
        folder: str,
        limits_of: Callable[[str], Limits],
        now: Callable[[], int],
        epoch: LeaderEpoch,
    ) -> None:
        self._files, self._committer, self._folder = files, committer, folder
        self._limits_of, self._now, self._epoch = limits_of, now, epoch
        self._open: dict[tuple[str, int], Partition] = {}

    def get(self, topic_id: str, partition: int) -> Partition:
        """Opens it if need be.  The caller knows that it exists.  Raises `OSError`."""
        key = (topic_id, partition)
        found = self._open.get(key)
        if found is None:
            folder = f"{self._folder}/{topic_id}/{partition}"
            limits = self._limits_of(topic_id)
            found = Partition(self._files, self._committer, folder, limits, self._now, self._epoch)
            self._open[key] = found
            if len(self._open) > MAX_OPEN:
                self._close_idle(len(self._open) - MAX_OPEN, found)
        return found

    def opened(self, topic_id: str) -> Iterator[Partition]:
        """Those of a topic that are open."""
        return (found for (owner, _), found in list(self._open.items()) if owner == topic_id)

    def set_limits(self, topic_id: str, limits: Limits) -> None:
        for partition in self.opened(topic_id):
            partition.limits = limits

    def delete(self, topic_id: str) -> None:
        """Removes a topic's data; whoever waits for more of it is woken."""
        for key in [key for key in self._open if key[0] == topic_id]:
            self._open.pop(key).gone()
        self._committer.submit(_RemoveFolder(self._files, f"{self._folder}/{topic_id}"))

    def remove_orphans(self, topic_ids: set[str]) -> None:
        """Removes folders of topics that are none any more."""
        for name in self._files.names(self._folder):
            if name not in topic_ids:
                self._committer.submit(_RemoveFolder(self._files, f"{self._folder}/{name}"))

    def stored(self) -> Iterator[tuple[str, int]]:
        """Topic id and number of each partition that has a folder."""
        for topic_id in self._files.names(self._folder):
            for number in self._files.names(f"{self._folder}/{topic_id}"):
                if number.isdigit():
                    yield topic_id, int(number)

    def in_use(self) -> list[tuple[str, int]]:
        """Topic id and number of each partition that is open."""
        return list(self._open)

    def retain(self, topic_id: str, partition: int) -> None:
        self.get(topic_id, partition).retain()

    def checkpoint(self) -> None:
        """Before a clean stop."""
        for partition in self._open.values():
            partition.checkpoint()

    def _close_idle(self, count: int, wanted: Partition) -> None:
        """Never `wanted`, which is about to be used: two objects for the same files would overwrite each other."""
        for key, partition in list(self._open.items()):
            if count <= 0:
                return
            if partition.idle and partition is not wanted:
                partition.checkpoint()
                if partition.idle:
                    del self._open[key]
                    count -= 1
