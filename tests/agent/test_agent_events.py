"""READ and WRITE."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent.agent_world import BOB, TEST, World, run
from twisted.internet.defer import Deferred

from eson.agent.hosting import Limits
from eson.brokers.port import Record
from eson.errors import BackendFailed, EsonError, NoSuch, NotAllowed, TooLarge, Usage, WriteStopped
from eson.fnap.core.commands import Read, Write
from eson.fnap.core.render import error_line
from eson.model.positions import AtOffsets, Beginning, Now
from eson.model.principals import ANONYMOUS, Caller

F = "time.flows.unix.ar"
ANYBODY = Caller(ANONYMOUS)


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"source": "/tests", "type": "tick", "data": number, **more}


def write(world: World, *events: dict[str, Any], caller: Caller = TEST, flow: str = F) -> int:
    async def all_of_it() -> int:
        writer = await world.provider.open_writer(caller, Write(flow))
        for one in events:
            await writer.write(one)
        return await writer.finish()

    return run(all_of_it())


def read(world: World, command: Read, caller: Caller = TEST) -> list[dict[str, Any]]:
    async def all_of_it() -> list[dict[str, Any]]:
        reader = await world.provider.open_reader(caller, command)
        found: list[dict[str, Any]] = []
        while lines := await reader.next_lines():
            found += [json.loads(line) for line in lines]
        return found

    return run(all_of_it())


def start(work: Any) -> list[Any]:
    """What it ends with, when it does."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    return outcome


def test_what_is_written_is_read() -> None:
    world = World()
    world.flow(F)
    assert write(world, *(event(number, id=str(number), esonkey="k") for number in range(3))) == 3
    found = read(world, Read(F))
    assert [
        (one["id"], one["data"], one["esonpartition"], one["esonoffset"], one["esonkey"]) for one in found
    ] == [
        ("0", 0, 0, 0, "k"),
        ("1", 1, 0, 1, "k"),
        ("2", 2, 0, 2, "k"),
    ]
    headers = dict(world.unix.broker.records(F)[0].headers)
    assert headers["ce_type"] == b"tick"


def test_structured_flows_hold_whole_events() -> None:
    world = World()
    world.flow(f"{F} mode=structured")
    write(world, event(7))
    assert json.loads(world.unix.broker.records(F)[0].value)["data"] == 7
    assert read(world, Read(F))[0]["data"] == 7


@pytest.mark.parametrize(
    "command, expected",
    [
        (Read(F), [0, 1, 2, 3, 4]),
        (Read(F, Beginning(), limit=2), [0, 1]),
        (Read(F, AtOffsets(((0, 3),))), [3, 4]),
        (Read(F, AtOffsets(((0, 3),)), limit=1), [3]),
        (Read(F, AtOffsets(((0, 99),))), []),
        (Read(F, Now()), []),
        (Read(F, limit=0), []),
        (Read(F, limit=99), [0, 1, 2, 3, 4]),
    ],
)
def test_positions_and_limits(command: Read, expected: list[int]) -> None:
    world = World()
    world.flow(F)
    write(world, *(event(number) for number in range(5)))
    assert [one["data"] for one in read(world, command)] == expected
    assert len(world.unix.broker.queues[F].sources) == 0


def test_a_read_ends_where_the_flow_ended_when_it_began() -> None:
    world = World()
    world.flow(F)
    write(world, event(0))

    async def reading() -> list[Any]:
        reader = await world.provider.open_reader(TEST, Read(F))
        sink = await world.unix.broker.write(F)
        await sink.send([Record(0, -1, 0, None, b"later")])
        found = []
        while lines := await reader.next_lines():
            found += lines
        return found

    assert len(run(reading())) == 1


def test_batches_are_bounded_in_lines_and_octets() -> None:
    world = World()
    world.flow(F)
    write(world, *(event(number) for number in range(200)))

    async def sizes() -> list[int]:
        reader = await world.provider.open_reader(TEST, Read(F))
        found = []
        while lines := await reader.next_lines():
            found.append(len(lines))
        return found

    assert run(sizes()) == [64, 64, 64, 8]
    world.flow("big.flows.unix.ar")
    write(world, *(event(0, data="x" * 400_000) for _ in range(7)), flow="big.flows.unix.ar")

    async def octets() -> list[int]:
        reader = await world.provider.open_reader(TEST, Read("big.flows.unix.ar"))
        found = []
        while lines := await reader.next_lines():
            found.append(sum(map(len, lines)))
        return found

    sizes_of = run(octets())
    assert all(size <= 1 << 20 for size in sizes_of)
    assert sum(sizes_of) > 2_800_000


