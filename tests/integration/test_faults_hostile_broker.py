"""Brokers that do harm cost their own subscription and no more: bounded memory, a clear reason, neighbours untouched.

All of them at once under one supervisor, because some take as long as a peer may be silent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processors.test_processors_planning import batch
from servers import hostile_broker as h
from servers.embedded import Embedded
from servers.hostile_broker import HostileBroker, frame
from servers.kafka_topics import Topics, bridge
from twisted.internet.defer import Deferred

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.batches import CRC_AT, CRC_FROM, HEADER, crc_of, parse_header
from eson.brokers.kafka.wire.compression import LZ4, ZSTD
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
    octets = bytearray(encode_batch(events, codec))
    header = parse_header(memoryview(octets))._replace(last_offset_delta=records_each)
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
