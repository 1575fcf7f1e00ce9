"""What the embedded broker says before a login, in it and of itself is what Apache Kafka says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from servers.peers import Peers, plain

from eson.brokers.embedded.server.apis import APIS
from eson.brokers.kafka.net.login import client_mechanism
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.messages import decode_response, encode_request
from eson.brokers.port import Access

CLOSED = "closed"
METADATA = apis.MetadataRequest(topics=[], allow_auto_topic_creation=False)
Seen = list[Any]


class Wire:
    """A connection that sends what it is told, and sees when it is closed."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire, self._file, self._last = wire, wire.makefile("rb"), 0

    def send(self, octets: bytes) -> None:
        with suppress(OSError):  # it was closed: the answer that does not come shows it
            self._wire.sendall(octets)

    def frame(self) -> bytes | None:
        """The next frame, None at the end."""
        try:
            length = self._file.read(4)
            return self._file.read(int.from_bytes(length, "big")) if len(length) == 4 else None
        except ConnectionError:
            return None

    def ask(self, request: Any, version: int) -> Any:
        self._last += 1
        self.send(encode_request(request, version, self._last))
        frame = self.frame()
        kind = getattr(apis, type(request).__name__.replace("Request", "Response"))
        return None if frame is None else decode_response(kind, version, memoryview(frame))

    def ask_token(self, octets: bytes) -> bytes | None:
        """A message of SASL without a header."""
        self.send(len(octets).to_bytes(4, "big") + octets)
        return self.frame()

    def handshake(self, mechanism: str = "SCRAM-SHA-256", version: int = 1) -> Any:
        return self.ask(apis.SaslHandshakeRequest(mechanism=mechanism), version)

    def authenticate(self, octets: bytes, version: int = 2) -> Any:
        return self.ask(apis.SaslAuthenticateRequest(auth_bytes=octets), version)


Story = Callable[[Wire, Access], Iterator[Any]]


@contextmanager
def wire_to(peers: Peers, name: str) -> Iterator[Wire]:
    server, _ = peers.servers[name]
    with socket.create_connection((server.host, server.port), 20) as wire:
        yield Wire(wire)


def told(answer: Any) -> Any:
    """What is compared; of a SCRAM message only whether there is one, because each has a nonce."""
    if answer is None or isinstance(answer, bytes):
        return CLOSED if answer is None else bool(answer)
    said = plain(answer.to_dict(json=False), {})
    return said | {"auth_bytes": bool(said["auth_bytes"])} if "auth_bytes" in said else said


def compare(peers: Peers, story: Story) -> Seen:
    """Lets both hear a story; what the embedded one said."""
    ours = hear(peers, "embedded", story)
    assert ours == hear(peers, "kafka", story)
    return ours


def hear(peers: Peers, name: str, story: Story) -> Seen:
    """Lets one of them hear a story; what it said."""
    server, (username, password) = peers.servers[name]
    access = Access((server,), "sasl_plaintext", "SCRAM-SHA-256", username, password)
    with wire_to(peers, name) as wire:
        return [told(answer) for answer in story(wire, access)]


def test_each_api_is_offered_in_versions_that_kafka_has(peers: Peers) -> None:
    """A client finds no API and no version that it could not find at Kafka."""
    for version in range(5):
        answers: dict[str, Any] = {}

        def keep(answer: Any, answers: dict[str, Any] = answers) -> bool:
            answers[("kafka", "embedded")[len(answers)]] = answer
            return True

        asked = apis.ApiVersionsRequest(client_software_name="tests", client_software_version="1")
        peers.both(asked, version, wait=keep)
        ours, theirs = (
            {api.api_key: (api.min_version, api.max_version) for api in answers[name].api_keys}
            for name in ("embedded", "kafka")
        )
        assert ours.keys() == APIS.keys()
        for key, (first, last) in ours.items():
            assert theirs[key][0] <= first <= last <= theirs[key][1], key


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("a", ""), ("a b", "1"), ("-a", "1"), ("a", "1_"), ("a.b-c", "1.0-x")]
)
def test_names_of_software(peers: Peers, name: str, version: str) -> None:
    asked = apis.ApiVersionsRequest(client_software_name=name, client_software_version=version)
    compare(peers, lambda wire, access: iter([wire.ask(asked, 3)]))


def test_api_versions_that_are_too_new(peers: Peers) -> None:
    """Answered in version 0 with error 35 and what there is of ApiVersions itself."""
    for name in peers.servers:
        with wire_to(peers, name) as wire:
            wire.send((14).to_bytes(4, "big") + b"\0\x12\0\x63\0\0\0\x07\0\x01x" + b"\0\x02\x01")
            frame = wire.frame()
            assert frame is not None
            answer = decode_response(apis.ApiVersionsResponse, 0, memoryview(frame))
            assert (frame[:4], answer.error_code) == (b"\0\0\0\x07", 35), name
            assert 18 in {api.api_key for api in answer.api_keys}, name


