"""The provider's side of a subscription: the copy C of a flow F, with its topic, records and processor F→C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from twisted.logger import Logger

from eson.agent.allowance import Allowance
from eson.agent.audit import Audit
from eson.agent.carriers import Carriers, needs_lease
from eson.agent.following import NOT_READY
from eson.agent.hosting import Hosting, Limits
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.readers import END, Readers
from eson.agent.records import every_subscription, quietly
from eson.agent.room import Room
from eson.brokers.positions import offsets_of
from eson.errors import Busy, Conflict, EsonError, NoSuch, TryLater
from eson.model.flows import Flow
from eson.model.names import new_copy_label, parent
from eson.model.positions import Now, Position, parse_position
from eson.model.principals import ANONYMOUS, Principal
from eson.model.subscriptions import Reason, Side, State, Subscription, check_change
from eson.store.port import (
    Change,
    DropCredential,
    DropFlow,
    DropIntention,
    DropSubscription,
    PutFlow,
    PutIntention,
    PutSubscription,
    Store,
    UseLabel,
)
from eson.store.records import Intention

MAKE = "make-copy"
APPROVE = "approve-copy"

_log = Logger()


class Teller(Protocol):
    """Whoever tells the subscriber's side what became of a copy."""

    def tell(self, subscription: Subscription) -> None:
        """Best effort and in the background: the lease check covers what gets lost."""


class Streams(Protocol):
    """The READs and WRITEs that are open."""

    def cut(self, flow: str, error: EsonError) -> None:
        """Ends all of a flow; whoever uses them is told `error`."""


