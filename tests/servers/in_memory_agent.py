"""A session with a scripted agent in memory: real client, no sockets, no clock."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from servers.lying_agent import Answer, LyingAgent
from servers.outcomes import result_of
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump

from eson.fnap.core.client import ClientSession
from eson.fnap.core.client_events import Greeted, Hello
from eson.fnap.net.client import Dialogue, Session
from eson.fnap.net.connection import Connection


class _Transport(FakeTransport):
    """A connection on loopback, where passwords may be shown."""

    def getPeer(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 61000)


class InMemoryAgent:
    """`run` drives a coroutine to its end; `session` is greeted, and logged in by whoever wants.

    A coroutine that waits although nothing is under way fails the test instead of hanging it.
    """

    def __init__(self, answers: Mapping[str, Answer] = {}, dialogue: Dialogue | None = None) -> None:
        self.clock = Clock()
        self.agent = LyingAgent(answers)
        server = self.agent.buildProtocol(None)
        connection = Connection(self.clock, ClientSession(dialogue=dialogue))
        assert server is not None
        client_end, server_end = _Transport(connection, False), _Transport(server, True)
        self.pump = IOPump(connection, server, client_end, server_end, False)
        connection.makeConnection(client_end)  # type: ignore[arg-type]
        server.makeConnection(server_end)  # type: ignore[arg-type]
        self.session = Session(connection)
        self.run(self._greet(connection))

    @property
    def heard(self) -> list[str]:
        return self.agent.heard

    async def _greet(self, connection: Connection) -> None:
        await connection.expect(Greeted)
        connection.send(connection.core.ehlo(""))
        await connection.expect(Hello)

    def start(self, work: Coroutine[Deferred[Any], Any, Any]) -> Deferred[Any]:
        """Begins a coroutine and lets everything happen that can."""
        begun = ensureDeferred(work)
        self.settle()
        return begun

    def settle(self) -> None:
        while self.pump.pump():
            pass

    def run(self, work: Coroutine[Deferred[Any], Any, Any]) -> Any:
        return result_of(self.start(work))
