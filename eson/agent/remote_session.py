"""What another participant's agent answers, and which answers cannot be true."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

from eson.agent.ports import Credential, RemoteFlow
from eson.agent.words import cleaned
from eson.client.bodies import Item, description, listing, pending_copy, subscribed, text, texts
from eson.client.reaching import is_address
from eson.errors import (
    AgentUnreachable,
    EsonError,
    NameNotAllowed,
    ProtocolViolation,
    RemoteRefused,
    ReplyError,
    Usage,
)
from eson.fnap.core import commands as c
from eson.fnap.net.client import Reply, Session
from eson.model.names import canonical_flow, parent
from eson.model.positions import Position, parse_time
from eson.model.servers import Server
from eson.model.subscriptions import Reason, State
from eson.names.core.addresses import AddressPolicy
from eson.names.discovery import Discovery, is_host_name

MAX_PARTITIONS = 10_000
MAX_SHOWN = 3
MAX_SERVERS = 16
MAX_LINEAGE = 16
MAX_TRUST = 16_384
_SECURITY = frozenset({"", "plaintext", "ssl", "sasl_plaintext", "sasl_ssl"})
_MECHANISMS = frozenset({"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
_STATES = frozenset({"", *(state.value for state in State)})
_REASONS = frozenset({"", *(reason.value for reason in Reason)})
_MARK = re.compile(r"[0-9a-f]{16}\Z")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_NAME = re.compile(r"[!-~]{1,255}\Z")
_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]{1,253})):([0-9]{1,5})\Z")


class AgentSession:
    """A `RemoteSession` over FNAP.  `name`: the flow or participant that it is about, as errors tell it."""

    def __init__(
        self, session: Session, name: str, participant: str, discovery: Discovery, policy: AddressPolicy
    ) -> None:
        self._session = session
        self._name = name
        self.participant = participant
        self._discovery = discovery
        self._policy = policy

    async def subscribe(self, flow: str, position: Position | None, token: str) -> tuple[str, bool]:
        reply = await self._ask(c.Subscribe(flow, position=position, token=token))
        if reply.code == 202:
            return self._copy(pending_copy(reply.text), flow), True
        try:
            return self._copy(subscribed(reply.lines)[1], flow), False
        except ProtocolViolation as error:
            raise self._lie(error.text) from None

    def _copy(self, copy: str, flow: str) -> str:
        """The name of a copy of `flow`: `<label>.<flow>`, nothing else."""
        if parent(copy) != flow:
            raise self._lie(f"{copy[:64] or 'nothing'} is no copy of {flow}")
        return copy

    async def describe_flow(self, flow: str) -> RemoteFlow:
        item = await self._describe(c.Describe("FLOW", flow))
        self._same(item, ("flow",), flow)
        lineage = tuple(mark for one in texts(item, "lineage") for mark in one.split(",") if mark)
        if len(lineage) > MAX_LINEAGE or not all(map(_MARK.match, lineage)):
            raise self._lie("its lineage is no list of marks")
        state = self._one_of(item, "state", _STATES)
        # only an end has a reason to decide by; of a subscription in trouble it is text for people
        reason = self._one_of(item, "reason", _REASONS) if state == State.ENDED.value else ""
        return RemoteFlow(
            flow=flow,
            partitions=self._partitions(item),
            state=state,
            reason=reason,
            lineage=lineage,
            copy_of=self._flow_name(text(item, "copy-of")),
        )

    def _partitions(self, item: Item) -> int:
        said = text(item, "partitions") or "1"
        if (
            not said.isdecimal()
            or not said.isascii()
            or len(said) > 5
            or not 1 <= int(said) <= MAX_PARTITIONS
        ):
            raise self._lie("its number of partitions cannot be")
        return int(said)

    def _flow_name(self, name: str) -> str:
        try:
            return canonical_flow(name) if name else ""
        except NameNotAllowed as error:
            raise self._lie(error.text) from None

    def _one_of(self, item: Item, key: str, known: frozenset[str]) -> str:
        value = text(item, key)
        if value not in known:
            raise self._lie(f"{key} is none that exists")
        return value

    async def get_credential(self, copy: str) -> Credential:
        item = await self._describe(c.GetCredential(copy))
        self._same(item, ("copy", "flow"), copy)
        kind = text(item, "type").lower()
        if not _KIND.match(kind):
            raise self._lie("the credential has no type of broker")
        security = self._one_of(item, "security", _SECURITY) or "plaintext"
        expires = text(item, "expires")
        try:
            until = parse_time(expires) if expires else None
        except Usage:
            raise self._lie("the credential expires at no time") from None
        return Credential(
            name=copy,
            kind=kind,
            servers=await self._servers(item, kind),
            security=security,
            mechanism=self._one_of(item, "mechanism", _MECHANISMS),
            username=self._word(item, "username"),
            password=self._word(item, "password"),
            group=self._word(item, "group"),
            trust=self._trust(item),
            expires=until,
        )

    def _word(self, item: Item, key: str) -> str:
        value = text(item, key)
        if value and not _NAME.match(value):
            raise self._lie(f"{key} of the credential is none")
        return value

    def _trust(self, item: Item) -> str:
        trust = text(item, "trust")
        if trust in ("", "system"):
            return "system"
        try:
            if len(trust) <= MAX_TRUST and base64.b64decode(trust, validate=True):
                return trust
        except (ValueError, binascii.Error):
            pass
        raise self._lie("trust of the credential is no certificate")

    async def _servers(self, item: Item, kind: str) -> tuple[Server, ...]:
        """The broker's servers that we may connect to; the processor looks again when it connects."""
        said = texts(item, "server")
        if not 1 <= len(said) <= MAX_SERVERS:
            raise self._lie("the credential names no server, or too many")
        servers = [self._server(one) for one in said]
        if kind == "fnap":
            return tuple(servers)
        usable = [server for server in servers if await self._addresses(server.host)]
        if not usable:
            names = ", ".join(map(str, servers[:MAX_SHOWN]))
            raise self._lie(
                f"no server of the credential has an address in DNS that may be connected to: {names}; "
                "`allow_private` opens private networks"
            )
        return tuple(usable)

    def _server(self, said: str) -> Server:
        found = _SERVER.match(said)
        host = (found[1] or found[2]).lower().removesuffix(".") if found else ""
        if found is None or not (is_address(host) or is_host_name(host)) or not 0 < int(found[3]) < 65536:
            raise self._lie("the credential names a server that is none")
        return Server(host, int(found[3]))

    async def _addresses(self, host: str) -> tuple[str, ...]:
        if is_address(host):
            return (host,) if self._policy.permits(host, host) else ()
        try:
            return await self._discovery.addresses(host)
        except EsonError as error:
            raise self._unreachable(error.text) from error

    async def unsubscribe(self, copy: str) -> None:
        try:
            await self._session.execute(c.Unsubscribe(copy))
        except ReplyError as error:
            if error.reply_code != 550:
                raise self._refusal(error) from error
        except EsonError as error:
            raise self._unreachable(error.text) from error

    async def find_by_token(self, flow: str, token: str) -> str | None:
        for item in await self._list(c.GetSubscriptions(flow)):
            if token and text(item, "token") == token:
                name = self._flow_name(text(item, "copy") or text(item, "subscription"))
                return self._copy(name, flow)
        return None

    async def change(self, verb: Literal["PAUSE", "RESUME", "STOP"], copy: str) -> None:
        await self._ask(c.ChangeSubscription(verb, copy))

    async def notify(self, copy: str, state: str) -> None:
        await self._ask(c.Notify(copy, state))

    async def quit(self) -> None:
        await self._session.quit()

    # Asking

    async def _ask(self, command: c.Command) -> Reply:
        try:
            return await self._session.execute(command)
        except ReplyError as error:
            raise self._refusal(error) from error
        except EsonError as error:
            raise self._unreachable(error.text) from error

    async def _describe(self, command: c.Command) -> Item:
        reply = await self._ask(command)
        try:
            return description(reply.lines)
        except ProtocolViolation as error:
            raise self._lie(error.text) from None

    async def _list(self, command: c.Command) -> list[Item]:
        reply = await self._ask(command)
        try:
            return listing(reply.lines)
        except ProtocolViolation as error:
            raise self._lie(error.text) from None

    def _same(self, item: Item, keys: tuple[str, ...], name: str) -> None:
        """It must speak of what it was asked about."""
        if all(text(item, key).lower().removesuffix(".") != name for key in keys):
            raise self._lie(f"it was asked about {name} and speaks of something else")

    def _refusal(self, error: ReplyError) -> EsonError:
        if error.reply_code >= 500:
            return RemoteRefused(cleaned(error.text), code=error.reply_code)
        return self._unreachable(str(error))

    def _unreachable(self, why: str) -> AgentUnreachable:
        return AgentUnreachable(self._name, why=cleaned(why))

    def _lie(self, why: str) -> AgentUnreachable:
        """Nothing else that it says can be believed: the session ends."""
        self._session.abort()
        return self._unreachable(why)
