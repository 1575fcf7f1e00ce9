"""The positions that consumer groups have committed, durable before they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from twisted.internet.defer import Deferred

from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.files import Files
from eson.brokers.embedded.log.journal import Entry, Journal

RETENTION_MS = 7 * 86_400_000
"""Positions of a group without members are kept so long after the last commit."""


class Position(NamedTuple):
    offset: int
    leader_epoch: int
    metadata: str
    at: int


class Offsets:
    """All positions, by group and then by topic and partition."""

    def __init__(self, files: Files, committer: Committer, path: str, now: Callable[[], int]) -> None:
        self._now = now
        self._groups: dict[str, dict[tuple[str, int], Position]] = {}
        self._types: dict[str, str] = {}
        self._journal = Journal(files, committer, path, self._entries)
        for entry in self._journal.read():
            self._apply(entry)

    def __contains__(self, group_id: str) -> bool:
        return group_id in self._groups

    def groups(self) -> list[str]:
        return list(self._groups)

    def of_group(self, group_id: str) -> dict[tuple[str, int], Position]:
        return self._groups.get(group_id, {})

    def type_of(self, group_id: str) -> str:
        return self._types.get(group_id, "")

    def note_type(self, group_id: str, protocol_type: str) -> None:
        """Kept with the next commit."""
        self._types[group_id] = protocol_type

    def commit(self, group_id: str, positions: dict[tuple[str, int], Position]) -> Deferred[None]:
        """Fires when they are durable and hold.  Fails with `StorageFailed`."""
        entry = _entry(group_id, self.type_of(group_id), positions)
        return self._journal.append(entry).addCallback(lambda _: self._apply(entry))

    def delete_group(self, group_id: str) -> Deferred[None]:
        entry: Entry = {"no-group": group_id}
        return self._journal.append(entry).addCallback(lambda _: self._apply(entry))

    async def forget_topics(self, known: Callable[[str], bool]) -> None:
        """Drops the positions in topics that there are no more.  Raises `StorageFailed`."""
        names = {topic for positions in self._groups.values() for topic, _ in positions if not known(topic)}
        if names:
            entry: Entry = {"no-topics": sorted(names)}
            await self._journal.append(entry)
            self._apply(entry)

    def lapsed(self, has_members: Callable[[str], bool]) -> list[str]:
        """Groups without members that have not committed for `RETENTION_MS`."""
        oldest = self._now() - RETENTION_MS
        return [
            group_id
            for group_id, positions in self._groups.items()
            if not has_members(group_id) and all(position.at < oldest for position in positions.values())
        ]

    def _entries(self) -> Iterator[Entry]:
        for group_id, positions in self._groups.items():
            yield _entry(group_id, self.type_of(group_id), positions)

    def _apply(self, entry: Entry) -> None:
        if "no-group" in entry:
            self._groups.pop(entry["no-group"], None)
            self._types.pop(entry["no-group"], None)
        elif "no-topics" in entry:
            gone = set(entry["no-topics"])
            for group_id in list(self._groups):
                kept = {key: value for key, value in self._groups[group_id].items() if key[0] not in gone}
                self._groups[group_id] = kept
                if not kept:
                    del self._groups[group_id]
        else:
            positions = self._groups.setdefault(entry["group"], {})
            self._types.setdefault(entry["group"], entry["type"])
            for topic, partition, *fields in entry["at"]:
                positions[topic, partition] = Position(*fields)


def _entry(group_id: str, protocol_type: str, positions: dict[tuple[str, int], Position]) -> Entry:
    return {
        "group": group_id,
        "type": protocol_type,
        "at": [[topic, partition, *position] for (topic, partition), position in positions.items()],
    }
