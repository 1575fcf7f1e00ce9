"""Brokers that do harm cost their own subscription and no more: bounded memory, a clear reason, neighbours untouched.

All of them at once under one supervisor, because some take as long as a peer may be silent; and then some in one process
with a neighbour.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from processors.test_processors_planning import batch
from servers import hostile_broker as h
from servers.embedded import Embedded
from servers.hostile_broker import HostileBroker, frame
from servers.kafka_topics import Topics, bridge
from twisted.internet.defer import Deferred

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.batches import CRC_AT, CRC_FROM, HEADER, HEADER_SIZE, crc_of, parse_header
from eson.brokers.kafka.wire.compression import LZ4, ZSTD, compress
from eson.brokers.kafka.wire.messages import Request, encode_response
from eson.brokers.kafka.wire.produce import varint
from eson.brokers.kafka.wire.records import BatchRecord, encode_batch
from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.launcher import SpawnLauncher
from eson.processors.port import ProcessorEnd, ProcessorOrder, ProcessorStatus
from eson.processors.supervisor import Supervisor

MOST_RESIDENT = 120 << 10
"""KiB: what the interpreter takes, an answer of the greatest size, and what one batch may grow to."""
JUDGED_WITHIN = 75.0


@dataclass(frozen=True)
class Harm:
    """`answers` as `HostileBroker` takes them; the reason that must be given, and whether waiting may help."""

    answers: dict[int, h.Answer]
    reason: str
    state: str = "failing"
    side: str = "source"


def says(octets: bytes) -> h.Answer:
    return lambda request, broker: octets


def body(octets: bytes) -> h.Answer:
    return lambda request, broker: frame(request, octets)


def records(octets: bytes, **fields: Any) -> h.Answer:
    def answer(request: Request, broker: HostileBroker) -> bytes:
        return encode_response(h.fetched(octets, **fields), request.version, request.correlation_id)

    return answer


def trailing(request: Request, broker: HostileBroker) -> bytes:
    octets = h.honest(request, broker)[8:]
    return frame(request, octets + b"garbage")


def drop_by_drop(request: Request, broker: HostileBroker) -> Iterator[bytes]:
    octets = frame(request, bytes(4096))
    return (octets[at : at + 1] for at in range(len(octets)))


def other_request(request: Request, broker: HostileBroker) -> bytes:
    return frame(request, h.honest(request, broker)[8:], request.correlation_id + 7)


def many_brokers(request: Request, broker: HostileBroker) -> bytes:
    """Four megabytes of nodes with empty names."""
    count = (4 << 20) // 14 - 20
    return frame(request, bytes(5) + varint(count + 1) + b"\0\0\0\1\1\0\0\0\1\0\0" * count)


def bomb(records_each: int, size: int, codec: int) -> bytes:
    """A batch that must be taken apart, because of a hole, and grows."""
    events = [BatchRecord(n, 0, None, bytes(size)) for n in range(records_each)]
    return with_a_hole(bytearray(encode_batch(events, codec)), records_each)


def with_a_hole(octets: bytearray, last_offset_delta: int) -> bytes:
    header = parse_header(memoryview(octets))._replace(last_offset_delta=last_offset_delta)
    HEADER.pack_into(octets, 0, *header)
    octets[CRC_AT:CRC_FROM] = crc_of(memoryview(octets)).to_bytes(4, "big")
    return bytes(octets)


WRONG_CRC = bytearray(batch(0, 3))
WRONG_CRC[-1] ^= 1
ABORTED = apis.FetchResponse.FetchableTopicResponse.PartitionData.AbortedTransaction
PROTOCOL = "breaks Kafka's protocol"
HARMS = {
    "the greatest length": Harm({h.API_VERSIONS: says(b"\x7f\xff\xff\xff" + bytes(64))}, PROTOCOL),
    "a negative length": Harm({h.API_VERSIONS: says(b"\xff\xff\xff\xff" + bytes(64))}, PROTOCOL),
    "no room for a header": Harm({h.API_VERSIONS: says(b"\0\0\0\3abc")}, PROTOCOL),
    "another protocol": Harm({h.API_VERSIONS: says(b"HTTP/1.1 400 Bad Request\r\n\r\n")}, PROTOCOL),
    "an answer to another request": Harm({h.METADATA: other_request}, PROTOCOL),
    "garbage behind the header": Harm({h.METADATA: body(b"\xff" * 500)}, PROTOCOL),
    "garbage behind the body": Harm({h.METADATA: trailing}, PROTOCOL),
    "metadata without end": Harm({h.METADATA: many_brokers}, PROTOCOL),
    "a count of 2^31": Harm({h.METADATA: body(b"\0\0\0\0\0\xff\xff\xff\xff\x0f")}, PROTOCOL),
    "the greatest answer to a Fetch, claimed": Harm(
        {h.FETCH: says((22 << 20).to_bytes(4, "big") + bytes(64))}, "does not answer", "unreachable"
    ),
    "a wrong CRC": Harm({h.FETCH: records(bytes(WRONG_CRC))}, "a wrong CRC"),
    "more records than octets": Harm(
        {h.FETCH: records(batch(0, 2, record_count=1 << 30, last_offset_delta=(1 << 30) - 1))},
        "counts records",
    ),
    "an offset that no log has": Harm(
        {h.FETCH: records(b"\x7f" + b"\xff" * 7 + batch(0, 2)[8:])}, "an offset"
    ),
    "a bomb of few records": Harm({h.FETCH: records(bomb(120, 1 << 20, ZSTD))}, "grow to more than"),
    "a bomb of many records": Harm({h.FETCH: records(bomb(2_000_000, 0, LZ4))}, "records to be taken apart"),
    "aborted transactions without end": Harm(
        {h.FETCH: records(b"", aborted_transactions=[ABORTED(producer_id=1, first_offset=1)] * 1_000_000)},
        PROTOCOL,
    ),
    "silence": Harm({h.API_VERSIONS: h.silence}, "does not answer", "unreachable"),
    "one octet a second": Harm({h.API_VERSIONS: drop_by_drop}, "does not answer", "unreachable"),
    "a destination that answers garbage": Harm({h.PRODUCE: body(b"\xff" * 90)}, PROTOCOL, side="destination"),
    "a destination without topics": Harm({h.METADATA: body(bytes(24))}, PROTOCOL, side="destination"),
}


@dataclass
class Outcome:
    """What became of one: the first state that is a judgement, and the most memory that its process ever had (KiB)."""

    status: ProcessorStatus
    resident: int
    restarts: int


@dataclass
class Outcomes:
    harms: dict[str, Outcome]
    neighbour: ProcessorStatus
    neighbour_equal: bool
    neighbour_slowest: float


@pytest.fixture(scope="module")
def outcomes(
    open_embedded: Embedded, reactor_thread: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcomes]:
    topics = Topics(open_embedded.bootstrap())
    supervisor = Supervisor(
        reactor_thread, SpawnLauncher(reactor_thread), tmp_path_factory.mktemp("journals"), start_rate=5
    )
    brokers = {name: HostileBroker(harm.answers) for name, harm in HARMS.items()}
    orders = {name: _order(topics, HARMS[name], broker.port) for name, broker in brokers.items()}
    source, copy = topics.create("source"), topics.create("copy")
    mine = bridge(topics.end(source), topics.end(copy))
    judged: dict[str, ProcessorStatus] = {}
    by_id = {order.id: name for name, order in orders.items()}

    def heard(status: ProcessorStatus) -> None:
        if status.id in by_id and status.state in ("failing", "unreachable"):
            judged.setdefault(by_id[status.id], status)

    def begin() -> None:
        supervisor.listen(heard)
        for order in (mine, *orders.values()):
            # it becomes ready or does not: what it says is looked at, not this
            Deferred.fromCoroutine(supervisor.create(order)).addErrback(lambda failure: None)

    reactor_thread.callFromThread(
        lambda: Deferred.fromCoroutine(supervisor.start()).addCallback(lambda _: begin())
    )
    slowest, rounds, end = 0.0, 0, time.monotonic() + JUDGED_WITHIN
    resident: dict[str, int] = {}
    while len(judged) < len(HARMS) and time.monotonic() < end:
        began, rounds = time.monotonic(), rounds + 1
        topics.fill(source, 20, rounds)
        while sum(topics.ends(copy).values()) < 20 * rounds and time.monotonic() < end:
            time.sleep(0.02)
        slowest = max(slowest, time.monotonic() - began if rounds > 1 else 0.0)
        for name, order in orders.items():
            resident[name] = max(resident.get(name, 0), _most_resident(supervisor, order.id))
        time.sleep(0.2)
    found = {
        name: Outcome(
            judged.get(name) or _status(supervisor, order.id),
            resident[name],
            _status(supervisor, order.id).restarts,
        )
        for name, order in orders.items()
    }
    equal = topics.digest(source) == topics.digest(copy)
    yield Outcomes(found, _status(supervisor, mine.id), equal, slowest)
    done = Deferred[None]()
    reactor_thread.callFromThread(lambda: Deferred.fromCoroutine(supervisor.stop()).chainDeferred(done))
    end = time.monotonic() + 30
    while not done.called and time.monotonic() < end:
        time.sleep(0.05)
    for broker in brokers.values():
        broker.close()


def _order(topics: Topics, harm: Harm, port: int) -> ProcessorOrder:
    far = ProcessorEnd(Access((Server("127.0.0.1", port),)), h.QUEUE, h.QUEUE)
    topic = topics.create(f"near-{port}", 1)
    if harm.side == "destination":
        topics.fill(topic, 10, partitions=1)
        return bridge(topics.end(topic), far)
    return bridge(far, topics.end(topic))


def _status(supervisor: Supervisor, id: str) -> ProcessorStatus:
    found = supervisor.status(id)
    assert found is not None
    return found


def _most_resident(supervisor: Supervisor, id: str) -> int:
    pid = _status(supervisor, id).pid
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.parametrize("name", HARMS)
def test_it_costs_its_own_subscription_and_no_more(outcomes: Outcomes, name: str) -> None:
    outcome, harm = outcomes.harms[name], HARMS[name]
    assert (outcome.status.state, harm.reason in outcome.status.last_error) == (harm.state, True), outcome
    assert "fault in the processor" not in outcome.status.last_error
    assert outcome.resident < MOST_RESIDENT, outcome
    assert outcome.restarts == 0


def test_a_neighbour_notices_nothing(outcomes: Outcomes) -> None:
    assert outcomes.neighbour.state == "running"
    assert outcomes.neighbour.restarts == 0
    assert outcomes.neighbour_equal
    assert outcomes.neighbour_slowest < 10.0


# in one process


MOST_SHARED = 220 << 10
"""KiB: as `MOST_RESIDENT`, but one batch is held as octets that grew and as records, and twice while it grows."""
MOST_DELAY = 5.0
"""Seconds from an event's writing to its reading behind a processor that shares its process with a hostile source.

