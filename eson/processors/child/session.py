"""One session of a processor: both ends reached, positions asked, then events carried until something happens.

First start, crash, refused batch, moved leader, silence: there is one path for all.  A session ends, the next one asks
the destination what has arrived and goes on exactly there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping

from eson.processors.child.cluster import Cluster
from eson.processors.child.ends import End
from eson.processors.child.fetcher import Fetcher, OutOfRange
from eson.processors.child.gaps import pass_gap
from eson.processors.child.journal_file import JournalFile
from eson.processors.child.journal_writer import JournalWriter
from eson.processors.child.lane_making import LaneMaking
from eson.processors.child.lanes import Counters, Planned, RunningLane
from eson.processors.child.pacing import Pacer, fetch_bytes
from eson.processors.child.planning import Planner
from eson.processors.child.positions import running_lanes
from eson.processors.child.producer import Producer
from eson.processors.child.recovery import Recovery
from eson.processors.child.recreation import check_topics
from eson.processors.child.refreshing import lifetime, refresh, renew_ends
from eson.processors.child.remaking import remaking
from eson.processors.child.restoring import Restoring
from eson.processors.child.sender import Sender
from eson.processors.child.trouble import Again, Trouble
from eson.processors.child.truncation import check_ends
from eson.processors.child.window import Windows
from eson.processors.core.rates import Limiter
from eson.processors.port import ProcessorOrder


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
        self._journal = JournalWriter(journal)
        self._limiters, self._max_bytes, self._settled = limiters, max_bytes, settled
        self._clusters, self._windows = (sources, destinations), windows
        self._restoring = restoring
        self._sources: list[End] = []
        self._destinations: dict[int, End] = {}
        self._producers: dict[tuple[int, int], Producer] = {}
        self._send: Callable[[list[Planned]], Awaitable[None]]
        """Returns when more may be planned."""
        self._fetchers: list[tuple[int, Fetcher]] = []
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
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
                if connection.trouble is not None:
                    raise connection.trouble
                end.connections[node] = connection
        exact = all(
            end.cluster.keeps_producers(end.connections.values()) for end in self._destinations.values()
        )
        lanes = self._file.journal.lanes
        check_topics(self._order, lanes.values(), self._sources, self._destinations)
        given = self._order, self._file, self._sources, self._destinations, exact
        try:
            async with asyncio.timeout(lifetime(self._ends)):
                await Recovery(*given, self._restoring).recover()
        except TimeoutError:
            raise Again("a login is about to end") from None
        self.narrow = await LaneMaking(*given).make()
        mine = [one for one in lanes.values() if one.lane.destination in self._destinations]
        self.lanes = await running_lanes(mine, self._destinations, self._max_bytes, exact, self._settled)
        self.exact = all(lane.exact for lane in self.lanes)
        self._inherited = any(lane.expected for lane in self.lanes)
        await check_ends(self._sources, self.lanes)
        self._make_producers()
        self._make_fetchers()
        if self._ended.done():
            await self._ended

    @property
    def _ends(self) -> list[End]:
        return [*self._sources, *self._destinations.values()]

    def _make_producers(self) -> None:
        for number, end in self._destinations.items():
            for node, connection in end.connections.items():
                self._producers[number, node] = Producer(
                    end.cluster, end.topic, connection, self._acknowledged, self._fail
                )
        sender = Sender(self._producers, self._destinations, self._windows)
        limited = any(one.limit for one in self._limiters.values())
        self._send = Pacer(sender, self._limiters).send if limited else sender.send

    def _make_fetchers(self) -> None:
        size = fetch_bytes(self._limiters)
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
        """Carries until something happens, which it raises."""
        with self._windows.session():
            await self._run()

    async def _run(self) -> None:
        tasks = [self._loop.create_task(self._fetch(number, one)) for number, one in self._fetchers]
        tasks.append(self._loop.create_task(refresh(self._ends, bool(self.narrow))))
        tasks.append(self._loop.create_task(renew_ends([one for _, one in self._fetchers])))
        tasks.append(self._loop.create_task(self._journal.run(self.lanes)))
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
            where = source, error.partition
            mine = [lane for lane in self.lanes if (lane.state.lane.source, lane.source_partition) == where]
            await pass_gap(self._sources[source], error.partition, mine, self._journal)
            self._file.sync()
            raise Again("the source lost events before they were carried") from None

    async def _carry(self, planned: list[Planned]) -> None:
        if not planned:
            self.progressed = self.progressed or all(lane.caught_up for lane in self.lanes)
            return
        self._journal.plan(planned, self.lanes)
        await self._send(planned)

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
        self._journal.write(self.lanes)
