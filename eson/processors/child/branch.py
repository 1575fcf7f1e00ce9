"""A branch of a processor: sessions for some of its destinations, one after the other, with troubles of their own.

A distributor has a branch for each destination, so that none holds up the others; every other processor has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.cluster import Cluster
from eson.processors.child.journal_file import DiskRefuses
from eson.processors.child.lanes import Counters, RunningLane
from eson.processors.child.opening import Opener
from eson.processors.child.planning import Changed
from eson.processors.child.producer import IN_FLIGHT, TIMEOUT, TooLarge
from eson.processors.child.restoring import Restoring
from eson.processors.child.session import Session
from eson.processors.child.shared_journal import SharedJournal
from eson.processors.child.trouble import Again, Failing, LoginRefused, Silent, Stopped, Trouble
from eson.processors.child.window import Windows
from eson.processors.core.backoff import Backoff
from eson.processors.core.rates import Limiter, limiters
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd, ProcessorOrder

SETTLE = (IN_FLIGHT - 1) * TIMEOUT + 5.0
"""Seconds after which what an ended connection had sent was appended or never will be.

A broker takes the next request of a connection when it has answered the last, for which it may wait so long for replicas.
"""
DRAIN = 5.0
SOON = 3.0
"""Seconds after which a broker that did not answer is tried again at the latest."""
SMALLEST_LIMIT = 1024


@dataclass
class Course:
    """What a processor was ordered; its branches follow it."""

    order: ProcessorOrder
    reach: Reach
    paused: bool


@dataclass(frozen=True)
class Complaint:
    """Why a branch does not carry.  `since`: when it began not to reach somebody; aware UTC."""

    state: Literal["unreachable", "failing", "stopped"]
    reason: str
    since: datetime
    login_refused: bool = False


class Branch:
    """Follows a course until `end`, for the destinations of these numbers.

    `changed` is called whenever it has reached both ends or has a `complaint`; `refused` when the journal can go on
    only after every branch has left it.  It begins when all of `before` have ended.
    """

    def __init__(
        self,
        course: Course,
        numbers: Sequence[int],
        journal: SharedJournal,
        counters: Counters,
        windows: Windows,
        changed: Callable[[], None],
        refused: Callable[[], None],
        before: Iterable[asyncio.Future[Any]] = (),
    ) -> None:
        self._course, self.numbers, self._journal = course, tuple(numbers), journal
        self._counters, self._windows = counters, windows
        self._tell, self._refused = changed, refused
        self._before = tuple(before)
        self._in_session = False
        self.lanes: Sequence[RunningLane] = ()
        """As they are, or were when it last carried."""
        self.exact = True
        self.ready = False
        self.complaint: Complaint | None = None
        self._changed = asyncio.Event()
        self._backoff = Backoff(random.uniform)
        self._since: datetime | None = None
        self._settle = False
        self._max_bytes: dict[int, int] = {}
        self._restoring: dict[int, Restoring] = {}
        self._limiters: Mapping[int, Limiter] = {}
        self._limit()
        self._task = asyncio.get_running_loop().create_task(self._live())

    # Orders

    def ordered(self) -> None:
        """The course changed."""
        self.ready, self.complaint = False, None
        self._changed.set()

    def renewed(self) -> None:
        """So that credentials, servers or limits are others now."""
        self._limit()
        self._backoff.reset()
        self.ordered()

    def leave(self) -> None:
        """Ends the session under way, if there is one; the next one begins at once."""
        if self._in_session:
            self._changed.set()

    def end(self) -> asyncio.Future[Any]:
        """Done when nothing of it runs any more; what was sent gets a moment to be acknowledged."""
        self._task.cancel()
        return asyncio.gather(self._task, return_exceptions=True)

    def _limit(self) -> None:
        limits = {number: self._course.order.destinations[number].limit for number in self.numbers}
        self._limiters = limiters(limits, self._limiters, asyncio.get_running_loop().time())

    # Sessions

    async def _live(self) -> None:
        if self._before:
            await asyncio.wait(self._before)
        while True:
            self._changed.clear()
            trouble: Trouble | None = None
            try:
                await self._one_session()
            except Trouble as error:
                trouble = error
            except MalformedMessage as error:
                trouble = Failing(f"a broker breaks Kafka's protocol: {error}")
            except Exception as error:  # a fault of ours: say so and go on as after any other
                trouble = Failing(f"fault in the processor: {type(error).__name__}")
                traceback.print_exc()
            if self._task.cancelling():  # a trouble of the session's end came in place of that
                return
            if trouble is not None:
                trouble.__traceback__ = trouble.__context__ = None
            gc.collect()  # the parts of a session and its troubles refer to each other, and hold what was under way
            if trouble is not None and not self._changed.is_set():
                await self._after(trouble)
            elif self._course.paused:
                await self._changed.wait()

    async def _one_session(self) -> None:
        course, file = self._course, self._journal.take()
        try:
            settled, self._settle = self._settle, False
            session = Session(
                course.order,
                file,
                [self._cluster(end, "source") for end in course.order.sources],
                {n: self._cluster(course.order.destinations[n], "destination") for n in self.numbers},
                self._counters,
                self._limiters,
                self._max_bytes,
                self._windows,
                self._restoring,
                settled,
            )
            self._in_session = True
            await self._carry(session)
        except DiskRefuses:
            self._in_session = False  # this one has ended; it says why, and waits
            self._refused()
            raise
        finally:
            self._in_session = False
            self._journal.give_back()

    async def _carry(self, session: Session) -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await self._until(session.open(), changed)
            if self._changed.is_set():
                return
            self.lanes, self.exact = session.lanes, session.exact
            if session.narrow and not self._course.paused:
                self._say_narrow(session.narrow)
            else:
                self._say_ready()
            if self._course.paused:
                return
            await self._until(session.run(), changed)
            await session.drain(DRAIN)
        except TooLarge:
            self._settle = await session.settle(DRAIN)
            raise
        except asyncio.CancelledError:
            await session.drain(1.0)
            raise
        finally:
            changed.cancel()
            if session.progressed:
                self._backoff.reset()
            session.close()

    async def _until(self, work: Coroutine[Any, Any, None], changed: asyncio.Task[Any]) -> None:
        """Does the work, or leaves off when something was ordered."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait([task, changed], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # also takes what it failed with just now

    def _cluster(self, end: ProcessorEnd, side: str) -> Cluster:
        opener = Opener(end, self._course.reach)
        return Cluster(end.queue, end.access.servers, opener, side)

    async def _after(self, trouble: Trouble) -> None:
        """Says what happened where it matters, and waits as long as it takes."""
        if isinstance(trouble, Stopped):
            self._complain("stopped", trouble)
            await self._changed.wait()
            return
        if isinstance(trouble, Changed):
            self._complain("unreachable", trouble)
            self._settle = await self._wait(SETTLE)
            return
        if isinstance(trouble, TooLarge) and trouble.batch.records == 1:
            offset = trouble.batch.entry.next_offset - 1
            trouble = Failing(f"{trouble.reason}, and the event at offset {offset} is as large alone")
        if isinstance(trouble, TooLarge):
            self._complain("failing", trouble)
            number = trouble.batch.lane.state.lane.destination
            self._max_bytes[number] = max(SMALLEST_LIMIT, trouble.batch.size // 2)
            self._settle = self._settle or await self._wait(SETTLE)
            return
        delay = self._backoff.next_delay()
        if not isinstance(trouble, Failing | LoginRefused):
            delay = min(delay, random.uniform(SOON / 2, SOON))
        if isinstance(trouble, Failing):
            self._complain("failing", trouble)
        elif not isinstance(trouble, Again):
            # a connection that was idle too long, a leader that moved: silent, if it works at the first try
            first = self.ready and self._backoff.failures == 1
            passing = first and not isinstance(trouble, LoginRefused | Silent)
            if not passing:
                self._complain("unreachable", trouble)
        await self._wait(delay)

    async def _wait(self, seconds: float) -> bool:
        """Whether all of it passed before something was ordered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
                return False
        return True

    # Reports

    def _say_ready(self) -> None:
        self.ready, self.complaint, self._since = True, None, None
        self._tell()

    def _say_narrow(self, reason: str) -> None:
        """Both ends were reached, and what has its place is carried; the rest waits."""
        self._since = None
        self._complain("failing", Failing(reason))

    def _complain(self, state: Literal["unreachable", "failing", "stopped"], trouble: Trouble) -> None:
        self.ready = False
        if state == "unreachable":
            self._since = self._since or datetime.now(UTC)
        since = self._since or datetime.now(UTC)
        self.complaint = Complaint(state, trouble.reason, since, isinstance(trouble, LoginRefused))
        self._tell()
