"""Processors with several ends, and ends behind TLS and a login."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from servers.certificates import Authority
from servers.embedded import Embedded
from servers.kafka import ADMIN, PASSWORD, StartKafka
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.port import Access
from eson.model.rates import RateLimit
from eson.model.servers import Server
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import create_message
from eson.processors.port import ProcessorOrder

MOST_PRIVATE = 60 << 10


@pytest.fixture
def topics(open_embedded: Embedded) -> Topics:
    return Topics(open_embedded.bootstrap())


def test_a_collector_keeps_the_order_of_each_source(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """Killed in between: each source has sequences of its own."""
    sources = [topics.create(f"source-{number}", 2) for number in range(3)]
    copy = topics.create("copy", 2)
    order = ProcessorOrder(
        "p-collect", "collector", tuple(topics.end(one) for one in sources), (topics.end(copy),)
    )
    for round in range(3):
        for number, source in enumerate(sources):
            topics.fill(source, 200, 10 * round + number, 2)
        child = ProcessorChild(order, tmp_path / "journal")
        children.append(child)
        child.wait_records(1 if round < 2 else 200)
        if round < 2:
            child.kill()
    children[-1].wait(
        lambda report: report.HasField("progress") and report.progress.records > 0 and not report.progress.lag
    )
    got = topics.messages(copy)
    assert sum(len(events) for events in got.values()) == 1800
    for source in sources:
        mark = ("eson-source", f"flow://{source}".encode())
        for partition, events in topics.messages(source).items():
            wanted = [(*event[:2], [*(event[2] or ()), mark], event[3]) for event in events]
            assert [event[:4] for event in got[partition] if event[2][-1] == mark] == wanted


def test_a_signal_passes_what_satisfies_its_condition_once(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """Two sources and two destinations, killed three times; the last run carries nothing again."""
    sources = [topics.create(f"source-{number}", 2) for number in range(2)]
    copies = [topics.create(f"copy-{number}", 2) for number in range(2)]
    order = ProcessorOrder(
        "p-signals",
        "signal",
        tuple(topics.end(one) for one in sources),
        tuple(topics.end(one) for one in copies),
        when="type = 'tick' AND esonpartition = 1",
    )
    for round in range(4):
        for source in sources:
            _write_events(topics, source, 200 * round, 200)
        child = ProcessorChild(order, tmp_path / "journal")
        children.append(child)
        if round < 3:
            child.wait_records(1)
            child.kill()
    children[-1].wait_ready()
    children[-1].wait(lambda report: report.HasField("progress") and not report.progress.lag)
    wanted = {
        (f"flow://{source}", f"p-signals-1-{event[4]}", dict(event[2])["ce_id"].decode())
        for source in sources
        for event in topics.messages(source)[1]
        if dict(event[2])["ce_type"] == b"tick"
    }
    assert len(wanted) == 400
    for copy in copies:
        got = topics.messages(copy)
        headers = [dict(event[2]) for event in got[1]]
        made = [
            tuple(one[name].decode() for name in ("ce_source", "ce_id", "ce_esoncauseid")) for one in headers
        ]
        assert got[0] == []
        assert len(made) == len(set(made))
        assert set(made) == wanted


def _write_events(topics: Topics, topic: str, first: int, count: int) -> None:
    """Half of them in each partition, half of those of type tick."""
    producer = topics.producer()
    for number in range(first, first + count):
        headers = {"ce_specversion": "1.0", "ce_id": str(number), "ce_source": "/clock"}
        headers["ce_type"] = "tick" if number // 2 % 2 else "tock"
        producer.produce(topic, str(number), partition=number % 2, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


@pytest.mark.parametrize(
    "kind, limits", [("collector", (300,)), ("signal", (None, 300)), ("signal", (300, None))]
)
def test_a_limit_holds_for_all_sources_together(
    kind: Literal["collector", "signal"],
    limits: tuple[int | None, ...],
    topics: Topics,
    tmp_path: Path,
    children: list[ProcessorChild],
) -> None:
    """Of a signal's destinations the others go before the one that has it, and get no less."""
    sources = [topics.create(f"source-{number}", 2) for number in range(2)]
    copies = [topics.create(f"copy-{number}", 2) for number in range(len(limits))]
    for number, source in enumerate(sources):
        topics.fill(source, 2000, number, 2, **{"batch.num.messages": 10})
    whole = tuple(topics.end(copy) for copy in copies)
    ends = tuple(replace(end, limit=RateLimit(limit)) for end, limit in zip(whole, limits, strict=True))
    order = ProcessorOrder("p-limited", kind, tuple(topics.end(one) for one in sources), ends)
    child = ProcessorChild(order, tmp_path / "journal")
    children.append(child)
    child.wait_records(1)

    def events() -> list[int]:
        return [sum(topics.ends(copy).values()) for copy in copies]

    began, before = time.monotonic(), events()
    time.sleep(3.0)  # the time over which a rate is measured
    after = events()
    seconds, one = time.monotonic() - began, limits.index(300)
    assert 0.6 * 300 * seconds <= after[one] - before[one] <= 300 * seconds + 40, (before, after, seconds)
    assert min(after) == after[one]
    update = pb.Update(create=create_message(replace(order, destinations=whole), str(tmp_path / "journal")))
    assert child.order(update=update) == ""
    child.wait_records(4000 * len(copies), 10)
    assert events() == [4000] * len(copies)