def test_before_the_login_nothing_else_is_answered(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        yield wire.ask(METADATA, 9)

    assert compare(peers, story) == [CLOSED]


def test_a_mechanism_that_is_not_offered(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        yield wire.handshake("PLAIN")
        yield wire.handshake()

    assert compare(peers, story)[0]["error_code"] == 33


def test_authenticate_before_the_handshake(peers: Peers) -> None:
    """Kafka closes without a word; the embedded broker says why it does."""
    seen = {}
    for name in peers.servers:
        with wire_to(peers, name) as wire:
            seen[name] = [told(wire.authenticate(b"n,,n=admin,r=nonce")), told(wire.ask(METADATA, 9))]
    assert seen["kafka"] == [CLOSED, CLOSED]
    assert (seen["embedded"][0]["error_code"], seen["embedded"][1]) == (34, CLOSED)


def test_a_second_handshake(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        yield wire.handshake()
        yield wire.handshake()

    compare(peers, story)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_login(peers: Peers, version: int) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        mechanism = client_mechanism(access)
        yield wire.handshake()
        first = wire.authenticate(mechanism.initial() or b"", version)
        yield first
        yield wire.authenticate(mechanism.answer(first.auth_bytes), version)
        yield wire.ask(METADATA, 9)

    assert compare(peers, story)[-1] != CLOSED


def test_a_login_without_headers(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        mechanism = client_mechanism(access)
        yield wire.handshake(version=0)
        first = wire.ask_token(mechanism.initial() or b"")
        yield first
        yield wire.ask_token(mechanism.answer(first or b""))
        yield wire.ask(METADATA, 9)

    assert compare(peers, story)[-1] != CLOSED


def failing(username: str = "") -> Story:
    """A login with a wrong password."""

    def story(wire: Wire, access: Access) -> Iterator[Any]:
        mechanism = client_mechanism(
            replace(access, username=username or access.username, password="a wrong password")
        )
        yield wire.handshake()
        answer = wire.authenticate(mechanism.initial() or b"")
        yield answer
        if not answer.error_code:
            yield wire.authenticate(mechanism.answer(answer.auth_bytes))
        yield wire.ask(METADATA, 9)

    return story


def test_a_wrong_password(peers: Peers) -> None:
    compare(peers, failing())


def test_an_unknown_user(peers: Peers) -> None:
    """Kafka refuses the name at once; the embedded broker as late as a wrong password, so that names cannot be tried."""
    known, unknown = hear(peers, "embedded", failing()), hear(peers, "embedded", failing("nobody"))
    assert known == unknown
    theirs = hear(peers, "kafka", failing("nobody"))
    assert (theirs[1]["error_code"], theirs[2:]) == (58, [CLOSED])


@pytest.mark.parametrize("octets", [b"", b"\0", b"n,,n=admin", b"p=tls-unique,,n=admin,r=x"])
def test_a_login_that_is_none(peers: Peers, octets: bytes) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        yield wire.handshake()
        yield wire.authenticate(octets)
        yield wire.ask(METADATA, 9)

    compare(peers, story)


@pytest.mark.parametrize("octets", [b"y,,n=admin,r=x", b"n,a=other,n=admin,r=x"])
def test_first_messages_that_kafka_does_not_know(peers: Peers, octets: bytes) -> None:
    """RFC 5802 allows both: a client that could bind the channel, and one that would act for somebody else.

    Kafka refuses them at once.  Who would act for somebody else is refused here too, after the proof.
    """
    seen = {}
    for name in peers.servers:
        with wire_to(peers, name) as wire:
            wire.handshake()
            seen[name] = told(wire.authenticate(octets))
    assert [seen[name]["error_code"] for name in ("embedded", "kafka")] == [0, 58]


def test_a_second_login(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        mechanism = client_mechanism(access)
        wire.handshake()
        first = wire.authenticate(mechanism.initial() or b"")
        wire.authenticate(mechanism.answer(first.auth_bytes))
        yield wire.handshake()
        yield wire.ask(METADATA, 9)

    compare(peers, story)


def test_authenticate_after_the_login(peers: Peers) -> None:
    def story(wire: Wire, access: Access) -> Iterator[Any]:
        mechanism = client_mechanism(access)
        wire.handshake()
        first = wire.authenticate(mechanism.initial() or b"")
        wire.authenticate(mechanism.answer(first.auth_bytes))
        yield wire.authenticate(b"n,,n=admin,r=nonce")
        yield wire.ask(METADATA, 9)

    compare(peers, story)


def test_the_cluster(peers: Peers) -> None:
    for version in range(3):
        for authorized in (False, True):
            answer = peers.both(
                apis.DescribeClusterRequest(include_cluster_authorized_operations=authorized), version
            )
            (broker,) = answer.brokers
            server, _ = peers.servers["embedded"]
            assert (broker.host, broker.port, broker.broker_id) == (
                server.host,
                server.port,
                answer.controller_id,
            )
    for endpoint in (2, 3):
        peers.both(apis.DescribeClusterRequest(endpoint_type=endpoint), 2)
