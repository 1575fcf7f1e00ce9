"""The broker as a whole: what it does by itself goes on whatever fails meanwhile."""

from __future__ import annotations

from typing import Any

from brokers.embedded.faulty_files import FaultyFiles
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from eson.brokers.embedded.log.committing import ManualCommitter
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
