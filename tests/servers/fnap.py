"""An FNAP server with an agent in memory behind it, for tests of everything that speaks FNAP."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from eson.errors import Conflict, NoSuch, NotAvailableNow, NotHosted, Usage
from eson.fnap.core import commands as c
from eson.fnap.core.policy import Policy
from eson.fnap.core.replies import Description, Listing, Ok, Outcome, Pending, Subscribed
from eson.fnap.net.factory import FnapFactory
from eson.fnap.net.places import Limits, Places
from eson.identity.mechanisms.anonymous import AnonymousServer
from eson.identity.mechanisms.plain import PlainServer
from eson.identity.mechanisms.scram import ScramServer
from eson.identity.tls import ServerTls
from eson.identity.verifier import Verifier, check_password, make_verifier
from eson.model.positions import AtOffsets, Now
from eson.model.principals import ANONYMOUS, Caller, user

VERIFIER = make_verifier("test", 4096)
MECHANISMS = {
    "SCRAM-SHA-256": lambda: ScramServer(b"s" * 32),
    "PLAIN": PlainServer,
    "ANONYMOUS": AnonymousServer,
}
DRAFT_KEYS = frozenset({"flow", "type", "topic", "server"})


class MemoryReader:
    """Reads a list of lines, then waits for more if it follows."""

    def __init__(self, lines: list[bytes], start: int, end: int | None) -> None:
        self._lines = lines
        self._at = start
        self._end = end
        self._waiting: Deferred[None] | None = None
        self.closed = False

    async def next_lines(self) -> list[bytes]:
        assert self._waiting is None, "next_lines before the last call ended"
        while not self.closed:
            end = len(self._lines) if self._end is None else self._end
            if self._at < end:
                found = self._lines[self._at : min(end, self._at + 64)]
                self._at += len(found)
                return found
            if self._end is not None:
                return []
            self._waiting = Deferred()
            await self._waiting
            self._waiting = None
        return []

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def close(self) -> None:
        self.closed = True
        self.wake()


class MemoryWriter:
    """Appends what it is given; `agent.full` holds it back, `agent.lost` is raised at the end."""

    def __init__(self, agent: MemoryAgent, flow: str) -> None:
        self._agent, self._flow = agent, flow
        self._count = 0

    async def write(self, event: Mapping[str, Any]) -> None:
        if self._agent.full is not None:
            await self._agent.full
        if "type" not in event:
            raise Usage("no type")
        self._agent.append(self._flow, event)
        self._count += 1

    async def finish(self) -> int:
        if self._agent.lost is not None:
            raise self._agent.lost
        return self._count

    def abort(self) -> None:
        self._agent.aborted += 1


class MemoryAgent:
    """An `AgentService`: flows are lists.  `pending` holds every command back until it is called."""

    def __init__(self) -> None:
        self.flows: dict[str, list[bytes]] = {}
        self.readers: list[MemoryReader] = []
        self.commands: list[c.Command] = []
        self.pending: Deferred[None] | None = None
        self.full: Deferred[None] | None = None
        self.lost: Exception | None = None
        self.broken: Exception | None = None
        self.aborted = 0

    def append(self, flow: str, event: Mapping[str, Any]) -> None:
        lines = self.flows[flow]
        shown = {**event, "esonpartition": 0, "esonoffset": len(lines)}
        lines.append(json.dumps(shown, separators=(",", ":")).encode())
        for reader in self.readers:
            reader.wake()

    def _lines(self, flow: str) -> list[bytes]:
        if flow not in self.flows:
            raise NoSuch("flow", flow)
        return self.flows[flow]

    async def execute(self, caller: Caller, command: c.AgentCommand) -> Outcome:
        self.commands.append(command)
        if self.pending is not None:
            await self.pending
        if self.broken is not None:
            raise self.broken
        if isinstance(command, c.CreateFlow):
            if not command.flow.endswith(".unix.ar"):
                raise NotHosted(command.flow)
            if command.flow in self.flows:
                raise Conflict(f"{command.flow} exists")
            self.flows[command.flow] = []
            return Ok(command.flow)
        if isinstance(command, c.Describe):
            self._lines(command.name)
            item = {"flow": command.name, "type": "kafka", "topic": command.name,
                    "server": ["kf1.unix.ar:9092"], "agent": "fnaa.unix.ar"}  # fmt: skip
            return Description(item, DRAFT_KEYS)
        if isinstance(command, c.DeleteFlow):
            self._lines(command.flow)
            del self.flows[command.flow]
            return Ok()
        if isinstance(command, c.GetFlows):
            return Listing([{"flow": flow} for flow in sorted(self.flows)])
        if isinstance(command, c.Subscribe):
            self._lines(command.flow)
            if command.token == "pending":
                return Pending("ksdj898." + command.flow)
            return Subscribed(
                "ksdj898." + command.flow, "" if "unix.ar" in command.typed_local else command.typed_local
            )
        return Ok()

    async def open_reader(self, caller: Caller, command: c.Read) -> MemoryReader:
        self.commands.append(command)
        lines = self._lines(command.flow)
        at = command.position
        start = at.offsets[0][1] if isinstance(at, AtOffsets) else len(lines) if isinstance(at, Now) else 0
        end = None if command.follow else len(lines)
        if command.limit is not None:
            end = min(len(lines), start + command.limit)
        reader = MemoryReader(lines, start, end)
        self.readers.append(reader)
        return reader

    async def open_writer(self, caller: Caller, command: c.Write) -> MemoryWriter:
        self.commands.append(command)
        self._lines(command.flow)
        return MemoryWriter(self, command.flow)


class MemoryAuthenticator:
    """An `Authenticator` that knows test/test; `busy` makes it unavailable."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str, str, str]] = []
        self.busy = False

    async def verifier(self, username: str, peer: str) -> Verifier | None:
        if self.busy:
            raise NotAvailableNow("Too many logins are under way")
        return VERIFIER if username == "test" else None

    async def check_password(self, username: str, password: str, peer: str) -> bool:
        return username == "test" and check_password(VERIFIER, password)

    async def authorise(
        self, username: str, authorisation: str, mechanism: str, peer: str, tls: bool
    ) -> Caller | None:
        if authorisation not in ("", username):
            return None
        if mechanism == "ANONYMOUS":
            return Caller(ANONYMOUS, mechanism=mechanism, tls=tls)
        return Caller(user(username), username, "flows.unix.ar", mechanism=mechanism, tls=tls)

    def failed(self, username: str, mechanism: str, peer: str, reason: str) -> None:
        self.failures.append((username, mechanism, peer, reason))


