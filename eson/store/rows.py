"""Between the values of the domain and rows of the tables, in both directions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from eson.model.flows import Flow, Namespace, Visibility
from eson.model.names import parent
from eson.model.principals import parse_principal
from eson.model.rates import RateLimit
from eson.model.subscriptions import Side, State, Subscription
from eson.store.records import Account, AuditEntry, Call, Intention, StoredCredential, StoredProcessor

Row = dict[str, Any]
Found = Mapping[Any, Any]


def time_text(when: datetime) -> str:
    """RFC 3339 in UTC with microseconds: sorts as text."""
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _maybe_text(when: datetime | None) -> str | None:
    return None if when is None else time_text(when)


def _maybe_time(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _list(values: Iterable[object]) -> str:
    return json.dumps(list(values), separators=(",", ":"))


def namespace_row(value: Namespace) -> Row:
    return {
        "name": value.name,
        "broker": value.broker,
        "copies": value.copies,
        "public": value.public,
        "private": value.private,
        "visibility": value.visibility.value,
        "administrators": _list(str(one) for one in value.administrators),
        "configured": value.configured,
        "owner": None if value.owner is None else str(value.owner),
        "created": _maybe_text(value.created),
    }


def namespace_of(row: Found) -> Namespace:
    return Namespace(
        name=row["name"],
        broker=row["broker"],
        copies=row["copies"],
        public=row["public"],
        private=row["private"],
        visibility=Visibility(row["visibility"]),
        administrators=tuple(parse_principal(text) for text in json.loads(row["administrators"])),
        configured=bool(row["configured"]),
        owner=None if row["owner"] is None else parse_principal(row["owner"]),
        created=_maybe_time(row["created"]),
    )


def flow_row(value: Flow) -> Row:
    return {
        "name": value.name,
        "parent": parent(value.name),
        "namespace": value.namespace,
        "broker": value.broker,
        "topic": value.topic,
        "owner": str(value.owner),
        "created": time_text(value.created),
        "visibility": value.visibility.value,
        "description": value.description,
        "partitions": value.partitions,
        "retention_ms": value.retention_ms,
        "retention_bytes": value.retention_bytes,
        "mode": value.mode,
        "copy_of": value.copy_of,
        "lineage": _list(()),  # a column of old: lineage is the subscription's
        "settings": _list(sorted(value.settings)),
        "adopted": value.adopted,
        "records_per_second": value.limit.records,
        "bytes_per_second": value.limit.octets,
        "made_for": value.made_for,
    }


def flow_of(row: Found) -> Flow:
    return Flow(
        name=row["name"],
        namespace=row["namespace"],
        broker=row["broker"],
        topic=row["topic"],
        owner=parse_principal(row["owner"]),
        created=_time(row["created"]),
        visibility=Visibility(row["visibility"]),
        description=row["description"],
        partitions=row["partitions"],
        retention_ms=row["retention_ms"],
        retention_bytes=row["retention_bytes"],
        mode=row["mode"],
        copy_of=row["copy_of"],
        settings=frozenset(json.loads(row["settings"])),
        adopted=row["adopted"],
        limit=RateLimit(row["records_per_second"], row["bytes_per_second"]),
        made_for=row["made_for"],
    )


def subscription_row(value: Subscription) -> Row:
    return {
        "side": value.side.value,
        "id": value.id,
        "flow": value.flow,
        "copy": value.copy,
        "local": value.local,
        "principal": str(value.principal),
        "participant": value.principal.participant,
        "token": value.token,
        "state": value.state.value,
        "reason": value.reason,
        "actor": value.actor,
        "since": time_text(value.since),
        "created": time_text(value.created),
        "start": _list(value.start),
        "position": value.position,
        "remote_state": value.remote_state,
        "renewed": _maybe_text(value.renewed),
        "lineage": _list(value.lineage),
        "typed_local": value.typed_local,
    }


def subscription_of(row: Found) -> Subscription:
    return Subscription(
        id=row["id"],
        side=Side(row["side"]),
        flow=row["flow"],
        copy=row["copy"],
        local=row["local"],
        principal=parse_principal(row["principal"]),
        token=row["token"],
        state=State(row["state"]),
        reason=row["reason"],
        actor=row["actor"],
        since=_time(row["since"]),
        created=_time(row["created"]),
        start=tuple((partition, offset) for partition, offset in json.loads(row["start"])),
        position=row["position"],
        remote_state=row["remote_state"],
        renewed=_maybe_time(row["renewed"]),
        lineage=tuple(json.loads(row["lineage"])),
        typed_local=row["typed_local"],
    )


def credential_row(value: StoredCredential) -> Row:
    return {
        "side": value.side.value,
        "name": value.name,
        "broker": value.broker,
        "principal": str(value.principal),
        "issued": time_text(value.issued),
        "verifier": value.verifier,
        "sealed": value.sealed,
    }


def credential_of(row: Found) -> StoredCredential:
    return StoredCredential(
        name=row["name"],
        side=Side(row["side"]),
        broker=row["broker"],
        principal=parse_principal(row["principal"]),
        issued=_time(row["issued"]),
        verifier=row["verifier"],
        sealed=bytes(row["sealed"]),
    )


def intention_row(value: Intention) -> Row:
    return {
        "object": value.object,
        "kind": value.kind,
        "created": time_text(value.created),
        "data": json.dumps(dict(value.data), separators=(",", ":")),
    }


def intention_of(row: Found) -> Intention:
    return Intention(
        kind=row["kind"], object=row["object"], created=_time(row["created"]), data=json.loads(row["data"])
    )


def call_row(value: Call) -> Row:
    return {
        "key": value.key,
        "flow": value.flow,
        "copy": value.copy,
        "token": value.token,
        "principal": str(value.principal),
        "created": time_text(value.created),
        "attempts": value.attempts,
        "next": _maybe_text(value.next),
    }


def call_of(row: Found) -> Call:
    return Call(
        key=row["key"],
        flow=row["flow"],
        copy=row["copy"],
        token=row["token"],
        principal=parse_principal(row["principal"]),
        created=_time(row["created"]),
        attempts=row["attempts"],
        next=_maybe_time(row["next"]),
    )


def processor_row(value: StoredProcessor) -> Row:
    return {
        "id": value.id,
        "kind": value.kind,
        "sources": _list(value.sources),
        "destinations": _list(value.destinations),
        "owner": str(value.owner),
        "state": value.state.value,
        "reason": value.reason,
        "actor": value.actor,
        "since": time_text(value.since),
        "created": time_text(value.created),
        "feeds": _list(value.feeds),
        "start": _list(value.start),
        "condition": value.when,
    }


def processor_of(row: Found) -> StoredProcessor:
    return StoredProcessor(
        id=row["id"],
        kind=row["kind"],
        sources=tuple(json.loads(row["sources"])),
        destinations=tuple(json.loads(row["destinations"])),
        owner=parse_principal(row["owner"]),
        state=State(row["state"]),
        reason=row["reason"],
        actor=row["actor"],
        since=_time(row["since"]),
        created=_time(row["created"]),
        feeds=tuple((flow, local) for flow, local in json.loads(row["feeds"])),
        start=tuple((partition, offset) for partition, offset in json.loads(row["start"])),
        when=row["condition"],
    )


def processor_end_rows(value: StoredProcessor) -> list[Row]:
    """One row for each flow that it reads or writes."""
    ends = {("source", flow) for flow in value.sources} | {
        ("destination", flow) for flow in value.destinations
    }
    return [{"id": value.id, "role": role, "flow": flow} for role, flow in sorted(ends)]


def account_row(value: Account) -> Row:
    return {
        "name": value.name,
        "salt": value.salt,
        "iterations": value.iterations,
        "stored_key": value.stored_key,
        "sealed_server_key": value.sealed_server_key,
        "home": value.home,
        "groups": _list(sorted(value.groups)),
        "operator": value.operator,
        "participant": value.participant,
        "locked": value.locked,
        "source": value.source,
    }


def account_of(row: Found) -> Account:
    return Account(
        name=row["name"],
        salt=bytes(row["salt"]),
        iterations=row["iterations"],
        stored_key=bytes(row["stored_key"]),
        sealed_server_key=bytes(row["sealed_server_key"]),
        home=row["home"],
        groups=frozenset(json.loads(row["groups"])),
        operator=bool(row["operator"]),
        participant=row["participant"],
        locked=bool(row["locked"]),
        source=row["source"],
    )


def audit_row(value: AuditEntry) -> Row:
    return {
        "time": time_text(value.time),
        "actor": value.actor,
        "act": value.act,
        "object": value.object,
        "outcome": value.outcome,
        "detail": value.detail,
    }


def audit_of(row: Found) -> AuditEntry:
    return AuditEntry(
        time=_time(row["time"]),
        actor=row["actor"],
        act=row["act"],
        object=row["object"],
        outcome=row["outcome"],
        detail=row["detail"],
        number=row["number"],
    )
