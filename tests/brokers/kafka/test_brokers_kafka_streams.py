"""A source and a sink against servers that move, lie, forget and fall silent."""

from __future__ import annotations

import tracemalloc
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from brokers.kafka.fake_servers import FakeServers, begin, error_of
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eson.brokers.kafka.committed import committed_records
from eson.brokers.kafka.failures import Answered, Unreachable
from eson.brokers.kafka.net.cluster import Cluster, Topic
from eson.brokers.kafka.sink import BATCH_OCTETS, KafkaSink
from eson.brokers.kafka.source import KafkaSource
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.batches import (
    CONTROL,
    TRANSACTIONAL,
    assign_offset,
    crc_of,
    next_sequence,
    parse_header,
)
from eson.brokers.kafka.wire.compression import ZSTD
from eson.brokers.kafka.wire.records import BatchRecord, decode_records, encode_batch
from eson.brokers.port import Access, Record
from eson.errors import BackendFailed, NoSuch, TooLarge
from eson.model.servers import Server

ID, OTHER_ID = uuid.UUID(int=1), uuid.UUID(int=2)
FETCH, PRODUCE = 1, 0


class World(FakeServers):
    """`fetches` and `produces` are answered in order: a list of parts, a code for all, or an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: deque[Any] = deque()
        self.produces: deque[Any] = deque()
        self.leaders = {0: 1, 1: 1}
        self.topic_id = ID
        self.parked: list[Deferred[Any]] = []

    def requests(self, key: int) -> list[Any]:
        return [request for _, request in self.asked if key == request.API_KEY]

    async def answer(self, server: Server, request: Any) -> Any:
        if request.API_KEY == FETCH:
            if not self.fetches:
                self.parked.append(Deferred())
                return await self.parked[-1]
            return fetched(_raised(self.fetches.popleft()))
        if request.API_KEY == PRODUCE:
            answer = _raised(self.produces.popleft()) if self.produces else 0
            return produced(request, answer)
        response = await super().answer(server, request)
        if isinstance(response, apis.MetadataResponse):
            topic: Any = apis.MetadataResponse.MetadataResponseTopic
            partitions = [
                topic.MetadataResponsePartition(error_code=0, partition_index=n, leader_id=node)
                for n, node in self.leaders.items()
            ]
            response.topics = [
                topic(
                    error_code=0, name="q", topic_id=self.topic_id, is_internal=False, partitions=partitions
                )
            ]
        return response


def _raised(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def part(number: int = 0, records: Any = b"", error: int = 0, stable: int = 1000, **more: Any) -> Any:
    made: Any = apis.FetchResponse.FetchableTopicResponse.PartitionData
    octets = b"".join(map(bytes, records)) if isinstance(records, list) else records
    return made(
        partition_index=number,
        error_code=error,
        high_watermark=stable,
        last_stable_offset=stable,
        log_start_offset=more.pop("log_start", 0),
        aborted_transactions=more.pop("aborted", None),
        records=memoryview(octets) if octets else None,
    )


def fetched(parts: Sequence[Any]) -> Any:
    topic = apis.FetchResponse.FetchableTopicResponse(topic="q", topic_id=ID, partitions=list(parts))
    return apis.FetchResponse(error_code=0, responses=[topic])


def produced(request: Any, codes: int | Mapping[int, int]) -> Any:
    made: Any = apis.ProduceResponse.TopicProduceResponse
    asked = [p.index for topic in request.topic_data for p in topic.partition_data]
    answers = [
        made.PartitionProduceResponse(
            index=n, error_code=codes if isinstance(codes, int) else codes.get(n, 0), base_offset=0
        )
        for n in asked
    ]
    return apis.ProduceResponse(responses=[made(name="q", topic_id=ID, partition_responses=answers)])


def batch(
    first: int, values: Sequence[bytes], attributes: int = 0, producer: int = -1, key: bytes | None = None
) -> memoryview:
    records = [BatchRecord(0, 1000 + i, key, value) for i, value in enumerate(values)]
    made = memoryview(
        bytearray(encode_batch(records, producer_id=producer, producer_epoch=0, base_sequence=0))
    )
    made[21:23] = attributes.to_bytes(2, "big")
    made[17:21] = crc_of(made).to_bytes(4, "big")
    assign_offset(made, first, 0)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def cluster(clock: Clock, world: World) -> Cluster:
    made = Cluster(clock, "main", Access((Server("one", 9092),)), timeout=15)
    made._opener = world  # type: ignore[assignment]
    begin(made.metadata(["q"]))
    return made


Open = Callable[..., KafkaSource]


@pytest.fixture
def read(cluster: Cluster, world: World) -> Open:
    def start(start: Mapping[int, int], end: Mapping[int, int] | None = None) -> KafkaSource:
        return KafkaSource(cluster, Topic("q", ID, dict(world.leaders)), start, end)

    return start


def values(outcome: list[Any]) -> list[bytes | None]:
    (records,) = outcome
    return [record.value for record in records]


# source


def test_a_read_begins_and_ends_inside_batches(world: World, read: Open) -> None:
    world.fetches.append([part(records=[batch(10, [b"10", b"11", b"12"]), batch(13, [b"13", b"14"])])])
    source = read({0: 11}, {0: 14})
    assert values(begin(source.next_records())) == [b"11", b"12", b"13"]
    assert begin(source.next_records()) == [[]]
    (asked,) = world.requests(FETCH)
    assert asked.topics[0].partitions[0].fetch_offset == 11


def test_what_compaction_left_out_does_not_hold_up_the_end(world: World, read: Open) -> None:
    """A batch whose records are all gone still says how far it reached."""
    empty = bytearray(batch(0, [b"0", b"1", b"2"])[:61])
    empty[57:61], empty[8:12] = bytes(4), (49).to_bytes(4, "big")
    empty[17:21] = crc_of(memoryview(empty)).to_bytes(4, "big")
    assert parse_header(memoryview(empty)).last_offset == 2
    world.fetches.append([part(records=[empty])])
    assert begin(read({0: 0}, {0: 3}).next_records()) == [[]]


def test_nothing_is_fetched_that_nobody_pulls(world: World, read: Open) -> None:
    world.fetches.append([part(records=[batch(0, [b"%d" % i for i in range(700)])])])
    source = read({0: 0})
    assert len(values(begin(source.next_records()))) == 500
    assert len(world.requests(FETCH)) == 1
    assert len(values(begin(source.next_records()))) == 200
    assert len(world.requests(FETCH)) == 1


def test_an_offset_that_is_gone_is_told_with_the_first_that_is_there(world: World, read: Open) -> None:
    world.fetches.append([part(error=1, log_start=40)])
    error = error_of(begin(read({0: 5}).next_records()))
    assert isinstance(error, BackendFailed)
    assert error.text == "Queue q does not hold offset 5 of partition 0 any more"
    assert error.context == {"first": 40}


def test_a_leader_that_moved_is_found_and_nothing_is_read_twice(
    world: World, read: Open, clock: Clock
) -> None:
    world.fetches += [
        [part(records=[batch(0, [b"0", b"1"])])],
        [part(error=6)],
        [part(records=[batch(2, [b"2"])])],
    ]
    source = read({0: 0})
    assert values(begin(source.next_records())) == [b"0", b"1"]
    world.leaders = {0: 2, 1: 2}
    outcome = begin(source.next_records())
    assert outcome == []
    clock.advance(0.1)
    assert values(outcome) == [b"2"]
    assert [server.host for server, r in world.asked if r.API_KEY == FETCH] == ["one", "one", "two"]
    assert world.requests(FETCH)[-1].topics[0].partitions[0].fetch_offset == 2


def test_one_partition_in_trouble_holds_back_no_other(world: World, read: Open, clock: Clock) -> None:
    world.fetches += [
        [part(0, error=6), part(1, records=[batch(0, [b"of 1"])])],
        [part(0, [batch(0, [b"of 0"])])],
    ]
    source = read({0: 0, 1: 0})
    assert values(begin(source.next_records())) == [b"of 1"]
    outcome = begin(source.next_records())
    clock.advance(0.1)
    assert values(outcome) == [b"of 0"]
    assert [p.fetch_offset for p in world.requests(FETCH)[-1].topics[0].partitions] == [0, 1]


def test_a_queue_made_anew_is_not_read_as_the_old_one(world: World, read: Open, clock: Clock) -> None:
    world.fetches.append([part(error=100)])
    outcome = begin(read({0: 0}).next_records())
    world.topic_id = OTHER_ID
    clock.advance(0.1)
    assert error_of(outcome).args[0] == "Queue q was deleted"


def test_a_silent_broker_is_given_up_after_the_deadline(world: World, read: Open, clock: Clock) -> None:
    source = read({0: 0})
    world.down = {Server("one", 9092), Server("two", 9092)}
    outcome = begin(source.next_records())
    for _ in range(140):
        clock.advance(0.1)
    assert outcome == []
    for _ in range(60):
        clock.advance(0.1)
    assert isinstance(error_of(outcome), Unreachable)
    assert begin(source.next_records()) == [[]]
    assert clock.getDelayedCalls() == []


def test_a_broker_that_comes_back_in_time_is_read_on(world: World, read: Open, clock: Clock) -> None:
    source = read({0: 0})
    world.down = {Server("one", 9092), Server("two", 9092)}
    outcome = begin(source.next_records())
    for _ in range(100):
        clock.advance(0.1)
    world.down = set()
    world.fetches.append([part(records=[batch(0, [b"back"])])])
    for _ in range(20):
        clock.advance(0.1)
    assert values(outcome) == [b"back"]


def test_refused_rights_end_the_read_at_once(world: World, read: Open) -> None:
    world.fetches.append([part(error=29)])
    error = error_of(begin(read({0: 0}).next_records()))
    assert isinstance(error, Answered)
    assert "does not allow" in error.text


@pytest.mark.parametrize("at", [17, 62, 70])
def test_a_batch_that_changed_on_its_way_is_an_error(world: World, read: Open, at: int) -> None:
    bad = batch(2, [b"value", b"value"])
    bad[at] ^= 1
    world.fetches.append([part(records=[batch(0, [b"0", b"1"]), bad])])
    source = read({0: 0})
    assert values(begin(source.next_records())) == [b"0", b"1"]
    error = error_of(begin(source.next_records()))
    assert isinstance(error, BackendFailed)
    assert error.text == "Queue q holds a batch that cannot be read"


def test_a_batch_of_millions_is_decoded_as_it_is_pulled(world: World, read: Open) -> None:
    records = [BatchRecord(0, 0, None, None)] * 300_000
    world.fetches.append([part(records=encode_batch(records, ZSTD), stable=300_000)])
    source = read({0: 0})
    tracemalloc.start()
    try:
        assert len(values(begin(source.next_records()))) == 500
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # all at once, they take 60 MB
    finally:
        tracemalloc.stop()


def test_closing_ends_what_waits_and_closes_its_connection(world: World, read: Open) -> None:
    source = read({0: 0})
    outcome = begin(source.next_records())
    assert len(world.parked) == 1
    (connection,) = source._connections.values()
    source.close()
    assert outcome == [[]]
    assert not connection.usable
    assert begin(source.next_records()) == [[]]


def test_closing_while_it_connects_leaves_no_connection(world: World, read: Open) -> None:
    source = read({0: 0})
    world.opening = Deferred()
    outcome = begin(source.next_records())
    source.close()
    world.opening.callback(None)
    assert outcome == [[]]
    assert source._connections == {}


def test_partitions_of_two_leaders_are_read_at_the_same_time(world: World, read: Open) -> None:
    world.leaders = {0: 1, 1: 2}
    source = read({0: 0, 1: 0})
    outcome = begin(source.next_records())
    assert len(world.parked) == 2
    world.parked[1].callback(fetched([part(1, [batch(0, [b"of 1"])])]))
    assert values(outcome) == [b"of 1"]
    again = begin(source.next_records())
    assert len(world.parked) == 3  # the first server still holds its Fetch
    world.parked[0].callback(fetched([part(0, [batch(0, [b"of 0"])])]))
    assert values(again) == [b"of 0"]


# transactions


def test_aborted_batches_are_left_out_and_their_markers_end_that() -> None:
    abort, commit = b"\0\0\0\0", b"\0\0\0\1"
    aborted: Any = apis.FetchResponse.FetchableTopicResponse.PartitionData
    listed = [aborted.AbortedTransaction(producer_id=7, first_offset=2)]
    log = [
        batch(0, [b"committed of 7"], TRANSACTIONAL, 7),
        batch(1, [b""], CONTROL | TRANSACTIONAL, 7, commit),
        batch(2, [b"aborted of 7"], TRANSACTIONAL, 7),
        batch(3, [b"of nobody", b"twice"]),
        batch(5, [b"of 8"], TRANSACTIONAL, 8),
        batch(6, [b"not transactional of 7"], 0, 7),
        batch(7, [b""], CONTROL | TRANSACTIONAL, 7, abort),
        batch(8, [b"again of 7"], TRANSACTIONAL, 7),
    ]
    found = list(committed_records(part(records=log, aborted=listed)))
    assert [following for following, _ in found] == [1, 2, 3, 5, 6, 7, 8, 9]
    assert [r.value for _, records in found for r in records] == [
        b"committed of 7",
        b"of nobody",
        b"twice",
        b"of 8",
        b"not transactional of 7",
        b"again of 7",
    ]


def test_an_empty_answer_holds_no_batches() -> None:
    assert list(committed_records(part())) == []


# sink


@pytest.fixture
def sink(cluster: Cluster, world: World) -> KafkaSink:
    return KafkaSink(cluster, Topic("q", ID, dict(world.leaders)), (77, 3), now=lambda: 1234.5)


def sent(world: World) -> list[tuple[int, int, list[bytes | None]]]:
    """(partition, base sequence, values) of each batch that was sent."""
    found = []
    for request in world.requests(PRODUCE):
        assert (request.acks, request.transactional_id) == (-1, None)
        for p in request.topic_data[0].partition_data:
            header = parse_header(memoryview(p.records))
            assert (header.producer_id, header.producer_epoch) == (77, 3)
            found.append(
                (
                    p.index,
                    header.base_sequence,
                    [r.value for r in decode_records(memoryview(p.records), header)],
                )
            )
    return found


def to(partition: int, *contents: bytes) -> list[Record]:
    return [Record(partition, 0, -1, None, content) for content in contents]


def test_sequences_run_on_in_each_partition(world: World, sink: KafkaSink) -> None:
    for records in (to(0, b"a", b"b"), to(1, b"c"), to(0, b"d")):
        assert begin(sink.send(records)) == [None]
    assert sent(world) == [(0, 0, [b"a", b"b"]), (1, 0, [b"c"]), (0, 2, [b"d"])]


@pytest.mark.parametrize("trouble", [Unreachable("gone"), 6, 7, 19])
def test_what_may_pass_is_sent_again_with_the_same_octets(
    world: World, sink: KafkaSink, clock: Clock, trouble: Any
) -> None:
    world.produces += [trouble] * 4
    outcome = begin(sink.send(to(0, b"a")))
    for _ in range(30):
        clock.advance(0.1)
    assert outcome == [None]
    octets = {bytes(r.topic_data[0].partition_data[0].records) for r in world.requests(PRODUCE)}
    assert (len(octets), len(world.requests(PRODUCE))) == (1, 5)
    assert begin(sink.send(to(0, b"b"))) == [None]
    assert sent(world)[-1] == (0, 1, [b"b"])


def test_only_the_partition_in_trouble_is_sent_again(world: World, sink: KafkaSink, clock: Clock) -> None:
    world.produces.append({1: 6})
    outcome = begin(sink.send(to(0, b"a") + to(1, b"b")))
    clock.advance(0.1)
    assert outcome == [None]
    assert sent(world) == [(0, 0, [b"a"]), (1, 0, [b"b"]), (1, 0, [b"b"])]


def test_a_batch_that_the_broker_knows_already_is_appended(world: World, sink: KafkaSink) -> None:
    world.produces.append(46)
    assert begin(sink.send(to(0, b"a"))) == [None]


@pytest.mark.parametrize("code", [45, 47, 59, 29, 87])
def test_after_an_error_that_leaves_open_what_is_there_the_sink_is_done(
    world: World, sink: KafkaSink, code: int
) -> None:
    world.produces.append(code)
    error = error_of(begin(sink.send(to(0, b"a"))))
    assert isinstance(error, Answered)
    assert error_of(begin(sink.send(to(0, b"b")))) is error
    assert len(world.requests(PRODUCE)) == 1


def test_a_record_that_is_too_large_is_refused_and_the_next_one_is_not(world: World, sink: KafkaSink) -> None:
    world.produces.append(10)
    assert isinstance(error_of(begin(sink.send(to(0, b"large")))), TooLarge)
    assert begin(sink.send(to(0, b"small"))) == [None]
    assert [sequence for _, sequence, _ in sent(world)] == [0, 0]


def test_what_is_before_a_record_that_is_too_large_is_written_and_counted(
    world: World, sink: KafkaSink
) -> None:
    """Whatever else was in its batch; nothing behind it is."""
    values = [b"a", b"b", b"large", b"d"]
    world.produces += [10, 0, 10, 10]
    error = error_of(begin(sink.send(to(0, *values))))
    assert isinstance(error, TooLarge)
    assert error.context["written"] == 2
    tried = [values, [b"a", b"b"], [b"large", b"d"], [b"large"]]
    assert sent(world) == [(0, 0, tried[0]), (0, 0, tried[1]), (0, 2, tried[2]), (0, 2, tried[3])]


def test_what_is_before_it_in_other_partitions_is_written_too(world: World, sink: KafkaSink) -> None:
    world.produces.append({0: 10})
    error = error_of(begin(sink.send(to(1, b"a", b"b") + to(0, b"large"))))
    assert error.context["written"] == 2
    assert sent(world) == [(1, 0, [b"a", b"b"]), (0, 0, [b"large"])]


def test_what_was_written_before_the_broker_was_lost_is_counted(
    world: World, sink: KafkaSink, clock: Clock
) -> None:
    world.produces += [0, 45]
    values = [b"x" * 500_000, b"y" * 500_000]
    error = error_of(begin(sink.send(to(0, *values))))
    assert error.context["written"] == 1
    assert error_of(begin(sink.send(to(0, b"z")))).context["written"] == 0


def test_a_broker_that_stays_away_is_given_up_after_the_deadline(
    world: World, sink: KafkaSink, clock: Clock
) -> None:
    world.down = {Server("one", 9092), Server("two", 9092)}
    first, second = begin(sink.send(to(0, b"a"))), begin(sink.send(to(0, b"b")))
    for _ in range(160):
        clock.advance(0.1)
    assert isinstance(error_of(first), Unreachable)
    assert error_of(second) is error_of(first)
    assert clock.getDelayedCalls() == []


def test_a_queue_made_anew_gets_nothing_that_was_meant_for_the_old_one(
    world: World, sink: KafkaSink, clock: Clock
) -> None:
    world.produces.append(100)
    world.topic_id = OTHER_ID
    error = error_of(begin(sink.send(to(0, b"a"))))
    assert isinstance(error, BackendFailed)
    assert error.text == "Queue q was deleted"
    assert isinstance(error_of(begin(sink.send(to(0, b"b")))), BackendFailed)
    assert len(world.requests(PRODUCE)) == 1


def test_much_goes_in_batches_one_after_the_other(world: World, sink: KafkaSink) -> None:
    large = b"x" * 400_000
    assert begin(sink.send(to(0, large, large, large, b"end") + to(1, b"beside"))) == [None]
    batches = [(number, sequence, len(found)) for number, sequence, found in sent(world)]
    assert batches == [(0, 0, 2), (1, 0, 1), (0, 2, 2)]
    assert all(
        len(p.records) <= BATCH_OCTETS + 61
        for r in world.requests(PRODUCE)
        for p in r.topic_data[0].partition_data
    )


def test_sequences_wrap(world: World, sink: KafkaSink) -> None:
    sink._sequences[0] = 2**31 - 1
    assert begin(sink.send(to(0, b"a", b"b"))) == [None]
    assert begin(sink.send(to(0, b"c"))) == [None]
    assert [sequence for _, sequence, _ in sent(world)] == [2**31 - 1, next_sequence(2**31 - 1, 2)]


def test_times_partitions_and_headers_are_kept(world: World, sink: KafkaSink) -> None:
    records = [Record(1, 0, 99, b"k", b"v", (("h", None),)), Record(1, 0, -1, None, None)]
    assert begin(sink.send(records)) == [None]
    (request,) = world.requests(PRODUCE)
    octets = memoryview(request.topic_data[0].partition_data[0].records)
    assert decode_records(octets, parse_header(octets)) == [
        BatchRecord(0, 99, b"k", b"v", (("h", None),)),
        BatchRecord(1, 1_234_500, None, None),
    ]


def test_a_partition_that_is_not_there_sends_nothing(world: World, sink: KafkaSink) -> None:
    assert isinstance(error_of(begin(sink.send(to(0, b"a") + to(2, b"b")))), NoSuch)
    assert world.requests(PRODUCE) == []
    assert begin(sink.send(to(0, b"a"))) == [None]


def test_sending_nothing_asks_nobody(world: World, sink: KafkaSink) -> None:
    assert begin(sink.send([])) == [None]
    assert world.requests(PRODUCE) == []
