"""Leader epochs of the embedded broker are those of Apache Kafka, whatever number each of them gives to one.

Both are started several times and asked the same.  Each broker's epochs are known by how many starts were before, so that
answers can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.embedded import Embedded, StartEmbedded
from servers.kafka import Kafka, StartKafka
from servers.peers import T0, Call, Peers, batch, create, new_topic, produce

from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.batches import parse_header, split_entries

NONE = -1


class Starts:
    """The two brokers, and which epoch each had behind how many starts."""

    def __init__(self, peers: Peers, kafka: Kafka, embedded: Embedded) -> None:
        self.peers, self._kafka, self._embedded = peers, kafka, embedded
        self.epochs: dict[str, list[int]] = {name: [] for name in peers.servers}
        create(peers, new_topic(peers.topic))
        self._learn()

    def again(self) -> None:
        self.peers.close()
        self._kafka.kill()
        self._embedded.kill()
        self._kafka.restart()
        self._embedded.start()
        self._learn()

    def _learn(self) -> None:
        for name, known in self.epochs.items():
            last, end = known[-1] if known else NONE, time.monotonic() + 60
            while True:
                epoch = self.peers.leader_epoch(name, self.peers.topic)
                if epoch > last and not self._answer(name, epoch, epoch).error_code:
                    break
                assert time.monotonic() < end, (name, epoch, known)
                time.sleep(0.05)
            known.append(epoch)

    def compare(self, ask: Callable[[str], Any]) -> Any:
        """What both answer, which must be the same; `ask` is given each one's name."""
        ours, theirs = ask("embedded"), ask("kafka")
        assert ours == theirs
        return ours

    def epoch(self, name: str, start: int, more: int = 0) -> int:
        """The number that a broker gave to its epoch of the `start`th start, or one near it; `NONE` is none."""
        return NONE if start == NONE else self.epochs[name][start] + more

    def start_of(self, name: str, epoch: int) -> int:
        return NONE if epoch == NONE else self.epochs[name].index(epoch)

    def _answer(self, name: str, epoch: int, current: int, version: int = 4) -> Any:
        topic = apis.OffsetForLeaderEpochRequest.OffsetForLeaderTopic
        part = topic.OffsetForLeaderPartition(partition=0, current_leader_epoch=current, leader_epoch=epoch)
        asked = topic(topic=self.peers.topic, partitions=[part])
        request = apis.OffsetForLeaderEpochRequest(replica_id=-1, topics=[asked])
        return self.peers.one(name, request, version).topics[0].partitions[0]

    def end_of(
        self, start: int, more: int = 0, current: int = NONE, ahead: int = 0, version: int = 4
    ) -> tuple[int, int, int]:
        """Error, start and offset of OffsetForLeaderEpoch."""

        def ask(name: str) -> tuple[int, int, int]:
            asked, known = self.epoch(name, start, more), self.epoch(name, current, ahead)
            answer = self._answer(name, asked, known, version)
            return answer.error_code, self.start_of(name, answer.leader_epoch), answer.end_offset

        found: tuple[int, int, int] = self.compare(ask)
        return found

    def listed(self, timestamp: int, current: int = NONE) -> tuple[int, int, int]:
        """Error, start and offset of ListOffsets."""
        topic = apis.ListOffsetsRequest.ListOffsetsTopic

        def ask(name: str) -> tuple[int, int, int]:
            known = self.epoch(name, current)
            part = topic.ListOffsetsPartition(
                partition_index=0, current_leader_epoch=known, timestamp=timestamp
            )
            request = apis.ListOffsetsRequest(
                replica_id=-1, isolation_level=0, topics=[topic(name=self.peers.topic, partitions=[part])]
            )
            answer = self.peers.one(name, request, 7).topics[0].partitions[0]
            return answer.error_code, self.start_of(name, answer.leader_epoch), answer.offset

        found: tuple[int, int, int] = self.compare(ask)
        return found

    def fetched(
        self, offset: int, last: int = NONE, current: int = NONE, more: int = 0
    ) -> tuple[int, list[tuple[int, int]], tuple[int, int] | None]:
        """Error, offset and start of each batch, and where what was fetched last is not there any more."""
        topic = apis.FetchRequest.FetchTopic

        def ask(name: str) -> Any:
            part = topic.FetchPartition(
                partition=0, fetch_offset=offset, partition_max_bytes=1 << 20, log_start_offset=-1,
                current_leader_epoch=self.epoch(name, current), last_fetched_epoch=self.epoch(name, last, more),
            )  # fmt: skip
            request = apis.FetchRequest(
                max_wait_ms=100, min_bytes=1, max_bytes=1 << 20, isolation_level=0, session_id=0, session_epoch=-1,
                topics=[topic(topic=self.peers.topic, partitions=[part])], forgotten_topics_data=[], rack_id="",
            )  # fmt: skip
            answer = self.peers.one(name, request, 12).responses[0].partitions[0]
            headers = [
                parse_header(entry) for entry in split_entries(memoryview(bytes(answer.records or b"")))
            ]
            batches = [(one.base_offset, self.start_of(name, one.leader_epoch)) for one in headers]
            where = answer.diverging_epoch
            diverged = None
            if where is not None and where.end_offset >= 0:
                diverged = self.start_of(name, where.epoch), where.end_offset
            return answer.error_code, batches, diverged

        found: tuple[int, list[tuple[int, int]], tuple[int, int] | None] = self.compare(ask)
        return found

    def drop_before(self, offset: int) -> None:
        topic = apis.DeleteRecordsRequest.DeleteRecordsTopic
        part = topic.DeleteRecordsPartition(partition_index=0, offset=offset)
        asked = topic(name=self.peers.topic, partitions=[part])
        self.peers.both(apis.DeleteRecordsRequest(topics=[asked], timeout_ms=10_000), 2)


