"""A broker of one or more servers: who leads what, and requests to the right one."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from eson.brokers.kafka.failures import Answered, LoginRefused, Unreachable, answered
from eson.brokers.kafka.net.connection import KafkaConnection
from eson.brokers.kafka.net.opening import Opener
from eson.brokers.kafka.wire.apis import MetadataRequest
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.port import Access
from eson.errors import NoSuch
from eson.model.servers import Server

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
PAUSES_FOR_LAG = (0.02, 0.05, 0.1, 0.2)
NO_NODE = -1

T = TypeVar("T")


@dataclass(frozen=True)
class Topic:
    """A topic as Metadata has it: `leaders` is partition → node, -1 while there is none."""

    name: str
    id: UUID | None
    leaders: dict[int, int]
    internal: bool = False


@dataclass
class _View:
    """What Metadata said last."""

    nodes: dict[int, Server] = field(default_factory=dict)
    controller: int = NO_NODE


class Cluster:
    """Requests to a broker's servers over shared connections, one for each server.

    Every method raises `Unreachable`, `LoginRefused` or `Answered` and ends within its `timeout` (seconds).
    """

    def __init__(self, reactor: Any, name: str, access: Access, timeout: float = 15.0) -> None:
        self.name = name
        self.timeout = timeout
        self._reactor = reactor
        self._view = _View()
        self._open: dict[Server, KafkaConnection] = {}
        self._opening: dict[Server, list[Deferred[KafkaConnection]]] = {}
        self.set_access(access)

    def set_access(self, access: Access) -> None:
        """From now on the broker is reached so; who has something under way notices an ended connection."""
        self.close()
        self._bootstrap = access.servers
        self._opener = Opener(self._reactor, self.name, access)
        self._view = _View()

    async def within(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """What `work` gives, or `Unreachable` after `timeout`."""
        seconds = self.timeout if timeout is None else timeout
        running = Deferred.fromCoroutine(work)
        running.addTimeout(seconds, self._reactor, lambda *_: _raise(self._timed_out(seconds)))
        return await running

    def _timed_out(self, seconds: float) -> Unreachable:
        return Unreachable(f"Broker {self.name} did not answer in time", seconds=seconds)

    async def any(self, request: Any) -> Any:
        """The response of whichever server can be reached."""
        return await (await self._any_connection()).request(request, self.timeout)

    async def to_node(self, node: int, request: Any) -> Any:
        """The response of this server."""
        connection = await self._connection(self._server_of(node))
        return await connection.request(request, self.timeout)

    async def to_controller(self, request: Any) -> Any:
        """The response of the controller, or of the server that forwards to it."""
        if self._view.controller not in self._view.nodes:
            await self.metadata(())
        if self._view.controller not in self._view.nodes:
            return await self.any(request)
        return await self.to_node(self._view.controller, request)

    async def offers(self, node: int, request: type) -> bool:
        """Whether this server knows that kind of request."""
        return request.API_KEY in (await self._connection(self._server_of(node))).versions  # type: ignore[attr-defined]

    async def nodes(self) -> Sequence[int]:
        """The servers that the broker lists now."""
        await self.metadata(())
        return sorted(self._view.nodes)

    async def metadata(self, topics: Iterable[str] | None) -> dict[str, Topic]:
        """The topics of these names that exist, or all for None; refreshes who the servers are."""
        entry = MetadataRequest.MetadataRequestTopic
        wanted = None if topics is None else [entry(name=name, topic_id=None) for name in topics]
        response = await self.any(MetadataRequest(topics=wanted, allow_auto_topic_creation=False))
        self._view = _View(
            {broker.node_id: Server(broker.host, broker.port) for broker in response.brokers},
            response.controller_id,
        )
        found: dict[str, Topic] = {}
        for topic in response.topics:
            if topic.error_code in (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID):
                continue
            if topic.error_code not in (0, ErrorCode.LEADER_NOT_AVAILABLE):
                raise answered(self.name, topic.error_code, f"describe {topic.name}")
            leaders = {p.partition_index: p.leader_id for p in topic.partitions}
            found[topic.name] = Topic(topic.name, topic.topic_id, leaders, topic.is_internal)
        return found

    async def topic(self, name: str) -> Topic:
        """Raises `NoSuch`.  Where there are several servers, the view of one may lag: it is asked again for a moment."""
        for pause in PAUSES_FOR_LAG:
            found = (await self.metadata([name])).get(name)
            if found is not None:
                return found
            if len(self._view.nodes) < 2:
                break
            await self.pause(pause)
        raise NoSuch("queue", name)

    async def retrying(self, work: Callable[[], Awaitable[T]], patient: bool = False) -> T:
        """Does `work` again, with growing pauses, while the broker's answer says that it may succeed later.

        An ended connection is opened again once, because it may have ended since it was last used; with `patient` as
        often as it takes.  Run it in `within`, which ends it.
        """
        pause = FIRST_PAUSE
        reconnected = False
        while True:
            try:
                return await work()
            except Answered as error:
                if not error.passing:
                    raise
                if error.error_code == ErrorCode.NOT_CONTROLLER:
                    self._view.controller = NO_NODE
            except Unreachable:
                if reconnected and not patient:
                    raise
                reconnected = True
                self._view.controller = NO_NODE
            await self.pause(pause * (1 + random.random()))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def until(self, seen: Callable[[], Awaitable[bool]]) -> None:
        """Waits until `seen` says so: the view of a broker lags behind its changes.  Run it in `within`."""
        pause = FIRST_PAUSE / 4
        while not await seen():
            await self.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def seconds(self) -> float:
        """The clock that deadlines go by."""
        return float(self._reactor.seconds())

    async def pause(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    async def dedicated(self, node: int) -> KafkaConnection:
        """A connection of one's own to this server, for requests that are parked there.  Close it."""
        return await self._opener.open(self._server_of(node))

    def close(self) -> None:
        """Ends all shared connections; they are opened again when needed."""
        connections, self._open = self._open, {}
        for connection in connections.values():
            connection.close()

    def _server_of(self, node: int) -> Server:
        try:
            return self._view.nodes[node]
        except KeyError:
            raise answered(self.name, ErrorCode.BROKER_NOT_AVAILABLE, f"server {node}") from None

    async def _any_connection(self) -> KafkaConnection:
        for connection in self._open.values():
            if connection.usable:
                return connection
        last: Unreachable | LoginRefused | None = None
        for server in dict.fromkeys((*self._bootstrap, *self._view.nodes.values())):
            try:
                return await self._connection(server)
            except (Unreachable, LoginRefused) as error:
                last = error
        raise last or Unreachable(f"Broker {self.name} has no servers")

    async def _connection(self, server: Server) -> KafkaConnection:
        connection = self._open.get(server)
        if connection is not None:
            if connection.usable:
                return connection
            connection.retire()
            del self._open[server]
        waiting: Deferred[KafkaConnection] = Deferred()
        if server in self._opening:
            self._opening[server].append(waiting)
        else:
            self._opening[server] = [waiting]
            opening = Deferred.fromCoroutine(self._opener.open(server))
            opening.addBoth(self._opened, server)
        return await waiting

    def _opened(self, result: Any, server: Server) -> None:
        if not isinstance(result, Failure):
            self._open[server] = result
        for waiting in self._opening.pop(server):
            if not waiting.called:
                waiting.callback(result)


def _raise(error: Exception) -> Any:
    raise error
