"""Whether the accounts of open sessions still stand: a lock or removal by command ends them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from eson.store.port import Store

AT_ONCE = 200
"""Accounts looked at in one turn, so that ten thousand users are no load."""


class Standing:
    """`accounts` says which have sessions, `end` ends those of one."""

    def __init__(
        self, store: Store, accounts: Callable[[], Collection[str]], end: Callable[[str], None]
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._end = end
        self._round: Iterator[str] = iter(())

    async def look(self) -> None:
        """One turn, which goes on where the last one ended.  Raises `BackendFailed`."""
        for _ in range(AT_ONCE):
            name = next(self._round, None)
            if name is None:
                self._round = iter(sorted(self._accounts()))
                return
            account = await self._store.account(name)
            if account is None or account.locked:
                self._end(name)
