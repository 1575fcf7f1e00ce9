"""What a flow consists of outside the store: a queue at a broker, and records in DNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from eson.agent.hosting import queue_name
from eson.brokers.port import Broker, Capability, Queue, Rights
from eson.errors import BackendFailed
from eson.model.flows import Flow, Visibility
from eson.names.port import FlowNames, Names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eson.model.servers import Server

_PROTOCOLS = {"embedded": "kafka"}


def protocol(broker: Broker) -> str:
    """The `type` of a broker's flows: the protocol that clients speak."""
    return _PROTOCOLS.get(broker.kind, broker.kind)


def issues_credentials(broker: Broker) -> bool:
    return Capability.ISSUES_CREDENTIALS in broker.capabilities


async def client_servers(broker: Broker) -> Sequence[Server]:
    """What clients are told: the TLS listeners where there are some, else the others."""
    return await broker.servers(tls=True) or await broker.servers()


class Parts:
    """Makes and removes queues and records; every step may be repeated."""

    def __init__(self, brokers: Mapping[str, Broker], names: Names) -> None:
        self._brokers = brokers
        self._names = names

    def broker(self, name: str) -> Broker:
        """Raises `BackendFailed` if the configuration does not have it any more."""
        try:
            return self._brokers[name]
        except KeyError:
            raise BackendFailed(
                f"Broker {name} is not configured: the agent's operator must put it back into `brokers:`"
            ) from None

    def has_broker(self, name: str) -> bool:
        return name in self._brokers

    def queue_name(self, flow: str, broker: str) -> str:
        """The queue's real name at a broker: Kafka holds dots, others get `_`."""
        return queue_name(flow, dots=protocol(self.broker(broker)) == "kafka")

    async def find_queue(self, flow: Flow) -> Queue | None:
        return await self.broker(flow.broker).describe_queue(flow.topic)

    async def make_queue(self, flow: Flow) -> Queue:
        return await self.broker(flow.broker).create_queue(
            flow.topic, flow.partitions, flow.retention_ms, flow.retention_bytes
        )

    async def set_retention(self, flow: Flow) -> None:
        """Makes the queue keep what the flow says."""
        await self.broker(flow.broker).update_queue(flow.topic, flow.retention_ms, flow.retention_bytes)

    async def publish(self, flow: Flow) -> None:
        """Makes DNS say what it should of this flow: nothing, if it is private."""
        if flow.visibility is Visibility.PRIVATE:  # a copy tells the name of its flow
            await self._names.withdraw_flow(flow.name)
            return
        broker = self.broker(flow.broker)
        await self._names.publish_flow(
            FlowNames(
                flow=flow.name,
                namespace=flow.namespace,
                broker_kind=protocol(broker),
                servers=tuple(await client_servers(broker)),
                broker_tls=broker.client_security().endswith("ssl"),
                queue=flow.topic,
                catalogued=not flow.copy_of,
                copy=bool(flow.copy_of),
            )
        )

    async def withdraw(self, flow: str) -> None:
        await self._names.withdraw_flow(flow)

    async def take_rights(self, broker: str, username: str) -> None:
        """Takes a user's rights, which cuts its open connections."""
        kind = self.broker(broker)
        if issues_credentials(kind):
            await kind.disallow(username)

    async def shut_out(self, broker: str, username: str) -> None:
        """Takes the rights first, which cuts open connections, then the credential."""
        kind = self.broker(broker)
        if issues_credentials(kind):
            await kind.disallow(username)
            await kind.delete_credential(username)

    async def give_rights(self, flow: Flow) -> None:
        """Lets the user of a copy read it, or the user of a flow read and write it."""
        kind = self.broker(flow.broker)
        if not issues_credentials(kind):
            return
        if flow.copy_of:
            rights = Rights(read=(flow.topic,), group=flow.name)
        else:
            rights = Rights(read=(flow.topic,), write=(flow.topic,), groups_prefix=flow.name)
        await kind.allow(flow.name, rights)

    async def admit(self, broker: str, username: str, topics: tuple[str, ...]) -> None:
        """Lets a user whose password is its name read some queues too, in groups that begin with its name and `-`."""
        kind = self.broker(broker)
        if issues_credentials(kind):
            await kind.allow(username, Rights(read=topics, groups_prefix=f"{username}-"))
            await kind.set_credential(username, username)