About two where other tests run beside; it was half a minute when answers were planned in one go.
"""
WATCHED = 2.0


NOISE = random.Random(1).randbytes(160 << 10)
"""What a bomb holds so that its ratio is none that would be refused at once."""


def bomb_of_headers() -> bytes:
    """One record of thirty million headers of two octets each."""
    headers = b"\0\1" * (30 << 20)
    body = b"\0\0\0\1" + varint(2 * len(NOISE)) + NOISE + varint(len(headers)) + headers
    packed = compress(ZSTD, varint(2 * len(body)) + body)
    octets = bytearray(encode_batch([BatchRecord(0, 0, None, None)], ZSTD)[:HEADER_SIZE]) + packed
    octets[8:12] = (len(octets) - 12).to_bytes(4, "big")
    return with_a_hole(octets, 1)


def bomb_of_megabytes() -> bytes:
    """As many octets as a batch may grow to, and a few more."""
    events = [BatchRecord(0, 0, None, bytes(1 << 20))] * 64 + [BatchRecord(0, 0, None, NOISE)]
    return with_a_hole(bytearray(encode_batch(events, ZSTD)), len(events))


def many_bombs() -> bytes:
    """Forty batches that keep within every bound and are each to be taken apart: half a minute of work in one answer."""
    one, step = bomb(1 << 16, 0, LZ4), (1 << 16) + 1
    return b"".join((number * step).to_bytes(8, "big") + one[8:] for number in range(40))


IN_ONE_PROCESS: dict[str, Callable[[], Harm]] = {
    "a bomb of megabytes": lambda: Harm(
        {h.FETCH: records(bomb_of_megabytes())}, "grow to more than 67108864"
    ),
    "a bomb of headers": lambda: Harm({h.FETCH: records(bomb_of_headers())}, "its count of headers"),
    "an answer full of bombs": lambda: Harm({h.FETCH: records(many_bombs())}, "", "running"),
    "more records than octets": lambda: HARMS["more records than octets"],
    "aborted transactions without end": lambda: HARMS["aborted transactions without end"],
    "silence": lambda: HARMS["silence"],
    "one octet a second": lambda: HARMS["one octet a second"],
}


class Passing:
    """Events that pass a bridge one by one."""

    def __init__(self, topics: Topics, source: str, copy: str) -> None:
        self._producer = topics.producer(**{"linger.ms": 0})
        self._consumer = topics.consumer(**{"fetch.wait.max.ms": 50})
        self._consumer.assign([TopicPartition(copy, 0, 0)])
        self._source, self._number = source, 0

    def one(self) -> float:
        """Seconds from its writing until it is read from the copy."""
        began, self._number = time.monotonic(), self._number + 1
        self._producer.produce(self._source, str(self._number).encode(), partition=0)
        assert self._producer.flush(30) == 0
        while (message := self._consumer.poll(0.5)) is None or message.error():
            assert time.monotonic() < began + 60, "an event that does not arrive"
        assert message.value() == str(self._number).encode()
        return time.monotonic() - began

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Shared:
    """Two processors of one process: what became of the hostile one, and how long each event of the other took."""

    status: ProcessorStatus
    neighbour: ProcessorStatus
    delays: list[float]
    resident: int


@pytest.fixture
def share(
    open_embedded: Embedded, reactor_thread: Any, in_reactor: Callable[..., Any], tmp_path: Path
) -> Iterator[Callable[[Harm], Shared]]:
    supervisor = Supervisor(
        reactor_thread, SpawnLauncher(reactor_thread), tmp_path / "journals", per_process=2
    )
    in_reactor(supervisor.start)
    brokers: list[HostileBroker] = []

    def run(harm: Harm) -> Shared:
        topics = Topics(open_embedded.bootstrap())
        source, copy = topics.create("source", 1), topics.create("copy", 1)
        mine = bridge(topics.end(source), topics.end(copy))
        in_reactor(supervisor.create, mine)
        passing = Passing(topics, source, copy)
        passing.one()  # the clients of the test are ready, too
        brokers.append(HostileBroker(harm.answers))
        order = _order(topics, harm, brokers[-1].port)
        # it becomes ready or does not: what it says is looked at, not this
        reactor_thread.callFromThread(
            lambda: Deferred.fromCoroutine(supervisor.create(order)).addErrback(lambda failure: None)
        )
        judged: list[ProcessorStatus] = []
        end = time.monotonic() + WATCHED

        def goes_on() -> bool:
            status = supervisor.status(order.id)
            if status is not None and status.state in ("failing", "unreachable") and not judged:
                judged.append(status)
            # what takes as long as a peer may be silent is not waited for
            return time.monotonic() < end or (
                harm.state == "failing" and not judged and time.monotonic() < end + 20
            )

        delays = []
        while goes_on():
            delays.append(passing.one())
        passing.close()
        assert _status(supervisor, order.id).pid == _status(supervisor, mine.id).pid
        status = judged[0] if judged else _status(supervisor, order.id)
        resident = _most_resident(supervisor, mine.id)
        return Shared(status, _status(supervisor, mine.id), delays, resident)

    yield run
    in_reactor(supervisor.stop)
    for broker in brokers:
        broker.close()


@pytest.mark.parametrize("name", IN_ONE_PROCESS)
def test_a_neighbour_in_the_same_process_carries_on(share: Callable[[Harm], Shared], name: str) -> None:
    """With `per_process`: no event of the neighbour takes longer than `MOST_DELAY`, and memory stays bounded."""
    harm = IN_ONE_PROCESS[name]()
    seen = share(harm)
    if harm.state == "failing":
        assert (seen.status.state, harm.reason in seen.status.last_error) == ("failing", True), seen.status
    assert (seen.neighbour.state, seen.neighbour.restarts) == ("running", 0), seen.neighbour
    assert max(seen.delays) < MOST_DELAY, (len(seen.delays), max(seen.delays))
    assert seen.resident < MOST_SHARED
