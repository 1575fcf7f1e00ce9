"""Stand-ins for the name service and for the agents of other participants, for tests of what stands on these ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from eson.agent.ports import Credential, RemoteFlow
from eson.errors import AgentUnreachable, EsonError, NoSuch, Refused, RemoteRefused
from eson.fnap.core import commands as c
from eson.fnap.core.replies import Description, Item, Listing, Outcome, Pending, Subscribed
from eson.fnap.core.service import AgentService
from eson.model.names import is_below
from eson.model.positions import Position, parse_time
from eson.model.principals import Caller, Principal, user
from eson.model.servers import Server
from eson.names.port import FlowNames


class MemoryNames:
    """A `Names` that only remembers."""

    def __init__(self) -> None:
        self.namespaces: set[str] = set()
        self.flows: dict[str, FlowNames] = {}

    async def publish_namespace(self, namespace: str) -> None:
        self.namespaces.add(namespace)

    async def withdraw_namespace(self, namespace: str) -> None:
        self.namespaces.discard(namespace)

    async def publish_flow(self, names: FlowNames) -> None:
        self.flows[names.flow] = names

    async def withdraw_flow(self, flow: str) -> None:
        self.flows.pop(flow, None)

    def published(self) -> Sequence[str]:
        return sorted(self.flows)

    def serial(self, zone: str) -> int:
        return 1

    def zones(self) -> Sequence[str]:
        return sorted(self.namespaces)


@dataclass
class Network:
    """Agents by participant, and which namespaces each serves.  `cut` participants cannot be reached."""

    agents: dict[str, AgentService] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)

    def join(self, participant: str, agent: AgentService, namespaces: Sequence[str]) -> None:
        self.agents[participant] = agent
        self.namespaces.update(dict.fromkeys(namespaces, participant))

    def serves(self, flow: str) -> str:
        """The participant whose agent serves `flow`.  Raises `AgentUnreachable`."""
        for namespace, participant in self.namespaces.items():
            if is_below(flow, namespace):
                return participant
        raise AgentUnreachable(flow)


class MemoryRemotes:
    """`Remotes` of `participant` in a `Network`: calls go straight to the other agent."""

    def __init__(self, network: Network, participant: str) -> None:
        self._network = network
        self._participant = participant

    async def connect(self, flow: str, on_behalf_of: Principal) -> MemorySession:
        caller = user(on_behalf_of.name, self._participant)
        return MemorySession(self._network, self._network.serves(flow), caller, flow)

    async def connect_participant(self, participant: str) -> MemorySession:
        return MemorySession(self._network, participant, user("agent", self._participant), participant)


class MemorySession:
    """A `RemoteSession` with an agent in the same process, over TLS as far as that agent is told."""

    def __init__(self, network: Network, participant: str, caller: Principal, about: str) -> None:
        self.participant = participant
        self._network = network
        self._caller = Caller(caller, account=str(caller), mechanism="EXTERNAL", tls=True)
        self._about = about
        self._agent()

    def _agent(self) -> AgentService:
        agent = self._network.agents.get(self.participant)
        if agent is None or self.participant in self._network.cut:
            raise AgentUnreachable(self._about, why=f"{self.participant} is cut off")
        return agent

    async def _ask(self, command: c.AgentCommand) -> Outcome:
        try:
            return await self._agent().execute(self._caller, command)
        except Refused as error:
            raise RemoteRefused(error.text) from error
        except EsonError as error:
            raise AgentUnreachable(self._about) from error

    async def _describe(self, command: c.AgentCommand) -> Item:
        outcome = await self._ask(command)
        if not isinstance(outcome, Description):
            raise AgentUnreachable(self._about)
        return outcome.item

    async def subscribe(self, flow: str, position: Position | None, token: str) -> tuple[str, bool]:
        outcome = await self._ask(c.Subscribe(flow, position=position, token=token))
        if isinstance(outcome, Subscribed | Pending):
            return outcome.copy, isinstance(outcome, Pending)
        raise AgentUnreachable(flow)

    async def describe_flow(self, flow: str) -> RemoteFlow:
        item = await self._describe(c.Describe("FLOW", flow))
        return RemoteFlow(
            flow=flow,
            partitions=int(_text(item, "partitions") or 1),
            state=_text(item, "state"),
            reason=_text(item, "reason"),
            lineage=tuple(mark for mark in _text(item, "lineage").split(",") if mark),
            copy_of=_text(item, "copy-of"),
        )

    async def get_credential(self, copy: str) -> Credential:
        item = await self._describe(c.GetCredential(copy))
        servers = item["server"]
        expires = _text(item, "expires")
        return Credential(
            name=copy,
            kind=_text(item, "type"),
            servers=tuple(_server(one) for one in servers) if isinstance(servers, list | tuple) else (),
            security=_text(item, "security"),
            mechanism=_text(item, "mechanism"),
            username=_text(item, "username"),
            password=_text(item, "password"),
            group=_text(item, "group"),
            trust=_text(item, "trust"),
            expires=parse_time(expires) if expires else None,
        )

    async def unsubscribe(self, copy: str) -> None:
        try:
            await self._ask(c.Unsubscribe(copy))
        except RemoteRefused as error:
            if not isinstance(error.__cause__, NoSuch):
                raise

    async def find_by_token(self, flow: str, token: str) -> str | None:
        outcome = await self._ask(c.GetSubscriptions(flow))
        items = outcome.items if isinstance(outcome, Listing) else ()
        return next((_text(item, "copy") for item in items if _text(item, "token") == token), None)

    async def change(self, verb: Literal["PAUSE", "RESUME", "STOP"], copy: str) -> None:
        await self._ask(c.ChangeSubscription(verb, copy))

    async def notify(self, copy: str, state: str) -> None:
        await self._ask(c.Notify(copy, state))

    async def quit(self) -> None:
        pass


def _text(item: Mapping[str, object], key: str) -> str:
    return str(item.get(key, ""))


def _server(text: str) -> Server:
    host, _, port = text.rpartition(":")
    return Server(host, int(port))
