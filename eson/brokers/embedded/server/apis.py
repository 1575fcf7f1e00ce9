"""Which requests are understood, in which versions, and what performs each.  Nothing else is."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from eson.brokers.embedded.server import (
    acls,
    configs,
    describing,
    epochs,
    fetching,
    membership,
    offsets,
    positions,
    producing,
    scram,
    topics,
)
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.login import AUTHENTICATE, HANDSHAKE
from eson.brokers.kafka.wire import apis as wire
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

Perform = Callable[[Broker, Client, Request], Any]


class Api(NamedTuple):
    """`perform` gives the response, None for no response, or a Deferred of either."""

    first: int
    last: int
    perform: Perform


def _awaited(perform: Callable[[Broker, Client, Request], Coroutine[Any, Any, Any]]) -> Perform:
    def start(broker: Broker, client: Client, request: Request) -> Deferred[Any]:
        return Deferred.fromCoroutine(perform(broker, client, request))

    return _to_the_end(start)


def _to_the_end(perform: Perform) -> Perform:
    """A client that leaves cancels what it waits for, never the change: what the journal has must hold in memory too."""

    def start(broker: Broker, client: Client, request: Request) -> Any:
        answer = perform(broker, client, request)
        if not isinstance(answer, Deferred):
            return answer
        told: Deferred[Any] = Deferred()
        answer.addBoth(told.callback)  # a failure too
        return told

    return start


def api_versions(client: Client, request: Request) -> Any:
    """Allowed at any time, before the login too."""
    body = request.body
    if request.version >= SOFTWARE_FROM and not all(
        _SOFTWARE.fullmatch(text) for text in (body.client_software_name, body.client_software_version)
    ):
        return wire.ApiVersionsResponse(
            version=request.version, error_code=ErrorCode.INVALID_REQUEST, api_keys=[]
        )
    client.software = f"{body.client_software_name} {body.client_software_version}"[:100]
    return _versions(request.version, ErrorCode.NONE)


def unsupported() -> Any:
    """What is said to an ApiVersions that is too new: version 0, error 35, and what there is."""
    return _versions(0, ErrorCode.UNSUPPORTED_VERSION)


def _versions(version: int, code: ErrorCode) -> Any:
    return wire.ApiVersionsResponse(
        version=version,
        error_code=code,
        api_keys=[
            wire.ApiVersionsResponse.ApiVersion(
                api_key=key, min_version=_told(key, api.first), max_version=api.last
            )
            for key, api in APIS.items()
        ],
    )


def _told(key: int, first: int) -> int:
    # librdkafka takes codecs for supported only where Produce begins with 0 (KAFKA-18659); Kafka 4 says the same
    return 0 if key == PRODUCE else first


def _answered_by_connection(broker: Broker, client: Client, request: Request) -> Any:
    """A second login: Kafka re-authenticates so; here the session has no end, so there is nothing to renew."""
    if request.api_key == HANDSHAKE:
        return wire.SaslHandshakeResponse(
            version=request.version, error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[]
        )
    return wire.SaslAuthenticateResponse(
        version=request.version,
        error_code=ErrorCode.ILLEGAL_SASL_STATE,
        error_message="SaslAuthenticate request received after successful authentication",
        auth_bytes=b"",
    )


SOFTWARE_FROM = 3
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
"""What names and versions of clients look like (KIP-511)."""
PRODUCE = int(wire.ProduceRequest.API_KEY)
BEFORE_LOGIN = frozenset((wire.API_VERSIONS, HANDSHAKE, AUTHENTICATE))
APIS: dict[int, Api] = {
    0: Api(3, 13, producing.produce),
    1: Api(4, 18, fetching.fetch),
    2: Api(1, 11, positions.list_offsets),
    3: Api(0, 13, describing.metadata),
    8: Api(2, 10, _to_the_end(offsets.offset_commit)),
    9: Api(1, 10, offsets.offset_fetch),
    10: Api(0, 6, describing.find_coordinator),
    11: Api(0, 9, membership.join_group),
    12: Api(0, 4, membership.heartbeat),
    13: Api(0, 5, membership.leave_group),
    14: Api(0, 5, membership.sync_group),
    15: Api(0, 6, membership.describe_groups),
    16: Api(0, 5, membership.list_groups),
    17: Api(0, 1, _answered_by_connection),
    18: Api(0, 4, lambda broker, client, request: api_versions(client, request)),
    19: Api(2, 7, _awaited(topics.create_topics)),
    20: Api(1, 6, _awaited(topics.delete_topics)),
    21: Api(0, 2, _awaited(positions.delete_records)),
    22: Api(0, 5, _awaited(producing.init_producer_id)),
    23: Api(2, 4, epochs.offset_for_leader_epoch),
    29: Api(1, 3, acls.describe_acls),
    30: Api(1, 3, _awaited(acls.create_acls)),
    31: Api(1, 3, _awaited(acls.delete_acls)),
    32: Api(1, 4, configs.describe_configs),
    36: Api(0, 2, _answered_by_connection),
    37: Api(0, 3, _awaited(topics.create_partitions)),
    42: Api(0, 2, _awaited(offsets.delete_groups)),
    44: Api(0, 1, _awaited(configs.incremental_alter_configs)),
    50: Api(0, 0, scram.describe_credentials),
    51: Api(0, 0, _awaited(scram.alter_credentials)),
    60: Api(0, 2, describing.describe_cluster),
    61: Api(0, 0, producing.describe_producers),
}
