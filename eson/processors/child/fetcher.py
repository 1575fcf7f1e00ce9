"""Fetches from the leader of some partitions of a source: the next Fetch is under way while the last is carried."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from typing import Any
from uuid import UUID

from eson.brokers.kafka.wire.apis import FetchRequest
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.fetch import BY_ID, FLEXIBLE, OLDEST, FetchCodec
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.cluster import LATEST, Cluster, Topic, listed
from eson.processors.child.connection import MOST_ELEMENTS, TIMEOUT, Connection
from eson.processors.child.lanes import Memory, Planned
from eson.processors.child.planning import Planner
from eson.processors.child.trouble import Failing, Trouble, Unreachable
from eson.processors.child.window import Asked, Part, Window, Windows
from eson.processors.core.portions import portions

FETCH_BYTES = 3 << 20
FAR_BYTES = 8 << 20
"""For sources that are far: what an answer may hold where no answer came within `FAR`, so that the link is filled."""
FAR = 0.06
LARGEST_BATCH = 16 << 20
"""Octets of an answer that may exceed what was asked for, because one batch is always given whole."""
MAX_WAIT = 5.0
GATHER, GATHER_BYTES = 0.005, 32 << 10
"""Seconds that a broker gathers before it answers, where the last answer held something, but less than so many octets."""
TURN = 0.1
"""Seconds of planning after which others in the process have their turn; a batch is planned whole."""
_BESIDE = 64 << 10
"""Octets of an answer beside its batches, so that its memory need not grow."""
ENDS_KNOWN_FOR = MAX_WAIT + 1.0
"""Seconds for which an answer tells where its partitions end; one without events comes sooner."""
_NO_ID = UUID(int=0)


def fetch_codec(connection: Connection, topic: Topic, committed: bool = True) -> FetchCodec:
    """In the newest version that both sides know, by topic id where there is one.  Raises `Unreachable`."""
    version = connection.version(FetchRequest.API_KEY, BY_ID if topic.id else FLEXIBLE, OLDEST)
    if version is None:
        raise Unreachable(f"{connection.name} gives no batches of format 2")
    return FetchCodec(version, topic.name, topic.uuid if topic.id else _NO_ID, committed)


class OutOfRange(Trouble):
    """The source does not hold a partition's position."""

    def __init__(self, partition: int) -> None:
        super().__init__(f"partition {partition} does not hold the position")
        self.partition = partition


