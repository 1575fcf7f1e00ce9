"""Which flows a flow's events come from, as far as anybody told us (interface section 7, "Visibility")."""

from __future__ import annotations

from eson.errors import Conflict
from eson.model.flows import ancestry_mark
from eson.model.subscriptions import Side, Subscription
from eson.store.port import Store

MAX_MARKS = 16


class Loop(Conflict):
    """Events would come back to the flow that they came from.  Retry: no."""


class Lineages:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, flow: str) -> tuple[str, ...]:
        """Marks of the flow itself and of its ancestors, nearest first, at most 16."""
        marks: dict[str, None] = {}
        seen: set[str] = set()
        nearest = [flow]
        while nearest and len(marks) < MAX_MARKS:
            farther: list[str] = []
            for name in nearest:
                if name in seen:
                    continue
                seen.add(name)
                marks[ancestry_mark(name)] = None
                for source in await self._store.subscriptions(Side.SUBSCRIBER, local=name):
                    marks.update(dict.fromkeys(source.lineage or (ancestry_mark(source.flow),)))
                for processor in await self._store.processors(destination=name):
                    farther += processor.sources
            nearest = farther
        return tuple(marks)[:MAX_MARKS]

    async def of_copy(self, subscription: Subscription) -> tuple[str, ...]:
        return await self.of(subscription.flow)

    async def known(self, flow: str) -> tuple[str, ...]:
        """What our own records say of the lineage of a flow, hosted here or elsewhere."""
        marks = list(await self.of(flow))
        for one in await self._store.subscriptions(Side.SUBSCRIBER, flow=flow):
            marks += one.lineage
        return tuple(dict.fromkeys(marks))

    @staticmethod
    def check(local: str, lineage: tuple[str, ...]) -> None:
        """Raises `Loop` if events would come back to the flow that they came from."""
        if ancestry_mark(local) in lineage:
            raise Loop(f"{local} is among the sources of that flow: a loop would be closed")
