"""CREATE, UPDATE and DELETE FLOW."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from eson.agent.access import Access, Found, require_create
from eson.agent.adopting import adopted, check_adoption
from eson.agent.audit import Audit
from eson.agent.hosting import Hosting, Limits
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.records import every_subscription, quietly
from eson.agent.room import Room
from eson.agent.settings import flow_settings
from eson.errors import (
    Busy,
    Conflict,
    EsonError,
    LimitReached,
    NameNotAllowed,
    NoSuch,
    NotSupported,
    TryLater,
)
from eson.fnap.core.commands import CreateFlow, DeleteFlow, UpdateFlow
from eson.fnap.core.replies import Ok
from eson.model.flows import Flow, Namespace, Visibility
from eson.model.names import ancestors, canonical_flow, parent
from eson.model.principals import ANONYMOUS, Caller, Principal
from eson.model.subscriptions import Reason, Side, Subscription
from eson.store.port import DropCredential, DropFlow, DropIntention, PutFlow, PutIntention, Store
from eson.store.records import Intention

CREATE = "create-flow"
UPDATE = "update-flow"
DELETE = "delete-flow"


class Endings(Protocol):
    """What ends subscriptions, as far as flows need it."""

    async def end_copy(self, copy: str, reason: Reason, actor: Principal | str) -> None: ...

    async def end_local(self, subscription: Subscription, actor: Principal | str) -> None: ...

    async def flow_changed(self, flow: Flow) -> None: ...

    async def processors_of(self, source: str) -> Sequence[str]: ...

    async def end_processors(self, flow: str, actor: Principal | str) -> None: ...


class Limiting(Protocol):
    async def limit_changed(self, flow: Flow) -> None:
        """Has all that fills the flow keep its limit from now on."""


class Streams(Protocol):
    async def recheck(self, flow: str) -> None:
        """Cuts READs and WRITEs whose caller may not do that any more."""


class Flows:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        room: Room,
        endings: Endings,
        limiting: Limiting,
        streams: Streams,
        locks: Locks,
        audit: Audit,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._parts = parts
        self._room = room
        self._endings = endings
        self._limiting = limiting
        self._streams = streams
        self._under_way: Counter[Principal] = Counter()
        self._locks = locks
        self._audit = audit
        self._clock = clock
        self._limits = limits

    # CREATE

    async def create(self, caller: Caller, command: CreateFlow) -> Ok:
        """Raises `NotHosted`, `NotAllowed` before existence is looked at, `NameNotAllowed`, `Conflict`, `TryLater`."""
        name = canonical_flow(command.flow)
        namespace = self._hosting.namespace_of(name)
        require_create(caller, namespace)
        settings = flow_settings(command.pairs)
        flow = self.plan(name, namespace, caller.principal, **settings)
        queue = f"{flow.broker}/{flow.topic}"
        # shared: no namespace or flow of that name comes or goes meanwhile
        with self._locks.hold(name, queue, shared=ancestors(name)):
            await self.check_new(caller, name)
            if "topic" in flow.settings:
                await check_adoption(self._store, self._hosting, self._parts, caller, flow)
            self._under_way[caller.principal] += 1
            try:
                await self.make(flow, caller.principal)
            finally:
                self._under_way[caller.principal] -= 1
        return Ok(name)

    async def check_new(self, caller: Caller, name: str) -> None:
        """Whether the caller may have one flow more, of that name.  Raises `Conflict`, `NameNotAllowed`, `LimitReached`."""
        await self.check_name(name)
        if not caller.operator:
            number = await self._store.count_flows(caller.principal) + self._under_way[caller.principal]
            if number >= self._limits.flows_per_account:
                raise LimitReached("flows per account")

    def plan(self, name: str, namespace: Namespace, owner: Principal, **settings: object) -> Flow:
        """The flow as it shall be, with the namespace's defaults."""
        flow = Flow(
            name=name,
            namespace=namespace.name,
            broker=namespace.broker,
            topic=self._parts.queue_name(name, namespace.broker),
            owner=owner,
            created=self._clock.now(),
            visibility=namespace.visibility,
        )
        return replace(flow, **settings)  # type: ignore[arg-type]  # keys come from settings.flow_settings

    async def check_name(self, name: str) -> None:
        """Raises `Conflict` if it exists, `NameNotAllowed` directly below or directly above another flow."""
        if await self._store.flow(name) is not None or self._hosting.find(name) is not None:
            raise Conflict(f"{name} exists")
        if await self._store.flow(parent(name)) is not None:
            raise NameNotAllowed(f"{name} lies directly below the flow {parent(name)}")
        below = await self._store.flow_directly_below(name)
        if below is not None:
            raise NameNotAllowed(f"{name} lies directly above the flow {below.name}")

    async def make(self, flow: Flow, actor: Principal) -> Flow:
        """Makes queue and records and remembers the flow.  Whoever calls holds its lock.  Raises `TryLater`, `Conflict`."""
        left = await self._store.intention(flow.name)
        if left is not None and left.kind == DELETE:
            await self.finish_delete(left)
            left = None
        queue = await self._parts.find_queue(flow)
        # a queue that was there before us is never removed when the rest fails
        existed = queue is not None if left is None else bool(left.data.get("existed", True))
        if existed and queue is not None:
            flow = adopted(flow, queue)
        data = {"broker": flow.broker, "topic": flow.topic, "existed": existed}
        intention = Intention(CREATE, flow.name, self._clock.now(), data)
        await self._store.apply(PutIntention(intention))
        try:
            await self._parts.make_queue(flow)
            if flow.adopted and "retention" in flow.settings:
                await self._parts.set_retention(flow)
            await self._parts.publish(flow)
            note = self._audit.note(actor, "create flow", flow.name)
            await self._store.apply(PutFlow(flow), DropIntention(flow.name), note)
        except EsonError:
            await quietly(self.undo_create(intention))
            raise
        return flow

    async def undo_create(self, intention: Intention) -> None:
        """Removes what a CREATE that did not end may have made.  Raises `TryLater`."""
        if await self._store.flow(intention.object) is None:
            await self._parts.withdraw(intention.object)
            if not intention.data["existed"]:
                await self._parts.broker(intention.data["broker"]).delete_queue(intention.data["topic"])
        await self._store.apply(DropIntention(intention.object))

    # UPDATE

    async def update(self, caller: Caller, command: UpdateFlow) -> Ok:
        """A copy follows its flow: of it the limit alone is changed.

        Raises `NotHosted`, `NoSuch` (missing or hidden), `NotAllowed`, `NotSupported`, `TryLater`.
        """
        settings = flow_settings(command.pairs)
        if "topic" in settings["settings"]:
            raise NotSupported("a flow keeps its topic")
        found = await self._access.flow(caller, command.flow, "administer")
        if found.flow.copy_of and settings["settings"] != {"limit"}:
            raise NotSupported("of a copy only the limit is changed: all else follows its flow")
        with self._locks.hold(found.flow.name):
            old = await self._unchanged(found.flow)
            flow = replace(old, **{**settings, "settings": old.settings | settings["settings"]})
            if flow.partitions < old.partitions:
                raise NotSupported("a flow cannot have fewer partitions than it has")
            intention = Intention(UPDATE, old.name, self._clock.now())
            await self._store.apply(PutIntention(intention))
            try:
                await self._parts.publish(flow)
                await self._change_queue(old, flow)  # last: partitions cannot be taken away again
                note = self._audit.note(caller.principal, "update flow", old.name, _changes(command))
                await self._store.apply(PutFlow(flow), note)
            except EsonError:
                await quietly(self.settle_update(intention))
                raise
            if await quietly(self._follow(flow)):
                await quietly(self._store.apply(DropIntention(old.name)))
        await self._streams.recheck(flow.name)
        return Ok(old.name)

    async def _unchanged(self, found: Flow) -> Flow:
        """The flow as it is now that its lock is held.  Raises `NoSuch`, `Busy` for one that is about to go."""
        flow = await self._store.flow(found.name)
        if flow is None:
            raise NoSuch("flow", found.name)
        left = await self._store.intention(found.name)
        if left is not None and left.kind != UPDATE:  # ours would take its place
            raise Busy(f"Another operation on {found.name} is under way")
        return flow

    async def settle_update(self, intention: Intention) -> None:
        """After an UPDATE that did not end: the queue and the records follow what is stored.  Raises `TryLater`."""
        flow = await self._store.flow(intention.object)
        if flow is not None:
            queue = await self._parts.find_queue(flow)
            if queue is not None:
                await self._parts.set_retention(flow)
                # partitions are never taken away
                flow = replace(flow, partitions=max(flow.partitions, queue.partitions))
            await self._parts.publish(flow)
            await self._store.apply(PutFlow(flow))
            await self._follow(flow)
        await self._store.apply(DropIntention(intention.object))

    async def look(self, name: str) -> None:
        """Takes note of partitions added at a flow's broker; its copies get them too.  Raises `Busy`, `TryLater`."""
        with self._locks.hold(name):
            flow = await self._store.flow(name)
            if flow is None or await self._store.intention(name) is not None:
                return
            flow = await self._room.look(flow)
        await self._endings.flow_changed(flow)

    async def _follow(self, flow: Flow) -> None:
        """What an UPDATE means for the flow's copies, and for what fills it.  Raises `TryLater`."""
        if flow.visibility is not Visibility.PUBLIC:
            for one in await self._store.subscriptions(Side.PROVIDER, flow=flow.name, principal=ANONYMOUS):
                await self._endings.end_copy(one.id, Reason.REVOKED, flow.owner)
        await self._endings.flow_changed(flow)
        await self._limiting.limit_changed(flow)

    async def _change_queue(self, old: Flow, flow: Flow) -> None:
        if (flow.retention_ms, flow.retention_bytes) != (old.retention_ms, old.retention_bytes):
            await self._parts.set_retention(flow)
        if flow.partitions != old.partitions:
            await self._parts.broker(flow.broker).add_partitions(flow.topic, flow.partitions)

    # DELETE

    async def delete(self, caller: Caller, command: DeleteFlow) -> Ok:
        """Raises `Conflict` while there are subscribers, unless forced: then each is ended first."""
        found = await self._access.flow(caller, command.flow, "administer")
        await self.remove(found, command.force, caller.principal)
        return Ok(found.flow.name)

    async def remove(self, found: Found, force: bool, actor: Principal) -> None:
        flow = found.flow
        if flow.copy_of:
            await self._endings.end_copy(flow.name, Reason.REMOVED, actor)
            return
        with self._locks.hold(flow.name):
            subscribers = await self._store.subscriptions(Side.PROVIDER, flow=flow.name)
            if subscribers and not force:
                raise Conflict(f"{flow.name} has subscribers: {len(subscribers)}; FORCE ends them first")
            reading = await self._endings.processors_of(flow.name)
            if reading and not force:
                raise Conflict(f"{flow.name} is read by processors: {reading[0]}; FORCE ends them first")
            await self._endings.end_processors(flow.name, actor)
            async for one in every_subscription(self._store, Side.PROVIDER, flow=flow.name):
                await self._endings.end_copy(one.id, Reason.FLOW_DELETED, actor)
            async for one in every_subscription(self._store, Side.SUBSCRIBER, local=flow.name):
                await self._endings.end_local(one, actor)
            intention = Intention(
                DELETE,
                flow.name,
                self._clock.now(),
                {
                    "broker": flow.broker,
                    "topic": flow.topic,
                    "actor": str(actor),
                    "adopted": flow.adopted,
                },
            )
            await self._store.apply(PutIntention(intention))
            try:
                await self._cut_off(intention)
            except TryLater:
                if not await self._is_gone(flow):
                    await quietly(self._take_back(flow))
                    raise
            # rights and events are gone: from here on it can only be finished, by the reconciler if not now
            await quietly(self._forget(intention))
        await self._streams.recheck(flow.name)

    async def _is_gone(self, flow: Flow) -> bool:
        """Whether only the broker's answer was lost."""
        try:
            return await self._parts.find_queue(flow) is None
        except TryLater:
            return False

    async def _take_back(self, flow: Flow) -> None:
        if await self._store.credential(Side.PROVIDER, flow.name) is not None:
            await self._parts.give_rights(flow)
        await self._store.apply(DropIntention(flow.name))

    async def finish_delete(self, intention: Intention) -> None:
        """Goes on with a DELETE from its first step to its last.  Raises `TryLater`."""
        await self._cut_off(intention)
        await self._forget(intention)

    async def _cut_off(self, intention: Intention) -> None:
        broker, topic = intention.data["broker"], intention.data["topic"]
        await self._parts.take_rights(broker, intention.object)
        if not intention.data.get("adopted", False):
            await self._parts.broker(broker).delete_queue(topic)

    async def _forget(self, intention: Intention) -> None:
        await self._parts.shut_out(intention.data["broker"], intention.object)
        await self._parts.withdraw(intention.object)
        await self._store.apply(
            DropFlow(intention.object),
            DropCredential(Side.PROVIDER, intention.object),
            DropIntention(intention.object),
            self._audit.note(intention.data["actor"], "delete flow", intention.object),
        )


def _changes(command: UpdateFlow) -> str:
    return " ".join(f"{key}={value}" for key, value in command.pairs)