class Fetcher:
    """For one leader.  `carry` takes what was planned of an answer and returns when the next answer may be planned.

    What others of `windows` that read the same, told by `which`, have read it takes from them; what they want it leaves.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: Topic,
        connection: Connection,
        planners: Mapping[int, Planner],
        carry: Callable[[list[Planned]], Awaitable[None]],
        windows: Windows,
        which: Hashable,
        fetch_bytes: int = FETCH_BYTES,
    ) -> None:
        self._cluster, self._topic, self._connection = cluster, topic, connection
        self._planners, self._carry = dict(planners), carry
        for planner in planners.values():
            planner.beside = len(planners) - 1
        self._windows, self._which = windows, which
        self._window: Window
        self._bytes = fetch_bytes
        self._largest = 0
        """Octets of the largest batch of the last answer."""
        self._gather = False
        self._codec = fetch_codec(connection, topic)
        connection.cap = LARGEST_BATCH + max(fetch_bytes, FAR_BYTES)
        self._turn = 0
        self._turn_ends = 0.0
        self._ends_heard = 0.0
        self._pool: list[bytearray] = []
        self._asked: Asked | None = None
        self._wanted: Mapping[int, int] = {}
        self._before: Mapping[int, int] = {}
        """The positions of this turn and of the one before."""

    async def run(self) -> None:
        """Until cancelled.  Raises what planning and carrying raise, `OutOfRange`, `Unreachable`, `Failing`."""
        with self._windows.membership(self._which, self) as self._window:
            answer = self._next()
            try:
                while True:
                    given, buffer = await answer
                    memory = None if buffer is None else Memory(buffer, 1, self._pool)
                    for planned, last in self._turns(given):
                        if memory is not None:
                            memory.hold(len(planned))
                            for batch in planned:
                                batch.memory = memory
                        if last:
                            answer = self._next()
                        await self._carry(planned)
                        if not last:  # neighbours have their turn, and what was heard is acted upon
                            await asyncio.sleep(0)
                    if memory is not None:
                        memory.release()
            finally:
                answer.cancel()
                if self._asked is not None:
                    self._asked.answered(False)

    async def renew_ends(self) -> None:
        """Asks where the partitions end if an answer has been carried for long: a limit, a slow destination.

        Meanwhile the source goes on, and the lag with it.  Raises `Unreachable`, `Failing`.
        """
        if time.monotonic() - self._ends_heard < ENDS_KNOWN_FOR:
            return
        ends = await self._cluster.offsets(self._connection, self._planners, LATEST)
        for partition, end in ends.items():
            planner = self._planners.get(partition)
            for lane in planner.lanes if planner else ():
                lane.end = max(lane.end, end)  # an answer may have told more since

    def position(self, partition: int) -> int:
        """The offset that it wants next; beyond all where it wants nothing."""
        planner = self._planners.get(partition)
        return sys.maxsize if planner is None else planner.position

    def _adapt(self, octets: int, asked: int) -> None:
        """Asks for more at once where the source is far: one Fetch fills a link only so far.

        The quickest answer tells, not this one: a broker that is merely busy gains nothing by larger answers.
        """
        if self._connection.round_trip <= FAR:
            self._bytes = min(self._bytes, FETCH_BYTES)
        elif octets >= asked * 3 // 4 and FETCH_BYTES <= self._bytes < FAR_BYTES:
            self._bytes = min(FAR_BYTES, 2 * self._bytes)

    def _memory(self, octets: int) -> bytearray:
        usual = octets + _BESIDE
        while self._pool:
            buffer = self._pool.pop()
            if usual <= len(buffer) <= 2 * usual:
                return buffer
        return bytearray(usual)

    def _next(self) -> asyncio.Future[Any]:
        """(what is to be planned, memory it lies in): from the source, or from what others read."""
        # what stands first is served first: another one at each turn
        self._turn = (self._turn + 1) % len(self._planners)
        partitions = list(self._planners)
        partitions = partitions[self._turn :] + partitions[: self._turn]
        positions = {number: self._planners[number].position for number in partitions}
        self._before, self._wanted = self._wanted, positions
        if self._window.alone:
            return self._fetch(positions, None)
        return asyncio.ensure_future(self._shared(positions))

    async def _shared(self, positions: Mapping[int, int]) -> tuple[Any, bytearray | None]:
        window = self._window
        window.tidy()
        first = next(iter(positions.items()))
        while True:
            # no partition that must be asked for waits for ever behind others that need not
            if not window.lacks(*first) and (parts := window.look(positions, min(self._bytes, window.share))):
                return self._copied(parts)
            missing = window.missing(positions)
            asked = window.asked(missing, self._before)
            if asked is None:
                self._asked = window.ask(missing, self._connection)
                return await self._fetch(missing, self._asked)  # type: ignore[no-any-return]
            if await asked.wait() and missing == window.missing(positions):
                return window.nothing(missing), None

    def _copied(self, parts: list[Part]) -> tuple[list[Part], bytearray | None]:
        """In memory of our own: planning changes it."""
        octets = sum(len(part.records) for part in parts)
        usual = min(self._bytes, self._window.share)
        pooled = usual <= 2 * octets and octets <= usual
        buffer = self._memory(usual) if pooled else bytearray(octets)
        view, at, copied = memoryview(buffer), 0, []
        for part in parts:
            end = at + len(part.records)
            view[at:end] = part.records
            copied.append(part._replace(records=view[at:end]))
            at = end
        return copied, buffer if pooled else None

    def _fetch(self, positions: Mapping[int, int], asked: Asked | None) -> asyncio.Future[Any]:
        size = min(self._bytes, self._window.share)
        behind = sum(not self._planners[number].caught_up for number in positions)
        most, each = portions(size, behind, self._largest)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(frame: memoryview) -> None:
            self._adapt(len(frame), most)
            # a few octets must not hold on to the memory of many while they wait
            small = 2 * len(frame) < size
            octets = memoryview(bytearray(frame)) if small else frame
            decoded = self._codec.response(octets, len(positions), MOST_ELEMENTS)
            buffer = None if small else self._connection.detach(self._memory(size))
            if asked is not None and not asked.over:
                asked.answered(self._keep(positions, decoded))
            if not future.done():
                future.set_result((decoded, buffer))

        correlation = self._connection.next_correlation()
        wait, least = (GATHER, GATHER_BYTES) if self._gather else (MAX_WAIT, 1)
        request = self._codec.request(correlation, positions, most, each, int(wait * 1000), least)
        self._connection.send((request,), answered, MAX_WAIT + TIMEOUT)
        return future

    def _keep(self, positions: Mapping[int, int], answer: Any) -> bool:
        """Leaves an answer to the others; whether it is one that they can use."""
        try:
            for part in self._parts(answer):
                if part.partition in positions:  # others were not asked for, and are nobody's
                    self._window.keep(part, positions[part.partition], self)
        except (Trouble, MalformedMessage):  # each hears of it by itself
            return False
        return True

    def _parts(self, answer: Any) -> Iterator[Part]:
        if getattr(answer, "error_code", 0):
            raise self._cluster.trouble(answer.error_code, "reading")
        for part in (part for topic in listed(answer.responses) for part in listed(topic.partitions)):
            if part.partition_index not in self._planners:
                continue
            if part.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                raise OutOfRange(part.partition_index)
            if part.error_code:
                raise self._cluster.trouble(part.error_code, f"partition {part.partition_index}")
            aborted = [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()]
            end = part.last_stable_offset if part.last_stable_offset >= 0 else part.high_watermark
            yield Part(part.partition_index, part.records, aborted, end)

    def _turns(self, given: Any) -> Iterator[tuple[list[Planned], bool]]:
        """What is planned of an answer, in parts that take about `TURN` each, and whether it is the last.

        Nothing is planned before the part before it was handed on.
        """
        planned: list[Planned] = []
        octets = largest = 0
        self._ends_heard = time.monotonic()
        self._turn_ends = self._ends_heard + TURN
        try:
            for partition, records, aborted, end in given if isinstance(given, list) else self._parts(given):
                planner = self._planners[partition]
                for lane in planner.lanes:
                    lane.end = end
                for part in planner.turns(records, aborted, self._over) if records else ():
                    planned += part
                    if self._over():
                        octets, largest = _weighed(planned, octets, largest)
                        yield planned, False
                        planned, self._turn_ends = [], time.monotonic() + TURN
                for lane in planner.lanes:
                    lane.caught_up = lane.offset >= end
        except MalformedMessage as error:
            raise Failing(f"{self._connection.name} breaks Kafka's protocol: {error}") from None
        for planner in self._planners.values():  # the whole answer was sound, and will be handed on
            planner.settle()
        octets, largest = _weighed(planned, octets, largest)
        self._largest = largest or self._largest
        self._gather = 0 < octets < GATHER_BYTES
        yield planned, True

    def _over(self) -> bool:
        return time.monotonic() > self._turn_ends


def _weighed(planned: list[Planned], octets: int, largest: int) -> tuple[int, int]:
    """Octets of all batches, and of the largest, with those of parts before."""
    sizes = [batch.size for batch in planned]
    return octets + sum(sizes), max([largest, *sizes])
