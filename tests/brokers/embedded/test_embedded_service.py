"""The broker as a whole: what it does by itself goes on whatever fails meanwhile."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from brokers.embedded.batch_samples import batch
from brokers.embedded.faulty_files import FaultyFiles
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from eson.brokers.embedded.log.committing import ManualCommitter
from eson.brokers.embedded.server.catalogue import Topic
from eson.brokers.embedded.server.committed import RETENTION_MS, Position
from eson.brokers.embedded.server.service import RETAIN_SECONDS, EmbeddedService, Storage
from eson.brokers.embedded.settings import Settings


class Reactor(MemoryReactorClock):
    def getThreadPool(self) -> Any:
        return None


def test_retention_goes_on_when_the_disk_was_full() -> None:
    reactor: Any = Reactor()
    files, committer = FaultyFiles(), ManualCommitter(immediate=True)
    storage = Storage(files, committer, lambda: int(reactor.seconds() * 1000))
    service = EmbeddedService(reactor, Settings("data", login=False), storage)
    started: list[Any] = []
    Deferred.fromCoroutine(service.start()).addBoth(started.append)
    offsets = service.broker.offsets
    offsets.commit("group", {("topic", 0): Position(1, 0, "", 0)})
    assert offsets.groups() == ["group"]
    files.space = 0
    reactor.advance(RETENTION_MS / 1000 + RETAIN_SECONDS)
    assert offsets.groups() == ["group"]
    files.space = None
    reactor.advance(RETAIN_SECONDS)
    assert offsets.groups() == []
    Deferred.fromCoroutine(service.stop())


def test_topics_that_a_damaged_catalogue_does_not_name_keep_their_events_and_positions() -> None:
    files = FaultyFiles()
    for start in range(3):
        reactor: Any = Reactor()
        storage = Storage(files, ManualCommitter(immediate=True), lambda: 0)
        service = EmbeddedService(reactor, Settings("data", login=False), storage)
        Deferred.fromCoroutine(service.start())
        catalogue, offsets = service.broker.catalogue, service.broker.offsets
        if start == 0:
            for name in ("first", "second"):
                Deferred.fromCoroutine(catalogue.create_topics(Topic(name, uuid4(), 1, {})))
                topic = catalogue.topics[name]
                service.broker.partitions.get(topic.id.hex, 0).append(batch())
                offsets.commit("group", {(name, 0): Position(1, 0, "", 0)})
            held = set(service.broker.partitions.stored())
            assert len(held) == 2
        else:
            assert not catalogue.topics
            assert set(service.broker.partitions.stored()) == held
            assert offsets.topics() == ["first", "second"]
        Deferred.fromCoroutine(service.stop())
        if start == 0:
            journal = files.files["data/catalogue"]
            journal.now[journal.now.index(b"first")] ^= 1
            journal.synced = bytes(journal.now)
        files = files.crash()
    # somebody has looked into what was kept
    files.remove("data/catalogue.damaged-0")
    storage = Storage(files, ManualCommitter(immediate=True), lambda: 0)
    service = EmbeddedService(Reactor(), Settings("data", login=False), storage)
    Deferred.fromCoroutine(service.start())
    assert set(service.broker.partitions.stored()) == set()
    assert service.broker.offsets.topics() == []