def make_policy(mechanisms: Sequence[str] = tuple(MECHANISMS), **changes: Any) -> Policy:
    return Policy(
        **(
            {"hostname": "fnaa.unix.ar", "mechanisms": mechanisms, "mechanism": lambda n: MECHANISMS[n]()}
            | changes
        )
    )


def make_factory(
    clock: Any,
    agent: MemoryAgent | None = None,
    tls: ServerTls | None = None,
    limits: Limits | None = None,
    policy: Policy | None = None,
    authenticator: MemoryAuthenticator | None = None,
    **changes: Any,
) -> FnapFactory:
    return FnapFactory(
        policy or make_policy(), agent or MemoryAgent(), authenticator or MemoryAuthenticator(), Places(limits or Limits()), clock, tls,
        **changes,
    )  # fmt: skip


def listen(reactor: Any, host: str, port: int, factory: FnapFactory) -> Any:
    """Opens the listener (an `IListeningPort`); port 0 is any free one."""
    over: Any = factory
    if factory.implicit_tls:
        over = TLSMemoryBIOFactory(factory.tls, False, factory)
        over.noisy = False
    return reactor.listenTCP(port, over, backlog=1024, interface=host)


class Wire(StringTransport):
    """A transport that can start TLS and be aborted; `full` makes its producer wait after each write."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", peer, 1))
        self.tls: Any = None
        self.aborted = False
        self.full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()

    def startTLS(self, context: Any) -> None:
        self.tls = context

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass
