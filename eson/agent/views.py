"""Flows, subscriptions, processors and the rest as items with the keys of interface section 6, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from eson.agent.hosting import Nameserver, Participant
from eson.agent.parts import client_servers, issues_credentials, protocol
from eson.agent.ports import Credential
from eson.agent.settings import format_retention, shown
from eson.agent.words import cleaned
from eson.brokers.port import Broker, Capability
from eson.fnap.core.replies import Item, Value
from eson.model.flows import Flow
from eson.model.positions import format_time
from eson.model.subscriptions import Side, State, Subscription
from eson.names.port import Names
from eson.processors.port import ProcessorStatus
from eson.store.records import StoredProcessor

BASE_KEYS = ("flow", "type", "topic", "server", "security")
SET_KEYS = ("visibility", "description", "partitions", "retention", "mode", "limit")
FLOW_KEYS = (*BASE_KEYS, "agent", "namespace", "owner", *SET_KEYS, "guarantee", "created")
COPY_KEYS = (
    "copy-of", "principal", "state", "reason", "provider-state", "since", "start", "lag", "last-event", "rate",
    "lineage",
)  # fmt: skip
SUBSCRIPTION_KEYS = (
    "subscription", "flow", "copy", "local", "principal", "state", "reason", "actor", "since", "start", "lag", "rate",
    "last-event", "token",
)  # fmt: skip
SUBSCRIBER_KEYS = ("subscriber", "flow", "principal", "state", "reason", "since", "lag", "rate", "expires")
PROCESSOR_KEYS = (
    "processor", "kind", "source", "destination", "state", "pid", "since", "restarts", "lag", "rate", "last-event",
    "error", "gap", "reason",
)  # fmt: skip
CREDENTIAL_KEYS = (
    "copy", "flow", "type", "server", "security", "mechanism", "username", "password", "group", "trust", "expires",
)  # fmt: skip


def guarantee(broker: Broker) -> str:
    return "exactly-once" if Capability.EXACTLY_ONCE in broker.capabilities else "at-least-once"


async def flow_item(flow: Flow, broker: Broker, agent: str) -> Item:
    """DESCRIBE FLOW, without what only a copy has."""
    security = broker.client_security()
    values: dict[str, Value] = {
        "flow": flow.name,
        "type": protocol(broker),
        "topic": flow.topic,
        "server": [str(server) for server in await client_servers(broker)],
        "security": "" if security == "plaintext" else security,
        "agent": agent,
        "namespace": flow.namespace,
        "owner": str(flow.owner),
        "visibility": flow.visibility.value,
        "description": flow.description,
        "partitions": flow.partitions,
        "retention": format_retention(flow.retention_ms, flow.retention_bytes),
        "mode": flow.mode,
        "limit": str(flow.limit),
        "guarantee": guarantee(broker),
        "created": format_time(flow.created),
    }
    return shown(FLOW_KEYS, values)


def text_keys(flow: Flow) -> frozenset[str]:
    """What TEXT shows of a flow: the draft's four lines, `security`, what somebody set, and all that a copy has."""
    extra = COPY_KEYS if flow.copy_of else ()
    return frozenset({*BASE_KEYS, *extra} | (flow.settings & set(SET_KEYS)))


def _progress(status: ProcessorStatus | None) -> dict[str, Value]:
    if status is None:
        return {}
    values: dict[str, Value] = {}
    if status.lag is not None:
        values["lag"] = status.lag
    if status.rate is not None:
        values["rate"] = round(status.rate, 1)
    if status.last_event is not None:
        values["last-event"] = format_time(status.last_event)
    return values


def _reason(state: State, reason: str, status: ProcessorStatus | None) -> str:
    """Why it is in that state: of one in trouble with the last error that its processor told."""
    error = "" if status is None or state is State.ENDED else status.last_error
    return f"{reason}: {cleaned(error)}" if reason and error else reason


def _start(subscription: Subscription) -> str:
    return ",".join(f"{partition}:{offset}" for partition, offset in subscription.start)


def copy_values(subscription: Subscription, status: ProcessorStatus | None) -> Mapping[str, Value]:
    """What DESCRIBE FLOW adds for a copy."""
    return shown(
        COPY_KEYS,
        {
            "copy-of": subscription.flow,
            "principal": str(subscription.principal),
            "state": subscription.state.value,
            "reason": _reason(subscription.state, subscription.reason, status),
            "provider-state": subscription.state.value,
            "since": format_time(subscription.since),
            "start": _start(subscription),
            "lineage": ",".join(subscription.lineage),
            **_progress(status),
        },
    )


def subscription_item(subscription: Subscription, status: ProcessorStatus | None, own: bool) -> Item:
    """GET SUBSCRIPTIONS; `own`: asked by its own principal, who may see the token that it was made with."""
    ended = subscription.state is State.ENDED
    return shown(
        SUBSCRIPTION_KEYS,
        {
            "subscription": subscription.copy,
            "flow": subscription.flow,
            "copy": subscription.copy,
            "local": subscription.local,
            "principal": str(subscription.principal),
            "state": subscription.state.value,
            "reason": _reason(subscription.state, subscription.reason, status),
            "actor": subscription.actor,
            "since": format_time(subscription.since),
            "start": _start(subscription) or subscription.position,
            "token": subscription.token if own and subscription.side is Side.PROVIDER else "",
            **({} if ended else _progress(status)),
        },
    )


def subscriber_item(
    subscription: Subscription, status: ProcessorStatus | None, expires: datetime | None
) -> Item:
    """GET SUBSCRIBERS; `expires`: when its lease or its request runs out, if it does."""
    return shown(
        SUBSCRIBER_KEYS,
        {
            "subscriber": subscription.copy,
            "flow": subscription.flow,
            "principal": str(subscription.principal),
            "state": subscription.state.value,
            "reason": _reason(subscription.state, subscription.reason, status),
            "since": format_time(subscription.since),
            **_progress(status),
            "expires": "" if expires is None else format_time(expires),
        },
    )


def local_processor_item(processor: StoredProcessor, status: ProcessorStatus | None) -> Item:
    """GET SUBSCRIPTIONS of a processor between local flows."""
    return shown(
        SUBSCRIPTION_KEYS,
        {
            "subscription": processor.id,
            "flow": ",".join(processor.sources),
            "local": ",".join(processor.destinations),
            "principal": str(processor.owner),
            "state": processor.state.value,
            "reason": _reason(processor.state, processor.reason, status),
            "actor": processor.actor,
            "since": format_time(processor.since),
            "start": ",".join(f"{partition}:{offset}" for partition, offset in processor.start) or "NOW",
            **_progress(status),
        },
    )


def processor_item(status: ProcessorStatus, sources: Sequence[str], destinations: Sequence[str]) -> Item:
    return shown(
        PROCESSOR_KEYS,
        {
            "processor": status.id,
            "kind": status.kind,
            "source": list(sources),
            "destination": list(destinations),
            "state": status.state,
            "pid": status.pid,
            "since": "" if status.since is None else format_time(status.since),
            "restarts": status.restarts,
            **_progress(status),
            "error": status.last_error,
            "gap": [f"{partition}:{first}-{last}" for partition, first, last in status.gaps],
        },
    )


def ended_processor_item(processor: StoredProcessor) -> Item:
    """What is kept of one that has ended."""
    return shown(
        PROCESSOR_KEYS,
        {
            "processor": processor.id,
            "kind": processor.kind,
            "source": list(processor.sources),
            "destination": list(processor.destinations),
            "state": processor.state.value,
            "since": format_time(processor.since),
            "reason": processor.reason,
        },
    )


async def broker_item(broker: Broker, operator: bool = False) -> Item:
    """`warning`, what its settings do not hold, is for operators alone."""
    item: dict[str, Value] = {
        "broker": broker.name,
        "type": protocol(broker),
        "kind": broker.kind,
        "server": [str(server) for server in await client_servers(broker)],
        "issues-credentials": issues_credentials(broker),
        "guarantee": guarantee(broker),
    }
    concerns = broker.concerns() if operator else ()
    return {**item, "warning": list(concerns)} if concerns else item


def credential_item(credential: Credential, copy: bool) -> Item:
    return shown(
        CREDENTIAL_KEYS,
        {
            "copy" if copy else "flow": credential.name,
            "type": credential.kind,
            "server": [str(server) for server in credential.servers],
            "security": credential.security,
            "mechanism": credential.mechanism,
            "username": credential.username,
            "password": credential.password,
            "group": credential.group,
            "trust": credential.trust,
            "expires": "" if credential.expires is None else format_time(credential.expires),
        },
    )


def agent_item(participant: Participant) -> Item:
    return shown(
        ("agent", "participant", "address", "port", "tls"),
        {
            "agent": participant.agent,
            "participant": participant.domain,
            "address": ",".join(participant.addresses),
            "port": participant.port,
            "tls": participant.tls,
        },
    )


def nameserver_item(nameserver: Nameserver, names: Names) -> Item:
    """`serial` is the highest of its zones: it rises whichever of them changes."""
    zones = names.zones()
    return shown(
        ("nameserver", "host", "kind", "zones", "serial"),
        {
            "nameserver": nameserver.name,
            "host": nameserver.host,
            "kind": nameserver.kind,
            "zones": ",".join(zones),
            "serial": max(map(names.serial, zones), default=None),
        },
    )


def scalars(item: Item) -> Item:
    """An item without its lists, for GET."""
    return {key: value for key, value in item.items() if isinstance(value, str | int | float)}