def test_a_distributor_gives_everybody_everything(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    source = topics.create("source", 2)
    copies = [topics.create(f"copy-{number}", 2) for number in range(3)]
    order = ProcessorOrder(
        "p-distribute", "distributor", (topics.end(source),), tuple(topics.end(one) for one in copies)
    )
    topics.fill(source, 500, 0, 2)
    first = ProcessorChild(order, tmp_path / "journal")
    children.append(first)
    first.wait_records(1)
    first.kill()
    topics.fill(source, 500, 1, 2)
    second = ProcessorChild(order, tmp_path / "journal")
    children.append(second)
    second.wait_ready()
    second.wait(lambda report: report.HasField("progress") and not report.progress.lag)
    wanted = topics.digest(source)
    assert [topics.digest(copy) for copy in copies] == [wanted] * 3


def test_several_share_a_process(topics: Topics, tmp_path: Path, children: list[ProcessorChild]) -> None:
    pairs = [(topics.create(f"source-{n}", 1), topics.create(f"copy-{n}", 1)) for n in range(3)]
    child = ProcessorChild()
    children.append(child)
    orders = [bridge(topics.end(source), topics.end(copy)) for source, copy in pairs]
    for number, order in enumerate(orders):
        assert child.order(create=create_message(order, str(tmp_path / f"journal-{number}"))) == ""
    for number, (source, _) in enumerate(pairs):
        topics.fill(source, 100, number, 1)
    for order in orders:
        child.wait(lambda r, id=order.id: r.progress.processor == id and r.progress.records == 100)  # type: ignore[misc]
    assert child.order(stop=pb.Named(processor=orders[0].id)) == ""
    topics.fill(pairs[0][0], 50, 7, 1)
    topics.fill(pairs[1][0], 50, 8, 1)
    child.wait(lambda r: r.progress.processor == orders[1].id and r.progress.records == 150)
    assert topics.ends(pairs[0][1]) == {0: 100}


def test_tls_and_a_login_at_both_ends(
    start_kafka: StartKafka, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    """The server's name is checked against the CA of the order, and memory stays within its bounds."""
    authority = Authority(tmp_path)
    kafka = start_kafka(tls=authority.issue("localhost"), host="localhost")
    topics = Topics(kafka.bootstrap())
    source, copy = topics.create("source"), topics.create("copy")
    access = Access(
        (Server("localhost", kafka.port("SASL_SSL")),),
        "sasl_ssl",
        "SCRAM-SHA-256",
        ADMIN,
        PASSWORD,
        authority.certificate.read_text(),
    )
    topics.fill(source, 30_000, **{"linger.ms": 100})
    end = replace(topics.end(source), access=access)
    child = ProcessorChild(bridge(end, replace(end, queue=copy)), tmp_path / "journal")
    children.append(child)
    child.wait_records(30_000)
    assert child.private() < MOST_PRIVATE
    assert topics.digest(copy) == topics.digest(source)

    other = replace(access, trust=Authority(tmp_path, "Another authority").certificate.read_text())
    stranger = ProcessorChild(
        bridge(replace(end, access=other), replace(end, queue=copy)), tmp_path / "another journal"
    )
    children.append(stranger)
    reason = stranger.wait(lambda report: report.HasField("unreachable")).unreachable.reason
    assert "not trusted" in reason


def test_foreign_ends_lead_to_public_addresses_alone(
    topics: Topics, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    foreign = replace(topics.end(source), foreign=True)
    child = ProcessorChild(bridge(foreign, topics.end(copy)), tmp_path / "journal")
    children.append(child)
    reason = child.wait(lambda report: report.HasField("unreachable")).unreachable.reason
    assert "not connected to" in reason
