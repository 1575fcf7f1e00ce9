"""Whether a cluster's settings hold what ESON promises: asked at start, told in the log and by DESCRIBE BROKER."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eson.brokers.kafka.failures import answered
from eson.brokers.kafka.net.cluster import Cluster
from eson.brokers.kafka.wire.apis import DescribeConfigsRequest, DescribeProducersRequest

REAUTH, IDLE, AUTHORIZER = "connections.max.reauth.ms", "connections.max.idle.ms", "authorizer.class.name"
REPLICAS, MIN_ISR = "default.replication.factor", "min.insync.replicas"
MECHANISMS, SCRAM = "sasl.enabled.mechanisms", "SCRAM-SHA-256"
_BROKER_RESOURCE = 4
LONG_MS = 5 * 60 * 1000
"""A connection that outlives its user's credential by more than this is told of."""


async def concerns(cluster: Cluster, issues_credentials: bool) -> list[str]:
    """What an operator should know of the cluster's settings, a line each.  Run it in `Cluster.within`."""
    nodes = await cluster.nodes()
    told: dict[str, list[str]] = {}
    for node in nodes:
        for warning in warnings(await _settings(cluster, node), len(nodes), issues_credentials):
            told.setdefault(warning, []).append(str(node))
    return [f"{warning} (server {', '.join(where)})" for warning, where in told.items()]


async def keeps_producers(cluster: Cluster) -> bool:
    """Whether every server can tell what has arrived, without which nothing is carried exactly once."""
    return all([await cluster.offers(node, DescribeProducersRequest) for node in await cluster.nodes()])


def warnings(
    settings: Mapping[str, str | None], nodes: int = 1, issues_credentials: bool = True
) -> list[str]:
    """What one of `nodes` servers should be told of.  A listener's own value counts where it has one."""
    return [*_losing(settings, nodes), *(_revoking(settings) if issues_credentials else ())]


def _losing(settings: Mapping[str, str | None], nodes: int) -> Iterator[str]:
    """Queues are made with the cluster's own replication."""
    replicas, wanted = int(settings.get(REPLICAS) or 1), min(3, nodes)
    if replicas < wanted:
        yield f"{REPLICAS} is {replicas}: new queues have no more copies of their events. Set it to {wanted}"
    elif wanted > 2 and int(settings.get(MIN_ISR) or 1) < 2:
        yield f"{MIN_ISR} is 1: an acknowledged event may be on one server alone. Set it to 2"


def _revoking(settings: Mapping[str, str | None]) -> Iterator[str]:
    """What must be so for a right that is taken away to be gone."""
    if not settings.get(AUTHORIZER):
        yield f"{AUTHORIZER} is not set: anyone who logs in may do anything, and no right can be taken away"
    offered = [value or "" for name, value in settings.items() if name.endswith(MECHANISMS)]
    if offered and not any(SCRAM in value.split(",") for value in offered):
        yield f"{MECHANISMS} has no {SCRAM}: users who are issued a credential cannot log in with it"
    reauth = [int(value or 0) for name, value in settings.items() if name.endswith(REAUTH)]
    if not reauth or not all(reauth):
        yield (
            f"{REAUTH} is 0: a connection stays open after its credential was deleted. Its rights end at once, so no"
            f" event passes. Set it to 60000 in server.properties to have it closed"
        )
    idle = int(settings.get(IDLE) or 0)
    if not 0 < idle <= LONG_MS:
        yield (
            f"{IDLE} is {idle}: a reader that waited when its right was taken away may get one more answer within that"
            f" time. Set it to 60000 in server.properties"
        )


async def _settings(cluster: Cluster, node: int) -> dict[str, str | None]:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    asked = resource(resource_type=_BROKER_RESOURCE, resource_name=str(node), configuration_keys=None)
    response: Any = await cluster.to_node(
        node, DescribeConfigsRequest(resources=[asked], include_synonyms=False, include_documentation=False)
    )
    (result,) = response.results
    if result.error_code:
        raise answered(cluster.name, result.error_code, "describe its settings", result.error_message)
    return {config.name: config.value for config in result.configs}
