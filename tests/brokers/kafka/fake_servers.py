"""Servers of a broker, played by the test, and how it looks at outcomes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from eson.brokers.kafka.failures import Unreachable
from eson.brokers.kafka.wire import apis
from eson.model.servers import Server

ONE, TWO = Server("one", 9092), Server("two", 9092)


class FakeConnection:
    """Answers as the servers' script says."""

    def __init__(self, server: Server, servers: FakeServers) -> None:
        self.server, self._servers, self.usable = server, servers, True
        self.parked: Deferred[Any] | None = None

    async def request(self, request: Any, timeout: float = 30, version: int | None = None) -> Any:
        self._servers.asked.append((self.server, request))
        if self.server in self._servers.down:
            self.usable = False
            raise Unreachable("gone")
        return await self._servers.answer(self.server, request)

    def send(self, request: Any, timeout: float = 30, version: int | None = None) -> Deferred[Any]:
        self.parked = Deferred.fromCoroutine(self.request(request, timeout, version))
        return self.parked

    def close(self) -> None:
        self.usable = False
        if self.parked is not None and not self.parked.called:
            self.parked.errback(Unreachable("closed"))

    retire = close


class FakeServers:
    """Two servers; 2 is the controller.  `answer` may be replaced; `opening` holds back connections."""

    def __init__(self) -> None:
        self.down: set[Server] = set()
        self.asked: list[tuple[Server, Any]] = []
        self.opened: list[Server] = []
        self.opening: Deferred[None] | None = None
        self.controller = 2

    async def open(self, server: Server, timeout: float = 10) -> FakeConnection:
        self.opened.append(server)
        if self.opening is not None:
            await self.opening
        if server in self.down:
            raise Unreachable(f"{server} is down")
        return FakeConnection(server, self)

    async def answer(self, server: Server, request: Any) -> Any:
        if isinstance(request, apis.MetadataRequest):
            broker = apis.MetadataResponse.MetadataResponseBroker
            return apis.MetadataResponse(
                brokers=[
                    broker(node_id=1, host=ONE.host, port=ONE.port),
                    broker(node_id=2, host=TWO.host, port=TWO.port),
                ],
                controller_id=self.controller,
                topics=[],
            )
        return request


def begin(work: Any) -> list[Any]:
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    return outcome


def error_of(outcome: list[Any]) -> BaseException:
    (failure,) = outcome
    error: BaseException = failure.value
    return error