def test_follow_waits_and_ends_when_it_is_closed() -> None:
    world = World()
    world.flow(F)
    reader = run(world.provider.open_reader(TEST, Read(F, Now(), follow=True)))
    waiting = start(reader.next_lines())
    assert waiting == []
    write(world, event(1))
    assert json.loads(waiting[0][0])["data"] == 1
    waiting = start(reader.next_lines())
    reader.close()
    assert waiting == [[]]
    assert run(reader.next_lines()) == []
    assert len(world.unix.broker.queues[F].sources) == 0


def test_what_is_no_event_is_wrapped() -> None:
    world = World()
    world.flow(F)
    sink = run(world.unix.broker.write(F))
    run(sink.send([Record(0, -1, 0, None, b"\xff\x00")]))
    (found,) = read(world, Read(F))
    assert (found["type"], found["data_base64"]) == ("eson.record", "/wA=")


# Rights


def test_who_may_read_and_write() -> None:
    world = World()
    world.flow(F)
    for caller in (BOB, ANYBODY):
        for opening in (
            world.provider.open_reader(caller, Read(F)),
            world.provider.open_writer(caller, Write(F)),
        ):
            with pytest.raises(NotAllowed):
                run(opening)
    world.say(TEST, f"UPDATE FLOW {F} visibility=public")
    assert read(world, Read(F), ANYBODY) == []
    with pytest.raises(NotAllowed):
        run(world.provider.open_writer(ANYBODY, Write(F)))
    with pytest.raises(NoSuch):
        run(world.provider.open_reader(BOB, Read("none.flows.unix.ar")))


def test_nobody_writes_to_a_copy() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(TEST, f"SUBSCRIBE {F}").split()[2]
    with pytest.raises(NotAllowed):
        run(world.provider.open_writer(TEST, Write(copy)))
    assert read(world, Read(copy)) == []


@pytest.mark.parametrize(
    "line", [f"UPDATE FLOW {F} visibility=listed", f"UPDATE FLOW {F} visibility=private", f"DELETE FLOW {F}"]
)
def test_a_right_that_is_taken_ends_a_read_that_runs(line: str) -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    reader = run(world.provider.open_reader(BOB, Read(F, Now(), follow=True)))
    waiting = start(reader.next_lines())
    assert world.say(TEST, line).startswith("220")
    assert waiting[0].check(NotAllowed, NoSuch, BackendFailed)
    with pytest.raises(EsonError):
        run(reader.next_lines())


def test_removing_a_subscriber_ends_its_read_over_fnap_and_no_event_passes_behind_it() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    reader = run(world.provider.open_reader(BOB, Read(copy, Now(), follow=True)))
    waiting = start(reader.next_lines())
    sink = run(world.unix.broker.write(copy))
    world.say(TEST, f"REMOVE SUBSCRIBER {copy}")
    with pytest.raises(BackendFailed):
        run(sink.send([Record(0, -1, 0, None, b"secret")]))
    assert waiting[0].check(NoSuch, BackendFailed)
    with pytest.raises(NoSuch):
        run(world.provider.open_reader(BOB, Read(copy)))


def test_a_read_ends_with_its_subscription_even_where_the_queue_cannot_be_removed_yet() -> None:
    world = World()
    world.flow(f"{F} visibility=public")
    copy = world.say(BOB, f"SUBSCRIBE {F}").split()[2]
    reader = run(world.provider.open_reader(BOB, Read(copy, Now(), follow=True)))
    waiting = start(reader.next_lines())
    delete = world.unix.broker.delete_queue

    async def fails(name: str) -> None:
        raise BackendFailed("not now")

    world.unix.broker.delete_queue = fails
    assert world.say(TEST, f"REMOVE SUBSCRIBER {copy}") == f"220 OK {copy}"
    assert waiting[0].check(NoSuch)
    assert copy in world.unix.broker.queues
    with pytest.raises(NoSuch):
        run(world.provider.open_reader(BOB, Read(copy)))
    assert "\nstate=ended\nreason=removed\n" in world.say(BOB, f"DESCRIBE FLOW {copy}")
    world.unix.broker.delete_queue = delete
    world.settle(70)
    assert copy not in world.unix.broker.queues


# WRITE to the letter


def test_exactly_the_events_before_the_first_bad_one_are_written() -> None:
    world = World(Limits(event=1000))
    world.flow(F)
    for bad, error in (({"type": "no source"}, Usage), (event(0, data="x" * 1000), TooLarge)):
        before = len(world.unix.broker.records(F))

        async def writing(bad: dict[str, Any] = bad, error: type[Exception] = error) -> int:
            writer = await world.provider.open_writer(TEST, Write(F))
            for number in range(5):
                await writer.write(event(number))
            with pytest.raises(error):
                await writer.write(bad)
            return await writer.finish()

        assert run(writing()) == 5
        assert len(world.unix.broker.records(F)) == before + 5


