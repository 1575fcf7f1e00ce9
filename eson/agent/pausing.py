"""PAUSE, RESUME and STOP SUBSCRIPTION: each side its own half."""

from __future__ import annotations

from dataclasses import replace

from eson.agent.audit import Audit
from eson.agent.carriers import Carriers
from eson.agent.copies import Teller
from eson.agent.finding import Finding
from eson.agent.following import NOT_READY
from eson.agent.incoming import lock_of
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.ports import Clock
from eson.agent.records import quietly
from eson.errors import Conflict, NoSuch, NotAllowed, TryLater
from eson.fnap.core.commands import ChangeSubscription
from eson.fnap.core.replies import Ok, Outcome, Pending
from eson.model.names import PROCESSOR_ID
from eson.model.principals import Caller
from eson.model.subscriptions import Side, State, Subscription, check_change
from eson.store.port import PutSubscription, Store

_AIMS = {"PAUSE": State.PAUSED, "RESUME": State.ACTIVE, "STOP": State.STOPPED}
_RUNNING = (State.ACTIVE, State.FAILING)


def record_lock(record: Subscription) -> str:
    """The lock of either side's record."""
    return record.copy if record.side is Side.PROVIDER else lock_of(record.id)


class Pausing:
    def __init__(
        self,
        store: Store,
        finding: Finding,
        carriers: Carriers,
        local_processors: LocalProcessors,
        teller: Teller,
        locks: Locks,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._finding = finding
        self._carriers = carriers
        self._local = local_processors
        self._teller = teller
        self._locks = locks
        self._audit = audit
        self._clock = clock

    async def change(self, caller: Caller, command: ChangeSubscription) -> Outcome:
        """Raises `NoSuch`, `NotAllowed`, `Conflict` where the states do not allow it, `TryLater`."""
        if PROCESSOR_ID.match(command.id):
            return await self._local.change(caller, command.id, command.verb)
        found = await self._finding.find(caller, command.id)
        aim = _AIMS[command.verb]
        with self._locks.hold(record_lock(found)):
            record = await self._store.subscription(found.side, found.id)
            if record is None or record.state is State.ENDED:
                raise NoSuch("subscription", command.id)
            await self._may(caller, record)
            if record.state is aim or (aim is State.ACTIVE and record.state is State.FAILING):
                return Ok()
            if record.state in (State.REQUESTED, State.PENDING):
                raise Conflict(f"{record.copy} is {record.state.value}: it has not begun")
            check_change(record.state, aim)
            done = await self._change(caller, record, aim)
        if done.side is Side.PROVIDER:
            self._teller.tell(done)
        return Pending(done.copy) if done.state is State.FAILING else Ok()

    async def _may(self, caller: Caller, record: Subscription) -> None:
        """What the provider stopped, its subscriber does not start again at the provider's agent."""
        if record.side is Side.SUBSCRIBER or await self._finding.administers(caller, record):
            return
        if record.state not in _RUNNING and record.actor != str(caller.principal):
            raise NotAllowed("administer", record.copy)

    async def _change(self, caller: Caller, record: Subscription, aim: State) -> Subscription:
        """The processor first: it ends with us, so that a crash before the record is written leaves the old state."""
        now = self._clock.now()
        reached = replace(record, state=aim, reason="", actor=str(caller.principal), since=now)
        states = [reached]
        try:
            if aim is State.PAUSED:
                await self._carriers.pause(record)
            elif aim is State.STOPPED:
                await self._carriers.release(record)
            else:
                await self._carriers.resume(record)
        except TryLater:
            if aim is not State.ACTIVE:
                raise
            states.append(replace(reached, state=State.FAILING, reason=NOT_READY))
        note = self._audit.note(caller.principal, f"{aim.value} subscription", record.copy)
        try:
            await self._store.apply(*[PutSubscription(one) for one in states], note)
        except TryLater:
            await quietly(self.settle(record))
            raise
        return states[-1]

    async def settle(self, record: Subscription) -> None:
        """Makes the processor follow the record, whose lock is held or that is not changed.  Raises `TryLater`."""
        status = self._carriers.status(record)
        if record.state in _RUNNING:
            if status is None or status.state in ("paused", "stopped"):
                await self._carriers.resume(record)
        elif (
            status is not None and record.state is State.PAUSED and status.state not in ("paused", "stopped")
        ):
            await self._carriers.pause(record)
        elif status is not None and record.state is State.STOPPED and status.state != "stopped":
            await self._carriers.release(record)
