"""GET CREDENTIAL: a new password for a broker, for a copy or for a user's own flow."""

from __future__ import annotations

import secrets

from eson.agent import views
from eson.agent.access import Access, Found
from eson.agent.audit import Audit
from eson.agent.hosting import Hosting, Limits
from eson.agent.locks import Locks
from eson.agent.parts import Parts, client_servers, issues_credentials, protocol
from eson.agent.ports import Clock, Credential
from eson.brokers.port import Broker
from eson.errors import Busy, EncryptionRequired, NotAllowed
from eson.fnap.core.commands import GetCredential
from eson.fnap.core.replies import Description
from eson.identity.trust import trust_word
from eson.identity.verifier import ISSUED_ITERATIONS, make_verifier
from eson.model.flows import Flow
from eson.model.principals import ANONYMOUS, Caller
from eson.model.servers import Server
from eson.model.subscriptions import Side
from eson.store.port import PutCredential, Store
from eson.store.records import StoredCredential

ANONYMOUS_USER = "anonymous"
"""Name and password of the one credential that all anonymous readers share: no secret."""
MECHANISM = "SCRAM-SHA-256"
PASSWORD_OCTETS = 32


class Credentials:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        locks: Locks,
        audit: Audit,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._parts = parts
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self._limits = limits

    async def get(self, caller: Caller, command: GetCredential) -> Description:
        """Raises `NotAllowed` to all but the subscription's principal or the flow's owner, `EncryptionRequired`."""
        found = await self._access.flow(caller, command.name)
        _require(caller, found)
        broker = self._parts.broker(found.flow.broker)
        security = broker.client_security()
        if issues_credentials(broker):
            credential = await self._issued(caller, found, broker)
        elif security.startswith("sasl"):
            agent = self._hosting.participant
            credential = Credential(found.flow.name, "fnap", (Server(agent.agent, agent.port),), security="")
        else:
            credential = await self._plain(found.flow, broker)
        return Description(views.credential_item(credential, bool(found.flow.copy_of)))

    async def _plain(self, flow: Flow, broker: Broker) -> Credential:
        """What every client of the broker is told, without a user."""
        security = broker.client_security()
        trust = trust_word(broker.client_trust()) if security.endswith("ssl") else ""
        return Credential(
            name=flow.name,
            kind=protocol(broker),
            servers=tuple(await client_servers(broker)),
            security=security,
            trust=trust,
        )

    async def _issued(self, caller: Caller, found: Found, broker: Broker) -> Credential:
        flow, subscription = found.flow, found.subscription
        if subscription is not None and subscription.principal == ANONYMOUS:
            group = f"{ANONYMOUS_USER}-"
            return await self._with_user(flow, broker, ANONYMOUS_USER, ANONYMOUS_USER, group)
        if not caller.tls:
            raise EncryptionRequired()
        password = secrets.token_urlsafe(PASSWORD_OCTETS)
        with self._locks.hold(flow.name):
            # an ending that came first has taken the rights: they must not come back
            found = await self._access.flow(caller, flow.name)
            _require(caller, found)
            if await self._store.intention(flow.name) is not None:
                raise Busy(f"Another operation on {flow.name} is under way")
            stored = StoredCredential(
                name=flow.name,
                side=Side.PROVIDER,
                broker=flow.broker,
                principal=caller.principal,
                issued=self._clock.now(),
                verifier=str(make_verifier(password, ISSUED_ITERATIONS)),
            )
            note = self._audit.note(caller.principal, "issue credential", flow.name)
            await self._store.apply(PutCredential(stored), note)
            await self._parts.give_rights(flow)
            await broker.set_credential(flow.name, password)
        return await self._with_user(flow, broker, flow.name, password, flow.name, found)

    async def _with_user(
        self,
        flow: Flow,
        broker: Broker,
        username: str,
        password: str,
        group: str,
        found: Found | None = None,
    ) -> Credential:
        plain = await self._plain(flow, broker)
        expires = None
        if found is not None and found.subscription is not None and found.subscription.renewed is not None:
            expires = found.subscription.renewed + self._limits.lease
        return Credential(
            name=plain.name,
            kind=plain.kind,
            servers=plain.servers,
            security=plain.security,
            mechanism=MECHANISM,
            username=username,
            password=password,
            group=group,
            trust=plain.trust,
            expires=expires,
        )


def _require(caller: Caller, found: Found) -> None:
    subscription = found.subscription
    if subscription is None:
        found.require("administer")
    elif subscription.principal != ANONYMOUS and subscription.principal not in caller.principals:
        raise NotAllowed("read", found.flow.name)
