"""One processor as its supervisor sees it: what it shall do, what it last said, who waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred

from eson.errors import TryLater
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import create_message
from eson.processors.core.reach import Reach
from eson.processors.host import Host
from eson.processors.port import ProcessorOrder, ProcessorStatus, State

CRASH_LOOP = 5
"""Ends in a row without progress after which a processor is said to fail."""

_LAST_MOMENT = 253402300799000


def _moment(milliseconds: int) -> datetime:
    """Since 1970, aware UTC; what lies before it or behind the year 9999 is moved there: writers date events freely."""
    return datetime.fromtimestamp(min(max(0, milliseconds), _LAST_MOMENT) / 1000, UTC)


class Supervised:
    """A host's member.  `changed` is told of each change of state, and of gaps; `now` gives aware UTC."""

    def __init__(
        self,
        order: ProcessorOrder,
        journal: str,
        reach: Reach,
        host: Host,
        now: Callable[[], datetime],
        changed: Callable[[ProcessorStatus], None],
    ) -> None:
        self.order, self.journal, self.host = order, journal, host
        self.paused = False
        self._reach, self._now, self._changed = reach, now, changed
        self._waiting: list[Deferred[None]] = []
        self._ready = False
        self._started = False
        self._records = 0
        self.status = ProcessorStatus(order.id, order.kind, "starting", since=now())

    @property
    def id(self) -> str:
        return self.order.id

    def message(self) -> pb.Create:
        return create_message(self.order, self.journal, self._reach, self.paused)

    def when_ready(self) -> Deferred[None]:
        """Fires when both ends are reached and positions known."""
        ready: Deferred[None] = Deferred()
        if self._ready:
            ready.callback(None)
        else:
            self._waiting.append(ready)
        return ready

    def forget(self, ready: Deferred[None]) -> None:
        if ready in self._waiting:
            self._waiting.remove(ready)

    def ordered(self) -> None:
        """It was told something after which it says again when it is ready."""
        self._ready = False
        if self.paused:
            self._set("paused", lag=None, rate=None)  # nobody looks how far behind it is
        else:
            self._set("starting")

    def stopped(self) -> None:
        """It was ended by order."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(TryLater(f"Processor {self.id} was ended"))
        self.paused = False
        self._set("stopped", pid=None)

    # What the host tells

    def started(self, pid: int | None) -> None:
        if self._started:
            self.status = replace(self.status, restarts=self.status.restarts + 1)
        self._started, self._records = True, 0
        self.status = replace(self.status, pid=pid)

    def ended(self, reason: str, failures: int) -> None:
        self._ready = False
        looping = failures >= CRASH_LOOP
        self._set("failing" if looping else "starting", pid=None, last_error=f"the process {reason}")

    def reported(self, report: pb.Report) -> None:
        kind = report.WhichOneof("report")
        if kind == "progress":
            self._progress(report.progress)
        elif kind == "ready":
            self._ready = True
            self.order = replace(self.order, lanes=report.ready.lanes)
            self._set("running", last_error="", login_refused=False, lanes=report.ready.lanes)
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)
        elif kind == "unreachable":
            self._ready = False
            said = report.unreachable
            since = _moment(said.since)
            self._set(
                "unreachable",
                last_error=said.reason,
                login_refused=said.login_refused,
                unreachable_since=since,
                lanes=self._known(said.lanes),
            )
        elif kind == "error":
            self._ready = False
            failure = report.error
            self._set("failing", last_error=failure.reason, lanes=self._known(failure.lanes))

    def _known(self, lanes: bytes) -> bytes:
        """What its journal begins with; a processor in trouble may not know it yet."""
        if not lanes:
            return self.status.lanes
        self.order = replace(self.order, lanes=lanes)
        return lanes

    def _progress(self, progress: pb.Progress) -> None:
        if progress.records > self._records:
            self._records = progress.records
            self.host.progressed()
        last = _moment(progress.last_event) if progress.last_event else None
        before = self.status.gaps
        # each destination of a source may tell of the same
        gaps = dict.fromkeys((gap.source, gap.partition, gap.first, gap.last) for gap in progress.gaps)
        self.status = replace(
            self.status,
            lag=None if self.paused else progress.lag,
            rate=None if self.paused else progress.rate,
            last_event=last or self.status.last_event,
            gaps=tuple(gap[1:] for gap in gaps),
        )
        if self.status.gaps != before:
            self._changed(self.status)

    def _set(self, state: State, unreachable_since: datetime | None = None, **fields: Any) -> None:
        before = self.status
        shown: State = "paused" if self.paused and state != "failing" else state
        after = replace(before, state=shown, **fields)
        moved = (after.state, after.login_refused) != (before.state, before.login_refused)
        self.status = replace(after, since=unreachable_since or self._now()) if moved else after
        if moved or after.lanes != before.lanes:
            self._changed(self.status)