@pytest.fixture
def starts(
    start_kafka: StartKafka, start_embedded: StartEmbedded, reactor_thread: Any, in_reactor: Call
) -> Iterator[Starts]:
    kafka, embedded = start_kafka(), start_embedded()
    peers = Peers(in_reactor, reactor_thread, kafka, embedded)
    yield Starts(peers, kafka, embedded)
    peers.close()


def test_epochs_begin_and_end_where_those_of_kafka_do(starts: Starts) -> None:
    peers = starts.peers
    assert starts.end_of(0) == (0, 0, 0)
    for count in (3, 4):
        produce(peers, peers.topic, batch(count, at=T0))
    starts.again()
    assert starts.end_of(0) == (0, 0, 7)
    produce(peers, peers.topic, batch(2, at=T0 + 1000))
    starts.again()
    starts.again()  # nothing is written in between
    produce(peers, peers.topic, batch(5, at=T0 + 2000))
    for version in (2, 3, 4):
        assert [starts.end_of(start, version=version) for start in range(4)] == [
            (0, 0, 7), (0, 1, 9), (0, 1, 9), (0, 3, 14),
        ]  # fmt: skip
    for start in range(1, 4):
        starts.end_of(start, more=-1)
    assert starts.end_of(3, more=1) == (0, NONE, -1)
    assert starts.end_of(NONE) == (0, NONE, -1)
    # what a client knows of the leader
    assert [starts.end_of(0, current=current)[0] for current in range(4)] == [74, 74, 74, 0]
    assert starts.end_of(0, current=3, ahead=1)[0] == 75
    assert [starts.listed(-1, current)[0] for current in range(4)] == [74, 74, 74, 0]
    assert [starts.fetched(0, current=current)[0] for current in range(4)] == [74, 74, 74, 0]
    # in which epoch an offset that is told lies
    assert [starts.listed(time) for time in (-1, -2, -3, T0, T0 + 500, T0 + 1500)] == [
        (0, 3, 14), (0, 0, 0), (0, 3, 9), (0, 0, 0), (0, 1, 7), (0, 3, 9),
    ]  # fmt: skip
    _, batches, _ = starts.fetched(0)
    assert batches == [(0, 0), (3, 0), (7, 1), (9, 3)]
    # what was fetched last is there, or is not
    for offset in (0, 6, 7, 8, 9, 10, 14):
        for last in range(4):
            starts.fetched(offset, last)
    assert starts.fetched(8, last=0)[2] == (0, 7)
    assert starts.fetched(7, last=0)[2] is None
    assert starts.fetched(20, last=0)[2] == (0, 7)
    assert starts.fetched(9, last=3, more=1)[0] == 1
    # the beginning is taken away
    starts.drop_before(8)
    assert [starts.end_of(start) for start in range(4)][1:] == [(0, 1, 9), (0, 1, 9), (0, 3, 14)]
    starts.listed(-2)
    starts.drop_before(14)
    for start in range(4):
        starts.end_of(start)
    starts.listed(-2)
    starts.fetched(8, last=1)
