"""One session of a processor: both ends reached, positions asked, then events carried until something happens.

First start, crash, refused batch, moved leader, silence: there is one path for all.  A session ends, the next one asks
the destination what has arrived and goes on exactly there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping

from eson.brokers.kafka.wire.apis import ApiVersionsRequest
from eson.model.rates import RateLimit
from eson.processors.child.cluster import EARLIEST, Cluster
from eson.processors.child.ends import End
from eson.processors.child.fetcher import FETCH_BYTES, LARGEST_BATCH, Fetcher, OutOfRange
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.lane_making import LaneMaking
from eson.processors.child.lanes import Counters, Planned, RunningLane
from eson.processors.child.planning import Changed, Planner
from eson.processors.child.positions import ask_producers, running_lanes
from eson.processors.child.producer import Producer
from eson.processors.child.remaking import remaking
from eson.processors.child.restoring import Restoring, lost, missing
from eson.processors.child.trouble import Again, Stopped, Trouble, Unreachable
from eson.processors.child.truncation import check_ends
from eson.processors.child.window import Windows
from eson.processors.core.journal import (
    Journal,
    LaneState,
    acknowledged_line,
    entry_line,
    gap_line,
    kept,
    lane_records,
    leader_epoch_line,
    skip_line,
)
from eson.processors.core.rates import Limiter
from eson.processors.port import ProcessorOrder

REFRESH, REFRESH_NARROW = 30.0, 3.0
"""Seconds between two looks at the queues: usually, and while a destination lacks partitions, which somebody adds soon."""
LEAST_FETCH = 64 << 10
"""Octets that an answer may have, however low a limit is."""
USUAL_RECORD = 1 << 10
OUTSTANDING = 2 * FETCH_BYTES
"""Octets that wait for acknowledgement before the next answer is planned."""
RENEW_AT = 0.8
"""Part of a login's lifetime after which the session is opened anew."""
NOTE_EVERY = 1.0


