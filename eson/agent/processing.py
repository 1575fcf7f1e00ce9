"""REPLICATE, COLLECT, DISTRIBUTE and SIGNAL: processors between flows hosted here.

The record is the intention: it is synced before anything is made, and the reconciler goes on from it.  A source of
another participant is subscribed to first, into a flow below the caller's home; the processor reads that flow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from twisted.logger import Logger

from eson.agent.access import Access, require_create
from eson.agent.audit import AGENT, Audit
from eson.agent.endings import Endings
from eson.agent.flows import Flows
from eson.agent.hosting import Hosting, Limits
from eson.agent.joining import Joining, Request
from eson.agent.lineage import Lineages
from eson.agent.local_processors import LocalProcessors
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.records import quietly
from eson.agent.room import Room
from eson.errors import (
    Conflict,
    LimitReached,
    NameNotAllowed,
    NotAllowed,
    NotHosted,
    NotOffered,
    Refused,
    TryLater,
    Usage,
)
from eson.fnap.core.commands import Collect, Distribute, Replicate, Signal
from eson.fnap.core.replies import Ok, Outcome, Pending, Subscribed
from eson.model.cesql import CesqlError, compile_expression
from eson.model.flows import Flow
from eson.model.names import ancestors, canonical_flow, new_processor_id
from eson.model.principals import ANONYMOUS, Caller, Principal
from eson.model.subscriptions import Reason, Side, State
from eson.processors.port import BY_PARTITION, Kind
from eson.store.port import DropIntention, DropProcessor, PutIntention, PutProcessor, Store
from eson.store.records import Intention, StoredProcessor

END = "end-processor"
MAX_ENDS = 32
"""Flows on one side of a processor."""

_log = Logger()


@dataclass(frozen=True)
class _Source:
    """A flow hosted here; `foreign`: the flow of another participant that a subscription carries into it."""

    name: str
    foreign: str = ""


class Processing:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        room: Room,
        flows: Flows,
        lineages: Lineages,
        joining: Joining,
        endings: Endings,
        local_processors: LocalProcessors,
        locks: Locks,
        audit: Audit,
        clock: Clock,
        limits: Limits,
        kinds: Collection[str],
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._parts = parts
        self._room = room
        self._flows = flows
        self._lineages = lineages
        self._joining = joining
        self._endings = endings
        self._local = local_processors
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._kinds = kinds
        self._under_way: Counter[Principal] = Counter()

    # The four verbs

    async def replicate(self, caller: Caller, command: Replicate) -> Outcome:
        source = await self._any(caller, command.source)
        return await self._make(caller, "bridge", [source], (command.destination,))

    async def distribute(self, caller: Caller, command: Distribute) -> Outcome:
        source = await self._any(caller, command.source)
        return await self._make(caller, "distributor", [source], command.destinations)

    async def collect(self, caller: Caller, command: Collect) -> Outcome:
        sources = [await self._here(caller, name) for name in command.sources]
        return await self._make(caller, "collector", sources, (command.destination,))

    async def signal(self, caller: Caller, command: Signal) -> Outcome:
        """Raises `Usage` for a condition that is none."""
        try:
            compile_expression(command.when or "true")
        except CesqlError as error:
            raise Usage(f"Usage: WHEN: {error}") from None
        sources = [await self._here(caller, name) for name in command.sources]
        return await self._make(caller, "signal", sources, command.destinations, command.when)

    # Who may, and what the names stand for

    async def _here(self, caller: Caller, name: str) -> _Source:
        found = await self._access.flow(caller, name, "read")
        return _Source(found.flow.name)

    async def _any(self, caller: Caller, name: str) -> _Source:
        whole = await self._access.spelled(caller, name)
        if self._hosting.hosts(whole):
            return await self._here(caller, name)
        for one in await self._store.subscriptions(Side.SUBSCRIBER, flow=whole, principal=caller.principal):
            if one.copy and await self._store.flow(one.local) is not None:
                return _Source(one.local)
        local = self._access.at_home(caller, whole)
        if not local:
            raise NotHosted(name)
        await self._may_write(caller, local)
        return _Source(local, whole)

    async def _may_write(self, caller: Caller, name: str) -> None:
        """As for the local flow of SUBSCRIBE."""
        if await self._access.is_shown(caller, name):
            await self._access.flow(caller, name, "write")
        else:  # a hidden one as well: what is said must not tell the two apart
            require_create(caller, self._hosting.namespace_of(name))
            await self._flows.check_new(caller, name)

    async def _destination(self, caller: Caller, typed: str) -> str:
        if caller.principal == ANONYMOUS:
            raise NotAllowed("write", typed)
        name = typed if self._hosting.hosts(typed) else self._access.at_home(caller, typed)
        if not name:
            raise NotHosted(typed)
        await self._may_write(caller, canonical_flow(name))
        return name

    async def _check_limit(self, caller: Caller) -> None:
        number = len(
            await self._store.processors(owner=caller.principal, limit=self._limits.flows_per_account)
        )
        number += self._under_way[caller.principal]
        if not caller.operator and number >= self._limits.flows_per_account:
            raise LimitReached("processors per account")

    # Making

    async def _make(
        self,
        caller: Caller,
        kind: Kind,
        sources: list[_Source],
        destinations: tuple[str, ...],
        when: str = "",
    ) -> Outcome:
        """Raises what SUBSCRIBE raises, `LimitReached`, `Conflict` for what is done already, and `NotOffered` for a kind
        that no processor here can be.
        """
        if kind not in self._kinds:
            raise NotOffered(f"Not offered here: processors of kind {kind}")
        reads = tuple(dict.fromkeys(source.name for source in sources))
        writes = tuple(dict.fromkeys([await self._destination(caller, name) for name in destinations]))
        if max(len(reads), len(writes)) > MAX_ENDS:
            raise Usage(f"Usage: at most {MAX_ENDS} flows on each side")
        await self._check_loops(sources, writes)
        await self._check_limit(caller)
        now = self._clock.now()
        record = StoredProcessor(
            id=new_processor_id(),
            kind=kind,
            sources=reads,
            destinations=writes,
            owner=caller.principal,
            state=State.REQUESTED,
            reason="",
            actor=str(caller.principal),
            since=now,
            created=now,
            feeds=tuple((source.foreign, source.name) for source in sources if source.foreign),
            when=when,
        )
        self._under_way[caller.principal] += 1
        try:
            with self._locks.hold(f"{kind} {_told(record)} {when}".rstrip()):
                await self._check_twice(record)
                return await self._begin(record)
        finally:
            self._under_way[caller.principal] -= 1

    async def _check_twice(self, record: StoredProcessor) -> None:
        """Such as a command that is repeated because its answer was lost.  Raises `Conflict`."""
        await self._warn_of_shared(record)
        for one in await self._store.processors(destination=record.destinations[0]):
            if _does(one) == _does(record):
                raise Conflict(f"{one.id} does so already: each event would arrive twice")

    async def _warn_of_shared(self, record: StoredProcessor) -> None:
        """Another processor that carries the same events into the same flow may be meant, and is seldom."""
        for name in record.destinations:
            for one in await self._store.processors(destination=name):
                both = sorted(set(record.sources) & set(one.sources))
                if both and _does(one) != _does(record):
                    _log.warn(
                        "{id}: {other} carries {sources} into {flow} too: events may arrive there twice",
                        id=record.id,
                        other=one.id,
                        sources=", ".join(both),
                        flow=name,
                    )

    async def _check_loops(self, sources: list[_Source], destinations: tuple[str, ...]) -> None:
        for source in sources:
            known = await self._lineages.known(source.foreign or source.name)
            for destination in destinations:
                if destination == source.name:
                    raise Conflict(f"{destination} is the source: a loop would be closed")
                self._lineages.check(destination, known)

    async def _begin(self, record: StoredProcessor) -> Outcome:
        note = self._audit.note(record.owner, f"create {record.kind}", record.id, _told(record))
        with self._locks.hold(record.id):
            await self._store.apply(PutProcessor(record), note)
            try:
                done = await self._advance(record)
            except Refused:
                await quietly(self._give_up(record))
                raise
            except TryLater as error:
                if record.feeds and await self._nothing_came(record):
                    await quietly(self._give_up(record))
                    raise
                _log.warn("{id}: left to the reconciler: {reason}", id=record.id, reason=error.text)
                return Pending(record.id)
        return Ok(record.id) if done.state is State.ACTIVE else Pending(record.id)

    async def _nothing_came(self, record: StoredProcessor) -> bool:
        """Whether the subscription that the processor needs was never made."""
        foreign, local = record.feeds[0]
        found = await self._store.subscriptions(Side.SUBSCRIBER, flow=foreign, local=local)
        return not any(one.copy for one in found)

    async def advance(self, id: str) -> None:
        """Goes on with what is requested.  Raises `Busy`, `TryLater`."""
        with self._locks.hold(id):
            record = await self._store.processor(id)
            if record is None or record.state is not State.REQUESTED:
                return
            try:
                await self._advance(record)
            except Refused as error:
                _log.warn("{id} is given up: {reason}", id=id, reason=error.text)
                await self._end(record, Reason.ERROR, AGENT)

    async def _advance(self, record: StoredProcessor) -> StoredProcessor:
        """Subscriptions, flows, offsets, processor; each step may be repeated."""
        for foreign, local in record.feeds:
            await self._feed(record, foreign, local)
        partitions = 1
        for name in record.sources:
            flow = await self._store.flow(name)
            if flow is None:
                raise NameNotAllowed(f"{name}, a source of {record.id}, is gone")
            partitions = max(partitions, flow.partitions)
        start = record.start
        if len(record.sources) == 1 and not start:
            start = await self._ends(record.sources[0])
        # somebody may have added partitions at the source's broker, which was just asked
        await self._make_flows(record, max(partitions, len(start)))
        if start != record.start:
            record = replace(record, start=start)
            await self._store.apply(PutProcessor(record))
        await self._local.start(record)
        done = replace(record, state=State.ACTIVE, reason="", since=self._clock.now())
        await self._store.apply(PutProcessor(done))
        return done

    async def _make_flows(self, record: StoredProcessor, partitions: int) -> None:
        """The destinations that are missing, unless one that is there cannot be one.  Raises `Conflict`."""
        for name in record.destinations if record.kind in BY_PARTITION else ():
            flow = await self._store.flow(name)
            if flow is not None and flow.made_for != record.id:
                await self._room.check(flow, partitions)
        for name in record.destinations:
            await self._flow(name, record, partitions, record.id)

    async def widen(self, record: StoredProcessor) -> None:
        """Lets destinations follow their source in partitions if they were made for it.  Raises `Busy`, `TryLater`."""
        if record.kind not in BY_PARTITION:
            return
        source = await self._store.flow(record.sources[0])
        for name in record.destinations:
            flow = await self._store.flow(name)
            if source is None or flow is None or flow.made_for != record.id:
                continue
            if flow.partitions < source.partitions:
                await self._flow(name, record, source.partitions, record.id)

    async def _ends(self, name: str) -> tuple[tuple[int, int], ...]:
        """Where the source ends today: what is written from the answer on is carried."""
        flow = await self._store.flow(name)
        if flow is None:
            raise NameNotAllowed(f"{name} is gone")
        offsets = await self._parts.broker(flow.broker).end_offsets(flow.topic)
        return tuple(sorted(offsets.items()))

    async def _feed(self, record: StoredProcessor, foreign: str, local: str) -> None:
        """An ordinary subscription; its token is the processor's id, so that repeating it makes one only."""
        request = Request(record.owner, foreign, local, local, token=record.id)
        outcome = await self._joining.subscribe(request)
        assert isinstance(outcome, Pending | Subscribed)
        await self._flow(local, record, 1, outcome.copy)  # where it is pending nobody has made it yet

    async def _flow(self, name: str, record: StoredProcessor, partitions: int, maker: str) -> Flow:
        """Created for `maker` (a copy or a processor) if it is missing.  Raises `Conflict` if it has fewer partitions."""
        with self._locks.hold(name, shared=ancestors(name)):
            flow = await self._store.flow(name)
            if flow is None:
                await self._flows.check_name(name)
                namespace = self._hosting.namespace_of(name)
                plan = self._flows.plan(name, namespace, record.owner, partitions=partitions, made_for=maker)
                if record.kind in BY_PARTITION:
                    await self._room.check(plan, partitions)
                return await self._flows.make(plan, record.owner)
            if record.kind in BY_PARTITION:
                flow = await self._room.fit(flow, partitions, maker)
        return flow

    # Ending

    async def end(self, id: str, reason: Reason, actor: Principal | str) -> None:
        """Its process and position, then the subscriptions made for it; all flows and their events stay.  Raises `Busy`."""
        with self._locks.hold(id):
            record = await self._store.processor(id)
            if record is not None and record.state is not State.ENDED:
                await self._end(record, reason, actor)

    async def _end(self, record: StoredProcessor, reason: Reason, actor: Principal | str) -> None:
        now = self._clock.now()
        ended = replace(record, state=State.ENDED, reason=reason.value, actor=str(actor), since=now)
        await self._finish(record, PutProcessor(ended), actor)

    async def _give_up(self, record: StoredProcessor) -> None:
        """One whose id nobody was told leaves no record."""
        await self._finish(record, DropProcessor(record.id), record.owner)

    async def _finish(
        self, record: StoredProcessor, change: PutProcessor | DropProcessor, actor: Principal | str
    ) -> None:
        data = {"feeds": [list(feed) for feed in record.feeds], "actor": str(actor)}
        intention = Intention(END, record.id, self._clock.now(), data)
        note = self._audit.note(actor, f"end {record.kind}", record.id, _told(record))
        await self._store.apply(change, PutIntention(intention), note)
        await quietly(self.finish_end(intention))

    async def finish_end(self, intention: Intention) -> None:
        """Goes on with an ending.  Raises `TryLater`."""
        await self._local.destroy(intention.object)
        for foreign, local in intention.data["feeds"]:
            for one in await self._store.subscriptions(Side.SUBSCRIBER, flow=foreign, local=local):
                if one.token == self._joining.token_for(intention.object, one.principal, foreign, local):
                    await self._endings.end_local(one, intention.data["actor"])
        await self._store.apply(DropIntention(intention.object))


def _does(record: StoredProcessor) -> tuple[object, ...]:
    return record.kind, frozenset(record.sources), frozenset(record.destinations), record.when


def _told(record: StoredProcessor) -> str:
    return f"{' '.join(record.sources)} TO {' '.join(record.destinations)}"
