"""What sessions of one process that read the same source have read of late, so that one Fetch serves all of them.

Whoever wants what is not there asks for it, through a connection of its own; who wants the same meanwhile waits for that
answer.  Nothing is kept that nobody will want, and nobody waits for another to take what was read: one that falls behind
what is kept asks for itself, as if it were alone.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from eson.brokers.kafka.wire.batches import CURRENT_MAGIC, magic_of, parse_header, split_entries
from eson.brokers.kafka.wire.malformed import MalformedMessage
from eson.processors.child.connection import Connection

MOST_KEPT = 4 << 20
"""Octets of answers that a process keeps for those of its sessions that want them later."""
MOST_OWN = 2 << 20
"""Octets that answers of all sessions of a process may hold, if there are several; each holds about five."""
LEAST_OWN = 128 << 10
_UNBOUNDED = 1 << 62
_BESIDE = 1 << 10
"""Octets that a chunk takes beside its records."""
PATIENCE = 7.0
"""Seconds after which an answer of which nothing has arrived is not waited for."""


class Part(NamedTuple):
    """What an answer says of one partition: batches, transactions aborted in them, where the partition ends."""

    partition: int
    records: memoryview
    aborted: Sequence[tuple[int, int]]
    end: int


class Member(Protocol):
    """One that reads."""

    def position(self, partition: int) -> int:
        """The offset that it wants next."""


class Chunk:
    """Batches of one partition for whoever wants offsets from `first` to before `following`."""

    __slots__ = ("aborted", "first", "following", "kept", "records")

    def __init__(
        self, first: int, following: int, records: bytes, aborted: Sequence[tuple[int, int]]
    ) -> None:
        self.first, self.following = first, following
        self.records, self.aborted = records, aborted
        self.kept = True

    @property
    def size(self) -> int:
        return len(self.records) + _BESIDE


class Asked:
    """A Fetch under way; `answered` says whether others may look for what it brought."""

    def __init__(self, positions: Mapping[int, int], connection: Connection) -> None:
        self.positions = dict(positions)
        self._connection = connection
        self._answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answered(self, usable: bool) -> None:
        if not self._answered.done():
            self._answered.set_result(usable)

    @property
    def over(self) -> bool:
        return self._answered.done()

    async def wait(self) -> bool:
        """Whether it brought something usable; False also if nothing of it arrives."""
        while not self._answered.done():
            await asyncio.wait([self._answered], timeout=PATIENCE)
            if not self._answered.done() and not self._connection.arriving:
                self.answered(False)
        return self._answered.result()


class Window:
    """Of one leader of one source."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._members: list[Member] = []
        self._chunks: dict[int, list[Chunk]] = {}
        self._ends: dict[int, int] = {}
        self._asked: list[Asked] = []

    @property
    def share(self) -> int:
        return self._windows.share

    @property
    def alone(self) -> bool:
        """Whether there is nobody to share with."""
        return len(self._members) < 2

    def join(self, member: Member) -> None:
        self._members.append(member)

    def leave(self, member: Member) -> int:
        """How many members are left."""
        self._members.remove(member)
        if self.alone:
            for partition in self._chunks:
                self._drop(partition, _UNBOUNDED)
        return len(self._members)

    # Asking

    def asked(self, positions: Mapping[int, int], before: Mapping[int, int]) -> Asked | None:
        """A Fetch under way that will bring what is wanted.

        It asks for the very same, or for a little that came before: not more than was had since `before`.  Else two that
        once asked at different moments would do so for ever.
        """
        self._asked = [one for one in self._asked if not one.over]
        for one in self._asked:
            if all(
                before.get(partition, offset) <= one.positions.get(partition, -1) <= offset
                for partition, offset in positions.items()
            ):
                return one
        return None

    def ask(self, positions: Mapping[int, int], connection: Connection) -> Asked:
        asked = Asked(positions, connection)
        self._asked.append(asked)
        return asked

    # Keeping

    def keep(self, part: Part, position: int, by: Member) -> bool:
        """Keeps a copy of what was read from `position` on if another wants it; whether it did."""
        self._ends[part.partition] = part.end
        following = _following(part.records) if part.records else 0
        if following <= position or not self._wanted(part.partition, following, by):
            return False
        # a view would hold on to the whole answer, of which others may want a few octets
        chunk = Chunk(position, following, bytes(part.records), part.aborted)
        chunks = self._chunks.setdefault(part.partition, [])
        at = bisect_right(chunks, position, key=_first)
        if at and chunks[at - 1].first == position:
            at -= 1
            if chunks[at].following >= following:
                return True
            self._windows.forget(chunks.pop(at))
        chunks.insert(at, chunk)
        self._windows.kept(self, part.partition, chunk)
        return True

    def _wanted(self, partition: int, following: int, by: Member) -> bool:
        return any(one is not by and one.position(partition) < following for one in self._members)

    def look(self, positions: Mapping[int, int], octets: int) -> list[Part]:
        """What is there for somebody at these positions: up to so many octets, but one chunk at least."""
        found: list[Part] = []
        for partition, position in positions.items():
            while (chunk := self._chunk(partition, position)) is not None:
                if found and len(chunk.records) > octets:
                    break
                found.append(Part(partition, memoryview(chunk.records), chunk.aborted, self._ends[partition]))
                octets -= len(chunk.records)
                position = chunk.following
        return found

    def _chunk(self, partition: int, position: int) -> Chunk | None:
        chunks = self._chunks.get(partition)
        if not chunks:
            return None
        at = bisect_right(chunks, position, key=_first) - 1
        return chunks[at] if at >= 0 and chunks[at].following > position else None

    def missing(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Those for which nothing is there."""
        return {
            partition: position
            for partition, position in positions.items()
            if self._chunk(partition, position) is None
        }

    def lacks(self, partition: int, position: int) -> bool:
        """Whether the source is known to hold what is not there."""
        return position < self._ends.get(partition, 0) and self._chunk(partition, position) is None

    def nothing(self, positions: Mapping[int, int]) -> list[Part]:
        """That there is nothing new, as last heard."""
        return [
            Part(partition, memoryview(b""), (), self._ends[partition])
            for partition in positions
            if partition in self._ends
        ]

    def tidy(self) -> None:
        """Lets go of what everybody has."""
        for partition, chunks in self._chunks.items():
            if chunks:
                self._drop(partition, min(one.position(partition) for one in self._members))

    def _drop(self, partition: int, before: int) -> None:
        chunks = self._chunks[partition]
        for chunk in chunks:
            if chunk.following <= before:
                self._windows.forget(chunk)
        chunks[:] = [chunk for chunk in chunks if chunk.kept]

    def lose(self, partition: int, chunk: Chunk) -> None:
        """It was forgotten because there is too much."""
        self._chunks[partition].remove(chunk)


class Windows:
    """Of one process; what all of them keep is bounded by `most` octets together."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._windows: dict[Hashable, Window] = {}
        self._kept: deque[tuple[Window, int, Chunk]] = deque()
        self._octets = 0
        self._sessions = 0

    @contextmanager
    def membership(self, key: Hashable, member: Member) -> Iterator[Window]:
        """In the window of all that give the same key, while it reads."""
        window = self._windows.setdefault(key, Window(self))
        window.join(member)
        try:
            yield window
        finally:
            if not window.leave(member):
                del self._windows[key]

    @contextmanager
    def session(self) -> Iterator[None]:
        """While a session carries."""
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1

    @property
    def share(self) -> int:
        """Octets that an answer may have, so that many sessions take no more memory than few."""
        return _UNBOUNDED if self._sessions < 2 else max(LEAST_OWN, MOST_OWN // self._sessions)

    @property
    def octets(self) -> int:
        return self._octets

    def kept(self, window: Window, partition: int, chunk: Chunk) -> None:
        self._kept.append((window, partition, chunk))
        self._octets += chunk.size
        while self._octets > self._most:
            window, partition, oldest = self._kept.popleft()
            if oldest.kept:
                self.forget(oldest)
                window.lose(partition, oldest)
        if len(self._kept) > 2 * self._most // _BESIDE:
            self._kept = deque(one for one in self._kept if one[2].kept)

    def forget(self, chunk: Chunk) -> None:
        chunk.kept = False
        self._octets -= chunk.size
        chunk.records = b""


def _first(chunk: Chunk) -> int:
    return chunk.first


def _following(records: memoryview) -> int:
    """The offset behind the last whole batch; 0 if there is none, or if whoever reads them must judge for itself."""
    following = 0
    try:
        for batch in split_entries(records):
            if magic_of(batch) < CURRENT_MAGIC:
                return 0
            following = parse_header(batch).last_offset + 1
    except MalformedMessage:
        return 0
    return following
