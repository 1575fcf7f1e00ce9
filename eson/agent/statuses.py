"""States of subscriptions follow what their processors say: failing and back, and a login that is refused."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import Logger

from eson.agent.carriers import Carriers
from eson.agent.copies import Teller
from eson.agent.following import followed
from eson.agent.gaps import Gaps
from eson.agent.growth import Growth
from eson.agent.incoming import Incoming
from eson.agent.journals import KeptJournals
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.pausing import record_lock
from eson.agent.ports import Clock
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError
from eson.model.names import PROCESSOR_ID
from eson.model.subscriptions import Side, State, Subscription
from eson.processors.port import ProcessorStatus
from eson.store.port import PutSubscription, Store

AGAIN = 1.0
"""Seconds after which a change that came during another operation is looked at again."""
BETWEEN_CREDENTIALS = (5.0, 600.0)
"""Seconds between two new credentials for one copy: first and longest."""

_log = Logger()


class Statuses:
    def __init__(
        self,
        store: Store,
        carriers: Carriers,
        local_processors: LocalProcessors,
        journals: KeptJournals,
        gaps: Gaps,
        growth: Growth,
        incoming: Incoming,
        teller: Teller,
        locks: Locks,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._store = store
        self._carriers = carriers
        self._local = local_processors
        self._journals = journals
        self._gaps = gaps
        self._growth = growth
        self._incoming = incoming
        self._teller = teller
        self._locks = locks
        self._tasks = tasks
        self._clock = clock
        self._looked_at: dict[str, bool] = {}
        """Processors that are looked at now; True: and once more behind that."""
        self._pauses: dict[str, float] = {}

    def changed(self, status: ProcessorStatus) -> None:
        """For `Processors.listen`."""
        if status.id in self._looked_at:
            self._looked_at[status.id] = True
            return
        self._looked_at[status.id] = False
        self._tasks.spawn(self._look(status.id), "following a processor")

    async def _look(self, id: str) -> None:
        again = True
        while again:
            self._looked_at[id] = False
            try:
                await self.follow(id)
                self._growth.changed(id)
            except Busy:
                self._tasks.later(AGAIN, lambda: self._look(id), "following a processor")
                return
            except EsonError as error:
                _log.warn("{id}: its state is not written down: {reason}", id=id, reason=error.text)
            except Exception:  # a mistake of ours must not keep its next change from being looked at
                _log.failure("{id}: its state is not written down", id=id)
            again = self._looked_at[id]
        del self._looked_at[id]

    async def follow(self, id: str) -> None:
        """Raises `Busy`, `TryLater`."""
        status = self._carriers.status_of(id)
        await self._journals.keep(id)
        if status is not None:
            await self._gaps.note(status)
        if status is not None and PROCESSOR_ID.match(id):
            await self._local.follow(status)
            return
        record = await self._carriers.find(id)
        if status is None or record is None:
            return
        with self._locks.hold(record_lock(record)):
            # what the store says may have changed before we held the lock
            now = await self._store.subscription(record.side, record.id)
            if now is not None and now.state is not State.ENDED:
                await self._follow(now, status)
        if status.state == "running":
            self._pauses.pop(id, None)
        if status.login_refused and record.side is Side.SUBSCRIBER:
            self._ask_anew(id, record.copy)

    async def _follow(self, record: Subscription, status: ProcessorStatus) -> None:
        if record.state is State.PENDING and record.side is Side.PROVIDER:
            return  # an approval that was taken back: nothing runs for long
        after = followed(record.state, record.reason, status)
        if after is None:
            return
        if record.state in (State.REQUESTED, State.PENDING) and record.side is Side.SUBSCRIBER:
            await self._incoming.started(record)
            return
        state, reason = after
        changed = replace(record, state=state, reason=reason, since=self._clock.now())
        await self._store.apply(PutSubscription(changed))
        if record.state is State.REQUESTED:
            self._teller.tell(changed)

    # Login refused

    def _ask_anew(self, id: str, copy: str) -> None:
        """A new credential, ever less often while that does not help."""
        first, longest = BETWEEN_CREDENTIALS
        pause = self._pauses.get(id)
        if pause is not None and pause < 0:
            return  # one is on its way
        wait = 0.0 if pause is None else pause
        self._pauses[id] = -1.0
        self._tasks.later(
            wait, lambda: self._asked_anew(id, copy, min(longest, max(first, wait * 2))), "a new credential"
        )

    async def _asked_anew(self, id: str, copy: str, next_pause: float) -> None:
        try:
            await self._incoming.new_credential(copy)
        except EsonError as error:
            _log.warn("{copy}: no new credential: {reason}", copy=copy, reason=error.text)
        except Exception:  # a mistake of ours must not keep it from asking again
            _log.failure("{copy}: no new credential", copy=copy)
        self._pauses[id] = next_pause
        status = self._carriers.status_of(id)
        if status is not None and status.login_refused:
            self._ask_anew(id, copy)
