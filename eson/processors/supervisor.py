"""The supervisor of processors: `Processors` over processes of their own."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
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
from eson.processors.host import SILENCE, Clock, Host
from eson.processors.launcher import Launcher
from eson.processors.port import ProcessorOrder, ProcessorStatus
from eson.processors.supervised import Supervised

READY_WITHIN = 30.0


class Supervisor:
    """Implements `Processors`.

    `journals` is a folder, made if missing; `per_process` processors share a process; `start_rate` processes are
    started in a second at most; `reach` how brokers are reached, and where foreign ends may lead.
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
    ) -> None:
        self._clock, self._launcher, self._journals, self._reach = clock, launcher, journals, reach
        self._per_process, self._between = per_process, 1.0 / start_rate
        self._ready_within, self._silence = ready_within, silence
        self._uniform, self._now = uniform, now
        self._members: dict[str, Supervised] = {}
        self._hosts: list[Host] = []
        self._listeners: list[Callable[[ProcessorStatus], None]] = []
        self._next_start = 0.0

    async def start(self) -> None:
        self._journals.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def stop(self) -> None:
        """Ends all processes and returns when they are gone; journals stay."""
        hosts, self._hosts = self._hosts, []
        self._members.clear()
        await gatherResults([Deferred.fromCoroutine(host.end()) for host in hosts])

    async def create(self, order: ProcessorOrder) -> None:
        member = self._members.get(order.id)
        if member is None:
            host = self._host()
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
        if not len(host) and host in self._hosts:
            self._hosts.remove(host)
        member.stopped()

    def _host(self) -> Host:
        for host in self._hosts:
            if len(host) < self._per_process:
                return host
        host = Host(self._clock, self._launcher, Backoff(self._uniform), self._admit, self._silence)
        self._hosts.append(host)
        return host

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


def _why(status: ProcessorStatus) -> str:
    return f": {status.last_error}" if status.last_error and status.state != "running" else ""


def _late(id: str, seconds: float) -> None:
    raise TryLater(f"Processor {id} is not ready after {seconds:.0f} s")
