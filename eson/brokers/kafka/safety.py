"""Whether a broker's settings let a revocation hold: asked at start, told in the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from eson.brokers.kafka.failures import answered
from eson.brokers.kafka.net.cluster import Cluster
from eson.brokers.kafka.wire.apis import DescribeConfigsRequest

REAUTH, IDLE, AUTHORIZER = "connections.max.reauth.ms", "connections.max.idle.ms", "authorizer.class.name"
_BROKER_RESOURCE = 4
LONG_MS = 5 * 60 * 1000
"""A connection that outlives its user's credential by more than this is told of."""


async def check_revocation(cluster: Cluster, issues_credentials: bool, log: Logger) -> None:
    """Logs what each server's settings mean for those whose rights are taken away.  Run it in `Cluster.within`."""
    for node in await cluster.nodes():
        settings = await _settings(cluster, node)
        for warning in warnings(settings) if issues_credentials else ():
            log.warn(
                "Broker {broker}, server {node}: {warning}", broker=cluster.name, node=node, warning=warning
            )


def warnings(settings: Mapping[str, str | None]) -> list[str]:
    """What an operator should know, a line each.  A listener's own value counts where it has one."""
    found = []
    if not settings.get(AUTHORIZER):
        found.append(
            f"{AUTHORIZER} is not set: anyone who logs in may do anything, and no right can be taken away"
        )
    reauth = [int(value or 0) for name, value in settings.items() if name.endswith(REAUTH)]
    if not reauth or not all(reauth):
        found.append(
            f"{REAUTH} is 0: a connection stays open after its credential was deleted. Its rights end at once, so no"
            f" event passes. Set it to 60000 in server.properties to have it closed"
        )
    idle = int(settings.get(IDLE) or 0)
    if not 0 < idle <= LONG_MS:
        found.append(
            f"{IDLE} is {idle}: a reader that waited when its right was taken away may get one more answer within that"
            f" time. Set it to 60000 in server.properties"
        )
    return found


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
