"""Two participants in one process: everything of the agent is real, its ports are in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from servers.outcomes import result_of as run
from twisted.internet.task import Clock

from eson.agent.building import build_agent
from eson.agent.hosting import Hosting, Limits, Nameserver, Participant
from eson.agent.memory import MemoryNames, MemoryRemotes, Network
from eson.agent.service import Agent
from eson.brokers.memory import MemoryBroker
from eson.fnap.core.grammar import parse_command
from eson.fnap.core.render import error_line, outcome_bytes
from eson.fnap.core.replies import Listing
from eson.model.flows import Namespace
from eson.model.principals import Caller, user
from eson.model.servers import Server
from eson.processors.memory import MemoryProcessors
from eson.processors.port import ProcessorOrder
from eson.store.memory import MemoryStore

T = TypeVar("T")
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
KEY = bytes(range(32))
USUAL = Limits()


class Time(Clock):
    """One clock for timers and for what the agents take for the date; `moved`: by as much as somebody set it."""

    moved = timedelta(0)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds()) + self.moved


@dataclass
class Ports:
    """What survives the agent: its store, its broker, its zone.  Processors end with it, their journals stay."""

    domain: str
    namespaces: tuple[str, ...]
    time: Time
    store: Any = field(default_factory=MemoryStore)
    names: Any = field(default_factory=MemoryNames)
    broker: Any = None
    edge: Any = None
    """A second broker, if there is one."""
    processors: Any = None

    def __post_init__(self) -> None:
        if self.broker is None:
            self.broker = MemoryBroker(
                servers=[Server(f"kf1.{self.domain}", 9092)], kind="embedded", now=self.time.seconds
            )
        if self.processors is None:
            self.processors = MemoryProcessors(self.time.now)


def start_late(processors: MemoryProcessors) -> list[str]:
    """Lets no processor be ready when it is created; gives their ids as they come."""
    ids: list[str] = []
    create = processors.create

    async def late(order: ProcessorOrder) -> None:
        processors.never_ready(order.id)
        ids.append(order.id)
        await create(order)

    processors.create = late  # type: ignore[method-assign]
    return ids


Wrap = Callable[[str, Any], Any]
"""(participant.port, what is behind it) → what the agent gets."""


def unwrapped(name: str, port: Any) -> Any:
    return port


def start_agent(
    ports: Ports,
    network: Network,
    limits: Limits = USUAL,
    wrap: Wrap = unwrapped,
    time: Any = None,
    kinds: Collection[str] = ("bridge", "collector", "distributor", "signal"),
) -> Agent:
    hosting = Hosting(
        Participant(
            ports.domain,
            f"fnaa.{ports.domain}",
            ("127.0.0.1",),
            61001,
            True,
            (Nameserver(f"ns1.{ports.domain}", f"ns1.{ports.domain}:53"),),
        ),
    )
    hosting.keep(
        Namespace(name, "local", "local", administrators=(user("test"),)) for name in ports.namespaces
    )
    agent = build_agent(
        store=wrap("store", ports.store),
        brokers={"local": wrap("broker", ports.broker)} | ({"edge": ports.edge} if ports.edge else {}),
        names=wrap("names", ports.names),
        processors=wrap("processors", ports.processors),
        remotes=wrap("remotes", MemoryRemotes(network, ports.domain)),
        hosting=hosting,
        limits=limits,
        sealing_key=KEY,
        clock=ports.time,
        scheduler=time or ports.time,
        kinds=kinds,
    )
    network.join(ports.domain, agent, ports.namespaces)
    return agent


TEST = Caller(user("test"), account="test", home="flows.unix.ar", tls=True)
BOB = Caller(user("bob"), account="bob", tls=True)
EMILIANO = Caller(user("emiliano"), account="emiliano", home="flows.emiliano.ar", tls=True)


class World:
    """`unix.ar` provides, `emiliano.ar` subscribes."""

    def __init__(self, limits: Limits = USUAL, store: Callable[[str], Any] | None = None) -> None:
        self.time = Time()
        self.network = Network()
        self.limits = limits
        self.unix = Ports("unix.ar", ("flows.unix.ar",), self.time)
        self.emiliano = Ports("emiliano.ar", ("flows.emiliano.ar",), self.time)
        if store is not None:
            for ports in (self.unix, self.emiliano):
                ports.store = store(ports.domain)
                run(ports.store.open())
        self.provider = start_agent(self.unix, self.network, limits)
        self.subscriber = start_agent(self.emiliano, self.network, limits)
        run(self.provider.start())
        run(self.subscriber.start())
        self.settle()

    def settle(self, seconds: float = 0) -> None:
        """Lets what is due now, and within `seconds`, happen."""
        self.time.advance(0)
        for _ in range(int(seconds)):
            self.time.advance(1)
        self.time.advance(0)

    def say(self, caller: Caller, line: str, agent: Agent | None = None, as_json: bool = False) -> str:
        """The reply to one line of FNAP as text, CRLF taken off."""
        agent = agent or (self.subscriber if caller is EMILIANO else self.provider)
        command: Any = parse_command(line)
        try:
            reply = outcome_bytes(run(agent.execute(caller, command)), as_json)
        except Exception as error:
            reply = error_line(error)
        self.time.advance(0)
        return reply.decode().replace("\r\n", "\n").rstrip("\n")

    def items(self, caller: Caller, line: str, agent: Agent | None = None) -> list[dict[str, Any]]:
        """The items of a GET."""
        agent = agent or (self.subscriber if caller is EMILIANO else self.provider)
        command: Any = parse_command(line)
        outcome = run(agent.execute(caller, command))
        assert isinstance(outcome, Listing)
        return [dict(item) for item in outcome.items]

    def flow(self, line: str = "time.flows.unix.ar visibility=public") -> None:
        assert self.say(TEST, f"CREATE FLOW {line}").startswith("220 OK")

    def subscribed(self, visibility: str = "public") -> str:
        """The name of a copy that flows from unix.ar to emiliano.ar."""
        self.flow(f"time.flows.unix.ar visibility={visibility}")
        reply = self.say(EMILIANO, "SUBSCRIBE time.flows.unix.ar LOCAL time.flows.emiliano.ar")
        assert reply.startswith("220 DATA\ntime.flows.emiliano.ar SUBSCRIBED TO "), reply
        return reply.split()[5]
