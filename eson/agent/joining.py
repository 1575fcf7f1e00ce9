"""SUBSCRIBE F LOCAL G at the subscriber's agent (interface section 7), F hosted elsewhere or here too."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from twisted.logger import Logger

from eson.agent.calls import Calls
from eson.agent.hosting import Limits
from eson.agent.incoming import Incoming, lock_of
from eson.agent.lineage import Lineages
from eson.agent.locks import Locks
from eson.agent.ports import Clock, RemoteSession
from eson.agent.records import quietly
from eson.agent.room import Room
from eson.agent.sessions import Sessions
from eson.agent.tasks import Tasks
from eson.errors import AgentUnreachable, Conflict, EsonError, Refused, RemoteRefused, TryLater
from eson.fnap.core.replies import Outcome, Pending, Subscribed
from eson.model.flows import Flow
from eson.model.names import ancestors, is_below
from eson.model.positions import Now, Position
from eson.model.principals import Principal
from eson.model.subscriptions import Side, State, Subscription
from eson.store.port import DropSubscription, PutSubscription, Store

_log = Logger()


@dataclass
class Request:
    """What is asked for, and how far it got.

    `source` is set where F is hosted here too: the flow, and whether the subscription needs no approval.
    """

    principal: Principal
    flow: str
    local: str
    typed_local: str
    position: Position | None = None
    token: str = ""
    source: tuple[Flow, bool] | None = None
    copy: str = field(default="", init=False)
    abandoned: bool = field(default=False, init=False)
    """Whether the deadline passed, so that nobody waits any more."""


class Joining:
    def __init__(
        self,
        store: Store,
        incoming: Incoming,
        sessions: Sessions,
        calls: Calls,
        lineages: Lineages,
        room: Room,
        locks: Locks,
        tasks: Tasks,
        clock: Clock,
        limits: Limits,
        secret: bytes,
    ) -> None:
        self._store = store
        self._incoming = incoming
        self._sessions = sessions
        self._calls = calls
        self._lineages = lineages
        self._room = room
        self._locks = locks
        self._tasks = tasks
        self._clock = clock
        self._limits = limits
        self._secret = secret
        self.left: Callable[[], None] = lambda: None
        """Told when something is left to the reconciler."""

    async def subscribe(self, request: Request) -> Outcome:
        """Raises `Busy`, `Conflict`, `AgentUnreachable`, `RemoteRefused`; at the deadline the work goes on without us."""
        token = secrets.token_hex(16)
        if request.token:
            token = self.token_for(request.token, request.principal, request.flow, request.local)
        existing = await self._store.subscription_by_token(
            Side.SUBSCRIBER, request.principal, request.flow, token
        )
        if existing is not None and existing.copy:
            return _answer(existing, request)
        running = self._tasks.run(self._join(request, token))
        outcome = await self._tasks.within(self._limits.subscribe.total_seconds(), running)
        if outcome is not None:
            return outcome
        request.abandoned = True
        if request.copy:
            return Pending(request.copy)
        raise AgentUnreachable(request.flow)

    def token_for(self, said: str, principal: Principal, flow: str, local: str) -> str:
        """What stands for a client's own token: always the same, so that repeating the command finds what it made."""
        text = "\n".join((said, str(principal), flow, local))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    async def _join(self, request: Request, token: str) -> Outcome:
        local = request.local
        with ExitStack() as locks:
            locks.enter_context(self._locks.hold(local, lock_of(token), shared=ancestors(local)))
            await self._check(request)
            record = self._record(request, token)
            await self._store.apply(PutSubscription(record))
            session, copy, pending = await self._ask(request, record)
            try:
                # nobody else knows the copy yet: its lock is free
                locks.enter_context(self._locks.hold(lock_of(copy)))
                return await self._joined(request, record, session, copy, pending)
            finally:
                await session.quit()

    async def _check(self, request: Request) -> None:
        """Raises `Conflict`."""
        self._lineages.check(request.local, await self._lineages.known(request.flow))
        for one in await self._store.subscriptions(Side.SUBSCRIBER, local=request.local, flow=request.flow):
            # one whose answer never came is about to be given up
            if one.copy:
                raise Conflict(f"{request.typed_local} is subscribed to {request.flow} already: {one.copy}")

    async def _check_room(self, request: Request, session: RemoteSession) -> None:
        """Before anything is made: whether a local flow that is there has a place for each partition.

        An approval may come days later, and would be in vain.  Raises `Conflict`, `TryLater`.
        """
        local = await self._store.flow(request.local)
        if local is None:
            return
        if request.source is not None:
            partitions = request.source[0].partitions
        else:
            try:
                partitions = (await session.describe_flow(request.flow)).partitions
            except Refused:
                return  # the answer to SUBSCRIBE says why
        await self._room.check(local, partitions)

    def _record(self, request: Request, token: str) -> Subscription:
        now = self._clock.now()
        return Subscription(
            id=token,
            side=Side.SUBSCRIBER,
            flow=request.flow,
            copy="",
            local=request.local,
            principal=request.principal,
            token=token,
            state=State.REQUESTED,
            reason="",
            actor=str(request.principal),
            since=now,
            created=now,
            position=str(request.position or Now()),
            typed_local=request.typed_local,
        )

    async def _ask(self, request: Request, record: Subscription) -> tuple[RemoteSession, str, bool]:
        """The session, the copy, and whether it is pending.  What a lost answer was about is ended later."""
        forget = DropSubscription(Side.SUBSCRIBER, record.id)
        try:
            session = await self._sessions.connect(
                request.flow, request.principal, request.source, request.local
            )
        except EsonError:
            await quietly(self._store.apply(forget))
            raise
        try:
            await self._check_room(request, session)
        except EsonError:
            await session.quit()
            await quietly(self._store.apply(forget))
            raise
        try:
            copy, pending = await session.subscribe(request.flow, request.position, record.token)
            await self._check_copy(request, copy)
        except EsonError as error:
            await session.quit()
            if isinstance(error, Refused):
                await quietly(self._store.apply(forget))
            else:
                await quietly(self._incoming.give_up(record))
            raise
        if request.abandoned:
            await session.quit()
            await self._incoming.give_up(record)
            raise AgentUnreachable(request.flow)
        return session, copy, pending

    async def _check_copy(self, request: Request, copy: str) -> None:
        """A copy that is not the flow's, or that we have a record of, is a lie."""
        known = await self._store.subscription(Side.SUBSCRIBER, copy)
        if known is not None or not is_below(copy, request.flow):
            raise AgentUnreachable(request.flow, copy=copy)

    async def _joined(
        self, request: Request, record: Subscription, session: RemoteSession, copy: str, pending: bool
    ) -> Outcome:
        state = State.PENDING if pending else State.REQUESTED
        known = replace(record, id=copy, copy=copy, state=state, remote_state=state.value)
        try:
            await self._store.apply(PutSubscription(known, replaces=record.id))
        except EsonError:
            await quietly(self._incoming.give_up(record))
            raise
        request.copy = copy
        if pending:
            return Pending(copy)
        try:
            done = await self._incoming.advance(known, session)
        except TryLater as error:
            _log.warn(
                "{copy}: left to the reconciler: {reason} {context}",
                copy=copy,
                reason=error.text,
                context=error.context,
            )
            self.left()
            return Pending(copy)
        except Refused as error:
            await quietly(self._incoming.cannot(known, error, asked=True))
            raise
        if done.state is State.ENDED:
            raise RemoteRefused(f"the subscription ended: {done.reason}")
        return _answer(done, request)


def _answer(record: Subscription, request: Request) -> Outcome:
    if record.state in (State.REQUESTED, State.PENDING):
        return Pending(record.copy)
    if request.source is not None:
        return Subscribed(record.copy)
    return Subscribed(record.copy, request.typed_local or record.local)
