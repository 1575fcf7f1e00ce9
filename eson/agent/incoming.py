"""The subscriber's record of a subscription: from a copy that is known to a processor C→G that runs, and its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.logger import Logger

from eson.agent.audit import AGENT, Audit
from eson.agent.calls import Calls
from eson.agent.carriers import WAITING, Carriers
from eson.agent.flows import Flows
from eson.agent.hosting import Hosting
from eson.agent.lineage import MAX_MARKS, Lineages, Loop
from eson.agent.locks import Locks
from eson.agent.ports import Clock, RemoteFlow, RemoteSession
from eson.agent.records import quietly
from eson.agent.room import Room, check_foreign
from eson.agent.sessions import Sessions, is_gone
from eson.agent.settings import MAX_PARTITIONS
from eson.errors import BackendFailed, Busy, EsonError, NotSupported, Refused, RemoteRefused, TryLater
from eson.model.flows import Flow
from eson.model.names import ancestors
from eson.model.principals import Principal
from eson.model.subscriptions import Reason, Side, State, Subscription
from eson.store.port import (
    Change,
    DropCredential,
    DropIntention,
    DropSubscription,
    PutCredential,
    PutIntention,
    PutSubscription,
    Store,
)
from eson.store.records import Intention, StoredCredential

END = "end-subscription"
_NOT_YET = ("requested", "pending")

_log = Logger()


def lock_of(copy: str) -> str:
    """The lock of a subscriber's record; the copy's own name locks the provider's."""
    return f"subscription {copy}"


