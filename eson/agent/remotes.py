"""The agents of other participants: found by DNS or `remotes`, reached over TLS, never believed (design section 9).

Whoever writes a flow's records chooses where we connect and what we are told.  So: only addresses that the policy
permits; only a certificate of the right name; and of all that is answered, only what can be true (`remote_session`).
Every failure is the same to the user, `AgentUnreachable`; the operator's log has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from eson.agent.ports import RemoteSession
from eson.agent.remote_session import AgentSession
from eson.client.reaching import Target, is_address, prefer_json, reach
from eson.config.values import Remote
from eson.errors import AgentUnreachable, EncryptionRequired, EsonError, NotSupported
from eson.fnap.net.client import Session, TlsMode
from eson.fnap.net.dialing import is_loopback
from eson.identity.mechanisms.anonymous import AnonymousClient
from eson.identity.mechanisms.external import ExternalClient
from eson.identity.tls import BadTlsFile, ClientTls, Profile
from eson.model.names import is_at_or_below
from eson.model.principals import Principal
from eson.model.servers import Server
from eson.names.core.addresses import AddressPolicy
from eson.names.discovery import AgentLocation, Discovery, parents

CONNECT_TIMEOUT = 20.0
COMMAND_TIMEOUT = 30.0
_UNKNOWN = Remote("")

_log = Logger()


class RemoteAgents:
    """`Remotes` by DNS and FNAP.

    `trust`, `certificate` and `key` are those of `fnap:`; `policy` knows the agents of `remotes` and domains of `resolve`.
    Times in seconds: `connect_timeout` from the first question to DNS answered to a session that is logged in,
    `command_timeout` for each answer.
    """

    def __init__(
        self,
        reactor: Any,
        discovery: Discovery,
        policy: AddressPolicy,
        participant: str,
        remotes: Sequence[Remote] = (),
        trust: str = "system",
        certificate: Path | None = None,
        key: Path | None = None,
        profile: Profile = "modern",
        connect_timeout: float = CONNECT_TIMEOUT,
        command_timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        self._reactor = reactor
        self._discovery = discovery
        self._policy = policy
        self._participant = participant
        self._remotes: Mapping[str, Remote] = {remote.agent: remote for remote in remotes}
        self._trust = trust
        self._certificate, self._key = certificate, key
        self._profile: Profile = profile
        self._connect_timeout, self._command_timeout = connect_timeout, command_timeout
        self._tls: dict[tuple[str, str, tuple[str, ...]], ClientTls] = {}

    def reload(self) -> None:
        """Reads trust and our own certificate again for the next connection."""
        self._tls.clear()

    async def connect(self, flow: str, on_behalf_of: Principal) -> RemoteSession:
        location = await self._discovery.discover_agent(flow)
        return await self._session(flow, location, self._user(on_behalf_of))

    async def connect_participant(self, participant: str) -> RemoteSession:
        try:
            location = await self._discovery.discover_participant_agent(participant)
        except AgentUnreachable:
            known = self._remote_of(participant)
            if known is None or known.address is None:
                raise
            location = AgentLocation((Server(known.agent, known.address.port),), False, "", participant)
        return await self._session(participant, location, "")

    def _remote_of(self, participant: str) -> Remote | None:
        """The agent of `remotes` that lies in the participant's domain, if there is exactly one."""
        found = [one for one in self._remotes.values() if is_at_or_below(one.agent, participant)]
        return found[0] if len(found) == 1 else None

    def _user(self, principal: Principal) -> str:
        """The authorisation identity: `user@participant` (interface section 7, "Between agents")."""
        if principal.kind != "user":
            return ""
        return f"{principal.name}@{principal.participant or self._participant}"

    async def _session(self, name: str, location: AgentLocation, user: str) -> RemoteSession:
        """Raises `AgentUnreachable` alone."""
        remote = next(
            (self._remotes[one.host] for one in location.servers if one.host in self._remotes), _UNKNOWN
        )
        agent = remote.agent or location.host
        try:
            session = await reach(
                self._reactor,
                self._target(remote, location),
                self._addresses_of_operator if remote.address else self._discovery.addresses,
                lambda session: self._login(session, remote, user),
                self._allowed(remote, location),
                self._connect_timeout,
            )
        except EsonError as error:
            _log.info(
                "Agent {agent} of {name} cannot be reached: {why}", agent=agent, name=name, why=str(error)
            )
            context = {**error.context, "agent": agent, "why": str(error)}
            raise AgentUnreachable(name, **context) from error
        session.timeout = self._command_timeout
        return AgentSession(session, name, location.domain, self._discovery, self._policy)

    # Where, and who it must be

    def _target(self, remote: Remote, location: AgentLocation) -> Target:
        servers: tuple[Server, ...] = location.servers
        if remote.address is not None:
            servers = (Server(remote.address.host, remote.address.port),)
        elif remote.agent:
            servers = tuple(one for one in servers if one.host == remote.agent)
        if remote.agent:
            tls: TlsMode = remote.tls
            options = None if tls == "none" else self._options(remote.agent, remote.trust)
            return Target(servers, tls, options)
        name = location.host
        same = tuple(one for one in servers if one.host == name)
        tls = "implicit" if location.tls else "starttls"
        return Target(same, tls, self._options(name, "system", self._vouchers(name, location)))

    def _vouchers(self, agent: str, location: AgentLocation) -> tuple[str, ...]:
        """Names one of which the certificate must hold too, because DNS alone led us to `agent`; none if we may believe it.

        A certificate for a domain that the flow lies in was given to whoever holds that domain.
        """
        if self._policy.trusts(agent) or self._policy.trusts(location.domain):
            return ()
        return (location.domain, *parents(location.domain))

    def _options(self, name: str, trust: str, vouchers: tuple[str, ...] = ()) -> ClientTls:
        key = (name, trust, vouchers)
        if key not in self._tls:
            if len(self._tls) > 1000:
                self._tls.clear()
            chosen = self._trust if trust == "system" else trust
            certificate, private = self._own_certificate()
            self._tls[key] = ClientTls(name, chosen, self._profile, certificate, private, vouchers)
        return self._tls[key]

    def _own_certificate(self) -> tuple[str, str]:
        if self._certificate is None or self._key is None:
            return "", ""
        try:
            return self._certificate.read_text("utf-8"), self._key.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadTlsFile(f"our own certificate cannot be read: {error}") from None

    # Where we may connect to

    def _allowed(self, remote: Remote, location: AgentLocation) -> Any:
        if remote.agent and remote.tls == "none":
            return is_loopback
        if remote.address is not None:
            return None
        return lambda address: self._policy.permits(location.host, address)

    async def _addresses_of_operator(self, host: str) -> tuple[str, ...]:
        """`address:` of `remotes` may be a name of the operator's own network: our resolver's, else the system's."""
        try:
            found = await self._discovery.addresses(host)
        except EsonError:
            found = ()
        if found or is_address(host):
            return found
        return (host,)

    # Who we are

    async def _login(self, session: Session, remote: Remote, user: str) -> None:
        authorisation = user if remote.login_as == "user" else ""
        if remote.username and remote.password is not None:
            wanted = (remote.mechanism,) if remote.mechanism else ("SCRAM-SHA-256", "PLAIN")
            await session.login(remote.username, remote.password.reveal(), wanted, authorisation)
        elif remote.mechanism == "ANONYMOUS":
            await session.login_with(AnonymousClient())
        else:
            await self._login_by_certificate(session, user)
        await prefer_json(session)

    async def _login_by_certificate(self, session: Session, user: str) -> None:
        """EXTERNAL; where it is not offered, as a stranger, who may still subscribe to public flows."""
        offered = (session.word("AUTH") or "").upper().split()
        if not session.tls:
            raise EncryptionRequired
        if "EXTERNAL" in offered and self._certificate is not None:
            await session.login_with(ExternalClient(user))
        elif "ANONYMOUS" in offered:
            await session.login_with(AnonymousClient())
        else:
            raise NotSupported(
                "it offers neither EXTERNAL nor ANONYMOUS: put it into `remotes` with an account"
            )
