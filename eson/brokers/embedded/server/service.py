"""The broker as a whole: it opens the log, listens, retains, cuts connections, and ends cleanly."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from eson.brokers.embedded.log.committing import Committer
from eson.brokers.embedded.log.files import Files
from eson.brokers.embedded.log.partition import Limits
from eson.brokers.embedded.log.partitions import Partitions
from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.catalogue import Catalogue
from eson.brokers.embedded.server.client import Broker
from eson.brokers.embedded.server.committed import Offsets
from eson.brokers.embedded.server.connection import Caps, Connection
from eson.brokers.embedded.server.groups import Groups
from eson.brokers.embedded.server.login import Login
from eson.brokers.embedded.server.rights import EVERYONE, Rights
from eson.brokers.embedded.server.topic_configs import limits_of
from eson.brokers.embedded.settings import Address, Bound, Settings
from eson.identity.tls import BadTlsFile, ServerTls
from eson.identity.verifier import ISSUED_ITERATIONS, make_verifier

RETAIN_SECONDS = 300.0
ALL_EVERY = 12
"""Rounds of retention after which partitions that nobody uses are looked at too."""
MAX_CONNECTIONS = 10_000
_BACKLOG = 1024


@dataclass(frozen=True)
class Storage:
    """What the broker keeps things in; tests give their own."""

    files: Files
    committer: Committer
    now: Callable[[], int]


def open_broker(reactor: Any, settings: Settings, storage: Storage) -> Broker:
    """Reads what the data folder holds.  Raises `OSError`."""
    admin = None
    if settings.admin_password:
        admin = settings.admin, make_verifier(settings.admin_password, ISSUED_ITERATIONS)
    rights = Rights((f"User:{settings.admin}",), open_to_all=not settings.login)
    data, files, committer = settings.data, storage.files, storage.committer
    catalogue = Catalogue(files, committer, f"{data}/catalogue", rights)
    offsets = Offsets(files, committer, f"{data}/positions", storage.now)

    def limits(topic_id: str) -> Limits:
        topic = catalogue.by_id.get(UUID(topic_id))
        return limits_of({} if topic is None else topic.configs, settings.retention_ms)

    partitions = Partitions(files, committer, f"{data}/log", limits, storage.now, catalogue.epoch)
    return Broker(
        reactor,
        catalogue,
        partitions,
        rights,
        Groups(reactor),
        offsets,
        storage.now,
        admin,
        settings.retention_ms,
    )


class Connections:
    """All open connections of one broker, whatever listener they came through."""

    log = Logger()

    def __init__(self, broker: Broker, caps: Caps, login: bool, decoy_secret: str = "") -> None:
        self._broker, self._caps, self._with_login = broker, caps, login
        self._secret = bytes.fromhex(decoy_secret) or secrets.token_bytes(32)
        self._open: set[Connection] = set()

    def connection(self, advertise: Address | None) -> Connection | None:
        """One more; None if there are too many."""
        if len(self._open) >= MAX_CONNECTIONS:
            self.log.warn("refused: {count} connections are open", count=len(self._open))
            return None
        login = Login(self._broker, self._secret) if self._with_login else None
        connection = Connection(self._broker, self._caps, login, self._open.discard, advertise)
        self._open.add(connection)
        return connection

    def close_principal(self, principal: str) -> None:
        """Cuts what the principal has open, a Fetch that waits included.  "User:*": everybody but super users."""
        for connection in list(self._open):
            owner = connection.client.principal
            if connection.logged_in and (
                owner == principal or (principal == EVERYONE and self._can_lose(owner))
            ):
                connection.abort(f"{owner} lost a right")

    def _can_lose(self, principal: str) -> bool:
        return not self._broker.rights.is_free(principal)

    def close(self) -> None:
        for connection in list(self._open):
            connection.abort("the broker stops")


class Listener(Factory):
    """One kind of listener; `advertise` is what its clients are told."""

    noisy = False

    def __init__(self, connections: Connections, advertise: Address | None) -> None:
        self._connections, self._advertise = connections, advertise

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        connection = self._connections.connection(self._advertise)
        if connection is not None:
            connection.factory = self
        return connection


class EmbeddedService:
    """A running broker.  `stop` ends it cleanly: what was appended is synced and checkpointed."""

    log = Logger()

    def __init__(self, reactor: Any, settings: Settings, storage: Storage) -> None:
        self._reactor, self._settings, self._storage = reactor, settings, storage
        self.broker = open_broker(reactor, settings, storage)
        caps = Caps(produce=settings.produce_cap)
        self.connections = Connections(self.broker, caps, settings.login, settings.decoy_secret)
        self.broker.close_principal = self.connections.close_principal
        self.broker.in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        self._ports: list[Any] = []
        self._rounds = 0
        self._tls: ServerTls | None = None
        self._retaining = LoopingCall(self._try_to_retain)
        self._retaining.clock = reactor

    async def start(self) -> Bound:
        """Listens, and says where.  Raises `OSError`, `CannotListenError`, `BadTlsFile`."""
        await self.broker.catalogue.start(self._storage.now())
        await remove_leftovers(self.broker)
        settings, connections = self._settings, self.connections
        if settings.listen_tls:
            self._tls = ServerTls(Path(settings.certificate), Path(settings.key), "intermediate")
        plain = Listener(connections, None if settings.listen_tls else settings.advertise)
        tls = Listener(connections, settings.advertise)
        internal = settings.internal
        bound = Bound(
            tuple(self._listen(address, plain) for address in settings.listen),
            tuple(self._listen(address, tls, self._tls) for address in settings.listen_tls),
            None if internal is None else self._listen(internal, Listener(connections, None)),
        )
        self._retaining.start(RETAIN_SECONDS, now=False).addErrback(
            lambda failure: self.log.failure("retention has ended", failure=failure)
        )
        return bound

    def _listen(self, address: Address, factory: Listener, security: ServerTls | None = None) -> Address:
        host, number = address
        if security is None:
            port = self._reactor.listenTCP(number, factory, interface=host, backlog=_BACKLOG)
        else:
            port = self._reactor.listenSSL(number, factory, security, interface=host, backlog=_BACKLOG)
        self._ports.append(port)
        bound = port.getHost()
        return bound.host, bound.port

    async def stop(self) -> None:
        if self._retaining.running:
            self._retaining.stop()
        for port in self._ports:
            stopped = port.stopListening()
            if isinstance(stopped, Deferred):
                await stopped
        self.connections.close()
        self.broker.groups.close()
        self.broker.partitions.checkpoint()
        self._storage.committer.stop()

    def _reload(self) -> None:
        """A certificate that was renewed holds for connections from now on."""
        if self._tls is not None:
            try:
                self._tls.reload()
            except BadTlsFile as error:
                self.log.error("the old certificate stays: {error}", error=error.text)

    async def _try_to_retain(self) -> None:
        """A round that fails, on a full disk for instance, must not be the last: the next one makes room."""
        try:
            await self._retain()
        except StorageFailed as error:
            self.log.warn("a round of retention was not ended: {error}", error=error)
        except Exception:  # a mistake of ours must not end retention for good
            self.log.failure("a round of retention failed")

    async def _retain(self) -> None:
        """One round of retention, a partition at a time so that nobody waits for it; and the certificate again."""
        self._reload()
        broker = self.broker
        self._rounds += 1
        partitions = broker.partitions
        for topic_id, partition in partitions.in_use() if self._rounds % ALL_EVERY else partitions.stored():
            if broker.catalogue.has_id(topic_id):
                try:
                    broker.partitions.retain(topic_id, partition)
                except OSError as error:
                    self.log.error(
                        "{topic}/{partition}: {error}", topic=topic_id, partition=partition, error=error
                    )
                await broker.pause()
        await forget_groups(broker)


async def remove_leftovers(broker: Broker) -> None:
    """Ends what a crash interrupted: data and positions of topics that are gone.  Raises `StorageFailed`.

    Not while the catalogue lacks something: what a topic held must not go with a line that was damaged.
    """
    if not broker.catalogue.is_whole():
        return
    known = broker.catalogue.topics
    await broker.offsets.forget_topics(*(topic for topic in broker.offsets.topics() if topic not in known))
    broker.partitions.remove_orphans({topic.id.hex for topic in known.values()})


async def forget_groups(broker: Broker) -> None:
    """Positions that lapsed, and groups that have neither members nor positions.  Raises `StorageFailed`."""
    for group_id in broker.offsets.lapsed(lambda group: bool(_members(broker, group))):
        await broker.offsets.delete_group(group_id)
    broker.groups.forget_unused(broker.offsets.__contains__)
    broker.offsets.forget_types(lambda group: broker.groups.get(group) is not None)


def _members(broker: Broker, group_id: str) -> int:
    group = broker.groups.get(group_id)
    return 0 if group is None else len(group.members)
