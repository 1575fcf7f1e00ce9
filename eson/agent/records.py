"""Walks over the store's records, page by page, and steps that may fail because they are repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from twisted.logger import Logger

from eson.errors import TryLater
from eson.model.flows import Flow
from eson.model.principals import Principal
from eson.model.subscriptions import Side, Subscription
from eson.store.port import Store
from eson.store.records import StoredProcessor

PAGE = 500

_log = Logger()


async def every_subscription(
    store: Store, side: Side, *, flow: str = "", local: str = "", principal: Principal | None = None
) -> AsyncIterator[Subscription]:
    """All live ones of one side, by id; what is added or ends meanwhile may be missed."""
    after = ""
    while True:
        page = await store.subscriptions(
            side, flow=flow, local=local, principal=principal, after=after, limit=PAGE
        )
        for one in page:
            yield one
        if len(page) < PAGE:
            return
        after = page[-1].id


async def every_flow(store: Store) -> AsyncIterator[Flow]:
    """All flows by name, copies included."""
    after = ""
    while True:
        page = await store.all_flows(after, PAGE)
        for one in page:
            yield one
        if len(page) < PAGE:
            return
        after = page[-1].name


async def every_processor(store: Store, *, destination: str = "") -> AsyncIterator[StoredProcessor]:
    """All live ones between local flows, by id; those that write to `destination`, if given."""
    after = ""
    while True:
        page = await store.processors(destination=destination, after=after, limit=PAGE)
        for one in page:
            yield one
        if len(page) < PAGE:
            return
        after = page[-1].id


async def quietly(step: Awaitable[object]) -> bool:
    """Whether a step succeeded that the reconciler repeats if it fails now."""
    try:
        await step
    except TryLater as error:
        _log.warn("left to the reconciler: {reason}", reason=error.text, context=error.context)
        return False
    return True
