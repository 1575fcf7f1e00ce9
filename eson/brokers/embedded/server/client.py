"""A client as the requests see it, and the part of the broker that they share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, execute

from eson.brokers.embedded.log.partition import Partition
from eson.brokers.embedded.log.partitions import Partitions
from eson.brokers.embedded.server.catalogue import Catalogue, Topic
from eson.brokers.embedded.server.committed import Offsets
from eson.brokers.embedded.server.groups import Groups
from eson.brokers.embedded.server.rights import ANONYMOUS, CLUSTER, CLUSTER_NAME, GROUP, TOPIC, Rights
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.identity.verifier import Verifier

NODE_ID = 0


@dataclass
class Client:
    """Who is on the other end of a connection.  `told` is the address at which it is to find the broker."""

    host: str
    told: tuple[str, int]
    principal: str = ANONYMOUS
    client_id: str = ""
    software: str = ""


@dataclass
class Broker:
    """What all requests share.  `close_principal` cuts the open connections of a principal, "User:*" those of all."""

    reactor: Any
    catalogue: Catalogue
    partitions: Partitions
    rights: Rights
    groups: Groups
    offsets: Offsets
    now: Callable[[], int]
    admin: tuple[str, Verifier] | None = None
    retention_ms: int = 7 * 86_400_000
    close_principal: Callable[[str], None] = field(default=lambda principal: None)
    in_thread: Callable[..., Deferred[Any]] = execute
    """Calls a function where it disturbs nobody.  (Here at once: a running broker sets a pool of threads.)"""

    def pause(self) -> Deferred[None]:
        """Lets others have their turn."""
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(0, turn.callback, None)
        return turn

    def may(self, client: Client, operation: int, topic: str) -> bool:
        """Whether the client may do this to the topic."""
        return self.rights.allowed(client.principal, client.host, operation, TOPIC, topic)

    def may_group(self, client: Client, operation: int, group: str) -> bool:
        return self.rights.allowed(client.principal, client.host, operation, GROUP, group)

    def may_cluster(self, client: Client, operation: int) -> bool:
        return self.rights.allowed(client.principal, client.host, operation, CLUSTER, CLUSTER_NAME)

    def verifier(self, username: str) -> Verifier | None:
        if self.admin is not None and username == self.admin[0]:
            return self.admin[1]
        return self.catalogue.users.get(username)

    def find(
        self,
        client: Client,
        operation: int | None,
        name: str,
        topic_id: uuid.UUID | None = None,
        by_id: bool = False,
    ) -> Topic | ErrorCode:
        """A topic that a request names, by id or by name, or why it is refused; `operation` None: it never is."""
        if by_id:
            found = self.catalogue.by_id.get(topic_id) if topic_id is not None else None
            if found is None:
                return ErrorCode.UNKNOWN_TOPIC_ID
            name = found.name
        if operation is not None and not self.may(client, operation, name):
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
        found = self.catalogue.topics.get(name)
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if found is None else found

    def partition(self, topic: Topic, index: int) -> Partition | None:
        """None if the topic has no such partition.  Raises `OSError`."""
        if not 0 <= index < topic.partitions:
            return None
        return self.partitions.get(topic.id.hex, index)
