"""Leases of copies, requests that nobody approved, and records of what ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from eson.agent.audit import AGENT
from eson.agent.carriers import needs_lease
from eson.agent.copies import Copies
from eson.agent.hosting import Limits
from eson.agent.locks import Locks
from eson.agent.ports import Clock, Scheduler
from eson.agent.records import every_subscription, quietly
from eson.errors import Busy
from eson.model.principals import Caller
from eson.model.subscriptions import Reason, Side, State, Subscription
from eson.store.port import DropCredential, DropProcessor, DropSubscription, PutSubscription, Store

RENEWALS = 100
"""A renewal is written down when this part of the lease has passed since the last, so that checks cost no writes."""
JUMP = timedelta(minutes=1)
"""What the time of day may gain on our own seconds between two looks: beyond it somebody moved it."""


class Leases:
    def __init__(self, store: Store, locks: Locks, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._locks = locks
        self._clock = clock
        self._limits = limits

    async def renew(self, caller: Caller, subscription: Subscription) -> Subscription:
        """DESCRIBE of a copy by its own principal renews the lease."""
        renewed = subscription.renewed
        if renewed is None or subscription.principal not in caller.principals:
            return subscription
        now = self._clock.now()
        # one that was renewed later than now was so before the clock was moved back
        if renewed <= now < renewed + self._limits.lease / RENEWALS:
            return subscription
        try:
            with self._locks.hold(subscription.copy):
                record = await self._store.subscription(Side.PROVIDER, subscription.copy)
                if record is None or record.state is State.ENDED:
                    return subscription
                record = replace(record, renewed=now)
                await self._store.apply(PutSubscription(record))
                return record
        except Busy:
            return subscription  # the next check renews it


class Lapses:
    """What ends by itself."""

    def __init__(
        self, store: Store, copies: Copies, clock: Clock, scheduler: Scheduler, limits: Limits
    ) -> None:
        self._store = store
        self._copies = copies
        self._clock = clock
        self._scheduler = scheduler
        self._limits = limits
        self._began = clock.now()
        self._looked = self._began, scheduler.seconds()

    def _follow(self, now: datetime) -> None:
        """Begins anew if the clock was moved, or the machine slept: in hours that never were, nobody could renew."""
        then, seconds = self._looked
        self._looked = now, self._scheduler.seconds()
        if abs(now - then - timedelta(seconds=self._looked[1] - seconds)) > JUMP:
            self._began = now

    async def end_lapsed(self) -> bool:
        """Ends copies whose lease ran out and requests that nobody approved; whether all that was due succeeded."""
        now = self._clock.now()
        self._follow(now)
        due: list[tuple[str, Reason]] = []
        async for one in every_subscription(self._store, Side.PROVIDER):
            reason = self._lapsed(one, now)
            if reason is not None:
                due.append((one.copy, reason))
        done = [await quietly(self._end(copy, reason)) for copy, reason in due]
        return all(done)

    async def _end(self, copy: str, reason: Reason) -> None:
        """Ends it unless it was renewed, approved or ended while others were being ended.  Raises `TryLater`."""
        now = await self._store.subscription(Side.PROVIDER, copy)
        if (
            now is not None
            and now.state is not State.ENDED
            and self._lapsed(now, self._clock.now()) is reason
        ):
            await self._copies.end(copy, reason, AGENT)

    def _lapsed(self, one: Subscription, now: datetime) -> Reason | None:
        if one.state is State.PENDING:
            return Reason.EXPIRED if now - one.created >= self._limits.request else None
        if one.renewed is None or not needs_lease(one):
            return None
        # while we were down nobody could renew
        since = max(one.renewed, self._began)
        return Reason.LEASE if now - since >= self._limits.lease + grace(self._limits.lease) else None

    async def forget_ended(self) -> None:
        """Drops the records of what ended long ago."""
        before = self._clock.now() - self._limits.history
        while ended := await self._store.ended_before(before):
            for one in ended:
                await self._store.apply(DropSubscription(one.side, one.id), DropCredential(one.side, one.id))
        while processors := await self._store.processors_ended_before(before):
            await self._store.apply(*(DropProcessor(one.id) for one in processors))


def grace(lease: timedelta) -> timedelta:
    """What a lease may be older than written down: a renewal that was not written yet."""
    return lease / RENEWALS
