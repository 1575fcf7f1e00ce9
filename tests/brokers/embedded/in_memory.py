"""A broker in memory: real protocol, real log, no sockets, no threads, a clock that a test turns."""

from __future__ import annotations

from typing import Any

from brokers.embedded.faulty_files import FaultyFiles
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection

from eson.brokers.embedded.log.committing import ManualCommitter
from eson.brokers.embedded.server.connection import Caps, Connection
from eson.brokers.embedded.server.service import Connections, Storage, open_broker
from eson.brokers.embedded.settings import Settings
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.messages import decode_response, encode_request, response_correlation_id
from eson.identity.mechanisms.scram import ScramClient

PASSWORD = "the administrator's long password"


class Transport(StringTransportWithDisconnection):
    """Notes an abort; takes what is written without end unless a test says that the peer reads nothing."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Client:
    """One connection to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        made = broker.connections.connection(broker.advertise)
        assert made is not None
        self.connection: Connection = made
        self.transport = Transport()
        self.transport.protocol = self.connection
        self._broker = broker
        self._reader = FrameReader(64 << 20)
        self._asked: dict[int, tuple[Any, int]] = {}
        self._next = 0
        self.answers: list[tuple[int, Any]] = []
        self.connection.makeConnection(self.transport)

    @property
    def closed(self) -> bool:
        return not self.transport.connected

    def send(self, request: Any, version: int) -> int:
        """Sends; the correlation id."""
        self._next += 1
        self._asked[self._next] = (apis.response_class(request.API_KEY), version)
        self.octets(encode_request(request, version, self._next, "test"))
        return self._next

    def octets(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def receive(self) -> list[tuple[int, Any]]:
        """What came since the last time: (correlation id, response)."""
        fresh = []
        for frame in self._reader.feed(self.transport.value()):
            number = response_correlation_id(frame)
            response, version = self._asked.pop(number)
            fresh.append((number, decode_response(response, version, frame)))
        self.transport.clear()
        self.answers += fresh
        return fresh

    def ask(self, request: Any, version: int) -> Any:
        """Sends, lets the disk work, gives the answer."""
        number = self.send(request, version)
        self._broker.settle()
        answers = dict(self.receive())
        assert number in answers, "no answer"
        return answers[number]

    def login(self, username: str = "admin", password: str = PASSWORD) -> Any:
        """The last answer of a SCRAM login."""
        self.ask(apis.SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1)
        scram = ScramClient(username, password)
        first = self.ask(apis.SaslAuthenticateRequest(auth_bytes=scram.initial()), 2)
        last = self.ask(apis.SaslAuthenticateRequest(auth_bytes=scram.answer(first.auth_bytes)), 2)
        if not last.error_code:
            scram.answer(last.auth_bytes)
            assert scram.finished()
        return last


class MemoryBroker:
    """`settle` runs what the disk has to do; `reopen` is a new process after a crash."""

    def __init__(
        self, login: bool = False, caps: Caps | None = None, advertise: tuple[str, int] | None = None
    ) -> None:
        self.login, self.caps, self.advertise = login, caps or Caps(), advertise
        self.files = FaultyFiles()
        self.reactor: Any = MemoryReactorClock()
        self.open()

    def open(self) -> None:
        self.committer = ManualCommitter()
        storage = Storage(
            self.files, self.committer, lambda: 1_700_000_000_000 + int(self.reactor.seconds() * 1000)
        )
        settings = Settings(
            "data", login=self.login, admin_password=PASSWORD if self.login else "", decoy_secret="d0"
        )
        self.broker = open_broker(self.reactor, settings, storage)
        self.connections = Connections(self.broker, self.caps, self.login, settings.decoy_secret)
        self.broker.close_principal = self.connections.close_principal
        Deferred.fromCoroutine(self.broker.catalogue.start(storage.now()))
        self.settle()

    def crash(self) -> None:
        """The process is gone, and what was not synced with it."""
        self.files = self.files.crash()
        self.open()

    def settle(self) -> None:
        while self.committer.flush():
            self.reactor.advance(0)
        self.reactor.advance(0)

    def client(self, username: str = "", password: str = PASSWORD) -> Client:
        client = Client(self)
        if self.login and username:
            assert client.login(username, password).error_code == 0
        return client

    def create(self, client: Client, name: str, partitions: int = 1) -> int:
        """Creates a topic; the error code."""
        topic = apis.CreateTopicsRequest.CreatableTopic(
            name=name, num_partitions=partitions, replication_factor=1, assignments=[], configs=[]
        )
        answer = client.ask(apis.CreateTopicsRequest(topics=[topic], timeout_ms=1000, validate_only=False), 7)
        return int(answer.topics[0].error_code)