class Session:
    """For those of the order's destinations that are given, by number; others have sessions of their own.

    `restoring`: lanes of a lost journal that sessions are making again, one after the other.
    `settled`: what a predecessor sent cannot arrive any more, so that what it planned binds nobody.
    """

    def __init__(
        self,
        order: ProcessorOrder,
        journal: JournalFile,
        sources: list[Cluster],
        destinations: Mapping[int, Cluster],
        counters: Counters,
        limiters: Mapping[int, Limiter],
        max_bytes: Mapping[int, int],
        windows: Windows,
        restoring: dict[int, Restoring],
        settled: bool = False,
    ) -> None:
        self._order, self._file, self._counters = order, journal, counters
        self._limiters, self._max_bytes, self._settled = limiters, max_bytes, settled
        self._limited = any(one.limit for one in limiters.values())
        self._clusters, self._windows = (sources, destinations), windows
        self._restoring = restoring
        self._sources: list[End] = []
        self._destinations: dict[int, End] = {}
        self._producers: dict[tuple[int, int], Producer] = {}
        self._fetchers: list[tuple[int, Fetcher]] = []
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._stopping = False
        self._inherited = False
        """Whether something that a predecessor sent may still arrive."""
        self.lanes: list[RunningLane] = []
        self.narrow = ""
        """Why partitions that the source has got since are not carried yet; "" if all are."""
        self.exact = True
        self.progressed = False

    # Opening

    async def open(self) -> None:
        """Returns when positions are known.  Raises `Trouble`."""
        self._sources = [End(one, await one.open()) for one in self._clusters[0]]
        self._destinations = {n: End(one, await one.open()) for n, one in self._clusters[1].items()}
        for end in self._ends:
            for node in sorted(set(end.topic.leaders.values())):
                connection = await end.cluster.connect(node)
                connection.lost = self._fail
                end.connections[node] = connection
        exact = all(
            end.cluster.keeps_producers(end.connections.values()) for end in self._destinations.values()
        )
        self._check_topics(self.journal.lanes.values())
        try:
            async with asyncio.timeout(self._lifetime()):
                await self._restore(exact)
        except TimeoutError:
            raise Again("a login is about to end") from None
        making = LaneMaking(self._order, self._file, self._sources, self._destinations, exact)
        self.narrow = await making.make()
        mine = [one for one in self.journal.lanes.values() if one.lane.destination in self._destinations]
        self.lanes = await running_lanes(mine, self._destinations, self._max_bytes, exact, self._settled)
        self.exact = all(lane.exact for lane in self.lanes)
        self._inherited = any(lane.expected for lane in self.lanes)
        await check_ends(self._sources, self.lanes)
        self._make_producers()
        self._make_fetchers()
        if self._ended.done():
            await self._ended

    @property
    def journal(self) -> Journal:
        return self._file.journal

    @property
    def _ends(self) -> list[End]:
        return [*self._sources, *self._destinations.values()]

    def _check_topics(self, states: Iterable[LaneState]) -> None:
        order = self._order
        for lane in (state.lane for state in states):
            if lane.source >= len(order.sources) or lane.destination >= len(order.destinations):
                raise Stopped.for_good("the journal knows more ends than the order")
            if lane.destination not in self._destinations:
                continue
            for what, end, id in (
                ("source", self._sources[lane.source], lane.source_topic),
                ("destination", self._destinations[lane.destination], lane.destination_topic),
            ):
                if id and end.topic.id and id != end.topic.id:
                    raise Stopped.for_good(f"{what} {end.topic.name} was deleted and created again")

    async def _restore(self, exact: bool) -> None:
        """Makes the journal again where it lacks what it had.  Raises `Stopped` where that proves nothing."""
        states = missing(self.journal, self._order.lanes, self._destinations)
        if not states:
            return
        self._check_topics(states)
        if not exact or any(state.lane.producer_id < 0 for state in states):
            raise lost("the destination does not tell what has arrived")
        active = await ask_producers(states, self._destinations)
        for state in states:
            lane = state.lane
            one = self._restoring.get(lane.number)
            if one is None or one.state.lane != lane:
                one = self._restoring[lane.number] = await self._restoring_of(state, kept(len(states)))
            try:
                await one.restore(
                    self._sources[lane.source], self._destinations[lane.destination], active.get(lane.number)
                )
            except Unreachable:  # the next session goes on there
                raise
            except Exception:
                del self._restoring[lane.number]
                raise
        for state in [self._restoring.pop(state.lane.number).state for state in states]:
            self.journal.lanes[state.lane.number] = state
            for record in lane_records(state):
                self._file.add(record)
        self._file.sync()

    async def _restoring_of(self, state: LaneState, keep: int) -> Restoring:
        source, destination = state.lane.source, self._destinations[state.lane.destination]
        largest = min(await destination.cluster.max_bytes(), LARGEST_BATCH)
        flow, remake = self._sources[source].topic.name, remaking(self._order, source)
        return Restoring(state, flow, remake, largest, keep)

    def _make_producers(self) -> None:
        for number, end in self._destinations.items():
            for node, connection in end.connections.items():
                self._producers[number, node] = Producer(
                    end.cluster, end.topic, connection, self._acknowledged, self._fail
                )

    def _make_fetchers(self) -> None:
        size = max(LEAST_FETCH, min(_second(one.limit) for one in self._limiters.values()))
        for number, end in enumerate(self._sources):
            mine: dict[int, list[RunningLane]] = {}
            for lane in self.lanes:
                if lane.state.lane.source == number:
                    mine.setdefault(lane.source_partition, []).append(lane)
            remake = remaking(self._order, number)
            for node, partitions in end.by_leader(mine).items():
                planners = {one: Planner(mine[one], end.topic.name, remake) for one in partitions}
                fetcher = Fetcher(
                    end.cluster,
                    end.topic,
                    end.connections[node],
                    planners,
                    self._carry,
                    self._windows,
                    self._which(number, node),
                    size,
                )
                self._fetchers.append((number, fetcher))

    def _which(self, source: int, node: int) -> Hashable:
        """The same for all that read the very same queue as the very same user."""
        given, topic = self._order.sources[source], self._sources[source].topic
        # without an id nothing tells a queue from one that was made anew
        return given.access, given.foreign, topic.name, topic.id or object(), node

    # Carrying

    async def run(self) -> None:
        """Carries until something happens, which it raises; returns after `stop`."""
        with self._windows.session():
            await self._run()

    async def _run(self) -> None:
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
        first = await source.offset(partition, EARLIEST)
        mine = [
            lane
            for lane in self.lanes
            if (lane.state.lane.source, lane.source_partition) == (number, partition)
        ]
        position = min(lane.offset for lane in mine)
        if position >= first:
            raise Stopped.for_good(
                f"source {source.topic.name} lost its end: partition {partition} was carried up to offset"
                f" {position - 1} and does not reach that far any more"
            )
        for lane in mine:
            if lane.offset >= first:  # to another destination, which is ahead
                continue
            if lane.expected:
                raise Changed(lane)
            lane.state.miss(lane.offset, first - 1)
            lane.leader_epoch = -1  # that of the lost ones is unknown
            self._note_leader_epoch(lane)
            self._file.add(gap_line(lane.number, lane.offset, first - 1))
        self._file.sync()

    async def _carry(self, planned: list[Planned]) -> None:
        if not planned:
            self.progressed = self.progressed or all(lane.caught_up for lane in self.lanes)
            return
        if self._note_planned(planned):
            self._note_acknowledged()
            self._file.sync()
        if not self._limited:
            await self._send(planned)
            return
        groups: dict[int, list[Planned]] = {}
        for batch in planned:
            groups.setdefault(batch.lane.state.lane.destination, []).append(batch)
        tasks = [self._loop.create_task(self._pace(self._limiters[one], groups[one])) for one in groups]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _pace(self, limiter: Limiter, planned: list[Planned]) -> None:
        """Sends what goes to one destination, batch by batch: an answer may hold many seconds' worth."""
        for batch in planned:
            if wait := limiter.wait(self._loop.time()):  # also for what a session before this one sent
                await asyncio.sleep(wait)
            limiter.take(batch.records, batch.size, self._loop.time())
            await self._send([batch])

    async def _send(self, planned: list[Planned]) -> None:
        """Returns when more may be planned."""
        outstanding = min(OUTSTANDING, 2 * self._windows.share)
        if len(self._producers) == 1:
            (producer,) = self._producers.values()
            producer.add(planned)
            await producer.below(outstanding)
            return
        for key, batches in self._by_producer(planned).items():
            self._producers[key].add(batches)
        for producer in self._producers.values():
            await producer.below(outstanding)

    def _note_planned(self, planned: list[Planned]) -> bool:
        """Into the journal; whether there was anything that is not there yet."""
        new, add = False, self._file.add
        for batch in planned:
            lane = batch.lane
            lane.unacknowledged += batch.records
            if batch.new:
                new = True
                lane.state.plan(batch.entry)
                if lane.leader_epoch != lane.state.leader_epoch:
                    self._note_leader_epoch(lane)
                add(entry_line(lane.number, batch.entry))
        return new

    def _by_producer(self, planned: list[Planned]) -> dict[tuple[int, int], list[Planned]]:
        groups: dict[tuple[int, int], list[Planned]] = {}
        for batch in planned:
            number = batch.lane.state.lane.destination
            node = self._destinations[number].topic.leaders[batch.lane.partition]
            groups.setdefault((number, node), []).append(batch)
        return groups

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
        if lane.planned_offset > at:
            lane.state.skip(lane.planned_offset)
            self._note_leader_epoch(lane)
            self._file.add(skip_line(lane.number, lane.planned_offset))

    def _note_leader_epoch(self, lane: RunningLane) -> None:
        """Never after the position that it belongs to: an older one would look like a source that lost its end."""
        if lane.leader_epoch != lane.state.leader_epoch:
            lane.state.leader_epoch = lane.leader_epoch
            self._file.add(leader_epoch_line(lane.number, lane.leader_epoch))

    async def _note(self) -> None:
        """Acknowledgements reach the journal's file soon, also when nothing follows."""
        while True:
            await asyncio.sleep(NOTE_EVERY)
            self._note_acknowledged()
            self._file.write()

    def _lifetime(self) -> float | None:
        """Seconds after which the session is opened anew; None without an end."""
        lifetimes = [end.cluster.lifetime() for end in self._ends]
        shortest = min((one for one in lifetimes if one), default=None)
        return shortest * RENEW_AT if shortest else None

    async def _refresh(self) -> None:
        """Notices partitions that were added, topics made anew, and logins that are about to end."""
        lifetime = self._lifetime()
        until = self._loop.time() + lifetime if lifetime else None
        every = REFRESH_NARROW if self.narrow else REFRESH
        while True:
            now = self._loop.time()
            await asyncio.sleep(every if until is None else max(0.0, min(every, until - now)))
            if until is not None and self._loop.time() >= until:
                raise Again("a login is about to end")
            for end in self._ends:
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

    async def settle(self, timeout: float) -> bool:
        """After a refusal: whether all that was sent is answered, so that nothing of it can arrive any more."""
        if self._inherited:
            return False
        try:
            async with asyncio.timeout(timeout):
                for producer in self._producers.values():
                    await producer.answered()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Ends all connections and writes down what is known.  Raises `Unreachable` if the disk refuses."""
        for end in (*self._clusters[0], *self._clusters[1].values()):
            end.close()
        self._note_acknowledged()
        self._file.write()


def _second(limit: RateLimit) -> int:
    """Octets of about a second's worth, so that no destination waits long for another."""
    rates = [limit.octets, limit.records and limit.records * USUAL_RECORD]
    return min([FETCH_BYTES, *(rate for rate in rates if rate)])
