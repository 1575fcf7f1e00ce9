"""The reconciler: what should be, compared with what is; at start, after errors and periodically.

A pass goes from what was begun (intentions, requests without an answer) over what runs (processors) and what ends by
itself (leases, requests, old records) to what other agents must answer (subscriptions on their way, calls).  A whole
comparison of queues, records and rights is made at start and each hour.  What fails is tried again, ever less often,
until the usual interval is reached.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial

from twisted.logger import Logger

from eson.agent.calls import Calls
from eson.agent.carriers import WAITING
from eson.agent.comparing import Comparing
from eson.agent.growth import Growth
from eson.agent.hosting import Hosting, Limits
from eson.agent.incoming import Incoming, lock_of
from eson.agent.leases import Lapses
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.ports import Clock, Delayed, Scheduler
from eson.agent.processing import Processing
from eson.agent.records import every_processor, every_subscription
from eson.agent.tasks import Tasks
from eson.errors import Busy, EsonError
from eson.model.subscriptions import Side, State, Subscription
from eson.store.port import Store
from eson.store.records import Intention, StoredProcessor

SOON = 1.0
"""Seconds until the first pass after an error."""
WHOLE = 3600.0
"""Seconds between two whole comparisons."""
BETWEEN_WHOLE = timedelta(minutes=5)
"""What errors cause at most."""
CHECKS_AT_ONCE = 8

Finish = Callable[[Intention], Awaitable[None]]

_log = Logger()


class Reconciler:
    """`finish`: for each kind of intention, what finishes it or takes it back."""

    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        incoming: Incoming,
        calls: Calls,
        comparing: Comparing,
        processing: Processing,
        growth: Growth,
        local_processors: LocalProcessors,
        lapses: Lapses,
        finish: Mapping[str, Finish],
        locks: Locks,
        tasks: Tasks,
        clock: Clock,
        scheduler: Scheduler,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._incoming = incoming
        self._calls = calls
        self._comparing = comparing
        self._processing = processing
        self._growth = growth
        self._local = local_processors
        self._lapses = lapses
        self._finish = finish
        self._locks = locks
        self._tasks = tasks
        self._clock = clock
        self._scheduler = scheduler
        self._limits = limits
        self._timer: Delayed | None = None
        self._running = False
        self._stopped = True
        self._pause = SOON
        self._wanted = False
        self._comes_soon = False
        self._whole_due = True
        self._begins = True
        self._last_whole = clock.now()
        self._hourly: Delayed | None = None
        self._checks: Delayed | None = None

    # When

    def start(self) -> None:
        """Begins with a whole pass, now and in the background."""
        self._stopped = False
        self._whole_due = True
        self._begins = True
        self._again(0)
        self._hourly = self._scheduler.callLater(WHOLE, self._hour)
        self._plan_checks()

    def stop(self) -> None:
        self._stopped = True
        for timer in (self._timer, self._hourly, self._checks):
            if timer is not None and timer.active():
                timer.cancel()

    def soon(self, whole: bool = False) -> None:
        """Something was left undone: a pass comes soon, a whole one if there was none for a while."""
        if self._stopped:
            return
        if whole and self._clock.now() - self._last_whole >= BETWEEN_WHOLE:
            self._whole_due = True
        if self._running:
            self._wanted = True
        elif not self._comes_soon:
            self._comes_soon = True
            self._pause = SOON
            self._again(SOON)

    def _again(self, seconds: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._scheduler.callLater(seconds, self._pass)

    def _pass(self) -> None:
        self._tasks.spawn(self._timed(), "the reconciler")

    async def _timed(self) -> None:
        if self._running or self._stopped:
            return
        self._running = True
        self._comes_soon = done = False
        try:
            done = await self.run(self._whole_due)
            if self._whole_due:
                self._last_whole = self._clock.now()
                self._whole_due = not done
        finally:
            self._running = False
            self._next(done)

    def _next(self, done: bool) -> None:
        if self._stopped:
            return
        interval = self._limits.reconcile.total_seconds()
        wanted, self._wanted = self._wanted, False
        if done and not wanted:
            self._pause = SOON
            self._again(interval)
        else:
            self._again(self._pause * random.uniform(0.75, 1.25))
            self._pause = min(interval, self._pause * 2)

    def _hour(self) -> None:
        self._whole_due = True
        self._hourly = self._scheduler.callLater(WHOLE, self._hour)

    def _plan_checks(self) -> None:
        seconds = self._limits.check.total_seconds()
        # not all participants at the same moment
        self._checks = self._scheduler.callLater(seconds * random.uniform(0.8, 1.0), self._begin_checks)

    def _begin_checks(self) -> None:
        self._tasks.spawn(self.checks(), "checks of subscriptions")
        self._plan_checks()

    # What

    async def run(self, whole: bool = True) -> bool:
        """One pass; whether nothing is left to be done.  Never raises for what may pass by itself."""
        steps: list[Callable[[], Awaitable[bool]]] = [self._intentions, self._unanswered]
        if whole:
            steps += [self._comparing.queues, self._comparing.names, self._comparing.rights]
        steps += [
            self._comparing.processors,
            self._requested,
            self._lapses.end_lapsed,
            self._forget,
            # agents that do not answer hold up nothing but each other
            self._growth.pass_by,
            self._waiting,
            self._due_calls,
        ]
        done = True
        for step in steps:
            try:
                done &= await step()
            except EsonError as error:
                _log.warn("reconciling: {reason}", reason=error.text, context=error.context)
                done = False
            except Exception:  # one that we did not foresee must not keep the others from being done
                _log.failure("reconciling failed")
                done = False
        return done

    async def _intentions(self) -> bool:
        done = True
        for left in await self._store.intentions():
            finish = self._finish.get(left.kind)
            if finish is None:
                _log.error("no such kind of intention: {kind}", kind=left.kind)
                continue
            try:
                with self._locks.hold(left.object):
                    now = await self._store.intention(left.object)
                    if now is not None and now == left:
                        _log.info("{kind} {object} goes on", kind=left.kind, object=left.object)
                        await finish(left)
            except Busy:
                continue  # whoever holds it is doing it
            except EsonError as error:
                _log.warn("{kind} {object}: {reason}", kind=left.kind, object=left.object, reason=error.text)
                done = False
        return done

    async def _unanswered(self) -> bool:
        """Requests that a crash left without an answer: what was made for them is ended."""
        async for one in every_subscription(self._store, Side.SUBSCRIBER):
            if one.copy:
                continue
            # its answer may have come while others were given up
            now = await self._store.subscription(Side.SUBSCRIBER, one.id)
            if now is not None and not now.copy and not self._locks.held(lock_of(one.token)):
                await self._incoming.give_up(now)
        return True

    async def _due_calls(self) -> bool:
        outcome: list[bool] = []

        async def make(key: str) -> None:
            outcome.append(await self._called(key))

        await self._tasks.each([partial(make, key) for key in await self._calls.due()], CHECKS_AT_ONCE)
        return all(outcome)

    async def _called(self, key: str) -> bool:
        try:
            await self._calls.make(key)
        except EsonError as error:
            _log.warn("a call of {key}: {reason}", key=key, reason=error.text)
            return False
        return True

    async def _waiting(self) -> bool:
        """Subscriptions on their way: what they wait for at our own side is tried with each pass.

        The first one asks for the others too: what kept them back may be what the agent was started anew for.
        """
        all_of_them, self._begins = self._begins, False
        copies = [
            one.copy
            async for one in every_subscription(self._store, Side.SUBSCRIBER)
            if one.copy and one.state in WAITING and (all_of_them or self._is_ours(one))
        ]
        await self._tasks.each([partial(self.check, copy) for copy in copies], CHECKS_AT_ONCE)
        return True

    async def _requested(self) -> bool:
        """Processors between local flows that are on their way, and what those lack that run."""
        outcome: list[bool] = []

        async def go_on(one: StoredProcessor) -> None:
            outcome.append(await self._advanced(one))

        works = [partial(go_on, one) async for one in every_processor(self._store)]
        await self._tasks.each(works, CHECKS_AT_ONCE)
        return all(outcome)

    async def _advanced(self, one: StoredProcessor) -> bool:
        try:
            if one.state is State.REQUESTED:
                await self._processing.advance(one.id)
            else:
                await self._processing.widen(one)
        except Busy:
            return True  # whoever holds it is doing it
        except EsonError as error:
            _log.info("{id}: not yet: {reason}", id=one.id, reason=error.text)
            return False
        return True

    def _is_ours(self, one: Subscription) -> bool:
        """Pending ones of other participants wait for NOTIFY or the check; the answer of all others was ready."""
        return self._hosting.hosts(one.flow) or one.remote_state != "pending"

    async def checks(self) -> None:
        """Each subscription to a flow of another participant is checked, which renews its lease."""
        copies = [
            one.copy
            async for one in every_subscription(self._store, Side.SUBSCRIBER)
            if one.copy and not self._hosting.hosts(one.flow)
        ]
        await self._tasks.each([partial(self.check, copy) for copy in copies], CHECKS_AT_ONCE)

    async def check(self, copy: str) -> None:
        """Never raises for what may pass by itself."""
        try:
            await self._incoming.check(copy)
        except EsonError as error:
            _log.info(
                "{copy}: could not be checked: {reason} {context}",
                copy=copy,
                reason=error.text,
                context=error.context,
            )

    async def _forget(self) -> bool:
        await self._lapses.forget_ended()
        return True
