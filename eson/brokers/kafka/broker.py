"""A broker that speaks Kafka's protocol, behind the port: Apache Kafka and its kin, and the embedded broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from weakref import WeakSet

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from eson.brokers.kafka import safety
from eson.brokers.kafka.net.cluster import Cluster, Topic
from eson.brokers.kafka.positions import Positions
from eson.brokers.kafka.sink import KafkaSink, producer_identity
from eson.brokers.kafka.source import KafkaSource, check_partitions
from eson.brokers.kafka.topics import Topics
from eson.brokers.kafka.users import Users
from eson.brokers.port import Access, Capability, Queue, Rights
from eson.model.servers import Server

CHECK_AGAIN = 60.0
"""Seconds until a cluster that could not be asked for its settings is asked again."""
KAFKA = Capability.ISSUES_CREDENTIALS | Capability.EXACTLY_ONCE | Capability.SEEK_BY_TIME


class KafkaBroker:
    """Implements `eson.brokers.port.Broker`.

    `access` is how the agent reaches it, with the administrator's credential; the rest is what clients are told:
    `advertised` servers (None: those of `access`), `advertised_tls` of them with TLS (None: all, if `access` has TLS),
    `client_security` ("": that of `access`), `client_trust` (PEM).  `reactor` is Twisted's, or a test's.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        access: Access,
        *,
        kind: str = "kafka",
        capabilities: Capability = KAFKA,
        advertised: Sequence[Server] | None = None,
        advertised_tls: Sequence[Server] | None = None,
        client_security: str = "",
        client_trust: str | None = None,
        timeout: float = 15.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.kind, self.capabilities = name, kind, capabilities
        tls = access.security.endswith("ssl")
        own = tuple(access.servers)
        self._servers = tuple(advertised) if advertised is not None else (() if tls else own)
        self._tls_servers = tuple(advertised_tls) if advertised_tls is not None else (own if tls else ())
        self._client_security = client_security or access.security
        self._client_trust = access.trust if client_trust is None else client_trust
        self._reactor = reactor
        self._now = now
        self._sources: WeakSet[KafkaSource] = WeakSet()
        self._sinks: WeakSet[KafkaSink] = WeakSet()
        self._checking: Deferred[None] | None = None
        self._check_again: Any = None
        self._concerns: Sequence[str] = ()
        self._access = access
        # writes do not wait behind administration, which Kafka answers in order and slowly
        self._admin = Cluster(reactor, name, access, timeout)
        self._data = Cluster(reactor, name, access, timeout)
        self._topics = Topics(self._admin)
        self._positions = Positions(self._admin)
        self._users = Users(self._admin)

    def set_access(self, access: Access) -> None:
        """From now on the broker is reached so: an embedded one came up again, elsewhere.  Reads and writes go on."""
        self._access = access
        self._admin.set_access(access)
        self._data.set_access(access)

    # what clients are told

    async def servers(self, tls: bool = False) -> Sequence[Server]:
        return self._tls_servers if tls else self._servers

    def access(self) -> Access:
        return self._access

    def client_security(self) -> str:
        return self._client_security

    def client_trust(self) -> str:
        return self._client_trust

    def concerns(self) -> Sequence[str]:
        return self._concerns

    # queues

    async def create_queue(
        self,
        name: str,
        partitions: int = 1,
        retention_ms: int | None = None,
        retention_bytes: int | None = None,
    ) -> Queue:
        return await self._admin.within(self._topics.create(name, partitions, retention_ms, retention_bytes))

    async def describe_queue(self, name: str) -> Queue | None:
        return await self._admin.within(self._admin.retrying(lambda: self._topics.describe(name)))

    async def update_queue(self, name: str, retention_ms: int | None, retention_bytes: int | None) -> None:
        await self._admin.within(self._topics.update(name, retention_ms, retention_bytes))

    async def add_partitions(self, name: str, partitions: int) -> None:
        await self._admin.within(self._topics.add_partitions(name, partitions))

    async def delete_queue(self, name: str) -> None:
        await self._admin.within(self._topics.delete(name))

    async def list_queues(self) -> Sequence[str]:
        return await self._admin.within(self._admin.retrying(self._topics.names))

    async def list_consumers(self, name: str) -> Sequence[str]:
        return await self._admin.within(self._positions.consumers(name))

    # positions

    async def first_offsets(self, name: str) -> Mapping[int, int]:
        return await self._admin.within(self._positions.first(name))

    async def end_offsets(self, name: str) -> Mapping[int, int]:
        return await self._admin.within(self._positions.end(name))

    async def offsets_at(self, name: str, when: datetime) -> Mapping[int, int]:
        return await self._admin.within(self._positions.at(name, when))

    # users

    async def set_credential(self, username: str, password: str) -> None:
        await self._admin.within(self._users.set_password(username, password))

    async def allow(self, username: str, rights: Rights) -> None:
        await self._admin.within(self._users.allow(username, rights))

    async def disallow(self, username: str) -> None:
        await self._admin.within(self._users.disallow(username))

    async def delete_credential(self, username: str) -> None:
        await self._admin.within(self._users.remove(username))

    async def list_users(self) -> Sequence[str]:
        return await self._admin.within(self._users.names())

    # records

    async def read(self, name: str, start: Mapping[int, int], end: Mapping[int, int] | None) -> KafkaSource:
        topic = await self._data.within(self._topic(name))
        check_partitions(topic, start)
        source = KafkaSource(self._data, topic, start, end)
        self._sources.add(source)
        return source

    async def write(self, name: str) -> KafkaSink:
        topic = await self._data.within(self._topic(name))
        identity = await self._data.within(producer_identity(self._data))
        sink = KafkaSink(self._data, topic, identity, self._now)
        self._sinks.add(sink)
        return sink

    async def _topic(self, name: str) -> Topic:
        return await self._data.retrying(lambda: self._data.topic(name))

    # life

    async def start(self) -> None:
        if self._checking is None:
            self._checking = Deferred.fromCoroutine(self._check())
            self._checking.addErrback(self._not_checked)

    async def _check(self) -> None:
        """Looks what the cluster's settings and versions mean for what is promised in its name."""
        issues = Capability.ISSUES_CREDENTIALS in self.capabilities
        self._concerns = await self._admin.within(safety.concerns(self._admin, issues))
        for concern in self._concerns:
            self.log.warn("Broker {broker}: {warning}", broker=self.name, warning=concern)
        if not await self._admin.within(safety.keeps_producers(self._admin)):
            self.capabilities &= ~Capability.EXACTLY_ONCE

    def _not_checked(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self.log.warn(
                "Broker {broker} cannot be checked now: {error}",
                broker=self.name,
                error=failure.getErrorMessage(),
            )
            self._check_again = self._reactor.callLater(CHECK_AGAIN, self._restart_check)

    def _restart_check(self) -> None:
        self._check_again = self._checking = None
        Deferred.fromCoroutine(self.start())

    async def stop(self) -> None:
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        again, self._check_again = self._check_again, None
        if again is not None:
            again.cancel()
        for source in tuple(self._sources):
            source.close()
        for sink in tuple(self._sinks):
            sink.close()
        self._admin.close()
        self._data.close()
