"""What the broker remembers of itself: topics, users, rules, producers' ids, its epoch.  Durable before it counts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from eson.brokers.embedded.log import damage
from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.epochs import LeaderEpoch, next_epoch
from eson.brokers.embedded.log.files import Files
from eson.brokers.embedded.log.journal import Entry, Journal
from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.rights import Acl, Rights
from eson.identity.verifier import Verifier, parse_verifier

_IDS = 1000
"""Producers' ids that are taken from the journal at once; a restart leaves out what was not used."""


@dataclass(frozen=True)
class Topic:
    name: str
    id: uuid.UUID
    partitions: int
    configs: Mapping[str, str]


class Catalogue:
    """`lock` is held by whoever looks first and then changes; readers need none."""

    log = Logger()

    def __init__(self, files: Files, committer: Committer, path: str, rights: Rights) -> None:
        self.lock = DeferredLock()
        self.rights = rights
        self.topics: dict[str, Topic] = {}
        self.by_id: dict[uuid.UUID, Topic] = {}
        self.users: dict[str, Verifier] = {}
        self.cluster_id = ""
        self.epoch = LeaderEpoch(lambda: Deferred.fromCoroutine(self._keep_epoch()))
        self._next_id = self._ids_end = 0
        self._apply_as: Mapping[str, Callable[[Any], None]] = {
            "cluster": self._set_cluster,
            "topic": self._set_topic,
            "gone": self._remove_topic,
            "acl": lambda fields: rights.add(Acl(*fields)),
            "no-acl": lambda fields: rights.remove(Acl(*fields)),
            "user": self._set_user,
            "no-user": self._remove_user,
            "ids": self._set_ids,
            "epoch": self._set_epoch,
        }
        self._files, self._path = files, path
        self._journal = Journal(files, committer, path, self.entries)
        for entry in self._journal.read():
            self._apply(entry)
        self._next_id = self._ids_end

    def entries(self) -> Iterator[Entry]:
        """The shortest journal.  What it says is of now, whenever it is read."""
        return chain(
            [{"cluster": self.cluster_id}, {"ids": self._ids_end}, {"epoch": self.epoch.value}],
            map(_topic_entry, list(self.topics.values())),
            ({"acl": list(acl)} for acl in list(self.rights)),
            ({"user": [name, str(verifier)]} for name, verifier in list(self.users.items())),
        )

    def is_whole(self) -> bool:
        """Whether nothing that was cut off it waits for somebody to look into it: topics may be missing."""
        return not damage.kept(self._files, self._path)

    def has_id(self, topic_id: str) -> bool:
        """Whether a topic has this id, in hex."""
        try:
            return uuid.UUID(topic_id) in self.by_id
        except ValueError:
            return False

    async def start(self, now: int) -> None:
        """Gives a new broker its cluster id, and each start an epoch.  `now` in milliseconds since 1970."""
        if not self.cluster_id:
            await self._change({"cluster": uuid.uuid4().hex[:22]})
        self.epoch.value = next_epoch(self.epoch.value, now)
        await self._keep_epoch()

    async def _keep_epoch(self) -> None:
        """A disk that is full must not keep a broker from being read: what it takes later says the epoch too."""
        try:
            await self._change({"epoch": self.epoch.value})
        except StorageFailed as error:
            self.log.warn("the leader epoch is not on the disk yet: {error}", error=error)

    async def create_topics(self, *topics: Topic) -> None:
        """The caller holds the lock and knows that there are none.  Raises `StorageFailed`, like all changes."""
        await self._change(*map(_topic_entry, topics))

    async def change_topic(
        self, topic: Topic, partitions: int | None = None, configs: Mapping[str, str] | None = None
    ) -> Topic:
        changed = replace(
            topic,
            partitions=topic.partitions if partitions is None else partitions,
            configs=topic.configs if configs is None else dict(configs),
        )
        await self._change(_topic_entry(changed))
        return changed

    async def delete_topic(self, topic: Topic) -> None:
        await self._change({"gone": topic.name})

    async def add_acls(self, *acls: Acl) -> None:
        await self._change(*({"acl": list(acl)} for acl in acls))

    async def remove_acls(self, *acls: Acl) -> None:
        await self._change(*({"no-acl": list(acl)} for acl in acls))

    async def set_user(self, name: str, verifier: Verifier) -> None:
        await self._change({"user": [name, str(verifier)]})

    async def remove_user(self, name: str) -> None:
        await self._change({"no-user": name})

    async def producer_id(self) -> int:
        """An id that no producer has had."""
        while self._next_id >= self._ids_end:
            async with self.lock:
                if self._next_id >= self._ids_end:
                    await self._change({"ids": self._ids_end + _IDS})
        self._next_id += 1
        return self._next_id - 1

    async def _change(self, *entries: Entry) -> None:
        if not entries:
            return
        await self._journal.append(*entries)
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        for kind, fields in entry.items():
            self._apply_as[kind](fields)

    def _set_cluster(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id

    def _set_topic(self, fields: list[Any]) -> None:
        name, topic_id, partitions, configs = fields
        topic = Topic(name, uuid.UUID(topic_id), partitions, configs)
        self.topics[name] = self.by_id[topic.id] = topic

    def _remove_topic(self, name: str) -> None:
        topic = self.topics.pop(name, None)
        if topic is not None:
            del self.by_id[topic.id]

    def _set_user(self, fields: list[str]) -> None:
        self.users[fields[0]] = parse_verifier(fields[1])

    def _remove_user(self, name: str) -> None:
        self.users.pop(name, None)

    def _set_ids(self, end: int) -> None:
        self._ids_end = max(self._ids_end, end)

    def _set_epoch(self, epoch: int) -> None:
        self.epoch.value = max(self.epoch.value, epoch)


def _topic_entry(topic: Topic) -> Entry:
    return {"topic": [topic.name, topic.id.hex, topic.partitions, dict(topic.configs)]}
