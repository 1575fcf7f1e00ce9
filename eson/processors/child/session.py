"""One session of a processor: both ends reached, positions asked, then events carried until something happens.

First start, crash, refused batch, moved leader, silence: there is one path for all.  A session ends, the next one asks
the destination what has arrived and goes on exactly there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from eson.brokers.kafka.wire.apis import ApiVersionsRequest
from eson.processors.child.cluster import EARLIEST, LATEST, Cluster
from eson.processors.child.ends import End
from eson.processors.child.fetcher import FETCH_BYTES, LARGEST_BATCH, Fetcher, OutOfRange
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.lanes import Counters, Planned, RunningLane
from eson.processors.child.planning import Changed, Planner
from eson.processors.child.producer import Producer
from eson.processors.child.remaking import remaking
from eson.processors.child.restoring import Restoring, lost, missing
from eson.processors.child.scanning import newest_batch
from eson.processors.child.trouble import Again, Stopped, Trouble
from eson.processors.core.journal import (
    Journal,
    Lane,
    LaneState,
    acknowledged_line,
    entry_line,
    gap_line,
    lane_line,
    lane_records,
    skip_line,
)
from eson.processors.core.rates import Bucket
from eson.processors.core.resume import Active, Continue, NotActive, Scan, Stop, resume
from eson.processors.port import ProcessorOrder

REFRESH = 30.0
OUTSTANDING = 2 * FETCH_BYTES
"""Octets that wait for acknowledgement before the next answer is planned."""
RENEW_AT = 0.8
"""Part of a login's lifetime after which the session is opened anew."""
NOTE_EVERY = 1.0


