"""Which subscription an id means, and whether the caller has a say in it."""

from __future__ import annotations

from eson.agent.access import Access
from eson.errors import Conflict, NoSuch, NotAllowed
from eson.model.principals import ANONYMOUS, Caller
from eson.model.subscriptions import Side, State, Subscription
from eson.store.port import Store


class Finding:
    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    async def find(self, caller: Caller, id: str) -> Subscription:
        """The live subscription of this copy, or into this local flow, on the side on which the caller has a say.

        Where both ends are hosted here: its own principal means C→G, whoever administers F means F→C.  Raises `NoSuch`
        (missing or hidden), `NotAllowed` (visible), `Conflict` (a local flow with several).
        """
        incoming = await self._live(Side.SUBSCRIBER, id)
        outgoing = await self._live(Side.PROVIDER, id)
        for record in (incoming, outgoing):
            if record is not None and is_own(caller, record):
                return record
        for record in (outgoing, incoming):
            if record is not None and await self.administers(caller, record):
                return record
        if outgoing is not None and outgoing.principal == ANONYMOUS:
            raise NotAllowed("administer", id)
        return await self._into(caller, id)

    async def _into(self, caller: Caller, id: str) -> Subscription:
        local = await self._access.spelled(caller, id)
        every = await self._store.subscriptions(Side.SUBSCRIBER, local=local)
        found = [one for one in every if is_own(caller, one) or await self.administers(caller, one)]
        if not found:
            raise NoSuch("subscription", id)
        if len(found) > 1:
            raise Conflict(f"{id} has {len(found)} subscriptions: name the copy")
        return found[0]

    async def _live(self, side: Side, id: str) -> Subscription | None:
        record = await self._store.subscription(side, id)
        return record if record is not None and record.copy and record.state is not State.ENDED else None

    async def administers(self, caller: Caller, record: Subscription) -> bool:
        """Whether the caller may do all to what lies at this side: F at the provider, G at the subscriber."""
        ours = record.flow if record.side is Side.PROVIDER else record.local
        return caller.operator or await self._access.administers(caller, ours)


def is_own(caller: Caller, record: Subscription) -> bool:
    """Whether it was made for the caller; the copy that all anonymous readers share is nobody's own."""
    return record.principal != ANONYMOUS and record.principal in caller.principals
