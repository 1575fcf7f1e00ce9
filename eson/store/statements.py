"""Changes and questions as SQL, on one open connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Table, func, insert, literal, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from eson.errors import Conflict
from eson.model.flows import Visibility
from eson.model.principals import Principal
from eson.model.subscriptions import Side, State
from eson.store import port, rows, schema


def _put(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    statement = upsert(table).values(row)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))


def _drop(connection: Connection, table: Table, **keys: object) -> None:
    statement = table.delete()
    for name, value in keys.items():
        statement = statement.where(table.c[name] == value)
    connection.execute(statement)


def _put_subscription(connection: Connection, change: port.PutSubscription) -> None:
    value = change.subscription
    if change.replaces and change.replaces != value.id:
        _drop(connection, schema.subscriptions, side=value.side.value, id=change.replaces)
    _put(connection, schema.subscriptions, rows.subscription_row(value))


def _use_label(connection: Connection, change: port.UseLabel) -> None:
    try:
        connection.execute(insert(schema.labels).values(label=change.label))
    except IntegrityError:
        raise Conflict("the label was used before") from None


def _put_processor(connection: Connection, change: port.PutProcessor) -> None:
    value = change.processor
    _put(connection, schema.processors, rows.processor_row(value))
    _drop(connection, schema.processor_ends, id=value.id)
    connection.execute(insert(schema.processor_ends), rows.processor_end_rows(value))


def _drop_processor(connection: Connection, change: port.DropProcessor) -> None:
    _drop(connection, schema.processors, id=change.id)
    _drop(connection, schema.processor_ends, id=change.id)


def _note(connection: Connection, change: port.Note) -> None:
    connection.execute(insert(schema.audit).values(rows.audit_row(change.entry)))


_CHANGES: Mapping[type[Any], Callable[[Connection, Any], None]] = {
    port.PutNamespace: lambda c, x: _put(c, schema.namespaces, rows.namespace_row(x.namespace)),
    port.DropNamespace: lambda c, x: _drop(c, schema.namespaces, name=x.name),
    port.PutFlow: lambda c, x: _put(c, schema.flows, rows.flow_row(x.flow)),
    port.DropFlow: lambda c, x: _drop(c, schema.flows, name=x.name),
    port.PutSubscription: _put_subscription,
    port.DropSubscription: lambda c, x: _drop(c, schema.subscriptions, side=x.side.value, id=x.id),
    port.UseLabel: _use_label,
    port.PutCredential: lambda c, x: _put(c, schema.credentials, rows.credential_row(x.credential)),
    port.DropCredential: lambda c, x: _drop(c, schema.credentials, side=x.side.value, name=x.name),
    port.PutIntention: lambda c, x: _put(c, schema.intentions, rows.intention_row(x.intention)),
    port.DropIntention: lambda c, x: _drop(c, schema.intentions, object=x.object),
    port.PutCall: lambda c, x: _put(c, schema.calls, rows.call_row(x.call)),
    port.DropCall: lambda c, x: _drop(c, schema.calls, key=x.key),
    port.PutJournal: lambda c, x: _put(c, schema.journals, {"processor": x.processor, "lanes": x.lanes}),
    port.DropJournal: lambda c, x: _drop(c, schema.journals, processor=x.processor),
    port.PutProcessor: _put_processor,
    port.DropProcessor: _drop_processor,
    port.PutAccount: lambda c, x: _put(c, schema.accounts, rows.account_row(x.account)),
    port.DropAccount: lambda c, x: _drop(c, schema.accounts, name=x.name),
    port.Note: _note,
}


def change(connection: Connection, what: port.Change) -> None:
    """Carries out one change.  Raises `Conflict` for a label that was used, else what SQLAlchemy raises."""
    _CHANGES[type(what)](connection, what)


def one(connection: Connection, table: Table, **keys: object) -> rows.Found | None:
    """The row with these values, or None."""
    statement = select(table)
    for name, value in keys.items():
        statement = statement.where(table.c[name] == value)
    return connection.execute(statement).mappings().first()


def every(connection: Connection, table: Table) -> list[rows.Found]:
    """All rows, by primary key."""
    return list(connection.execute(select(table).order_by(*table.primary_key)).mappings())


def flows(connection: Connection, below: str, after: str, limit: int, copies: bool) -> list[rows.Found]:
    table = schema.flows
    statement = select(table).where(table.c.name > after)
    if not copies:
        statement = statement.where(table.c.copy_of == "")
    if below:
        statement = statement.where(table.c.name.like(f"%.{below}"))
    return list(connection.execute(statement.order_by(table.c.name).limit(limit)).mappings())


def flow_directly_below(connection: Connection, name: str) -> rows.Found | None:
    table = schema.flows
    statement = select(table).where(table.c.parent == name, table.c.copy_of == "").limit(1)
    return connection.execute(statement).mappings().first()


def count_flows(connection: Connection, owner: Principal) -> int:
    table = schema.tallies
    found = connection.execute(select(table.c.flows).where(table.c.owner == str(owner))).scalar()
    return int(found or 0)


def count_visible(connection: Connection, namespace: str, owners: Collection[Principal] | None) -> int:
    table = schema.flows
    statement = select(func.count()).where(table.c.namespace == namespace, table.c.copy_of == "")
    if owners is not None:
        public = table.c.visibility != Visibility.PRIVATE.value
        statement = statement.where(public | table.c.owner.in_([str(owner) for owner in owners]))
    return connection.execute(statement).scalar_one()


def subscriptions(
    connection: Connection,
    side: Side | None,
    flow: str,
    local: str,
    principal: Principal | None,
    ended: bool,
    after: str,
    limit: int,
) -> list[rows.Found]:
    table = schema.subscriptions
    statement = select(table).where(table.c.id > after)
    if side is not None:
        statement = statement.where(table.c.side == side.value)
    if flow:
        statement = statement.where(table.c.flow == flow)
    if local:
        # said twice so that SQLite may use its partial index
        statement = statement.where(table.c.local == local, table.c.local != literal(""))
    if principal is not None:
        statement = statement.where(table.c.principal == str(principal))
    if not ended:
        statement = statement.where(table.c.state != State.ENDED.value)
    statement = statement.order_by(table.c.id, table.c.side).limit(limit)
    return list(connection.execute(statement).mappings())


def subscription_by_token(
    connection: Connection, side: Side, principal: Principal, flow: str, token: str
) -> rows.Found | None:
    table = schema.subscriptions
    statement = select(table).where(
        table.c.side == side.value,
        table.c.principal == str(principal),
        table.c.flow == flow,
        table.c.token == token,
        table.c.state != State.ENDED.value,
    )
    return connection.execute(statement).mappings().first()


def ended_before(connection: Connection, table: Table, when: str) -> list[rows.Found]:
    """Subscriptions or processors."""
    statement = select(table).where(table.c.state == State.ENDED.value, table.c.since < when).limit(1000)
    return list(connection.execute(statement).mappings())


def count_subscriptions(connection: Connection, participant: str, principal: Principal | None) -> int:
    table = schema.subscriptions
    statement = select(func.count()).where(
        table.c.participant == participant,
        table.c.side == Side.PROVIDER.value,
        table.c.state != State.ENDED.value,
    )
    if principal is not None:
        statement = statement.where(table.c.principal == str(principal))
    return connection.execute(statement).scalar_one()


def count_pending(connection: Connection) -> int:
    table = schema.subscriptions
    statement = select(func.count()).where(
        table.c.state == State.PENDING.value, table.c.side == Side.PROVIDER.value
    )
    return connection.execute(statement).scalar_one()


def processors(
    connection: Connection, owner: Principal | None, source: str, destination: str, after: str, limit: int
) -> list[rows.Found]:
    table, ends = schema.processors, schema.processor_ends
    statement = select(table).where(table.c.id > after, table.c.state != State.ENDED.value)
    if owner is not None:
        statement = statement.where(table.c.owner == str(owner))
    for role, flow in (("source", source), ("destination", destination)):
        if flow:
            named = select(ends.c.id).where(ends.c.flow == flow, ends.c.role == role)
            statement = statement.where(table.c.id.in_(named))
    return list(connection.execute(statement.order_by(table.c.id).limit(limit)).mappings())


def audit(connection: Connection, after: int, limit: int) -> list[rows.Found]:
    table = schema.audit
    statement = select(table).where(table.c.number > after).order_by(table.c.number).limit(limit)
    return list(connection.execute(statement).mappings())


def audited(connection: Connection, act: str, object: str) -> list[rows.Found]:
    table = schema.audit
    statement = select(table).where(table.c.act == act, table.c.object == object).order_by(table.c.number)
    return list(connection.execute(statement).mappings())
