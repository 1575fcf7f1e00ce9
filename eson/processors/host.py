"""One processor's process and its successors: started, watched, started again; the conversation with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from google.protobuf.message import DecodeError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eson.errors import TryLater
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.backoff import Backoff
from eson.processors.core.framing import FrameError, FrameReader, frame
from eson.processors.core.messages import VERSION
from eson.processors.launcher import Child, Launcher

SILENCE = 30.0
"""Seconds without a word after which a process is taken to hang: processors report at least every 10 s."""
APART_AFTER, APART_WITHIN = 3, 600.0
"""Ends of a shared process within so many seconds after which each member gets one of its own."""
LAST_WORDS = 8.0
"""Seconds that a process has to end by itself."""


class Delayed(Protocol):
    """A call that is due later."""

    def active(self) -> bool: ...

    def cancel(self) -> None: ...

    def reset(self, secondsFromNow: float) -> None: ...


class Clock(Protocol):
    """The part of IReactorTime that is needed."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, what: Callable[..., Any], *args: Any) -> Delayed: ...


class Member(Protocol):
    """A processor that lives in a host's process."""

    @property
    def id(self) -> str: ...

    def message(self) -> pb.Create:
        """What the process is told when it starts."""

    def started(self, pid: int | None) -> None: ...

    def reported(self, report: pb.Report) -> None: ...

    def ended(self, reason: str, failures: int) -> None:
        """The process ended without order and will be started again; so often since its last progress."""


class Host:
    """Keeps one process running while it has members.

    `admit` calls its argument when another process may be started, so that many do not start at once.  `part` is called
    with members that must live apart, since one of them may be what ends the process; they are not this host's any more.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Clock,
        launcher: Launcher,
        backoff: Backoff,
        admit: Callable[[Callable[[], None]], None],
        silence: float = SILENCE,
        part: Callable[[Host, Sequence[Member]], None] | None = None,
    ) -> None:
        self._clock, self._launcher, self._backoff = clock, launcher, backoff
        self._admit, self._silence, self._part = admit, silence, part
        self._ends: deque[float] = deque(maxlen=APART_AFTER)
        self._members: dict[str, Member] = {}
        self._child: Child | None = None
        self._frames = FrameReader()
        self._orders: dict[int, Deferred[None]] = {}
        self._next = 0
        self._timer: Delayed | None = None
        self._watch: Delayed | None = None
        self._asked = False
        self._reason = ""
        self._gone: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._members)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def add(self, member: Member) -> None:
        """Tells the process of it, or starts one."""
        self._members[member.id] = member
        if self._child is not None:
            self._send(pb.Order(create=member.message()))
            member.started(self._child.pid)
        elif not self._asked and self._timer is None:
            self._ask_to_start()

    def order(self, order: pb.Order) -> Deferred[None] | None:
        """Sends an order and answers when it was followed; None while no process runs.  Fails with `TryLater`."""
        if self._child is None:
            return None
        answered: Deferred[None] = Deferred()
        self._orders[self._send(order)] = answered
        return answered

    async def remove(self, member: Member, order: pb.Order) -> None:
        """Ends a member by `order`; the last one ends the process too.  Returns when nothing of it runs."""
        self._members.pop(member.id, None)
        if self._child is None:
            if not self._members:
                self._cancel()
            return
        if not self._members:
            await self.end()
            return
        answered = self.order(order)
        assert answered is not None
        answered.addTimeout(LAST_WORDS, cast(Any, self._clock))
        try:
            await answered
        except Exception:
            # it does not follow: the others get a new process, this one does not
            self._kill("does not follow orders")
            await self._end_of_child()

    async def end(self) -> None:
        """Ends the process.  Returns when it is gone."""
        self._members.clear()
        self._cancel()
        if self._child is None:
            return
        self._child.close()
        last = self._clock.callLater(LAST_WORDS, self._kill, "does not end by itself")
        await self._end_of_child()
        if last.active():
            last.cancel()

    def progressed(self) -> None:
        """A member carried something: the next failure counts as the first."""
        self._backoff.reset()

    # Process

    def _ask_to_start(self) -> None:
        self._asked = True
        self._admit(self._start)

    def _start(self) -> None:
        self._asked, self._timer = False, None
        if not self._members or self._child is not None:
            return
        self._frames = FrameReader()
        try:
            self._child = self._launcher.launch(self)
        except OSError as error:
            self._again(f"cannot be started: {error.strerror or error}")
            return
        self._send(pb.Order(hello=pb.Hello(version=VERSION)))
        for member in list(self._members.values()):
            self._send(pb.Order(create=member.message()))
            member.started(self._child.pid)
        self._heard()

    def _send(self, order: pb.Order) -> int:
        self._next += 1
        order.id = self._next
        if self._child is not None:
            self._child.write(frame(order.SerializeToString()))
        return self._next

    def _again(self, reason: str) -> None:
        delay = self._backoff.next_delay()
        for member in list(self._members.values()):
            member.ended(reason, self._backoff.failures)
        if self._members:
            self._timer = self._clock.callLater(delay, self._ask_to_start)

    def _kill(self, reason: str) -> None:
        self._reason = reason
        if self._child is not None:
            self._child.kill()

    def _cancel(self) -> None:
        for call in (self._timer, self._watch):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._watch = None

    def _end_of_child(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    # What the process says

    def received(self, octets: bytes) -> None:
        try:
            for payload in self._frames.feed(octets):
                self._report(pb.Report.FromString(payload))
        except (FrameError, DecodeError) as error:
            self._kill(f"does not speak the messages of processors: {error}")
            return
        self._heard()

    def ended(self, reason: str) -> None:
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._child, self._watch = None, None
        reason, self._reason = self._reason or reason, ""
        orders, self._orders = list(self._orders.values()), {}
        for answered in orders:
            answered.errback(TryLater("The processor ended meanwhile"))
        if self._part is not None and self._suspicious():
            members = list(self._members.values())
            self._members.clear()
            for member in members:
                member.ended(reason, self._backoff.failures)
            self._part(self, members)
        elif self._members:
            self._again(reason)
        gone, self._gone = self._gone, []
        for one in gone:
            one.callback(None)

    def _suspicious(self) -> bool:
        """Whether it has ended so often that whoever does it must not take the others along any more."""
        now = self._clock.seconds()
        self._ends.append(now)
        often = len(self._ends) == APART_AFTER and now - self._ends[0] <= APART_WITHIN
        return often and len(self._members) > 1

    def _report(self, report: pb.Report) -> None:
        kind = report.WhichOneof("report")
        if kind == "answer":
            self._answered(report.answer)
            return
        member = self._members.get(getattr(report, kind).processor) if kind else None
        if member is None:
            return
        try:
            member.reported(report)
        except Exception:  # a fault of ours must not end the conversation with all others
            self._log.failure("{id}: its report fails", id=member.id)

    def _answered(self, answer: pb.Answer) -> None:
        answered = self._orders.pop(answer.id, None)
        if answered is not None and not answered.called:
            if answer.error:
                answered.errback(TryLater(answer.error))
            else:
                answered.callback(None)

    def _heard(self) -> None:
        if self._child is None:
            return
        if self._watch is not None and self._watch.active():
            self._watch.reset(self._silence)
        else:
            self._watch = self._clock.callLater(
                self._silence, self._kill, f"silent for {self._silence:.0f} s"
            )
