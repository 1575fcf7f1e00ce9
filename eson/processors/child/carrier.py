"""The life of one processor: sessions one after the other, pauses, new orders, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.cluster import Cluster
from eson.processors.child.journal_file import DiskRefuses, JournalFile
from eson.processors.child.lanes import Counters
from eson.processors.child.opening import Opener
from eson.processors.child.planning import Changed
from eson.processors.child.producer import TooLarge
from eson.processors.child.session import Session
from eson.processors.child.trouble import Again, Failing, LoginRefused, Silent, Stopped, Trouble
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.backoff import Backoff
from eson.processors.core.journal import lanes_said
from eson.processors.core.rates import Bucket
from eson.processors.core.reach import Reach
from eson.processors.port import ProcessorEnd, ProcessorOrder

SETTLE = 35.0
"""Seconds after which what an ended connection had sent was appended or never will be."""
DRAIN = 5.0
SOON = 3.0
"""Seconds after which a broker that did not answer is tried again at the latest."""
TELL_CHANGES, TELL_ALIVE = 1.0, 10.0
RATE_OVER = 5.0
SMALLEST_LIMIT = 1024

Tell = Callable[[pb.Report], None]


class Carrier:
    """Follows one order until `end`.  `tell` gets every report."""

    def __init__(self, order: ProcessorOrder, journal: str, reach: Reach, paused: bool, tell: Tell) -> None:
        self._order, self._path, self._reach, self._tell = order, journal, reach, tell
        self._paused = paused
        self._counters = Counters()
        self._changed = asyncio.Event()
        self._session: Session | None = None
        self._file: JournalFile | None = None
        self._backoff = Backoff(random.uniform)
        self._since: datetime | None = None
        self._ready = False
        self._lanes = b""
        self._settle = False
        self._max_bytes: dict[int, int] = {}
        self._limits = self._buckets()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._live()), loop.create_task(self._report())]

    # Orders

    def update(self, order: ProcessorOrder, reach: Reach) -> None:
        self._order, self._reach = order, reach
        self._limits = self._buckets()
        self._backoff.reset()
        self._ordered()

    def pause(self) -> None:
        self._paused = True
        self._ordered()

    def resume(self) -> None:
        self._paused = False
        self._ordered()

    def _ordered(self) -> None:
        self._ready = False
        self._changed.set()

    async def end(self, remove_journal: bool) -> None:
        """Returns when nothing of it runs any more; what was sent gets a moment to be acknowledged."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._file is not None:
            if remove_journal:
                self._file.remove()
            else:
                self._file.close()
            self._file = None

    def _buckets(self) -> tuple[Bucket, Bucket]:
        now = asyncio.get_running_loop().time()
        return Bucket(self._order.records_per_second, now), Bucket(self._order.bytes_per_second, now)

    # Sessions

    async def _live(self) -> None:
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
                import traceback

                traceback.print_exc()
            if trouble is not None:
                # the session and its troubles refer to each other, and hold what was under way
                trouble.__traceback__ = trouble.__context__ = None
                gc.collect()
            if trouble is not None and not self._changed.is_set():
                await self._after(trouble)
            elif self._paused:
                await self._changed.wait()

    async def _one_session(self) -> None:
        if self._file is None:
            self._file = JournalFile(self._path, self._order.id)
        settled, self._settle = self._settle, False
        sources = [self._cluster(end, "source") for end in self._order.sources]
        destinations = [self._cluster(end, "destination") for end in self._order.destinations]
        session = Session(
            self._order,
            self._file,
            sources,
            destinations,
            self._counters,
            self._limits,
            self._max_bytes,
            settled,
        )
        self._session = session
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await self._until(session.open(), changed)
            self._say_ready(session)
            if self._paused:
                return
            await self._until(session.run(), changed)
            await session.drain(DRAIN)
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
        opener = Opener(end, self._reach)
        return Cluster(end.queue, end.access.servers, opener, side)

    async def _after(self, trouble: Trouble) -> None:
        """Says what happened where it matters, and waits as long as it takes."""
        if isinstance(trouble, DiskRefuses) and self._file is not None:
            self._file.close()
            self._file = None
        if isinstance(trouble, Stopped):
            self._say_failure(trouble.reason, True)
            await self._changed.wait()
            return
        if isinstance(trouble, Changed):
            self._say_unreachable(trouble)
            self._settle = True
            await self._wait(SETTLE)
            return
        if isinstance(trouble, TooLarge):
            self._say_failure(trouble.reason, False)
            number = trouble.batch.lane.state.lane.destination
            self._max_bytes[number] = max(SMALLEST_LIMIT, trouble.batch.size // 2)
            self._settle = True
            await self._wait(SETTLE)
            return
        delay = self._backoff.next_delay()
        if not isinstance(trouble, Failing | LoginRefused):
            delay = min(delay, random.uniform(SOON / 2, SOON))
        if isinstance(trouble, Failing):
            self._say_failure(trouble.reason, False)
        elif not isinstance(trouble, Again):
            # a connection that was idle too long, a leader that moved: silent, if it works at the first try
            first = self._ready and self._backoff.failures == 1
            passing = first and not isinstance(trouble, LoginRefused | Silent)
            if not passing:
                self._say_unreachable(trouble)
        await self._wait(delay)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    # Reports

    def _say_ready(self, session: Session) -> None:
        lanes = lanes_said(state.lane for state in session.journal.lanes.values())
        if not self._ready or lanes != self._lanes:
            self._ready, self._since, self._lanes = True, None, lanes
            guarantee = "exactly-once" if session.exact else "at-least-once"
            ready = pb.Ready(processor=self._order.id, guarantee=guarantee, lanes=lanes)
            self._tell(pb.Report(ready=ready))

    def _say_unreachable(self, trouble: Trouble) -> None:
        self._ready = False
        self._since = self._since or datetime.now(UTC)
        refused = isinstance(trouble, LoginRefused)
        self._tell(
            pb.Report(
                unreachable=pb.Unreachable(
                    processor=self._order.id,
                    since=int(self._since.timestamp() * 1000),
                    reason=trouble.reason,
                    login_refused=refused,
                )
            )
        )

    def _say_failure(self, reason: str, stopped: bool) -> None:
        self._ready = False
        failure = pb.Failure(processor=self._order.id, reason=reason, stopped=stopped)
        self._tell(pb.Report(error=failure))

    async def _report(self) -> None:
        """Tells of progress when something changed, and now and then that we are alive."""
        loop = asyncio.get_running_loop()
        last: object = None
        told = 0.0
        seen: deque[tuple[float, int]] = deque([(loop.time(), 0)])
        while True:
            await asyncio.sleep(TELL_CHANGES)
            now, records = loop.time(), self._counters.records
            seen.append((now, records))
            while len(seen) > 2 and seen[1][0] < now - RATE_OVER:
                seen.popleft()
            carried = records - seen[0][1]
            lag = 0 if self._session is None else self._session.lag()
            state = (records, lag, carried, self._paused, self._session, self._ready)
            if state != last or now - told >= TELL_ALIVE - TELL_CHANGES / 2:
                last, told = state, now
                self._tell(pb.Report(progress=self._progress(carried / (now - seen[0][0]))))

    def _progress(self, rate: float) -> pb.Progress:
        session = self._session
        progress = pb.Progress(
            processor=self._order.id,
            records=self._counters.records,
            bytes=self._counters.octets,
            rate=round(rate, 1),
            last_event=max(0, self._counters.last_event),
            paused=self._paused,
        )
        if session is not None:
            progress.lag = session.lag()
            for source, partition, offset, end in session.positions():
                progress.positions.add(source=source, partition=partition, offset=offset, end=end)
        if self._file is not None:
            for state in self._file.journal.lanes.values():
                lane = state.lane
                for first, final in state.gaps:
                    progress.gaps.add(
                        source=lane.source, partition=lane.source_partition, first=first, last=final
                    )
        return progress
