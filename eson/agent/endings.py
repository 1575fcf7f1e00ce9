"""What ends subscriptions on behalf of other use cases, and UNSUBSCRIBE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eson.agent.copies import Copies
from eson.agent.finding import Finding
from eson.agent.incoming import Incoming, lock_of
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.fnap.core.commands import Unsubscribe
from eson.fnap.core.replies import Ok
from eson.model.flows import Flow
from eson.model.names import PROCESSOR_ID
from eson.model.principals import Caller, Principal
from eson.model.subscriptions import Reason, Side, State, Subscription
from eson.store.port import Store


class ProcessorEnds(Protocol):
    """Whoever makes and ends processors between local flows."""

    async def end(self, id: str, reason: Reason, actor: Principal | str) -> None: ...


class Endings:
    """Ends either side's half of a subscription.  `incoming` and `processing` are given later: they create flows."""

    def __init__(self, store: Store, copies: Copies, locks: Locks) -> None:
        self._store = store
        self._copies = copies
        self._locks = locks
        self.incoming: Incoming | None = None
        self.processing: ProcessorEnds | None = None

    async def end_copy(self, copy: str, reason: Reason, actor: Principal | str) -> None:
        await self._copies.end(copy, reason, actor)

    async def flow_changed(self, flow: Flow) -> None:
        await self._copies.follow(flow)

    async def end_local(self, subscription: Subscription, actor: Principal | str) -> None:
        """As UNSUBSCRIBE.  Raises `Busy`."""
        if self.incoming is None:
            raise RuntimeError("the subscriber's side is not in place yet")
        with self._locks.hold(lock_of(subscription.id)):
            record = await self._store.subscription(Side.SUBSCRIBER, subscription.id)
            if record is not None and record.state is not State.ENDED:
                await self.incoming.end(record, Reason.UNSUBSCRIBED, actor)

    async def processors_of(self, source: str) -> Sequence[str]:
        return [one.id for one in await self._store.processors(source=source)]

    async def end_processors(self, flow: str, actor: Principal | str) -> None:
        """Those that read or write the flow.  Raises `Busy`, `TryLater`."""
        reading = await self._store.processors(source=flow)
        for one in [*reading, *await self._store.processors(destination=flow)]:
            if self.processing is None:
                raise RuntimeError("processors between local flows are not in place yet")
            await self.processing.end(one.id, Reason.FLOW_DELETED, actor)


class Unsubscribing:
    def __init__(
        self,
        finding: Finding,
        copies: Copies,
        endings: Endings,
        local_processors: LocalProcessors,
        processing: ProcessorEnds,
    ) -> None:
        self._local = local_processors
        self._processing = processing
        self._finding = finding
        self._copies = copies
        self._endings = endings

    async def unsubscribe(self, caller: Caller, command: Unsubscribe) -> Ok:
        """By copy or local flow, at either side's agent.  Raises `NoSuch`, `NotAllowed`, `Conflict`, `TryLater`."""
        if PROCESSOR_ID.match(command.id):
            processor = await self._local.find(caller, command.id)
            reason = Reason.UNSUBSCRIBED if processor.owner in caller.principals else Reason.REMOVED
            await self._processing.end(processor.id, reason, caller.principal)
            return Ok()
        record = await self._finding.find(caller, command.id)
        if record.side is Side.SUBSCRIBER:
            await self._endings.end_local(record, caller.principal)
        elif record.principal in caller.principals:
            await self._copies.end(record.copy, Reason.UNSUBSCRIBED, caller.principal)
        else:
            await self._copies.end(record.copy, Reason.REMOVED, caller.principal)
        return Ok()
