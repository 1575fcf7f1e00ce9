"""Calls to the agents of flows that are repeated until they succeeded: to end a copy that we do not want any more."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from twisted.logger import Logger

from eson.agent.audit import AGENT, Audit
from eson.agent.hosting import Limits
from eson.agent.locks import Locks
from eson.agent.ports import Clock, RemoteSession
from eson.agent.sessions import Sessions
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError, Refused, TryLater
from eson.model.subscriptions import Side, Subscription
from eson.store.port import Change, DropCall, DropCredential, PutCall, Store
from eson.store.records import Call

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
SLACK = 0.1
"""Seconds by which two clocks may differ: who is woken for a call must find it due."""
UNDER_WAY = timedelta(minutes=5)
"""So long after a SUBSCRIBE its copy may still come to be: only then a token that nobody knows means that there is none."""

_log = Logger()


class Calls:
    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        locks: Locks,
        audit: Audit,
        tasks: Tasks,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._locks = locks
        self._audit = audit
        self._tasks = tasks
        self._clock = clock
        self._limits = limits

    def plan(self, record: Subscription) -> PutCall:
        """To end the copy of this subscriber's record, or whatever was made for its token."""
        call = Call(
            key=record.id,
            flow=record.flow,
            copy=record.copy,
            token=record.token,
            principal=record.principal,
            created=self._clock.now(),
        )
        return PutCall(call)

    async def make(self, key: str) -> None:
        """Tries now, if it is due.  Raises what the store raises."""
        try:
            with self._locks.hold(f"call {key}"):
                call = await self._store.call(key)
                if call is not None and self._is_due(call):
                    await self._make(call)
        except Busy:
            pass  # it is being made

    async def due(self) -> list[str]:
        """Keys of the calls that are due."""
        return [one.key for one in await self._store.calls() if self._is_due(one)]

    def _is_due(self, call: Call) -> bool:
        if call.next is None:
            return True
        left = call.next - self._clock.now()
        # what is farther away than it ever was set was so before the clock was moved back
        return left <= timedelta(0) or left > _longest_pause(call.attempts - 1)

    async def _make(self, call: Call) -> None:
        try:
            session = await self._sessions.connect(call.flow, call.principal)
            try:
                copy = await self._end(call, session)
            finally:
                await session.quit()
        except (TryLater, Refused) as error:
            _log.info("{key}: its agent is called again later: {reason}", key=call.key, reason=error.text)
            await self._again(call)
            return
        if copy is None and self._clock.now() - call.created < UNDER_WAY:
            await self._again(call)
            return
        await self._store.apply(*self._done(call, copy or call.copy))

    @staticmethod
    async def _end(call: Call, session: RemoteSession) -> str | None:
        copy = call.copy or await session.find_by_token(call.flow, call.token)
        if copy is None:
            return None
        await session.unsubscribe(copy)
        return copy

    @staticmethod
    def _done(call: Call, copy: str) -> list[Change]:
        done: list[Change] = [DropCall(call.key)]
        if copy:
            done.append(DropCredential(Side.SUBSCRIBER, copy))
        return done

    async def _again(self, call: Call) -> None:
        if self._clock.now() - call.created > self._limits.request:
            note = self._audit.note(AGENT, "give up a call", call.copy or call.flow, outcome="failed")
            await self._store.apply(*self._done(call, call.copy), note)
            return
        pause = _longest_pause(call.attempts)
        pause *= random.uniform(0.5, 1.0)
        later = self._clock.now() + pause
        try:
            await self._store.apply(PutCall(replace(call, attempts=call.attempts + 1, next=later)))
        except EsonError as error:
            _log.warn("{key}: {reason}", key=call.key, reason=error.text)
        # the reconciler comes by too, but it may take a minute
        self._tasks.later(pause.total_seconds() + SLACK, lambda: self._repeat(call.key), "a call")

    async def _repeat(self, key: str) -> None:
        try:
            await self.make(key)
        except EsonError as error:
            _log.warn("{key}: {reason}", key=key, reason=error.text)


def _longest_pause(attempts: int) -> timedelta:
    """After so many attempts before the last one."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(max(0, attempts), 16)))
