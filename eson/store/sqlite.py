"""The store on SQLite, in one worker thread, with group commit.

Everything that is asked while a transaction is being synced waits and then shares the next one: each piece of work
runs in a savepoint of its own, one commit syncs them all, and only then is anybody answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from eson.errors import BackendFailed, EsonError
from eson.model.flows import Flow, Namespace
from eson.model.principals import Principal
from eson.model.subscriptions import Side, Subscription
from eson.store import rows, schema, statements
from eson.store.engine import begin, migrate, open_engine
from eson.store.port import Change
from eson.store.records import Account, AuditEntry, Call, Intention, StoredCredential, StoredProcessor

T = TypeVar("T")
Defer = Callable[[Callable[[], Any]], "Deferred[Any]"]
"""Runs a function in the store's one worker thread; `partial(deferToThreadPool, reactor, pool)` with a pool of one."""


@dataclass
class _Work(Generic[T]):
    do: Callable[[Connection], T]
    writes: bool
    answer: Deferred[T]
    result: T | None = None
    error: BaseException | None = None


class SqliteStore:
    """A `Store` in the file at `path`.  `defer` runs functions one at a time, off the reactor's thread."""

    def __init__(self, path: Path, defer: Defer, open_engine: Callable[[Path], Engine] = open_engine) -> None:
        self._path = path
        self._defer = defer
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._waiting: list[_Work[Any]] = []
        self._running = False
        self._closed: Deferred[None] | None = None
        self._write_failed = False

    async def open(self) -> None:
        await self._defer(self._open)

    def _open(self) -> None:
        try:
            self._engine = self._open_engine(self._path)
            migrate(self._connected())
        except (SQLAlchemyError, OSError) as error:
            raise _failed(error) from error

    async def close(self) -> None:
        """After the work that was asked for."""
        if self._running:
            self._closed = Deferred()
            await self._closed
        await self._defer(self._close)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _connected(self) -> Connection:
        if self._engine is None:
            raise BackendFailed("The store is closed")
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._connection

    def failing(self) -> Sequence[str]:
        """What health says: whether the last write failed, as on a full disk."""
        return ["store"] if self._write_failed else []

    # One transaction for all that waits

    def _ask(self, do: Callable[[Connection], T], writes: bool = False) -> Awaitable[T]:
        work: _Work[T] = _Work(do, writes, Deferred())  # without a canceller it may be left
        self._waiting.append(work)
        if not self._running:
            self._running = True
            self._next()
        return work.answer

    def _next(self) -> None:
        batch, self._waiting = self._waiting, []
        done: Deferred[None] = self._defer(lambda: self._together(batch))
        done.addBoth(self._answer, batch)

    def _answer(self, outcome: object, batch: Sequence[_Work[Any]]) -> None:
        if any(work.writes for work in batch):
            self._write_failed = isinstance(outcome, Failure)
        for work in batch:
            error = outcome.value if isinstance(outcome, Failure) else work.error
            if error is not None:
                work.answer.errback(error)
            else:
                work.answer.callback(work.result)
        if self._waiting:
            self._next()
            return
        self._running = False
        if self._closed is not None:
            self._closed.callback(None)

    def _together(self, batch: Sequence[_Work[Any]]) -> None:
        """In the worker thread.  Raises `BackendFailed`: then nothing of the whole batch is kept."""
        try:
            connection = self._connected()
            begin(connection, any(work.writes for work in batch))
            for work in batch:
                self._apart(connection, work)
            connection.exec_driver_sql("COMMIT")
        except (SQLAlchemyError, OSError) as error:
            self._reopen()
            raise _failed(error) from error
        except BaseException:
            self._reopen()  # a mistake of ours must not leave a transaction open
            raise

    @staticmethod
    def _apart(connection: Connection, work: _Work[Any]) -> None:
        if work.writes:
            connection.exec_driver_sql("SAVEPOINT one")
        try:
            work.result = work.do(connection)
        except EsonError as error:
            work.error = error
            connection.exec_driver_sql("ROLLBACK TO one")
        if work.writes:
            connection.exec_driver_sql("RELEASE one")

    def _reopen(self) -> None:
        """What a connection holds after a failed write or sync is not to be trusted: the next work takes a new one."""
        connection, self._connection = self._connection, None
        if connection is None or self._engine is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except (SQLAlchemyError, OSError):
            pass  # it is given up either way
        self._engine.dispose()

    # Writing

    async def apply(self, *changes: Change) -> None:
        def do(connection: Connection) -> None:
            for one in changes:
                statements.change(connection, one)

        await self._ask(do, writes=True)

    # Reading

    async def namespaces(self) -> Sequence[Namespace]:
        found = await self._ask(lambda c: statements.every(c, schema.namespaces))
        return [rows.namespace_of(row) for row in found]

    async def flow(self, name: str) -> Flow | None:
        row = await self._ask(lambda c: statements.one(c, schema.flows, name=name))
        return None if row is None else rows.flow_of(row)

    async def flows(self, below: str = "", after: str = "", limit: int = 1000) -> Sequence[Flow]:
        found = await self._ask(lambda c: statements.flows(c, below, after, limit, copies=False))
        return [rows.flow_of(row) for row in found]

    async def all_flows(self, after: str = "", limit: int = 1000) -> Sequence[Flow]:
        found = await self._ask(lambda c: statements.flows(c, "", after, limit, copies=True))
        return [rows.flow_of(row) for row in found]

    async def flow_directly_below(self, name: str) -> Flow | None:
        row = await self._ask(lambda c: statements.flow_directly_below(c, name))
        return None if row is None else rows.flow_of(row)

    async def count_flows(self, owner: Principal) -> int:
        return await self._ask(lambda c: statements.count_flows(c, owner))

    async def count_visible(self, namespace: str, owners: Collection[Principal] | None) -> int:
        return await self._ask(lambda c: statements.count_visible(c, namespace, owners))

    async def subscription(self, side: Side, id: str) -> Subscription | None:
        row = await self._ask(lambda c: statements.one(c, schema.subscriptions, side=side.value, id=id))
        return None if row is None else rows.subscription_of(row)

    async def subscriptions(
        self,
        side: Side | None = None,
        *,
        flow: str = "",
        local: str = "",
        principal: Principal | None = None,
        ended: bool = False,
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[Subscription]:
        found = await self._ask(
            lambda c: statements.subscriptions(c, side, flow, local, principal, ended, after, limit)
        )
        return [rows.subscription_of(row) for row in found]

    async def subscription_by_token(
        self, side: Side, principal: Principal, flow: str, token: str
    ) -> Subscription | None:
        row = await self._ask(lambda c: statements.subscription_by_token(c, side, principal, flow, token))
        return None if row is None else rows.subscription_of(row)

    async def ended_before(self, when: datetime) -> Sequence[Subscription]:
        text = rows.time_text(when)
        found = await self._ask(lambda c: statements.ended_before(c, schema.subscriptions, text))
        return [rows.subscription_of(row) for row in found]

    async def count_subscriptions(self, participant: str, principal: Principal | None = None) -> int:
        return await self._ask(lambda c: statements.count_subscriptions(c, participant, principal))

    async def count_pending(self) -> int:
        return await self._ask(statements.count_pending)

    async def credential(self, side: Side, name: str) -> StoredCredential | None:
        row = await self._ask(lambda c: statements.one(c, schema.credentials, side=side.value, name=name))
        return None if row is None else rows.credential_of(row)

    async def intention(self, object: str) -> Intention | None:
        row = await self._ask(lambda c: statements.one(c, schema.intentions, object=object))
        return None if row is None else rows.intention_of(row)

    async def intentions(self) -> Sequence[Intention]:
        found = await self._ask(lambda c: statements.every(c, schema.intentions))
        return [rows.intention_of(row) for row in found]

    async def call(self, key: str) -> Call | None:
        row = await self._ask(lambda c: statements.one(c, schema.calls, key=key))
        return None if row is None else rows.call_of(row)

    async def calls(self) -> Sequence[Call]:
        found = await self._ask(lambda c: statements.every(c, schema.calls))
        return [rows.call_of(row) for row in found]

    async def journal(self, processor: str) -> bytes:
        row = await self._ask(lambda c: statements.one(c, schema.journals, processor=processor))
        return b"" if row is None else bytes(row["lanes"])

    async def processor(self, id: str) -> StoredProcessor | None:
        row = await self._ask(lambda c: statements.one(c, schema.processors, id=id))
        return None if row is None else rows.processor_of(row)

    async def processors(
        self,
        *,
        owner: Principal | None = None,
        source: str = "",
        destination: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Sequence[StoredProcessor]:
        found = await self._ask(lambda c: statements.processors(c, owner, source, destination, after, limit))
        return [rows.processor_of(row) for row in found]

    async def processors_ended_before(self, when: datetime) -> Sequence[StoredProcessor]:
        text = rows.time_text(when)
        found = await self._ask(lambda c: statements.ended_before(c, schema.processors, text))
        return [rows.processor_of(row) for row in found]

    async def account(self, name: str) -> Account | None:
        row = await self._ask(lambda c: statements.one(c, schema.accounts, name=name))
        return None if row is None else rows.account_of(row)

    async def accounts(self) -> Sequence[Account]:
        found = await self._ask(lambda c: statements.every(c, schema.accounts))
        return [rows.account_of(row) for row in found]

    async def audit(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]:
        found = await self._ask(lambda c: statements.audit(c, after, limit))
        return [rows.audit_of(row) for row in found]

    async def audited(self, act: str, object: str) -> Sequence[AuditEntry]:
        found = await self._ask(lambda c: statements.audited(c, act, object))
        return [rows.audit_of(row) for row in found]


def _failed(error: BaseException) -> BackendFailed:
    if isinstance(error, BackendFailed):
        return error
    return BackendFailed("The store cannot read or write; nothing was changed", reason=str(error))