class Copies:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        parts: Parts,
        room: Room,
        carriers: Carriers,
        teller: Teller,
        readers: Readers,
        streams: Streams,
        locks: Locks,
        audit: Audit,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._parts = parts
        self._room = room
        self._carriers = carriers
        self._teller = teller
        self._readers = readers
        self._streams = streams
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self._limits = limits
        self._allowance = Allowance(store, limits)
        self.left: Callable[[], None] = lambda: None
        """Told when something is left to the reconciler."""

    # SUBSCRIBE

    async def subscribe(
        self,
        flow: Flow,
        principal: Principal,
        approved: bool,
        position: Position | None = None,
        token: str = "",
        local: str = "",
    ) -> Subscription:
        """The copy for this principal and token: the existing one, else a new one.

        Its state is *active*; *requested* if the processor is not ready yet; *pending* if the owner must approve.
        `local`: the flow it goes into, if that is hosted here too.  Raises `Busy`, `TryLater`, `Usage`.
        """
        if principal == ANONYMOUS:
            token, position = "", None
        with self._locks.hold(*_request_lock(flow, principal, token), shared=[flow.name]):
            existing = await self._existing(flow, principal, token)
            if existing is not None:
                return existing
            if await self._store.intention(flow.name) is not None:
                raise Busy(f"Another operation on {flow.name} is under way")
            await self._allowance.check(principal, approved)
            record = self._record(flow, principal, position or Now(), token, local)
            with self._allowance.taken(principal), self._locks.hold(record.copy):
                if approved:
                    return await self._make(record, flow, position or Now())
                return await self._reserve(record)

    async def _existing(self, flow: Flow, principal: Principal, token: str) -> Subscription | None:
        if principal == ANONYMOUS:
            every = await self._store.subscriptions(Side.PROVIDER, flow=flow.name, principal=ANONYMOUS)
            found = every[0] if every else None
        elif token:
            found = await self._store.subscription_by_token(Side.PROVIDER, principal, flow.name, token)
        else:
            return None
        if found is not None and await self._store.intention(found.copy) is not None:
            # left by a crash: it will be taken back or ended, so it is nothing to answer with
            raise Busy(f"Another operation on {found.copy} is under way")
        return found

    def _record(
        self, flow: Flow, principal: Principal, position: Position, token: str, local: str
    ) -> Subscription:
        now = self._clock.now()
        copy = f"{new_copy_label()}.{flow.name}"
        return Subscription(
            id=copy,
            side=Side.PROVIDER,
            flow=flow.name,
            copy=copy,
            local=local,
            principal=principal,
            token=token,
            state=State.REQUESTED,
            reason="",
            actor=str(principal),
            since=now,
            created=now,
            position=str(position),
            renewed=now if principal.participant else None,
        )

    async def _reserve(self, record: Subscription) -> Subscription:
        """Pending: the copy's name is taken, nothing else exists yet."""
        pending = replace(record, state=State.PENDING, renewed=None)  # it has no lease yet
        note = self._audit.note(record.principal, "request subscription", record.copy)
        await self._store.apply(UseLabel(_label(record)), PutSubscription(pending), note)
        return pending

    async def _make(self, record: Subscription, flow: Flow, position: Position) -> Subscription:
        record = replace(record, start=await self._offsets(flow, position))
        copy = self.copy_flow(record, flow)
        intention = self._intention(MAKE, record, copy)
        await self._store.apply(UseLabel(_label(record)), PutSubscription(record), PutIntention(intention))
        try:
            return await self._build(record, flow, copy, record.principal, "subscribe")
        except EsonError:
            await quietly(self.undo(intention))
            raise

    def copy_flow(self, record: Subscription, flow: Flow) -> Flow:
        """The copy as a flow: at the broker for copies, with as many partitions, kept as long as `copies` says."""
        broker = self._hosting.namespace_of(flow.name).copies
        retention = self._limits.copies_retention
        return Flow(
            name=record.copy,
            namespace=flow.namespace,
            broker=broker,
            topic=self._parts.queue_name(record.copy, broker),
            owner=flow.owner,
            created=record.created,
            visibility=flow.visibility,
            # its start was asked of the broker, where somebody may have added partitions
            partitions=max(flow.partitions, len(record.start)),
            retention_ms=int(retention.total_seconds() * 1000),
            retention_bytes=self._limits.copies_bytes,
            mode=flow.mode,
            copy_of=flow.name,
        )

    def _intention(self, kind: str, record: Subscription, copy: Flow) -> Intention:
        data = {"broker": copy.broker, "topic": copy.topic}
        return Intention(kind, record.copy, self._clock.now(), data)

    async def _build(
        self, record: Subscription, flow: Flow, copy: Flow, actor: Principal | str, act: str
    ) -> Subscription:
        """Topic, records, processor; then the record, synced.  A processor that is not ready goes on trying."""
        await self._parts.make_queue(copy)
        await self._parts.publish(copy)
        await self._readers.admit(record, copy)
        ready = True
        try:
            await self._carriers.start_outgoing(record, flow, copy)
        except TryLater as error:
            _log.warn("{copy}: its processor is not ready: {reason}", copy=copy.name, reason=error.text)
            ready = False
        states = self._built(record, ready)
        note = self._audit.note(actor, act, record.copy, f"for {record.principal}")
        puts = [PutSubscription(one) for one in states]
        await self._store.apply(PutFlow(copy), *puts, DropIntention(record.copy), note)
        return states[-1]

    def _built(self, record: Subscription, ready: bool) -> list[Subscription]:
        """The states that follow.  What was asked for stays requested until it is ready; an approval is for good."""
        now = self._clock.now()
        active = replace(record, state=State.ACTIVE, reason="", since=now)
        if ready:
            return [active]
        if record.state is State.REQUESTED:
            return [replace(record, reason=NOT_READY, since=now)]
        return [active, replace(active, state=State.FAILING, reason=NOT_READY)]

    async def _offsets(self, flow: Flow, position: Position) -> tuple[tuple[int, int], ...]:
        """The position as offsets of today, for every partition.  Raises `Usage` for a partition that is not there."""
        offsets = await offsets_of(self._parts.broker(flow.broker), flow.topic, position)
        return tuple(sorted(offsets.items()))

    # After a crash

    async def undo(self, intention: Intention) -> None:
        """Removes what a SUBSCRIBE that did not end may have made; an approval goes back to pending.  Raises `TryLater`."""
        copy = intention.object
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is not None and await self._store.flow(copy) is None:
            await self._readers.cut_off(intention.data["broker"], record)
            await self._carriers.destroy(record)
            await self._parts.withdraw(copy)
            await self._parts.broker(intention.data["broker"]).delete_queue(intention.data["topic"])
            if intention.kind == MAKE:
                await self._store.apply(DropSubscription(Side.PROVIDER, copy), DropIntention(copy))
                return
        await self._store.apply(DropIntention(copy))

    # APPROVE, DENY

    async def approve(self, copy: str, actor: Principal) -> Subscription:
        """Makes what a pending subscription waits for, from the position it asked for, as of now."""
        with self._locks.hold(copy, shared=[parent(copy)]):
            record = await self._record_of(copy)
            if record.state is not State.PENDING:
                raise Conflict(f"{copy} is {record.state.value}, not pending")
            flow = await self._store.flow(record.flow)
            if flow is None:
                raise NoSuch("flow", record.flow)
            start = await self._offsets(flow, parse_position(record.position))
            renewed = self._clock.now() if needs_lease(record) else None
            granted = replace(record, start=start, actor=str(actor), renewed=renewed)
            plan = self.copy_flow(granted, flow)
            intention = self._intention(APPROVE, record, plan)
            await self._store.apply(PutIntention(intention))
            try:
                done = await self._build(granted, flow, plan, actor, "approve subscriber")
            except EsonError:
                await quietly(self.undo(intention))
                raise
        self._teller.tell(done)
        return done

    async def _record_of(self, copy: str) -> Subscription:
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is None or record.state is State.ENDED:
            raise NoSuch("subscription", copy)
        return record

    # Ending

    async def end(self, copy: str, reason: Reason, actor: Principal | str, detail: str = "") -> Subscription:
        """Rights first, which cuts open connections; then credential, processor, topic, records.

        The record is kept.  Raises `TryLater` if the rights could not be taken: then nothing was changed; what fails
        behind that is repeated by the reconciler.
        """
        with self._locks.hold(copy):
            record = await self._record_of(copy)
            check_change(record.state, State.ENDED)
            data = {"reason": reason.value, "actor": str(actor), "detail": detail}
            flow = await self._store.flow(copy)
            left = await self._store.intention(copy)
            if flow is None and left is None:
                await self._store.apply(*self._ended(record, data))
            else:
                data |= (
                    {"broker": flow.broker, "topic": flow.topic} if flow else dict(left.data if left else {})
                )
                intention = Intention(END, copy, self._clock.now(), data)
                await self._store.apply(PutIntention(intention))
                try:
                    await self._cut_off(intention, record)
                except TryLater:
                    if flow is not None:  # the answer may have been lost, not the request
                        await quietly(self._readers.readmit(record, flow))
                    await quietly(self._store.apply(DropIntention(copy)))
                    raise
                # the intention is synced and the rights are gone: nothing can bring it back
                if not await quietly(self._remove(intention, record)):
                    self.left()
        ended = replace(record, state=State.ENDED, reason=reason.value)
        self._teller.tell(ended)
        return ended

    def _ended(self, record: Subscription, data: Mapping[str, str]) -> tuple[Change, Change]:
        ended = replace(
            record,
            state=State.ENDED,
            reason=data["reason"],
            actor=data["actor"],
            since=self._clock.now(),
        )
        act = f"end subscription: {data['reason']}"
        return PutSubscription(ended), self._audit.note(data["actor"], act, record.copy, data["detail"])

    async def _cut_off(self, intention: Intention, record: Subscription) -> None:
        """At the broker, and over FNAP."""
        await self._readers.cut_off(intention.data["broker"], record)
        self._streams.cut(record.copy, NoSuch("flow", record.copy))

    async def _remove(self, intention: Intention, record: Subscription) -> None:
        if record.state is not State.ENDED:
            await self._store.apply(*self._ended(record, intention.data))
        await self._readers.remove(intention.data["broker"], record)
        await self._carriers.destroy(record)
        await self._parts.broker(intention.data["broker"]).delete_queue(intention.data["topic"])
        await self._parts.withdraw(record.copy)
        await self._store.apply(
            DropFlow(record.copy), DropCredential(Side.PROVIDER, record.copy), DropIntention(record.copy)
        )

    async def finish_end(self, intention: Intention) -> None:
        """Goes on with an ending from its first step to its last.  Raises `TryLater`."""
        copy = intention.object
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is None:
            await self._store.apply(DropIntention(copy))
            return
        await self._cut_off(intention, record)
        await self._remove(intention, record)
        self._teller.tell(replace(record, state=State.ENDED))

    # What changes with the flow

    async def follow(self, flow: Flow) -> None:
        """Gives the copies of a flow the partitions and the visibility that it has now.  Raises `TryLater`."""
        async for one in every_subscription(self._store, Side.PROVIDER, flow=flow.name):
            await self.follow_one(flow, one.copy)

    async def follow_one(self, flow: Flow, name: str) -> None:
        """As `follow`, for one copy.  Raises `TryLater`, `Busy`."""
        with self._locks.hold(name):
            copy = await self._store.flow(name)
            if copy is None or not behind(copy, flow):
                return
            if copy.partitions < flow.partitions:
                copy = await self._room.widen(copy, flow.partitions, name)
            if copy.visibility is not flow.visibility:
                copy = replace(copy, visibility=flow.visibility)
                await self._parts.publish(copy)
                await self._store.apply(PutFlow(copy))


def behind(copy: Flow, flow: Flow) -> bool:
    """Whether a copy lacks what its flow has got since."""
    return copy.partitions < flow.partitions or copy.visibility is not flow.visibility


def _label(record: Subscription) -> str:
    return record.copy.partition(".")[0]


def _request_lock(flow: Flow, principal: Principal, token: str) -> tuple[str, ...]:
    return (f"{flow.name} for {principal} {token}",) if token or principal == ANONYMOUS else ()
