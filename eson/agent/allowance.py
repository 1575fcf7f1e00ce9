"""How many subscriptions each may have at a provider; those that are being made count too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from eson.agent.hosting import Limits
from eson.errors import LimitReached
from eson.model.principals import ANONYMOUS, Principal
from eson.store.port import Store


class Allowance:
    """Another participant's users share one count; a user of ours has one of his own; strangers share their copies."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._under_way: Counter[str | Principal] = Counter()

    async def check(self, principal: Principal, approved: bool) -> None:
        """Whether there may be one more, which waits for its owner if it is not `approved`.  Raises `LimitReached`."""
        under_way = self._under_way[_payer(principal)]
        if principal.participant:
            number = await self._store.count_subscriptions(principal.participant)
            if max(number, under_way) >= self._limits.subscriptions_per_participant:
                raise LimitReached("subscriptions per participant")
        elif principal != ANONYMOUS:
            number = await self._store.count_subscriptions("", principal)
            if max(number, under_way) >= self._limits.flows_per_account:
                raise LimitReached("subscriptions per account")
        if not approved and await self._store.count_pending() >= self._limits.pending:
            raise LimitReached("pending subscriptions")

    @contextmanager
    def taken(self, principal: Principal) -> Iterator[None]:
        """While a subscription of `principal` is being made."""
        self._under_way[_payer(principal)] += 1
        try:
            yield
        finally:
            self._under_way[_payer(principal)] -= 1


def _payer(principal: Principal) -> str | Principal:
    """On whose account a subscription goes."""
    return principal.participant or principal
