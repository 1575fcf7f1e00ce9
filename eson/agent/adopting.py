"""Flows of queues that were there before: an operator may give a queue of any name the name of a flow."""

from __future__ import annotations

from dataclasses import replace

from eson.agent.hosting import Hosting
from eson.agent.parts import Parts
from eson.agent.records import every_flow
from eson.brokers.port import Queue
from eson.errors import Conflict, NameNotAllowed, NoSuch, NotAllowed
from eson.model.flows import Flow
from eson.model.principals import Caller
from eson.store.port import Store

_INTERNAL = "__"
"""What the names of a broker's own queues begin with, such as `__consumer_offsets`."""


async def check_adoption(store: Store, hosting: Hosting, parts: Parts, caller: Caller, flow: Flow) -> None:
    """Whether the queue that `topic=` names may become that of a flow.

    Operators only, because whoever has the flow reads the queue.  Raises `NotAllowed`, `NameNotAllowed`, `NoSuch`,
    `Conflict` if another flow has it, `TryLater`.
    """
    if not caller.operator:
        raise NotAllowed("administer", flow.broker)
    if flow.topic.startswith(_INTERNAL):
        raise NameNotAllowed(f"{flow.topic} is the broker's own")
    if flow.topic != flow.name and hosting.hosts(flow.topic):
        raise NameNotAllowed(f"{flow.topic} is the queue of the flow of that name")
    if await parts.find_queue(flow) is None:
        raise NoSuch("queue", flow.topic)
    async for one in every_flow(store):
        if (one.broker, one.topic) == (flow.broker, flow.topic):
            raise Conflict(f"{flow.topic} is the queue of {one.name}")


def adopted(flow: Flow, queue: Queue) -> Flow:
    """The flow of a queue that was there before: as the queue is, where nobody says otherwise."""
    if "partitions" not in flow.settings:
        flow = replace(flow, partitions=queue.partitions)
    if "retention" not in flow.settings:
        flow = replace(flow, retention_ms=queue.retention_ms, retention_bytes=queue.retention_bytes)
    # others write to it, and their keys must stay where they are
    return replace(flow, adopted=True, made_for="")