class Incoming:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        room: Room,
        flows: Flows,
        carriers: Carriers,
        lineages: Lineages,
        sessions: Sessions,
        calls: Calls,
        locks: Locks,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._room = room
        self._flows = flows
        self._carriers = carriers
        self._lineages = lineages
        self._sessions = sessions
        self._calls = calls
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self.left: Callable[[], None] = lambda: None
        """Told when something is left to the reconciler."""

    # To a running processor

    async def advance(self, record: Subscription, session: RemoteSession) -> Subscription:
        """The steps behind the answer to SUBSCRIBE; each may be repeated.

        Whoever calls holds the locks of copy and local flow.  Raises `TryLater`, or `Refused` if it can never be.
        """
        try:
            done = await self._advance(record, session)
        except EsonError as error:
            if not isinstance(error, Busy):
                self._carriers.waits(record.copy, str(error.context.get("why") or error.text))
            raise
        self._carriers.waits(record.copy, "")
        return done

    async def _advance(self, record: Subscription, session: RemoteSession) -> Subscription:
        seen = await session.describe_flow(record.copy)
        record = _observed(record, seen)
        if seen.state == State.ENDED.value:
            return await self.ended_there(record, seen.reason)
        if seen.state in _NOT_YET:
            await self._store.apply(PutSubscription(record))
            return record
        if seen.partitions > MAX_PARTITIONS:
            raise NotSupported(f"{record.copy} has more than {MAX_PARTITIONS} partitions")
        self._lineages.check(record.local, record.lineage)
        await self._store.apply(PutSubscription(record), *await self._credential(record, session))
        await session.quit()
        await self._local_flow(record, seen.partitions)
        await self._carriers.start(record)
        return await self.started(record)

    async def started(self, record: Subscription) -> Subscription:
        """Its processor runs."""
        done = replace(record, state=State.ACTIVE, reason="", since=self._clock.now())
        note = self._audit.note(record.principal, "subscribe", record.copy, f"into {record.local}")
        await self._store.apply(PutSubscription(done), note)
        self._carriers.waits(record.copy, "")
        return done

    async def _credential(
        self, record: Subscription, session: RemoteSession, anew: bool = False
    ) -> list[Change]:
        """The credential of the copy, asked for if none is kept (or `anew`), as changes to store."""
        if self._hosting.hosts(record.flow):
            return []  # our own processor reads our own broker
        if not anew and await self._store.credential(Side.SUBSCRIBER, record.copy) is not None:
            return []
        credential = await session.get_credential(record.copy)
        if credential.name != record.copy:
            raise BackendFailed(f"The agent of {record.flow} gave the credential of another copy")
        stored = StoredCredential(
            name=record.copy,
            side=Side.SUBSCRIBER,
            broker=credential.kind[:32],
            principal=record.principal,
            issued=self._clock.now(),
            sealed=self._carriers.seal(credential),
        )
        return [PutCredential(stored), self._audit.note(AGENT, "receive credential", record.copy)]

    async def _local_flow(self, record: Subscription, partitions: int) -> Flow:
        """G, created if it is missing, with at least as many partitions as C.  Raises `NoRoom` if it has fewer."""
        flow = await self._store.flow(record.local)
        if flow is not None:
            self._check_growth(record, flow, partitions)
            return await self._room.fit(flow, partitions, record.copy)
        if not self._hosting.hosts(record.flow):
            check_foreign(record.local, record.copy, partitions, "CREATE")
        namespace = self._hosting.namespace_of(record.local)
        await self._flows.check_name(record.local)
        plan = self._flows.plan(
            record.local, namespace, record.principal, partitions=partitions, made_for=record.copy
        )
        await self._room.check(plan, partitions)
        return await self._flows.make(plan, record.principal)

    def _check_growth(self, record: Subscription, flow: Flow, partitions: int) -> None:
        """Raises `NoRoom` if a flow that follows its source would grow beyond what is made for other participants."""
        grows = flow.made_for == record.copy and flow.partitions < partitions
        if grows and not self._hosting.hosts(record.flow):
            check_foreign(flow.name, record.copy, partitions, "UPDATE")

    # The check, which renews the lease

    async def check(self, copy: str) -> None:
        """Asks the copy's agent how it stands, and does what follows.  Raises `Busy`, `TryLater`."""
        with self._locks.hold(lock_of(copy)):
            record = await self._store.subscription(Side.SUBSCRIBER, copy)
            if record is None or record.state is State.ENDED or not record.copy:
                return
            try:
                session = await self._connect(record)
            except TryLater as error:
                self._waits(record, error)
                raise
            if session is None:
                return
            try:
                await self._checked(record, session)
            finally:
                await session.quit()

    async def _connect(self, record: Subscription) -> RemoteSession | None:
        try:
            return await self._sessions.connect(record.flow, record.principal)
        except Refused as error:
            # a login that is refused says nothing of the subscription: its lease will tell
            _log.warn("{copy}: its agent refuses us: {reason}", copy=record.copy, reason=error.text)
            self._waits(record, error)
            return None

    def _waits(self, record: Subscription, error: EsonError) -> None:
        if record.state in WAITING:
            # where a name leads inside is not told: one text, whatever kept us from the agent
            self._carriers.waits(record.copy, error.text)

    async def _checked(self, record: Subscription, session: RemoteSession) -> None:
        try:
            if record.state in WAITING:
                with self._locks.hold(record.local, shared=ancestors(record.local)):
                    await self.advance(record, session)
            else:
                await self._look(record, session)
        except Refused as error:
            await self.cannot(record, error)

    async def _look(self, record: Subscription, session: RemoteSession) -> None:
        seen = await session.describe_flow(record.copy)
        now = _observed(record, seen)
        if seen.state == State.ENDED.value:
            await self.ended_there(now, seen.reason)
            return
        self._lineages.check(now.local, now.lineage)
        changes = await self._credential(now, session)
        if now != record or changes:
            await self._store.apply(PutSubscription(now), *changes)
        await self._widen(now, min(seen.partitions, MAX_PARTITIONS))

    async def _widen(self, record: Subscription, partitions: int) -> None:
        """Lets G follow C if it was made for it; else the processor says what it lacks.  Raises `Busy`, `TryLater`."""
        flow = await self._store.flow(record.local)
        if flow is None or flow.partitions >= partitions or flow.made_for != record.copy:
            return
        self._check_growth(record, flow, partitions)
        with self._locks.hold(flow.name):
            flow = await self._store.flow(flow.name)
            if flow is not None:
                await self._room.fit(flow, partitions, record.copy)

    async def new_credential(self, copy: str) -> None:
        """Its processor's login is refused: asks for another password and hands it over.  Raises `Busy`, `TryLater`."""
        with self._locks.hold(lock_of(copy)):
            record = await self._store.subscription(Side.SUBSCRIBER, copy)
            if record is None or record.state is State.ENDED or not record.copy:
                return
            session = await self._connect(record)
            if session is None:
                return
            try:
                # most often it is refused because the copy has ended, and only its description says why
                seen = await session.describe_flow(record.copy)
                if seen.state == State.ENDED.value:
                    await self.ended_there(_observed(record, seen), seen.reason)
                    return
                await self._store.apply(*await self._credential(record, session, anew=True))
            except Refused as error:
                await self.cannot(record, error)
                return
            finally:
                await session.quit()
            await self._carriers.renew(record)

    # The end

    async def cannot(self, record: Subscription, error: Refused, asked: bool = False) -> Subscription:
        """What follows from a refusal: a loop, or what the other side does not know, ends it.

        So does what can never be begun, and any refusal while somebody waits for it (`asked`); all else may be mended.
        """
        _log.warn("{copy}: {reason}", copy=record.copy, reason=error.text)
        if is_gone(error):
            return await self.ended_there(record, "")
        if isinstance(error, Loop):
            return await self.end(record, Reason.LOOP, AGENT)
        if asked or (record.state in WAITING and not isinstance(error, RemoteRefused)):
            return await self.end(record, Reason.ERROR, AGENT, error.text)
        return record

    async def ended_there(self, record: Subscription, reason: str) -> Subscription:
        """The provider ended it: our processor stops, G stays."""
        known = next((one for one in Reason if one.value == reason), Reason.ERROR)
        return await self._end(record, known, "provider", call=False)

    async def end(
        self, record: Subscription, reason: Reason, actor: Principal | str, detail: str = ""
    ) -> Subscription:
        """Processor, then the call to the provider (repeated until it succeeds), then the credential; G stays.

        Whoever calls holds the lock of the copy.
        """
        ended = await self._end(record, reason, actor, call=True, detail=detail)
        await quietly(self._calls.make(record.id))
        return ended

    async def _end(
        self, record: Subscription, reason: Reason, actor: Principal | str, call: bool, detail: str = ""
    ) -> Subscription:
        ended = replace(
            record, state=State.ENDED, reason=reason.value, actor=str(actor), since=self._clock.now()
        )
        intention = Intention(END, lock_of(record.id), self._clock.now(), {"copy": record.id})
        follows: Change = self._calls.plan(record) if call else DropCredential(Side.SUBSCRIBER, record.id)
        note = self._audit.note(
            actor, f"end subscription: {reason.value}", record.copy or record.local, detail
        )
        await self._store.apply(PutSubscription(ended), PutIntention(intention), follows, note)
        self._carriers.waits(record.copy, "")
        if not await quietly(self._finish(intention, ended)):
            self.left()
        return ended

    async def finish_end(self, intention: Intention) -> None:
        """Goes on with an ending.  Raises `TryLater`."""
        record = await self._store.subscription(Side.SUBSCRIBER, intention.data["copy"])
        await self._finish(intention, record)

    async def _finish(self, intention: Intention, record: Subscription | None) -> None:
        if record is not None and record.copy:
            await self._carriers.destroy(record)
        await self._store.apply(DropIntention(intention.object))

    async def give_up(self, record: Subscription) -> None:
        """A request whose answer never came: what the provider made for its token, if anything, is ended."""
        await self._store.apply(DropSubscription(Side.SUBSCRIBER, record.id), self._calls.plan(record))


def _observed(record: Subscription, seen: RemoteFlow) -> Subscription:
    """What the other side says, as far as we believe it."""
    state = seen.state if seen.state in {one.value for one in State} else ""
    lineage = tuple(mark for mark in seen.lineage if len(mark) == 16 and mark.isalnum())[:MAX_MARKS]
    return replace(record, remote_state=state, lineage=lineage)