class Session:
    """`settled`: what a predecessor sent cannot arrive any more, so that what it planned binds nobody."""

    def __init__(
        self,
        order: ProcessorOrder,
        journal: JournalFile,
        sources: list[Cluster],
        destinations: list[Cluster],
        counters: Counters,
        limits: tuple[Bucket, Bucket],
        max_bytes: Mapping[int, int],
        settled: bool = False,
    ) -> None:
        self._order, self._file, self._counters = order, journal, counters
        self._limits, self._max_bytes, self._settled = limits, max_bytes, settled
        self._clusters = sources, destinations
        self._sources: list[End] = []
        self._destinations: list[End] = []
        self._producers: dict[tuple[int, int], Producer] = {}
        self._fetchers: list[tuple[int, Fetcher]] = []
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._stopping = False
        self.lanes: list[RunningLane] = []
        self.exact = True
        self.progressed = False

    # Opening

    async def open(self) -> None:
        """Returns when positions are known.  Raises `Trouble`."""
        self._sources = [End(one, await one.open()) for one in self._clusters[0]]
        self._destinations = [End(one, await one.open()) for one in self._clusters[1]]
        for end in self._sources + self._destinations:
            for node in sorted(set(end.topic.leaders.values())):
                connection = await end.cluster.connect(node)
                connection.lost = self._fail
                end.connections[node] = connection
        self.exact = all(end.cluster.keeps_producers(end.connections.values()) for end in self._destinations)
        self._check_topics(self.journal.lanes.values())
        await self._restore()
        await self._make_lanes()
        await self._find_positions()
        self._make_producers()
        self._make_fetchers()
        if self._ended.done():
            await self._ended

    @property
    def journal(self) -> Journal:
        return self._file.journal

    def _check_topics(self, states: Iterable[LaneState]) -> None:
        for state in states:
            lane = state.lane
            if lane.source >= len(self._sources) or lane.destination >= len(self._destinations):
                raise Stopped("the journal knows more ends than the order")
            for what, end, id in (
                ("source", self._sources[lane.source], lane.source_topic),
                ("destination", self._destinations[lane.destination], lane.destination_topic),
            ):
                if id and end.topic.id and id != end.topic.id:
                    raise Stopped(f"{what} {end.topic.name} was deleted and created again")

    async def _restore(self) -> None:
        """Makes the journal again where it lacks what it had.  Raises `Stopped` where that proves nothing."""
        states = missing(self.journal, self._order.lanes)
        if not states:
            return
        self._check_topics(states)
        if not self.exact:
            raise lost("the destination does not tell what has arrived")
        active = await self._ask_producers(states)
        for state in states:
            lane = state.lane
            source, destination = self._sources[lane.source], self._destinations[lane.destination]
            largest = min(await destination.cluster.max_bytes(), LARGEST_BATCH)
            restoring = Restoring(source, destination, remaking(self._order, lane.source), largest)
            await restoring.restore(state, active.get(lane.number))
        for state in states:
            self.journal.lanes[state.lane.number] = state
            for record in lane_records(state):
                self._file.add(record)
        self._file.sync()

    async def _make_lanes(self) -> None:
        """A lane for each partition of a source and each destination that the journal does not have yet."""
        known = self._file.journal.lanes
        have = {(s.lane.source, s.lane.source_partition, s.lane.destination) for s in known.values()}
        first_time = not known
        made: list[Lane] = []
        for source_number, source in enumerate(self._sources):
            wanted = [
                (partition, number)
                for partition in sorted(source.topic.leaders)
                for number in range(len(self._destinations))
                if (source_number, partition, number) not in have
            ]
            starts = await self._starts(source, sorted({p for p, _ in wanted}), first_time)
            for partition, number in wanted:
                made.append(await self._lane(source_number, partition, number, starts[partition], made))
        for lane in made:
            known[lane.number] = LaneState(lane, lane.start)
            self._file.add(lane_line(lane))
        if made:
            self._file.sync()

    async def _lane(
        self, source: int, partition: int, destination: int, start: int, made: list[Lane]
    ) -> Lane:
        lanes = [state.lane for state in self._file.journal.lanes.values()] + made
        end = self._destinations[destination]
        partitions = sorted(end.topic.leaders)
        target = partitions[partition % len(partitions)]
        connection = end.leader(target)
        producer, epoch = -1, -1
        if self.exact:
            producer, epoch = await self._producer_for(lanes, source, destination, target)
        floor = (await end.cluster.offsets(connection, [target], LATEST))[target]
        return Lane(
            len(lanes),
            source,
            partition,
            self._sources[source].topic.id,
            destination,
            target,
            end.topic.id,
            producer,
            epoch,
            start,
            floor,
        )

    async def _producer_for(
        self, lanes: list[Lane], source: int, destination: int, target: int
    ) -> tuple[int, int]:
        """A producer id that no other lane uses on the target partition: sequences belong to one lane."""
        taken = {
            lane.producer_id
            for lane in lanes
            if lane.destination == destination and lane.destination_partition == target
        }
        for lane in lanes:
            if (lane.source, lane.destination) == (source, destination) and lane.producer_id not in taken:
                return lane.producer_id, lane.epoch
        return await self._destinations[destination].cluster.producer_id()

    async def _starts(self, source: End, partitions: list[int], first_time: bool) -> dict[int, int]:
        """Where new lanes begin.  A partition that was added later is carried from its beginning."""
        start = self._order.start
        given = dict(start) if not isinstance(start, str) else {}
        when = LATEST if start == "now" and first_time else EARLIEST
        asked = [partition for partition in partitions if partition not in given]
        found = await self._ask_offsets(source, asked, when)
        return {partition: given.get(partition, found.get(partition, 0)) for partition in partitions}

    async def _ask_offsets(self, end: End, partitions: Iterable[int], when: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for node, mine in end.by_leader(partitions).items():
            found |= await end.cluster.offsets(end.connections[node], mine, when)
        return found

    async def _find_positions(self) -> None:
        states = list(self._file.journal.lanes.values())
        answers = await self._ask_producers(states) if self.exact else {}
        sizes = [
            min(await end.cluster.max_bytes(), self._max_bytes.get(number, LARGEST_BATCH))
            for number, end in enumerate(self._destinations)
        ]
        for state in states:
            lane = RunningLane(state, self.exact, sizes[state.lane.destination])
            if self.exact:
                found = await self._decide(state, answers.get(state.lane.number))
                lane.offset, lane.sequence = found.offset, found.sequence
                if self._settled:
                    state.forget_behind(found.acknowledged)
                else:
                    lane.expected.extend(found.expected)
            else:
                lane.offset = state.position()
                lane.sequence = 0 if state.acknowledged is None else (state.acknowledged[0] + 1) & 0x7FFFFFFF
            lane.end = lane.offset
            self.lanes.append(lane)

    async def _ask_producers(self, states: list[LaneState]) -> dict[int, Active]:
        """Lane → what its destination's leader knows of its producer."""
        found: dict[int, Active] = {}
        for number, end in enumerate(self._destinations):
            mine = [state.lane for state in states if state.lane.destination == number]
            active: dict[int, dict[int, Active]] = {}
            for node, partitions in end.by_leader({one.destination_partition for one in mine}).items():
                active |= await end.cluster.producers(end.connections[node], partitions)
            for lane in mine:
                known = active.get(lane.destination_partition, {}).get(lane.producer_id)
                if known is not None:
                    found[lane.number] = known
        return found

    async def _decide(self, state: LaneState, active: Active | None) -> Continue:
        decision = resume(state, active or NotActive())
        if isinstance(decision, Scan):
            end = self._destinations[state.lane.destination]
            connection = end.leader(state.lane.destination_partition)
            newest = await newest_batch(
                end.cluster, end.topic, connection, state.lane, decision.offset, decision.past
            )
            decision = resume(state, NotActive(True, None if newest is None else newest.last_sequence))
        if isinstance(decision, Stop):
            raise Stopped(f"partition {state.lane.destination_partition}: {decision.reason}")
        assert isinstance(decision, Continue)
        return decision

    def _make_producers(self) -> None:
        for number, end in enumerate(self._destinations):
            for node, connection in end.connections.items():
                self._producers[number, node] = Producer(
                    end.cluster, end.topic, connection, self._acknowledged, self._fail
                )

    def _make_fetchers(self) -> None:
        rate = self._order.bytes_per_second
        size = FETCH_BYTES if not rate else min(FETCH_BYTES, max(rate, 64 << 10))
        for number, end in enumerate(self._sources):
            mine: dict[int, list[RunningLane]] = {}
            for lane in self.lanes:
                if lane.state.lane.source == number:
                    mine.setdefault(lane.source_partition, []).append(lane)
            remake = remaking(self._order, number)
            for node, partitions in end.by_leader(mine).items():
                planners = {one: Planner(mine[one], end.topic.name, remake) for one in partitions}
                fetcher = Fetcher(end.cluster, end.topic, end.connections[node], planners, self._carry, size)
                self._fetchers.append((number, fetcher))

    # Carrying

    async def run(self) -> None:
        """Carries until something happens, which it raises; returns after `stop`."""
        tasks = [self._loop.create_task(self._fetch(number, one)) for number, one in self._fetchers]
        tasks += [self._loop.create_task(self._refresh()), self._loop.create_task(self._note())]
        try:
            await asyncio.wait([*tasks, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, source: int, fetcher: Fetcher) -> None:
        try:
            await fetcher.run()
        except OutOfRange as error:
            await self._gap(source, error.partition)
            raise Again("the source lost events before they were carried") from None

    async def _gap(self, number: int, partition: int) -> None:
        """Notes what a source lost, and goes on behind it.  Raises `Stopped` where it lost its end, `Changed`."""
        source = self._sources[number]
        first = (await self._ask_offsets(source, [partition], EARLIEST))[partition]
        for lane in self.lanes:
            if (lane.state.lane.source, lane.source_partition) != (number, partition):
                continue
            if lane.offset >= first:
                raise Stopped(
                    f"source {source.topic.name} lost its end: partition {partition} was carried up to offset"
                    f" {lane.offset - 1} and does not reach that far any more"
                )
            if lane.expected:
                raise Changed(lane)
            lane.state.gaps.append((lane.offset, first - 1))
            lane.state.skip(first)
            self._file.add(gap_line(lane.number, lane.offset, first - 1))
        self._file.sync()

    async def _carry(self, planned: list[Planned]) -> None:
        if not planned:
            self.progressed = self.progressed or all(lane.caught_up for lane in self.lanes)
            return
        if self._note_planned(planned):
            self._note_acknowledged()
            self._file.sync()
        if not self._order.records_per_second and not self._order.bytes_per_second:
            await self._send(planned)
            return
        for batch in planned:  # an answer may hold many seconds' worth
            await self._send([batch])
            if wait := self._spend(batch):
                await asyncio.sleep(wait)

    async def _send(self, planned: list[Planned]) -> None:
        """Returns when more may be planned."""
        if len(self._producers) == 1:
            (producer,) = self._producers.values()
            producer.add(planned)
            await producer.below(OUTSTANDING)
            return
        for key, batches in self._by_producer(planned).items():
            self._producers[key].add(batches)
        for producer in self._producers.values():
            await producer.below(OUTSTANDING)

    def _note_planned(self, planned: list[Planned]) -> bool:
        """Into the journal; whether there was anything that is not there yet."""
        new, add = False, self._file.add
        for batch in planned:
            lane = batch.lane
            lane.unacknowledged += batch.records
            if batch.new:
                new = True
                lane.state.plan(batch.entry)
                add(entry_line(lane.number, batch.entry))
        return new

    def _by_producer(self, planned: list[Planned]) -> dict[tuple[int, int], list[Planned]]:
        groups: dict[tuple[int, int], list[Planned]] = {}
        for batch in planned:
            number = batch.lane.state.lane.destination
            node = self._destinations[number].topic.leaders[batch.lane.partition]
            groups.setdefault((number, node), []).append(batch)
        return groups

    def _spend(self, batch: Planned) -> float:
        """Seconds for which nothing more may be sent."""
        now = self._loop.time()
        records, octets = self._limits
        return max(records.take(batch.records, now), octets.take(batch.size, now))

    def _acknowledged(self, batch: Planned, offset: int) -> None:
        lane = batch.lane
        lane.state.acknowledged = (batch.entry.last, offset)
        lane.unacknowledged -= batch.records
        counters = self._counters
        counters.records += batch.records
        counters.octets += batch.size
        if batch.newest > counters.last_event:
            counters.last_event = batch.newest
        if batch.memory is not None:
            batch.memory.release()
        self.progressed = True

    def _note_acknowledged(self) -> None:
        for lane in self.lanes:
            acknowledged = lane.state.acknowledged
            if acknowledged != lane.noted and acknowledged is not None:
                lane.noted = acknowledged
                self._file.add(acknowledged_line(lane.number, *acknowledged))
            self._skip(lane)

    def _skip(self, lane: RunningLane) -> None:
        """Notes that nothing was left to carry up to the position, once everything before it has arrived."""
        if lane.unacknowledged or lane.expected:
            return
        at = lane.state.entries[-1].next_offset if lane.state.entries else lane.state.start
        if lane.offset > at:
            lane.state.skip(lane.offset)
            self._file.add(skip_line(lane.number, lane.offset))

    async def _note(self) -> None:
        """Acknowledgements reach the journal's file soon, also when nothing follows."""
        while True:
            await asyncio.sleep(NOTE_EVERY)
            self._note_acknowledged()
            self._file.write()

    async def _refresh(self) -> None:
        """Notices partitions that were added, topics made anew, and logins that are about to end."""
        lifetimes = [end.cluster.lifetime() for end in self._sources + self._destinations]
        shortest = min((one for one in lifetimes if one), default=None)
        until = self._loop.time() + shortest * RENEW_AT if shortest else None
        while True:
            now = self._loop.time()
            await asyncio.sleep(REFRESH if until is None else max(0.0, min(REFRESH, until - now)))
            if until is not None and self._loop.time() >= until:
                raise Again("a login is about to end")
            for end in self._sources + self._destinations:
                topic = await end.cluster.topic()
                if topic != end.topic:
                    raise Again("the queue's partitions or leaders changed")
                for connection in end.connections.values():
                    if not connection.waiting:  # brokers close what is idle
                        await connection.ask(ApiVersionsRequest(), 0)

    # Ending

    def _fail(self, trouble: Trouble) -> None:
        if not self._ended.done():
            self._ended.set_exception(trouble)
            self._ended.exception()  # looked at, also if nobody waits any more

    async def drain(self, timeout: float) -> None:
        """After fetching ended: waits until what was sent is acknowledged, as long as that may take."""
        try:
            async with asyncio.timeout(timeout):
                for producer in self._producers.values():
                    drained = self._loop.create_task(producer.below(0))
                    await asyncio.wait([drained, self._ended], return_when=asyncio.FIRST_COMPLETED)
                    drained.cancel()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Ends all connections and writes down what is known.  Raises `Unreachable` if the disk refuses."""
        for end in (*self._clusters[0], *self._clusters[1]):
            end.close()
        self._note_acknowledged()
        self._file.write()

    def positions(self) -> list[tuple[int, int, int, int]]:
        """(source, partition, offset before which all is acknowledged, end) of each source partition."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for lane in self.lanes:
            key = (lane.state.lane.source, lane.source_partition)
            mine = lane.state.position()
            offset, end = found.get(key, (mine, lane.end))
            found[key] = (min(offset, mine), max(end, lane.end))
        return [(*key, *value) for key, value in sorted(found.items())]

    def lag(self) -> int:
        return sum(lane.lag for lane in self.lanes)
