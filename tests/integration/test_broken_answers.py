"""A broker's answer that fails in its middle is not carried in part, and nothing of it is taken for done."""

from __future__ import annotations

from pathlib import Path

from processors.test_processors_planning import batch, event
from servers import hostile_broker as h
from servers.embedded import Embedded
from servers.kafka_topics import Topics, bridge
from servers.processor import ProcessorChild

from eson.brokers.kafka.wire.batches import iterate
from eson.brokers.kafka.wire.messages import Request, encode_response
from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.port import ProcessorEnd


class Queue:
    """A source of two batches, whose second one arrives `damaged` for a while."""

    def __init__(self) -> None:
        self.damaged = True
        self.first = batch(0, 3)
        self.second = batch(3, 3)

    def __call__(self, request: Request, broker: h.HostileBroker) -> bytes:
        (asked,) = request.body.topics[0].partitions
        second = self.second[:-1] + bytes((self.second[-1] ^ 1,)) if self.damaged else self.second
        given = b"".join(
            bytes(octets)
            for header, octets in iterate(memoryview(self.first + second))
            if header.last_offset >= asked.fetch_offset
        )
        answer = h.fetched(given, high_watermark=6, last_stable_offset=6)
        return encode_response(answer, request.version, request.correlation_id)


def test_what_stood_before_a_damaged_batch_is_carried_once(
    open_embedded: Embedded, tmp_path: Path, children: list[ProcessorChild]
) -> None:
    queue = Queue()
    topics = Topics(open_embedded.bootstrap())
    copy = topics.create("copy", 1)
    with h.HostileBroker({h.FETCH: queue}) as broker:
        source = ProcessorEnd(Access((Server("127.0.0.1", broker.port),)), h.QUEUE, h.QUEUE)
        child = ProcessorChild(bridge(source, topics.end(copy)), tmp_path / "journal")
        children.append(child)
        failing = child.wait(lambda report: report.HasField("error")).error
        assert "wrong CRC" in failing.reason
        queue.damaged = False
        child.wait_records(6)
    (carried,) = topics.messages(copy).values()
    assert [message[0] for message in carried] == [event(number).key for number in range(6)]
