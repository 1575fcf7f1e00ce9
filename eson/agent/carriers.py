"""The processors that carry subscriptions: F→C at the provider, C→G at the subscriber."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from eson.agent import views
from eson.agent.access import Access
from eson.agent.following import NOT_READY
from eson.agent.hosting import Hosting
from eson.agent.parts import Parts
from eson.agent.ports import Credential
from eson.agent.words import cleaned
from eson.brokers.port import Access as BrokerAccess
from eson.errors import NoSuch, NotOffered, TryLater
from eson.fnap.core.replies import Item
from eson.identity.trust import trust_pem
from eson.identity.verifier import seal, unseal
from eson.model.flows import Flow
from eson.model.principals import Caller
from eson.model.servers import Server
from eson.model.subscriptions import Side, State, Subscription
from eson.processors.port import ProcessorEnd, ProcessorOrder, Processors, ProcessorStatus
from eson.store.port import Store

SECOND_LEG = "to-"
"""What the id of C→G begins with where F is hosted here too, because C alone names F→C."""

WAITING = (State.REQUESTED, State.PENDING)
_APPROVAL = "waits for approval"
# who was answered 202 does not know yet which of both it is
_THERE = {
    "pending": f"{_APPROVAL}, or for the provider's processor",
    "requested": "waits for the provider's processor",
}


def needs_lease(subscription: Subscription) -> bool:
    """Whether the other end must renew: it lies at another participant."""
    return bool(subscription.principal.participant)


class Carriers:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        processors: Processors,
        sealing_key: bytes,
    ) -> None:
        self._store = store
        self._access = access
        self._hosting = hosting
        self._parts = parts
        self._processors = processors
        self._key = sealing_key
        self._causes: dict[str, str] = {}
        """By copy: why the subscriber's end, on its way, came no further the last time."""

    def id_of(self, subscription: Subscription) -> str:
        """The processor's id: the copy's name."""
        both_here = subscription.side is Side.SUBSCRIBER and self._hosting.hosts(subscription.flow)
        return SECOND_LEG + subscription.copy if both_here else subscription.copy

    def status(self, subscription: Subscription) -> ProcessorStatus | None:
        return self._processors.status(self.id_of(subscription))

    def status_of(self, id: str) -> ProcessorStatus | None:
        return self._processors.status(id)

    async def find(self, id: str) -> Subscription | None:
        """The live subscription that the processor of that id carries."""
        if id.startswith(SECOND_LEG):
            return await self._live(Side.SUBSCRIBER, id.removeprefix(SECOND_LEG))
        incoming = await self._live(Side.SUBSCRIBER, id)
        if incoming is not None and self.id_of(incoming) == id:
            return incoming
        return await self._live(Side.PROVIDER, id)

    async def _live(self, side: Side, copy: str) -> Subscription | None:
        """`copy` is the copy's name: a subscription is kept under it on both sides."""
        found = await self._store.subscription(side, copy)
        live = found is not None and found.state is not State.ENDED and bool(found.copy)
        return found if live else None

    # Orders

    async def order(self, subscription: Subscription) -> ProcessorOrder:
        """What the processor of this subscription shall do.  Raises `NoSuch`, `TryLater`, `NotOffered`."""
        if subscription.side is Side.PROVIDER:
            return await self._outgoing(subscription)
        return await self._incoming(subscription)

    def outgoing(self, subscription: Subscription, source: Flow, copy: Flow) -> ProcessorOrder:
        """F→C, from the offsets that were fixed when the subscription was made."""
        return ProcessorOrder(
            id=self.id_of(subscription),
            kind="bridge",
            sources=(self._own_end(source),),
            destinations=(self._own_end(copy),),
            start=dict(subscription.start),
        )

    async def _outgoing(self, subscription: Subscription) -> ProcessorOrder:
        source = await self._flow(subscription.flow)
        return self.outgoing(subscription, source, await self._flow(subscription.copy))

    async def _incoming(self, subscription: Subscription) -> ProcessorOrder:
        local = await self._flow(subscription.local)
        if self._hosting.hosts(subscription.flow):
            source = self._own_end(await self._flow(subscription.copy))
        else:
            source = foreign_end(await self.credential(subscription.copy))
        return ProcessorOrder(
            id=self.id_of(subscription),
            kind="bridge",
            sources=(source,),
            destinations=(self._own_end(local),),
            start="beginning",  # of the copy, which begins where the subscription does
        )

    async def _flow(self, name: str) -> Flow:
        flow = await self._store.flow(name)
        if flow is None:
            raise NoSuch("flow", name)
        return flow

    def _own_end(self, flow: Flow) -> ProcessorEnd:
        return ProcessorEnd(self._parts.broker(flow.broker).access(), flow.topic, flow.name)

    # The subscriber's credential at rest

    def seal(self, credential: Credential) -> bytes:
        values = asdict(credential)
        values["expires"] = credential.expires.isoformat() if credential.expires else None
        return seal(json.dumps(values).encode(), self._key, credential.name)

    async def credential(self, copy: str) -> Credential:
        """The credential kept for a copy at another participant.  Raises `TryLater` if there is none."""
        stored = await self._store.credential(Side.SUBSCRIBER, copy)
        if stored is None:
            raise TryLater(f"The credential of {copy} is not known yet")
        values: dict[str, Any] = json.loads(unseal(stored.sealed, self._key, copy))
        values["servers"] = tuple(Server(**one) for one in values["servers"])
        values["expires"] = datetime.fromisoformat(values["expires"]) if values["expires"] else None
        return Credential(**values)

    # Running

    async def start(self, subscription: Subscription) -> None:
        """Makes its processor run and waits until it is ready.  Raises `TryLater`; it goes on trying all the same."""
        await self._processors.create(await self.order(subscription))

    async def start_outgoing(self, subscription: Subscription, source: Flow, copy: Flow) -> None:
        await self._processors.create(self.outgoing(subscription, source, copy))

    async def renew(self, subscription: Subscription) -> None:
        """Hands the running processor a new credential."""
        await self._processors.update(await self.order(subscription))

    async def amend(self, subscription: Subscription) -> None:
        """Hands a processor that is there what is ordered now.  Raises `TryLater`, `NoSuch`."""
        if self.status(subscription) is not None:
            await self._processors.amend(await self.order(subscription))

    async def pause(self, subscription: Subscription) -> None:
        if self.status(subscription) is not None:
            await self._processors.pause(self.id_of(subscription))

    async def resume(self, subscription: Subscription) -> None:
        """From where it was, whether the process was kept or not."""
        status = self.status(subscription)
        if status is None or status.state == "stopped":
            await self.start(subscription)
        else:
            await self._processors.resume(self.id_of(subscription))

    async def release(self, subscription: Subscription) -> None:
        """Ends the process and keeps its position."""
        await self._processors.stop_processor(self.id_of(subscription))

    async def destroy(self, subscription: Subscription) -> None:
        await self._processors.destroy(self.id_of(subscription))

    # Showing

    def ids(self) -> Sequence[str]:
        """Of all processors that run or shall run."""
        return self._processors.ids()

    async def destroy_orphan(self, id: str) -> None:
        await self._processors.destroy(id)

    def told(self, caller: Caller, subscription: Subscription) -> ProcessorStatus | None:
        """Its processor's status as far as it is the caller's to know: errors name brokers, which strangers need not."""
        status = self.status(subscription)
        if status is None or caller.is_ours:
            return status
        return replace(status, last_error="")

    def waits(self, copy: str, cause: str) -> None:
        """Keeps in mind why the copy's subscriber came no further; "": it did."""
        if cause:
            self._causes[copy] = cleaned(cause)
        else:
            self._causes.pop(copy, None)

    def explained(self, caller: Caller, subscription: Subscription) -> Subscription:
        """As it is shown: one on its way with what it waits for, to the participant's own users as with `told`."""
        if subscription.reason or not caller.is_ours or subscription.state not in WAITING:
            return subscription
        return replace(subscription, reason=self._cause(subscription))

    def _cause(self, subscription: Subscription) -> str:
        if subscription.side is Side.PROVIDER:
            return _APPROVAL if subscription.state is State.PENDING else ""
        if self.status(subscription) is not None:
            return NOT_READY  # and behind it, where it is shown, the processor's last error
        cause = self._causes.get(subscription.copy)
        return _THERE.get(subscription.remote_state, "") if cause is None else cause

    async def items(self, caller: Caller) -> Sequence[Item]:
        """GET PROCESSORS: an operator's: all; else those of the caller's subscriptions."""
        found = []
        for id in sorted(self._processors.ids()):
            item = await self._item(caller, id)
            if item is not None:
                found.append(item)
        return found

    async def item(self, caller: Caller, id: str) -> Item:
        """DESCRIBE PROCESSOR; the second leg answers to the copy's name too.  Raises `NoSuch`."""
        item = await self._item(caller, id) or await self._item(caller, SECOND_LEG + id)
        if item is None:
            raise NoSuch("processor", id)
        return item

    async def _item(self, caller: Caller, id: str) -> Item | None:
        subscription = await self.find(id)
        if subscription is None or not await self._access.concerns(caller, subscription):
            return None
        status = self.told(caller, subscription)
        if status is None:
            return None
        if subscription.side is Side.PROVIDER:
            ends = subscription.flow, subscription.copy
        else:
            ends = subscription.copy, subscription.local
        return views.processor_item(status, [ends[0]], [ends[1]])


def foreign_end(credential: Credential) -> ProcessorEnd:
    """A copy at another participant's broker.  Raises `NotOffered` for a kind of broker that we cannot read."""
    if credential.kind != "kafka":
        raise NotOffered(f"Not offered: copies on brokers of type {credential.kind[:32]}")
    access = BrokerAccess(
        servers=credential.servers,
        security=credential.security,
        mechanism=credential.mechanism,
        username=credential.username,
        password=credential.password,
        trust=_pem(credential.trust),
    )
    return ProcessorEnd(access, credential.name, credential.name, foreign=True)


def _pem(trust: str) -> str:
    try:
        return trust_pem(trust)
    except ValueError:
        raise NotOffered("Not offered: what the copy's agent gave as trust is no certificate") from None
