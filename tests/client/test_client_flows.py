"""A flow at its own broker: positions, following, batches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers.outcomes import result_of as run
from twisted.internet.defer import Deferred, ensureDeferred

from eson.brokers.memory import MemoryBroker
from eson.brokers.port import Record
from eson.client import BrokerCredential
from eson.client.flows import BrokerFlow, kafka
from eson.errors import NoSuch, NotSupported, ProtocolViolation, Usage
from eson.model.positions import format_time

FLOW = "time.flows.unix.ar"


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    run(made.create_queue(FLOW, 2))
    return made


def tick(number: int, key: str = "k") -> dict[str, Any]:
    return {"source": "/s", "type": "tick", "id": str(number), "esonkey": key}


async def ids(events: Any) -> list[str]:
    return [event["id"] async for event in events]


def test_what_is_written_is_read(broker: MemoryBroker) -> None:
    flow = BrokerFlow(broker, FLOW)
    assert run(flow.write([tick(number) for number in range(1201)])) == 1201
    assert run(ids(flow.read())) == [str(number) for number in range(1201)]
    assert run(ids(flow.read("NOW"))) == []


def test_events_may_come_from_an_asynchronous_source(broker: MemoryBroker) -> None:
    async def several() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            yield tick(number)

    flow = BrokerFlow(broker, FLOW, mode="structured")
    assert run(flow.write(several())) == 3
    assert run(ids(flow.read())) == ["0", "1", "2"]


def test_what_is_no_event_ends_a_write_and_what_came_before_is_there(broker: MemoryBroker) -> None:
    flow = BrokerFlow(broker, FLOW)
    with pytest.raises(Usage, match='"type" is missing'):
        run(flow.write([*map(tick, range(500)), {"source": "/s"}, tick(501)]))
    assert len(run(ids(flow.read()))) == 500


def test_reading_begins_where_it_is_told(broker: MemoryBroker) -> None:
    flow = BrokerFlow(broker, FLOW)
    run(flow.write([tick(number) for number in range(5)]))
    partition = next(number for number, end in run(broker.end_offsets(FLOW)).items() if end)
    assert run(ids(flow.read(f"{partition}:3,{1 - partition}:0"))) == ["3", "4"]
    long_ago, soon = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    assert len(run(ids(flow.read(format_time(long_ago))))) == 5
    assert run(ids(flow.read(format_time(soon)))) == []


def test_an_offset_that_is_not_kept_is_moved_to_the_border_of_what_is(broker: MemoryBroker) -> None:
    """As at the agent."""
    flow = BrokerFlow(broker, FLOW)
    run(flow.write([tick(number) for number in range(5)]))
    partition = next(number for number, end in run(broker.end_offsets(FLOW)).items() if end)
    broker.truncate(FLOW, partition, 2)
    assert run(ids(flow.read(f"{partition}:1"))) == ["2", "3", "4"]
    assert run(ids(flow.read(f"{partition}:9"))) == []
    with pytest.raises(Usage, match="there is no partition 2"):
        run(ids(flow.read("2:0")))


def test_a_follower_gets_what_comes(broker: MemoryBroker) -> None:
    flow = BrokerFlow(broker, FLOW)
    events = flow.read("NOW", follow=True)

    async def one() -> Any:
        return await anext(events)

    waiting: Deferred[Any] = ensureDeferred(one())
    assert not waiting.called
    run(flow.write([tick(7)]))
    assert waiting.result["id"] == "7"  # type: ignore[attr-defined]
    run(events.close())
    assert run(ids(events)) == []


def test_a_record_that_is_no_event_is_wrapped(broker: MemoryBroker) -> None:
    async def write() -> None:
        await (await broker.write(FLOW)).send([Record(0, -1, 1764064800000, None, b"raw")])

    run(write())

    async def read() -> list[Any]:
        async with BrokerFlow(broker, FLOW).read() as events:
            return [event async for event in events]

    (event,) = run(read())
    assert (event["type"], event["source"]) == ("eson.record", f"flow://{FLOW}")


def test_a_queue_that_is_not_there(broker: MemoryBroker) -> None:
    with pytest.raises(NoSuch):
        run(ids(BrokerFlow(broker, "other.flows.unix.ar").read()))


def test_only_kafka_is_spoken() -> None:
    with pytest.raises(NotSupported, match="read it at its agent"):
        kafka(None, BrokerCredential(FLOW, "fnap", ("fnaa.unix.ar:61001",)), ())
    with pytest.raises(ProtocolViolation):
        kafka(None, BrokerCredential(FLOW, "kafka", ("k:1",), "sasl_ssl", trust="AAAA"), ())