@pytest.mark.parametrize("error", [TooLarge("too large", written=3), BackendFailed("gone", written=3)])
def test_what_was_written_of_the_batch_that_failed_is_counted(error: EsonError) -> None:
    world = World()
    world.flow(F)
    sink, writer = stiff(world)

    async def refuse(records: Any) -> None:
        raise error

    async def writing() -> None:
        await writer.write(event(0))
        for number in range(1, 6):
            await writer.write(event(number))

    run(writing())
    sink.sink.send = refuse
    first = sink.batches[0]
    sink.take()
    with pytest.raises(WriteStopped) as stopped:
        run(writer.finish())
    assert first == 1
    assert stopped.value.written == 3


class Stiff:
    """A sink that takes a batch when it is told to."""

    def __init__(self, sink: Any) -> None:
        self.sink = sink
        self.batches: list[int] = []
        self.waiting: Deferred[None] | None = None
        self.closed = False

    async def send(self, records: Any) -> None:
        self.batches.append(len(records))
        self.waiting = Deferred()
        await self.waiting
        await self.sink.send(records)

    def close(self) -> None:
        self.closed = True

    def take(self) -> None:
        waiting, self.waiting = self.waiting, None
        assert waiting is not None
        waiting.callback(None)


def stiff(world: World) -> tuple[Stiff, Any]:
    sink = Stiff(run(world.unix.broker.write(F)))

    async def opened(name: str) -> Stiff:
        return sink

    world.unix.broker.write = opened
    return sink, run(world.provider.open_writer(TEST, Write(F)))


def test_what_comes_while_a_batch_is_under_way_makes_the_next() -> None:
    world = World()
    world.flow(F)
    sink, writer = stiff(world)
    for number in range(10):
        run(writer.write(event(number)))
    finished = start(writer.finish())
    assert (sink.batches, finished) == ([1], [])
    sink.take()
    assert (sink.batches, finished, sink.closed) == ([1, 9], [], False)
    sink.take()
    assert (finished, sink.closed) == ([10], True)
    assert [json.loads(record.value) for record in world.unix.broker.records(F)] == list(range(10))


def test_a_slow_broker_holds_the_client_back() -> None:
    world = World()
    world.flow(F)
    sink, writer = stiff(world)
    run(writer.write(event(0)))
    for number in range(999):
        run(writer.write(event(number)))
    held = start(writer.write(event(1000)))
    assert held == []
    sink.take()
    assert held == [None]


def test_a_lost_broker_tells_how_many_are_written() -> None:
    world = World()
    world.flow(F)

    async def writing() -> None:
        writer = await world.provider.open_writer(TEST, Write(F))
        for number in range(3):
            await writer.write(event(number))
        world.unix.broker.down = True
        for number in range(3):
            try:
                await writer.write(event(number))
            except WriteStopped as error:
                assert (error.reply_code, error.written) == (451, 3)
                break
        else:
            raise AssertionError("nobody was told")
        assert await writer.finish() == 3

    run(writing())


def test_a_broker_lost_at_the_end_is_told_with_the_count() -> None:
    world = World()
    world.flow(F)
    sink, writer = stiff(world)
    for number in range(4):
        run(writer.write(event(number)))
    finished = start(writer.finish())
    sink.take()
    world.unix.broker.down = True
    sink.take()
    assert finished[0].check(WriteStopped)
    assert finished[0].value.written == 1
    assert error_line(finished[0].value) == b"451 Broker local cannot be reached; 1 written\r\n"
    assert sink.closed


def test_a_client_that_goes_away_leaves_what_was_accepted() -> None:
    world = World()
    world.flow(F)
    sink, writer = stiff(world)
    for number in range(4):
        run(writer.write(event(number)))
    writer.abort()
    assert not sink.closed
    sink.take()
    sink.take()
    assert sink.closed
    assert len(world.unix.broker.records(F)) == 4


def test_deleting_a_flow_stops_its_writers() -> None:
    world = World()
    world.flow(F)
    writer = run(world.provider.open_writer(TEST, Write(F)))
    run(writer.write(event(0)))
    world.say(TEST, f"DELETE FLOW {F}")
    with pytest.raises(WriteStopped) as stopped:
        run(writer.write(event(1)))
    assert stopped.value.written == 1
