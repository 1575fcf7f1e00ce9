"""What every kind of broker promises, whatever it is: one suite for all.

A kind's test module subclasses `BrokerContract` and gives two fixtures: `broker`, started, and `call`, which runs a coroutine
function of its own to the end: `call(broker.create_queue, "a", 3)`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from eson.brokers.partitions import partition_of_key
from eson.brokers.port import Broker, Capability, Queue, Record, Rights
from eson.errors import BackendFailed, Conflict, NoSuch
from eson.model.servers import Server

Call = Callable[..., Any]


def fresh(label: str = "time") -> str:
    """A name that nothing else uses, of the form that flows have."""
    return f"{label}-{uuid.uuid4().hex[:10]}.flows.unix.ar"


def record(value: bytes | None, key: bytes | None = None, partition: int = -1, **more: Any) -> Record:
    return Record(partition, 0, more.pop("timestamp", -1), key, value, **more)


async def read_all(broker: Broker, name: str, start: Mapping[int, int] | None = None) -> list[Record]:
    """Everything from `start` (else the beginning) to the end of now, partition by partition."""
    begin = await broker.first_offsets(name) if start is None else start
    source = await broker.read(name, begin, await broker.end_offsets(name))
    found: list[Record] = []
    while records := await source.next_records():
        found += records
    source.close()
    return sorted(found, key=lambda r: (r.partition, r.offset))


async def write_all(broker: Broker, name: str, records: Sequence[Record]) -> None:
    sink = await broker.write(name)
    await sink.send(records)
    sink.close()


class BrokerContract:
    @pytest.fixture
    def queue(self, broker: Broker, call: Call) -> str:
        name = fresh()
        call(broker.create_queue, name)
        return name

    # what clients are told

    def test_it_says_where_clients_connect(self, broker: Broker, call: Call) -> None:
        servers = [*call(broker.servers), *call(broker.servers, True)]
        assert servers
        assert all(isinstance(server, Server) for server in servers)
        assert broker.client_security() in ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
        assert bool(call(broker.servers, True)) == broker.client_security().endswith("ssl")
        access = broker.access()
        assert access.servers
        assert not access.password or access.password not in repr(access)

    def test_starting_twice_is_starting_once(self, broker: Broker, call: Call) -> None:
        call(broker.start)
        call(broker.start)

    # queues

    def test_a_queue_is_created_and_described(self, broker: Broker, call: Call) -> None:
        name = fresh()
        made = call(broker.create_queue, name, 3, 3_600_000, 1_048_576)
        assert (made.name, made.partitions) == (name, 3)
        assert call(broker.describe_queue, name) == Queue(name, 3, made.id, 3_600_000, 1_048_576)

    def test_a_retention_that_nobody_set_is_not_told(self, broker: Broker, call: Call, queue: str) -> None:
        described = call(broker.describe_queue, queue)
        assert (described.retention_ms, described.retention_bytes) == (None, None)

    def test_creating_the_same_queue_again_is_success(self, broker: Broker, call: Call, queue: str) -> None:
        again = call(broker.create_queue, queue)
        assert again == call(broker.describe_queue, queue)

    def test_a_queue_with_other_partitions_is_a_conflict(
        self, broker: Broker, call: Call, queue: str
    ) -> None:
        with pytest.raises(Conflict):
            call(broker.create_queue, queue, 2)

    def test_many_queues_are_created_at_the_same_time(self, broker: Broker, call: Call) -> None:
        names = [fresh("many") for _ in range(20)]

        async def all_of_them() -> None:
            made = [Deferred.fromCoroutine(broker.create_queue(name)) for name in [*names, names[0]]]  # type: ignore[arg-type]
            for one in made:
                await one

        call(all_of_them)
        assert set(names) <= set(call(broker.list_queues))

    def test_a_queue_that_is_not_there_is_described_by_none(self, broker: Broker, call: Call) -> None:
        assert call(broker.describe_queue, fresh()) is None

    def test_a_retention_can_be_changed_and_given_back(self, broker: Broker, call: Call, queue: str) -> None:
        call(broker.update_queue, queue, 7_200_000, None)
        described = call(broker.describe_queue, queue)
        assert (described.retention_ms, described.retention_bytes) == (7_200_000, None)
        call(broker.update_queue, queue, None, 2_097_152)
        described = call(broker.describe_queue, queue)
        assert (described.retention_ms, described.retention_bytes) == (None, 2_097_152)

    def test_partitions_become_more_and_never_fewer(self, broker: Broker, call: Call, queue: str) -> None:
        call(broker.add_partitions, queue, 4)
        call(broker.add_partitions, queue, 4)
        assert call(broker.describe_queue, queue).partitions == 4
        assert call(broker.end_offsets, queue) == {0: 0, 1: 0, 2: 0, 3: 0}
        with pytest.raises(Conflict):
            call(broker.add_partitions, queue, 2)

    def test_a_deleted_queue_is_gone_and_may_be_deleted_again(
        self, broker: Broker, call: Call, queue: str
    ) -> None:
        call(broker.delete_queue, queue)
        assert call(broker.describe_queue, queue) is None
        assert queue not in call(broker.list_queues)
        call(broker.delete_queue, queue)

    def test_a_queue_made_anew_is_empty_and_another(self, broker: Broker, call: Call, queue: str) -> None:
        before = call(broker.describe_queue, queue).id
        call(write_all, broker, queue, [record(b"old")])
        call(broker.delete_queue, queue)
        after = call(broker.create_queue, queue).id
        assert call(broker.end_offsets, queue) == {0: 0}
        if before:
            assert after != before

    @pytest.mark.parametrize(
        "operation",
        [
            lambda b, q: b.update_queue(q, 1000, None),
            lambda b, q: b.add_partitions(q, 2),
            lambda b, q: b.first_offsets(q),
            lambda b, q: b.end_offsets(q),
            lambda b, q: b.offsets_at(q, datetime.now(UTC)),
            lambda b, q: b.read(q, {0: 0}, None),
            lambda b, q: b.write(q),
        ],
        ids=["update", "add_partitions", "first", "end", "at", "read", "write"],
    )
    def test_what_needs_a_queue_says_that_there_is_none(
        self, broker: Broker, call: Call, operation: Callable[[Broker, str], Any]
    ) -> None:
        name = fresh()
        with pytest.raises(NoSuch, match=f"No such queue: {name}"):
            call(lambda: operation(broker, name))

    def test_a_queue_without_consumers_has_none(self, broker: Broker, call: Call, queue: str) -> None:
        assert list(call(broker.list_consumers, queue)) == []

    # records

    def test_records_come_back_as_they_were_written(self, broker: Broker, call: Call, queue: str) -> None:
        written = [
            record(
                b"value", b"key", 0, timestamp=1_700_000_000_000, headers=(("ce_id", b"1"), ("empty", b""))
            ),
            record(None, b"tombstone", 0, timestamp=1_700_000_000_001),
            record(b"", None, 0, timestamp=1_700_000_000_001, headers=(("null", None), ("null", b"twice"))),
            record("ünïcode".encode(), b"\x00\xff", 0, timestamp=1_700_000_000_000),
        ]
        call(write_all, broker, queue, written)
        found = call(read_all, broker, queue)
        assert [r.offset for r in found] == [0, 1, 2, 3]
        assert [(r.key, r.value, r.headers, r.timestamp) for r in found] == [
            (r.key, r.value, r.headers, r.timestamp) for r in written
        ]

    def test_a_record_without_a_time_gets_that_of_now(self, broker: Broker, call: Call, queue: str) -> None:
        before = int(time.time() * 1000)
        call(write_all, broker, queue, [record(b"now")])
        (found,) = call(read_all, broker, queue)
        assert before - 1000 <= found.timestamp <= int(time.time() * 1000) + 1000

    def test_order_holds_over_many_sends_of_one_sink(self, broker: Broker, call: Call, queue: str) -> None:
        async def write() -> None:
            sink = await broker.write(queue)
            sends = [
                Deferred.fromCoroutine(sink.send([record(b"%d" % (10 * i + j)) for j in range(10)]))  # type: ignore[arg-type]
                for i in range(20)
            ]
            for one in sends:
                await one
            sink.close()

        call(write)
        assert [int(r.value) for r in call(read_all, broker, queue)] == list(range(200))

    def test_much_is_written_and_read_in_portions(self, broker: Broker, call: Call, queue: str) -> None:
        """More than fits into one batch, one response or one answer of a source."""
        call(write_all, broker, queue, [record(b"%06d" % i + b"x" * 20_000) for i in range(400)])

        async def portions() -> list[list[Record]]:
            source = await broker.read(queue, {0: 0}, await broker.end_offsets(queue))
            found = []
            while records := await source.next_records():
                found.append(list(records))
            return found

        found = call(portions)
        assert len(found) > 4
        assert max(sum(len(r.value or b"") for r in some) for some in found) < 2 * 1024 * 1024
        assert [int((r.value or b"")[:6]) for some in found for r in some] == list(range(400))

    def test_keys_decide_the_partition_as_with_kafkas_clients(self, broker: Broker, call: Call) -> None:
        name = fresh()
        call(broker.create_queue, name, 5)
        keys = [b"key-%d" % i for i in range(40)]
        call(write_all, broker, name, [record(key, key) for key in keys])
        found = {r.key: r.partition for r in call(read_all, broker, name)}
        assert found == {key: partition_of_key(key, 5) for key in keys}
        assert len(set(found.values())) > 1

    def test_a_partition_that_is_asked_for_is_taken(self, broker: Broker, call: Call) -> None:
        name = fresh()
        call(broker.create_queue, name, 3)
        call(write_all, broker, name, [record(b"%d" % n, b"same key", n) for n in (2, 0, 2)])
        assert [(r.partition, r.value) for r in call(read_all, broker, name)] == [
            (0, b"0"),
            (2, b"2"),
            (2, b"2"),
        ]
        with pytest.raises(NoSuch):
            call(write_all, broker, name, [record(b"x", partition=3)])

    def test_records_without_a_key_spread_over_partitions(self, broker: Broker, call: Call) -> None:
        name = fresh()
        call(broker.create_queue, name, 3)

        async def write() -> None:
            sink = await broker.write(name)
            for _ in range(6):
                await sink.send([record(b"a"), record(b"b")])

        call(write)
        assert call(broker.end_offsets, name) == {0: 4, 1: 4, 2: 4}

    def test_reading_starts_and_ends_where_it_is_told(self, broker: Broker, call: Call, queue: str) -> None:
        call(write_all, broker, queue, [record(b"%d" % i) for i in range(10)])

        async def middle() -> list[bytes | None]:
            source = await broker.read(queue, {0: 3}, {0: 7})
            found: list[bytes | None] = []
            while records := await source.next_records():
                found += [r.value for r in records]
            return found

        assert call(middle) == [b"3", b"4", b"5", b"6"]

    def test_reading_nothing_ends_at_once(self, broker: Broker, call: Call, queue: str) -> None:
        async def nothing() -> Sequence[Record]:
            source = await broker.read(queue, {0: 0}, {0: 0})
            return await source.next_records()

        assert list(call(nothing)) == []

    def test_a_partition_that_is_not_there_cannot_be_read(
        self, broker: Broker, call: Call, queue: str
    ) -> None:
        async def other() -> None:
            source = await broker.read(queue, {1: 0}, None)
            await source.next_records()

        with pytest.raises(NoSuch):
            call(other)

    def test_an_offset_that_is_not_there_is_an_error_and_no_jump(
        self, broker: Broker, call: Call, queue: str
    ) -> None:
        async def beyond() -> None:
            source = await broker.read(queue, {0: 100}, None)
            await source.next_records()

        with pytest.raises(BackendFailed, match="offset 100"):
            call(beyond)

    def test_a_following_reader_waits_for_what_comes(self, broker: Broker, call: Call, queue: str) -> None:
        async def follow() -> Sequence[Record]:
            source = await broker.read(queue, {0: 0}, None)
            waiting = Deferred.fromCoroutine(source.next_records())  # type: ignore[arg-type]
            await write_all(broker, queue, [record(b"later")])
            records: Sequence[Record] = await waiting
            source.close()
            return records

        assert [r.value for r in call(follow)] == [b"later"]

    def test_closing_ends_a_reader_that_waits(self, broker: Broker, call: Call, queue: str) -> None:
        async def close_it() -> Sequence[Record]:
            source = await broker.read(queue, {0: 0}, None)
            waiting = Deferred.fromCoroutine(source.next_records())  # type: ignore[arg-type]
            await broker.end_offsets(queue)
            source.close()
            records: Sequence[Record] = await waiting
            assert list(await source.next_records()) == []
            return records

        assert list(call(close_it)) == []

    def test_a_closed_sink_takes_nothing_more(self, broker: Broker, call: Call, queue: str) -> None:
        async def write() -> None:
            sink = await broker.write(queue)
            sink.close()
            await sink.send([record(b"x")])

        with pytest.raises(BackendFailed):
            call(write)
        assert call(broker.end_offsets, queue) == {0: 0}

    # positions

    def test_offsets_by_time(self, broker: Broker, call: Call) -> None:
        if Capability.SEEK_BY_TIME not in broker.capabilities:
            pytest.skip("this kind cannot seek by time")
        name = fresh()
        call(broker.create_queue, name, 2)
        start = int(time.time() * 1000) - 60_000
        for i in range(5):
            call(write_all, broker, name, [record(b"%d" % i, partition=0, timestamp=start + i * 1000)])

        def at(milliseconds: int) -> Mapping[int, int]:
            offsets: Mapping[int, int] = call(
                broker.offsets_at, name, datetime.fromtimestamp((start + milliseconds) / 1000, UTC)
            )
            return offsets

        assert at(-1000) == {0: 0, 1: 0}
        assert at(2000) == {0: 2, 1: 0}
        assert at(2500) == {0: 3, 1: 0}
        assert at(10_000) == {0: 5, 1: 0}

    # users

    @pytest.fixture
    def username(self, broker: Broker) -> str:
        if Capability.ISSUES_CREDENTIALS not in broker.capabilities:
            pytest.skip("this kind issues no credentials")
        return fresh("user")

    def test_users_come_and_go(self, broker: Broker, call: Call, username: str) -> None:
        call(broker.set_credential, username, "one long password")
        assert username in call(broker.list_users)
        call(broker.set_credential, username, "another long password")
        assert list(call(broker.list_users)).count(username) == 1
        call(broker.delete_credential, username)
        assert username not in call(broker.list_users)
        call(broker.delete_credential, username)

    def test_rights_are_given_and_taken_again_and_again(
        self, broker: Broker, call: Call, username: str, queue: str
    ) -> None:
        rights = Rights(read=(queue,), write=(queue,), groups_prefix=username, group=f"{username}-1")
        for _ in range(2):
            call(broker.allow, username, rights)
        for _ in range(2):
            call(broker.disallow, username)
