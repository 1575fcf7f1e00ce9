"""The supervisor of processors: `Processors` over processes of their own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from eson.errors import NameNotAllowed, TryLater
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.backoff import Backoff
from eson.processors.core.messages import NOTHING_PRIVATE
from eson.processors.core.reach import Reach
from eson.processors.host import SILENCE, Clock, Host, Member
from eson.processors.launcher import Launcher
from eson.processors.port import ProcessorOrder, ProcessorStatus
from eson.processors.supervised import Supervised

READY_WITHIN = 30.0
PER_SOURCE = 20
"""Bridges that read the same queue and share a process, in which one read serves them all."""


class Supervisor:
    """Implements `Processors`.

    `journals` is a folder, made if missing; `per_process` processors share a process, and `per_source` bridges that read
    the same queue; `start_rate` processes are started in a second at most; `reach` how brokers are reached, and where
    foreign ends may lead.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Clock,
        launcher: Launcher,
        journals: Path,
        reach: Reach = NOTHING_PRIVATE,
        per_process: int = 1,
        start_rate: float = 20,
        ready_within: float = READY_WITHIN,
        silence: float = SILENCE,
        uniform: Callable[[float, float], float] = random.uniform,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        per_source: int = PER_SOURCE,
    ) -> None:
        self._clock, self._launcher, self._journals, self._reach = clock, launcher, journals, reach
        self._per_process, self._per_source = per_process, per_source
        self._between = 1.0 / start_rate
        self._ready_within, self._silence = ready_within, silence
        self._uniform, self._now = uniform, now
        self._members: dict[str, Supervised] = {}
        self._hosts: dict[Host, Hashable] = {}
        """With the source that bridges in it share, None where no more may come in."""
        self._listeners: list[Callable[[ProcessorStatus], None]] = []
        self._next_start = 0.0

    async def start(self) -> None:
        self._journals.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def stop(self) -> None:
        """Ends all processes and returns when they are gone; journals stay."""
        hosts, self._hosts = self._hosts, {}
        self._members.clear()
        await gatherResults([Deferred.fromCoroutine(host.end()) for host in hosts])

    async def create(self, order: ProcessorOrder) -> None:
        member = self._members.get(order.id)
        if member is None:
            host = self._host(_source(order))
            member = Supervised(order, self._journal(order.id), self._reach, host, self._now, self._tell)
            self._members[order.id] = member
            host.add(member)
        elif member.order != order:
            self._change(member, order)
        await self._until_ready(member)

    async def update(self, order: ProcessorOrder) -> None:
        member = self._members.get(order.id)
        if member is None:
            await self.create(order)
            return
        self._change(member, order)
        await self._until_ready(member)

    async def amend(self, order: ProcessorOrder) -> None:
        member = self._members.get(order.id)
        if member is not None and member.order != order:
            self._change(member, order)

    async def pause(self, id: str) -> None:
        member = self._members.get(id)
        if member is not None and not member.paused:
            member.paused = True
            member.ordered()
            await self._order(member, pb.Order(pause=pb.Named(processor=id)))

    async def resume(self, id: str) -> None:
        member = self._members.get(id)
        if member is not None and member.paused:
            member.paused = False
            member.ordered()
            await self._order(member, pb.Order(resume=pb.Named(processor=id)))

    async def stop_processor(self, id: str) -> None:
        await self._remove(id, pb.Order(stop=pb.Named(processor=id)))

    async def destroy(self, id: str) -> None:
        await self._remove(id, pb.Order(destroy=pb.Named(processor=id)))
        for name in (self._journal(id), self._journal(id) + ".new"):
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()

    def status(self, id: str) -> ProcessorStatus | None:
        member = self._members.get(id)
        return None if member is None else member.status

    def ids(self) -> Sequence[str]:
        return sorted(self._members)

    def listen(self, changed: Callable[[ProcessorStatus], None]) -> None:
        self._listeners.append(changed)

    # Members and hosts

    def _change(self, member: Supervised, order: ProcessorOrder) -> None:
        member.order = replace(order, lanes=member.order.lanes or order.lanes)
        member.ordered()
        answered = member.host.order(pb.Order(update=pb.Update(create=member.message())))
        if answered is not None:
            answered.addErrback(lambda failure: failure.trap(TryLater) and None)

    async def _order(self, member: Supervised, order: pb.Order) -> None:
        """Returns when it was followed; a process that starts meanwhile is told everything anyway."""
        answered = member.host.order(order)
        if answered is not None:
            answered.addTimeout(
                self._ready_within, cast(Any, self._clock), lambda _, seconds: _late(member.id, seconds)
            )
            await answered

    async def _until_ready(self, member: Supervised) -> None:
        ready = member.when_ready()
        ready.addTimeout(
            self._ready_within, cast(Any, self._clock), lambda _, seconds: _late(member.id, seconds)
        )
        try:
            await ready
        except TryLater:
            member.forget(ready)
            raise

    async def _remove(self, id: str, order: pb.Order) -> None:
        member = self._members.pop(id, None)
        if member is None:
            return
        host = member.host
        await host.remove(member, order)
        if not len(host):
            self._hosts.pop(host, None)
        member.stopped()

    def _host(self, source: Hashable) -> Host:
        """The process for a new member: one that reads the same already, one that has room, a new one."""
        for host, shared in self._hosts.items():
            if shared == source and len(host) < self._per_source:
                return host
        for host, shared in self._hosts.items():
            if shared is not None and len(host) < self._per_process:
                return host
        return self._new_host(source)

    def _new_host(self, source: Hashable) -> Host:
        host = Host(
            self._clock, self._launcher, Backoff(self._uniform), self._admit, self._silence, self._part
        )
        self._hosts[host] = source
        return host

    def _part(self, host: Host, members: Sequence[Member]) -> None:
        """Gives members of a process that ended again and again processes of their own, for good."""
        self._hosts.pop(host, None)
        for member in members:
            supervised = self._members[member.id]
            supervised.host = self._new_host(None)
            supervised.host.add(supervised)

    def _admit(self, start: Callable[[], None]) -> None:
        now = self._clock.seconds()
        at = max(now, self._next_start)
        self._next_start = at + self._between
        if at <= now:
            start()
        else:
            self._clock.callLater(at - now, start)

    def _journal(self, id: str) -> str:
        if not id or "/" in id or "\0" in id or id.startswith("."):
            raise NameNotAllowed(f"{id[:64]} names no processor")
        return str(self._journals / f"{id}.journal")

    def _tell(self, status: ProcessorStatus) -> None:
        say = self._log.warn if status.state in ("unreachable", "failing") else self._log.info
        say("processor {id} is {state}{why}", id=status.id, state=status.state, why=_why(status))
        for listener in list(self._listeners):
            listener(status)


def _source(order: ProcessorOrder) -> Hashable:
    """The same for bridges that one read can serve; like nothing else for all others."""
    if order.kind != "bridge":
        return object()
    (end,) = order.sources
    return end.access, end.foreign, end.queue


def _why(status: ProcessorStatus) -> str:
    return f": {status.last_error}" if status.last_error and status.state != "running" else ""


def _late(id: str, seconds: float) -> None:
    raise TryLater(f"Processor {id} is not ready after {seconds:.0f} s")
