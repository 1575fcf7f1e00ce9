"""NOTIFY: telling a subscriber's agent what became of a copy, and what we do when we are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from eson.agent.ports import Remotes
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError
from eson.fnap.core.commands import Notify
from eson.fnap.core.replies import Ok
from eson.model.principals import Caller
from eson.model.subscriptions import Side, State, Subscription
from eson.store.port import Store

BETWEEN_CHECKS = 10.0
"""Seconds between two checks of one copy: whoever sends many NOTIFY makes us ask no more often."""

_log = Logger()

Check = Callable[[str], Awaitable[None]]


class Tellers:
    def __init__(self, remotes: Remotes, tasks: Tasks) -> None:
        self._remotes = remotes
        self._tasks = tasks
        self.notified: Callable[[str], None] = lambda copy: None
        """Told of copies whose other end is hosted here too."""

    def tell(self, subscription: Subscription) -> None:
        """In the background, once: the check each 5 minutes covers what gets lost."""
        if subscription.local:
            self.notified(subscription.copy)
        elif subscription.principal.participant:
            self._tasks.spawn(self._tell(subscription), "NOTIFY")

    async def _tell(self, subscription: Subscription) -> None:
        try:
            session = await self._remotes.connect_participant(subscription.principal.participant)
            try:
                await session.notify(subscription.copy, subscription.state.value)
            finally:
                await session.quit()
        except EsonError as error:
            _log.info(
                "{copy}: its subscriber could not be told: {reason}",
                copy=subscription.copy,
                reason=error.text,
            )


class Told:
    """NOTIFY carries no authority: the copy's own agent is asked."""

    def __init__(self, store: Store, tasks: Tasks, check: Check) -> None:
        self._store = store
        self._tasks = tasks
        self._check = check
        self._resting: dict[str, bool] = {}
        """Copies that were checked just now; True: and are to be checked again."""

    async def notify(self, caller: Caller, command: Notify) -> Ok:
        """The answer says nothing of what we know."""
        record = await self._store.subscription(Side.SUBSCRIBER, command.copy)
        if record is not None and record.copy and record.state is not State.ENDED:
            self.soon(command.copy)
        return Ok()

    def soon(self, copy: str) -> None:
        """Checks it in the background: now, or when the last check is long enough ago."""
        if copy in self._resting:
            self._resting[copy] = True
            return
        self._resting[copy] = False
        self._tasks.later(BETWEEN_CHECKS, lambda: self._rested(copy), "a check")
        self._tasks.later(0, lambda: self._checked(copy), "a check")

    async def _checked(self, copy: str) -> None:
        try:
            await self._check(copy)
        except Busy:
            if copy in self._resting:
                self._resting[copy] = True
        except EsonError as error:
            _log.warn(
                "{copy}: could not be checked: {reason} {context}",
                copy=copy,
                reason=error.text,
                context=error.context,
            )

    async def _rested(self, copy: str) -> None:
        if self._resting.pop(copy, False):
            self.soon(copy)
