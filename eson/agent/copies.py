"""The provider's side of a subscription: the copy C of a flow F, with its topic, records and processor F→C."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

from twisted.logger import Logger

from eson.agent.audit import Audit
from eson.agent.carriers import Carriers, needs_lease
from eson.agent.credentials import ANONYMOUS_USER
from eson.agent.hosting import Hosting, Limits
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.errors import Conflict, EsonError, LimitReached, NoSuch, TryLater, Usage
from eson.model.flows import Flow
from eson.model.names import new_copy_label, parent
from eson.model.positions import AtOffsets, AtTime, Beginning, Now, Position, parse_position
from eson.model.principals import ANONYMOUS, Principal
from eson.model.subscriptions import Reason, Side, State, Subscription, check_change
from eson.store.port import (
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
END = "end-copy"

_log = Logger()


class Tellers(Protocol):
    """Whoever tells the subscriber's side what became of a copy."""

    def tell(self, subscription: Subscription) -> None:
        """Best effort and in the background: the lease check covers what gets lost."""


class Copies:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        parts: Parts,
        carriers: Carriers,
        tellers: Tellers,
        locks: Locks,
        audit: Audit,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._parts = parts
        self._carriers = carriers
        self._tellers = tellers
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self._limits = limits

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
            await self._check_limits(principal, approved)
            record = self._record(flow, principal, position or Now(), token, local)
            with self._locks.hold(record.copy):
                if approved:
                    return await self._make(record, flow, position or Now())
                return await self._reserve(record)

    async def _existing(self, flow: Flow, principal: Principal, token: str) -> Subscription | None:
        if principal == ANONYMOUS:
            found = await self._store.subscriptions(Side.PROVIDER, flow=flow.name, principal=ANONYMOUS)
            return found[0] if found else None
        if not token:
            return None
        return await self._store.subscription_by_token(Side.PROVIDER, principal, flow.name, token)

    async def _check_limits(self, principal: Principal, approved: bool) -> None:
        if principal.participant:
            number = await self._store.count_subscriptions(principal.participant)
            if number >= self._limits.subscriptions_per_participant:
                raise LimitReached("subscriptions per participant")
        if not approved and await self._store.count_pending() >= self._limits.pending:
            raise LimitReached("pending subscriptions")

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
        pending = replace(record, state=State.PENDING)
        note = self._audit.note(record.principal, "request subscription", record.copy)
        await self._store.apply(UseLabel(_label(record)), PutSubscription(pending), note)
        return pending

    async def _make(self, record: Subscription, flow: Flow, position: Position) -> Subscription:
        record = replace(record, start=await self._offsets(flow, position))
        copy = self.copy_flow(record, flow)
        intention = self._intention(MAKE, record, copy)
        await self._store.apply(UseLabel(_label(record)), PutSubscription(record), PutIntention(intention))
        try:
            return await self._build(record, flow, copy, State.ACTIVE, record.principal, "subscribe")
        except EsonError:
            await self._try(self.undo(intention))
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
            partitions=flow.partitions,
            retention_ms=int(retention.total_seconds() * 1000),
            retention_bytes=self._limits.copies_bytes,
            mode=flow.mode,
            copy_of=flow.name,
        )

    def _intention(self, kind: str, record: Subscription, copy: Flow) -> Intention:
        data = {"broker": copy.broker, "topic": copy.topic}
        return Intention(kind, record.copy, self._clock.now(), data)

    async def _build(
        self,
        record: Subscription,
        flow: Flow,
        copy: Flow,
        state: State,
        actor: Principal | str,
        act: str,
    ) -> Subscription:
        """Topic, records, processor; then the record, synced.  A processor that is not ready keeps it *requested*."""
        await self._parts.make_queue(copy)
        await self._parts.publish(copy)
        if record.principal == ANONYMOUS:
            await self._admit_anonymous(copy)
        now = self._clock.now()
        try:
            await self._carriers.start_outgoing(record, flow, copy)
            done = replace(record, state=state, since=now)
        except TryLater as error:
            _log.warn("{copy}: its processor is not ready: {reason}", copy=copy.name, reason=error.text)
            # an approval stays granted: the record says failing until the processor runs
            later = State.REQUESTED if record.state is State.REQUESTED else State.FAILING
            done = replace(record, state=later, reason="processor not ready", since=now)
        note = self._audit.note(actor, act, record.copy, f"for {record.principal}")
        await self._store.apply(PutFlow(copy), PutSubscription(done), DropIntention(record.copy), note)
        return done

    async def _offsets(self, flow: Flow, position: Position) -> tuple[tuple[int, int], ...]:
        """The position as offsets of today, for every partition.  Raises `Usage` for a partition that is not there."""
        broker = self._parts.broker(flow.broker)
        if isinstance(position, Now):
            return _pairs(await broker.end_offsets(flow.topic))
        if isinstance(position, AtTime):
            return _pairs(await broker.offsets_at(flow.topic, position.when))
        first = await broker.first_offsets(flow.topic)
        if isinstance(position, Beginning):
            return _pairs(first)
        end = await broker.end_offsets(flow.topic)
        return _pairs(_within(position, first, end))

    # After a crash

    async def undo(self, intention: Intention) -> None:
        """Removes what a SUBSCRIBE that did not end may have made; an approval goes back to pending.  Raises `TryLater`."""
        copy = intention.object
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is not None and await self._store.flow(copy) is None:
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
            plan = self.copy_flow(record, flow)
            intention = self._intention(APPROVE, record, plan)
            await self._store.apply(PutIntention(intention))
            try:
                done = await self._build(granted, flow, plan, State.ACTIVE, actor, "approve subscriber")
            except EsonError:
                await self._try(self.undo(intention))
                raise
        self._tellers.tell(done)
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
            ended = replace(
                record, state=State.ENDED, reason=reason.value, actor=str(actor), since=self._clock.now()
            )
            note = self._audit.note(actor, f"end subscription: {reason.value}", copy, detail)
            flow = await self._store.flow(copy)
            left = await self._store.intention(copy)
            if flow is None and left is None:
                await self._store.apply(PutSubscription(ended), note)
            else:
                data = left.data if flow is None and left is not None else _where(flow)
                intention = Intention(END, copy, self._clock.now(), data)
                await self._store.apply(PutSubscription(ended), PutIntention(intention), note)
                try:
                    await self._cut_off(intention, record)
                except TryLater:
                    await self._store.apply(PutSubscription(record), DropIntention(copy))
                    raise
                await self._try(self.finish_end(intention))
        self._tellers.tell(ended)
        return ended

    async def _cut_off(self, intention: Intention, record: Subscription) -> None:
        broker = intention.data["broker"]
        if record.principal == ANONYMOUS:
            await self._cut_off_anonymous(broker, intention.object)
        else:
            await self._parts.shut_out(broker, intention.object)

    async def _admit_anonymous(self, copy: Flow) -> None:
        topics = (*await self._anonymous_topics(copy.broker, copy.name), copy.topic)
        await self._parts.admit(copy.broker, ANONYMOUS_USER, topics)

    async def _cut_off_anonymous(self, broker: str, copy: str) -> None:
        """All anonymous readers share one credential: its rights are taken and given again without this copy."""
        await self._parts.shut_out(broker, ANONYMOUS_USER)
        topics = await self._anonymous_topics(broker, copy)
        if topics:
            await self._parts.admit(broker, ANONYMOUS_USER, topics)

    async def _anonymous_topics(self, broker: str, without: str) -> tuple[str, ...]:
        others = await self._store.subscriptions(Side.PROVIDER, principal=ANONYMOUS)
        flows = [await self._store.flow(one.copy) for one in others if one.copy != without]
        return tuple(flow.topic for flow in flows if flow is not None and flow.broker == broker)

    async def finish_end(self, intention: Intention) -> None:
        """Goes on with an ending from its first step to its last.  Raises `TryLater`."""
        copy = intention.object
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is not None:
            await self._cut_off(intention, record)
            await self._carriers.destroy(record)
        await self._parts.broker(intention.data["broker"]).delete_queue(intention.data["topic"])
        await self._parts.withdraw(copy)
        await self._store.apply(DropFlow(copy), DropCredential(Side.PROVIDER, copy), DropIntention(copy))

    @staticmethod
    async def _try(step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except TryLater as error:
            _log.warn("left to the reconciler: {reason}", reason=error.text, context=error.context)


def _where(flow: Flow | None) -> Mapping[str, str]:
    return {} if flow is None else {"broker": flow.broker, "topic": flow.topic}


def _label(record: Subscription) -> str:
    return record.copy.partition(".")[0]


def _request_lock(flow: Flow, principal: Principal, token: str) -> tuple[str, ...]:
    return (f"{flow.name} for {principal} {token}",) if token or principal == ANONYMOUS else ()


def _pairs(offsets: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(offsets.items()))


def _within(position: AtOffsets, first: Mapping[int, int], end: Mapping[int, int]) -> Mapping[int, int]:
    wanted = dict(first)
    for partition, offset in position.offsets:
        if partition not in first:
            raise Usage(f"Usage: FROM: there is no partition {partition}")
        wanted[partition] = min(max(offset, first[partition]), end[partition])
    return wanted
