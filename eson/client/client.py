"""Where flows are, and sessions with their agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eson.client.agent import Agent, BrokerCredential
from eson.client.reaching import Target, Trace, is_address, prefer_json, reach
from eson.errors import AgentUnreachable, EsonError, NoSuch, Usage
from eson.fnap.net.client import MECHANISMS, Dialogue, Session, TlsMode
from eson.identity.tls import ClientTls, Profile
from eson.model.events import Mode
from eson.model.names import canonical, canonical_flow
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.discovery import AgentLocation, BrokerLocation, Discovery, parents
from eson.names.net.resolver import Resolver

if TYPE_CHECKING:
    from eson.client.flows import BrokerFlow

TLS_PORT = 61001
"""Where an agent is looked for of which DNS says nothing but its address."""
DNS_PORT = 53
KAFKA_PORT = 9092
TIMEOUT = 30.0
_ANYWHERE = AddressPolicy.of(["0.0.0.0/0", "::/0"])


@dataclass(frozen=True)
class FlowLocation:
    """What DNS says of a flow.  `broker` is None where it does not say where the queue is (a private flow)."""

    flow: str
    agent: AgentLocation
    broker: BrokerLocation | None


class Client:
    """Finds flows by their names, and opens sessions with agents.

    `nameserver` is `host:port`, "" for the system's; `resolve` gives other name servers for single domains; `trust` the
    CAs of agents: `system`, a PEM text, or the path of a PEM file.  `dialogue` gets each line of each session, `trace`
    what is done before it.
    """

    def __init__(
        self,
        reactor: Any,
        nameserver: str = "",
        resolve: Mapping[str, str] | None = None,
        trust: str = "system",
        profile: Profile = "modern",
        timeout: float = TIMEOUT,
        dialogue: Dialogue | None = None,
        trace: Trace = lambda said: None,
    ) -> None:
        servers = [parse_server(nameserver, DNS_PORT)] if nameserver else None
        others = {canonical(name): parse_server(one, DNS_PORT) for name, one in (resolve or {}).items()}
        self._reactor = reactor
        self._discovery = Discovery(Resolver(reactor, servers, others), _ANYWHERE)
        self._trust = trust
        self._profile: Profile = profile
        self._timeout = timeout
        self._dialogue = dialogue
        self._trace = trace

    async def resolve(self, flow: str) -> FlowLocation:
        """Where the agent and the queue of a flow are.  Raises `AgentUnreachable`, `LookupFailed`."""
        name = canonical_flow(flow)
        agent = await self._discovery.discover_agent(name)
        broker: BrokerLocation | None = None
        with suppress(NoSuch):
            broker = await self._discovery.discover_broker(name)
        return FlowLocation(name, agent, broker)

    async def connect(
        self,
        name: str,
        username: str = "",
        password: str = "",
        *,
        address: str = "",
        tls: TlsMode | None = None,
        trust: str = "",
        mechanisms: Sequence[str] = MECHANISMS,
    ) -> Agent:
        """A session with the agent called `name`, or with the agent of the flow or namespace of that name.

        Without `username`: as a stranger (ANONYMOUS).  `address` (host:port) and `tls` override what DNS says; the
        certificate must hold `name` then.  Raises `AgentUnreachable` if DNS knows none, what `reach` raises, `Usage`.
        """
        wanted = canonical_flow(name)
        if address:
            target = self._given(wanted, address, tls, trust)
        else:
            target = await self._found(wanted, tls, trust)

        async def login(session: Session) -> None:
            await session.login(username, password, mechanisms)
            await prefer_json(session)

        addresses = self._system if address else self._discovery.addresses
        session = await reach(
            self._reactor,
            target,
            addresses,
            login,
            timeout=self._timeout,
            dialogue=self._dialogue,
            trace=self._trace,
        )
        return Agent(session)

    async def open(
        self, flow: str, credential: BrokerCredential | None = None, mode: Mode = "binary"
    ) -> BrokerFlow:
        """The flow at its own broker.  Without `credential`: where DNS says it is, for brokers that ask for no login.

        Raises `NoSuch` if DNS does not say, `NotSupported` for a broker that is no Kafka, `LookupFailed`.
        """
        # Kafka's protocol takes a quarter of a second to load, which most users never need
        from eson.client.flows import BrokerFlow, kafka
        from eson.client.naming import NamingReactor

        name = canonical_flow(flow)
        queue = ""
        if credential is None:
            found = await self._discovery.discover_broker(name)
            queue = found.queue
            security = "ssl" if found.tls else "plaintext"
            servers = tuple(str(server) for server in found.servers)
            credential = BrokerCredential(name, found.kind, servers, security)
        servers_of = [parse_server(one, KAFKA_PORT) for one in credential.servers]
        naming = NamingReactor(self._reactor, self._discovery.addresses)
        return BrokerFlow(kafka(naming, credential, servers_of), name, queue, mode)

    def _given(self, name: str, address: str, tls: TlsMode | None, trust: str) -> Target:
        server = parse_server(address, TLS_PORT)
        mode: TlsMode = tls or ("implicit" if server.port == TLS_PORT else "starttls")
        return Target((server,), mode, self._options(name, mode, trust))

    async def _found(self, name: str, tls: TlsMode | None, trust: str) -> Target:
        self._trace(f"Resolving FNAA FQDN {name}")
        try:
            location = await self._discovery.discover_agent(name)
        except AgentUnreachable:
            return await self._at_its_name(name, tls, trust)
        self._trace(f"FNAA FQDN Resolved to {location.host} port {location.port}")
        mode: TlsMode = tls or ("implicit" if location.tls else "starttls")
        same = tuple(one for one in location.servers if one.host == location.host)
        return Target(same, mode, self._options(location.host, mode, trust, _vouchers(name, location)))

    async def _at_its_name(self, name: str, tls: TlsMode | None, trust: str) -> Target:
        """An agent that no SRV record names, but that has an address.  Raises `AgentUnreachable`."""
        try:
            found = await self._discovery.addresses(name)
        except EsonError as error:
            raise AgentUnreachable(name, **{"why": error.text, **error.context}) from error
        if not found:
            raise AgentUnreachable(name, why="DNS knows neither an agent nor an address")
        mode: TlsMode = tls or "implicit"
        return Target((Server(name, TLS_PORT),), mode, self._options(name, mode, trust))

    def _options(
        self, name: str, mode: TlsMode, trust: str, vouchers: Sequence[str] = ()
    ) -> ClientTls | None:
        if mode == "none":
            return None
        return ClientTls(name, trust or self._trust, self._profile, vouchers=vouchers)

    async def _system(self, host: str) -> tuple[str, ...]:
        return (host,)


def _vouchers(name: str, location: AgentLocation) -> tuple[str, ...]:
    """DNS alone led from `name` to the agent: its certificate must hold a domain that the name lies in, too."""
    if location.host == name:
        return ()
    return (location.domain, *parents(location.domain))


def parse_server(text: str, port: int) -> Server:
    """`host:port`, `[IPv6]:port`, or a host alone, with `port` as the default.  Raises `Usage`."""
    host, colon, number = text.rpartition(":")
    if not colon or is_address(text) or text.endswith("]"):
        host, number = text, str(port)
    if (
        not number.isascii()
        or not number.isdecimal()
        or not 0 < int(number[:6]) < 65536
        or not host.strip("[]")
    ):
        raise Usage(f"{text!r} is no host:port, such as fnaa.unix.ar:61001 or [2001:db8::1]:61001")
    return Server(host.strip("[]"), int(number))
