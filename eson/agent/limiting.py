"""Limits of rate: what a flow's owner set reaches every processor that fills the flow."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

from twisted.internet.defer import Deferred, FirstError, gatherResults

from eson.agent.carriers import Carriers
from eson.agent.local_processors import LocalProcessors
from eson.agent.records import every_processor, every_subscription
from eson.errors import NoSuch
from eson.model.flows import Flow
from eson.model.rates import UNLIMITED
from eson.model.subscriptions import Side, State
from eson.processors.port import ProcessorOrder
from eson.store.port import Store


async def limited(store: Store, order: ProcessorOrder) -> ProcessorOrder:
    """The order with the limits that its destinations have in the store.  Raises `TryLater`.

    Give it to the processor at once: if anything is awaited between, an UPDATE may come first and be undone.
    """
    # all are asked before the first answers, so that no UPDATE comes between two
    asked = [_start(store.flow(end.flow)) for end in order.destinations]
    try:
        flows = await gatherResults(asked, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    limits = [UNLIMITED if flow is None else flow.limit for flow in flows]
    ends = [replace(end, limit=limit) for end, limit in zip(order.destinations, limits, strict=True)]
    return replace(order, destinations=tuple(ends))


class Limiting:
    def __init__(self, store: Store, carriers: Carriers, local_processors: LocalProcessors) -> None:
        self._store = store
        self._carriers = carriers
        self._local = local_processors

    async def limit_changed(self, flow: Flow) -> None:
        """Has all that fills the flow keep its limit from now on.  Raises `TryLater`."""
        if flow.copy_of:
            record = await self._store.subscription(Side.PROVIDER, flow.name)
            if record is not None and record.state is not State.ENDED:
                await _unless_gone(self._carriers.amend(record))
            return
        async for one in every_subscription(self._store, Side.SUBSCRIBER, local=flow.name):
            await _unless_gone(self._carriers.amend(one))
        async for processor in every_processor(self._store, destination=flow.name):
            await _unless_gone(self._local.amend(processor))


async def _unless_gone(step: Awaitable[None]) -> None:
    """A flow that is deleted meanwhile takes the processor with it."""
    with suppress(NoSuch):
        await step


def _start(work: Awaitable[Flow | None]) -> Deferred[Flow | None]:
    async def whole() -> Flow | None:
        return await work

    return Deferred.fromCoroutine(whole())
