"""The positions that consumer groups have committed, durable before they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from twisted.internet.defer import Deferred

from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.files import Files
from eson.brokers.embedded.log.journal import Entry, Journal

RETENTION_MS = 7 * 86_400_000
"""Positions of a group without members are kept so long after the last commit."""
MAX_GROUPS = 1000
"""Groups with positions that one user may have made; the one that committed longest ago gives way to the next."""


class Position(NamedTuple):
    offset: int
    leader_epoch: int
    metadata: str
    at: int


class Offsets:
    """All positions, by group and then by topic and partition.

    A group belongs to the user who was the first to commit in it, "" for one whose number of groups is not bounded.
    """

    def __init__(self, files: Files, committer: Committer, path: str, now: Callable[[], int]) -> None:
        self._now = now
        self._groups: dict[str, dict[tuple[str, int], Position]] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._types: dict[str, str] = {}
        self._owner_of: dict[str, str] = {}
        self._owned: dict[str, dict[str, None]] = {}
        """By owner, in the order of their last commit."""
        self._journal = Journal(files, committer, path, self._entries)
        self._apply_all(self._journal.read())
        for owner, groups in self._owned.items():
            self._owned[owner] = dict.fromkeys(sorted(groups, key=self._last_commit))

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

    def commit(
        self, group_id: str, positions: dict[tuple[str, int], Position], owner: str = ""
    ) -> Deferred[None]:
        """Fires when they are durable and hold.  Fails with `StorageFailed`."""
        entries: list[Entry] = [{"no-group": oldest} for oldest in self._too_many(group_id, owner)]
        owner = self._owner_of.get(group_id, owner)
        entries.append(_entry(group_id, self.type_of(group_id), owner, positions))
        return self._journal.append(*entries).addCallback(lambda _: self._apply_all(entries))

    def _too_many(self, group_id: str, owner: str) -> list[str]:
        """Which groups give way to a new one of this owner."""
        owned = self._owned.get(owner, {})
        if not owner or group_id in self._groups:
            return []
        return list(islice(owned, max(0, len(owned) + 1 - MAX_GROUPS)))

    def _last_commit(self, group_id: str) -> int:
        return max((position.at for position in self._groups[group_id].values()), default=0)

    def delete_group(self, group_id: str) -> Deferred[None]:
        entry: Entry = {"no-group": group_id}
        return self._journal.append(entry).addCallback(lambda _: self._apply(entry))

    def topics(self) -> list[str]:
        """All in which a group has a position."""
        return list(self._groups_of)

    async def forget_topics(self, *names: str) -> None:
        """Drops the positions in these topics.  Raises `StorageFailed`."""
        held = sorted(name for name in names if name in self._groups_of)
        if held:
            entry: Entry = {"no-topics": held}
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

    def forget_types(self, has_group: Callable[[str], bool]) -> None:
        """Drops the types of groups that neither exist nor have a position."""
        for group_id in [one for one in self._types if one not in self._groups and not has_group(one)]:
            del self._types[group_id]

    def _entries(self) -> Iterator[Entry]:
        known = [
            (group_id, self.type_of(group_id), self._owner_of.get(group_id, ""), dict(positions))
            for group_id, positions in self._groups.items()
        ]
        return (_entry(*group) for group in known)

    def _apply_all(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        if "no-group" in entry:
            self._forget_group(entry["no-group"])
        elif "no-topics" in entry:
            for name in entry["no-topics"]:
                self._forget_topic(name)
        else:
            positions = self._groups.setdefault(entry["group"], {})
            self._types.setdefault(entry["group"], entry["type"])
            self._own(entry["group"], entry.get("by", ""))
            for topic, partition, *fields in entry["at"]:
                positions[topic, partition] = Position(*fields)
                self._groups_of.setdefault(topic, set()).add(entry["group"])

    def _own(self, group_id: str, owner: str) -> None:
        owner = self._owner_of.get(group_id, owner)
        if owner:
            self._owner_of[group_id] = owner
            groups = self._owned.setdefault(owner, {})
            groups.pop(group_id, None)
            groups[group_id] = None

    def _disown(self, group_id: str) -> None:
        owner = self._owner_of.pop(group_id, "")
        if owner:
            del self._owned[owner][group_id]
            if not self._owned[owner]:
                del self._owned[owner]

    def _forget_group(self, group_id: str) -> None:
        self._types.pop(group_id, None)
        self._disown(group_id)
        for topic in {topic for topic, _ in self._groups.pop(group_id, {})}:
            self._leave_topic(group_id, topic)

    def _forget_topic(self, name: str) -> None:
        for group_id in list(self._groups_of.get(name, ())):
            kept = {key: at for key, at in self._groups[group_id].items() if key[0] != name}
            self._groups[group_id] = kept
            if not kept:
                del self._groups[group_id]
                self._disown(group_id)
        self._groups_of.pop(name, None)

    def _leave_topic(self, group_id: str, topic: str) -> None:
        groups = self._groups_of.get(topic, set())
        groups.discard(group_id)
        if not groups:
            self._groups_of.pop(topic, None)


def _entry(
    group_id: str, protocol_type: str, owner: str, positions: dict[tuple[str, int], Position]
) -> Entry:
    return {
        "group": group_id,
        "type": protocol_type,
        "by": owner,
        "at": [[topic, partition, *position] for (topic, partition), position in positions.items()],
    }
