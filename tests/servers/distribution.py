"""A flow behind a link that counts its octets, and brokers that take copies of it: what tests of distributors look at."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from servers.embedded import Embedded, StartEmbedded
from servers.kafka_topics import Topics
from servers.proxy import Proxy

from eson.processors.port import ProcessorEnd


@dataclass
class Copy:
    """A queue at a broker of its own, which can be stopped and goes on later."""

    broker: Embedded
    topics: Topics
    queue: str

    @property
    def end(self) -> ProcessorEnd:
        return self.topics.end(self.queue)

    def freeze(self) -> None:
        """From now on it says nothing; its connections stay."""
        assert self.broker.process is not None
        self.broker.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.broker.process is not None
        self.broker.process.send_signal(signal.SIGCONT)

    def events(self) -> int:
        return sum(self.topics.ends(self.queue).values())


class Distribution:
    """`source` is read through `link`; the test itself takes the way behind it (`topics`)."""

    def __init__(self, start_embedded: StartEmbedded, copies: int, partitions: int = 4) -> None:
        self.link = Proxy()
        broker = start_embedded(
            login=False, advertise=("127.0.0.1", self.link.port), internal=("127.0.0.1", 0)
        )
        self.link.target = broker.bound["listen"][0]
        host, port = broker.bound["internal"]
        self.topics = Topics(f"{host}:{port}")
        self.queue = self.topics.create("source", partitions)
        through = Topics(f"127.0.0.1:{self.link.port}").access()
        self.source = replace(self.topics.end(self.queue), access=through)
        self.copies = []
        for number in range(copies):
            taker = start_embedded(login=False)
            there = Topics(taker.bootstrap())
            self.copies.append(Copy(taker, there, there.create(f"copy-{number}", partitions)))

    def wait_equal(self, *copies: Copy, seconds: float = 40) -> None:
        """Until they hold as much as the source; then everything is compared."""
        wanted = self.topics.digest(self.queue)
        count = sum(events for events, _ in wanted.values())
        for copy in copies or self.copies:
            until(lambda copy=copy: copy.events() >= count, lambda copy=copy: (copy.events(), count), seconds)
            assert copy.topics.digest(copy.queue) == wanted, copy.queue

    def close(self) -> None:
        for copy in self.copies:
            copy.thaw()
        self.link.close()


def until(true: Callable[[], Any], show: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, show()
        time.sleep(0.05)
