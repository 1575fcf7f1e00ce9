"""A session with an agent in the words of its users: flows, subscriptions, events."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from eson.client.bodies import Item, description, listing, pending_copy, subscribed, text, texts
from eson.client.streams import Events
from eson.errors import ProtocolViolation, Usage
from eson.fnap.core import commands as c
from eson.fnap.net.client import EventSource, Reply, Session
from eson.model.names import canonical, canonical_flow
from eson.model.positions import Position, parse_position

Start = Position | str | None
"""BEGINNING, NOW, a time of RFC 3339, an offset, `partition:offset,…`; None for the agent's default."""


@dataclass(frozen=True)
class Subscription:
    """What SUBSCRIBE gave: the copy, the local flow as typed ("" if there is none), whether it waits for approval."""

    flow: str
    copy: str
    local: str = ""
    pending: bool = False


@dataclass(frozen=True)
class BrokerCredential:
    """How to reach the queue of a flow with the broker's own client (interface section 6, GET CREDENTIAL).

    `servers` are host:port; `security` is plaintext, ssl, sasl_plaintext or sasl_ssl; `group` is the consumer group, or
    what its name must begin with; `trust` is `system` or the CA's certificate as base64 of its DER.
    """

    flow: str
    kind: str
    servers: tuple[str, ...]
    security: str = "plaintext"
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    group: str = ""
    trust: str = "system"
    expires: str = ""


class Agent:
    """A session with an agent, as the account that logged in.

    Every method raises `ReplyError` for what the agent refuses (`reply_code`, `text`), and `Unreachable`,
    `ProtocolViolation` or `TlsFailed` when the session is lost.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def name(self) -> str:
        """What the agent calls itself."""
        return self.session.hostname

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.quit()

    async def quit(self) -> None:
        """Ends the session; never fails."""
        await self.session.quit()

    async def execute(self, command: c.Command | str) -> Reply:
        """Any command, as a value or as its line."""
        return await self.session.execute(command)

    async def _item(self, command: c.Command) -> Item:
        return description((await self.execute(command)).lines)

    async def _items(self, command: c.Command) -> list[Item]:
        return listing((await self.execute(command)).lines)

    # Flows and namespaces

    async def create(self, flow: str, **settings: str) -> None:
        """Makes a flow; settings as in CREATE FLOW: `visibility="public"`, `partitions="3"`, …"""
        await self.execute(c.CreateFlow(canonical_flow(flow), tuple(settings.items())))

    async def update(self, flow: str, **settings: str) -> None:
        await self.execute(c.UpdateFlow(canonical_flow(flow), tuple(settings.items())))

    async def delete(self, flow: str, force: bool = False) -> None:
        """Removes a flow and its events; `force` ends its subscriptions first."""
        await self.execute(c.DeleteFlow(canonical_flow(flow), force))

    async def describe(self, flow: str) -> Item:
        """The keys of DESCRIBE FLOW (interface section 6)."""
        return await self._item(c.Describe("FLOW", canonical_flow(flow)))

    async def flows(self, below: str = "") -> list[Item]:
        return await self._items(c.GetFlows(canonical(below) if below else ""))

    async def namespaces(self, below: str = "") -> list[Item]:
        return await self._items(c.GetNamespaces(canonical(below) if below else ""))

    async def whoami(self) -> Item:
        return await self._item(c.WhoAmI())

    # Subscriptions

    async def subscribe(
        self, flow: str, local: str = "", start: Start = None, token: str = ""
    ) -> Subscription:
        """Subscribes to a flow; into `local` of this agent if given, which is a must where the flow is another's.

        The same `token` gives the same copy, so that a call that was cut off may be repeated.
        """
        name = canonical_flow(flow)
        target = canonical_flow(local) if local else ""
        reply = await self.execute(c.Subscribe(name, target, local, position(start), token))
        return subscription(name, local, reply)

    async def unsubscribe(self, id: str) -> None:
        """Ends a subscription (by its copy or local flow) or a processor."""
        await self.execute(c.Unsubscribe(id))

    async def change(self, verb: Literal["PAUSE", "RESUME", "STOP"], id: str) -> None:
        await self.execute(c.ChangeSubscription(verb, id))

    async def pause(self, id: str) -> None:
        await self.change("PAUSE", id)

    async def resume(self, id: str) -> None:
        await self.change("RESUME", id)

    async def stop(self, id: str) -> None:
        await self.change("STOP", id)

    async def subscriptions(self, flow: str = "") -> list[Item]:
        return await self._items(c.GetSubscriptions(canonical_flow(flow) if flow else ""))

    async def subscribers(self, flow: str) -> list[Item]:
        return await self._items(c.GetSubscribers(canonical_flow(flow)))

    async def decide(self, verb: Literal["APPROVE", "DENY", "REMOVE"], name: str, reason: str = "") -> None:
        """What the owner of a flow does about a subscriber, named by its copy."""
        await self.execute(c.ChangeSubscriber(verb, canonical_flow(name), reason=reason))

    # Events

    def read(self, flow: str, start: Start = None, limit: int | None = None, follow: bool = False) -> Events:
        """The events of a flow, from `start` to the end that it has now; with `follow` on and on.  See `Events`."""
        if limit is not None and follow:
            raise Usage("limit and follow exclude each other")
        return Events(self.session, c.Read(canonical_flow(flow), position(start), limit, follow))

    async def write(self, flow: str, events: EventSource) -> int:
        """Writes events (mappings, or JSON octets; from any iterable) and waits until all are synced; how many.

        Raises `WriteStopped` (`written` says how many are there) if the agent took only some.
        """
        return await self.session.write(canonical_flow(flow), events)

    async def credential(self, flow: str) -> BrokerCredential:
        """A new credential for the queue of a flow or copy, which replaces the one before (only over TLS)."""
        name = canonical_flow(flow)
        item = await self._item(c.GetCredential(name))
        servers = texts(item, "server")
        if not servers or not text(item, "type"):
            raise ProtocolViolation("The agent gave a credential without type or server")
        return BrokerCredential(
            flow=name,
            kind=text(item, "type"),
            servers=tuple(servers),
            security=text(item, "security") or "plaintext",
            mechanism=text(item, "mechanism"),
            username=text(item, "username"),
            password=text(item, "password"),
            group=text(item, "group"),
            trust=text(item, "trust") or "system",
            expires=text(item, "expires"),
        )


def position(start: Start) -> Position | None:
    """Raises `Usage` for a text that is no position."""
    return parse_position(start) if isinstance(start, str) else start


def subscription(flow: str, local: str, reply: Reply) -> Subscription:
    """What SUBSCRIBE of `flow` into `local` was answered.  Raises `ProtocolViolation`."""
    if reply.code == 202:
        return Subscription(flow, pending_copy(reply.text), local, pending=True)
    said, copy = subscribed(reply.lines)
    return Subscription(
        flow, copy, said or local
    )  # an agent that hosts both flows answers with the copy alone
