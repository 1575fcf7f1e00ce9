"""The journal of a processor: what was about to be sent and what arrived, one record a line.

    J 1 <processor>                              the file's first line: version of the format
    H <lane> <source> <partition> <topic id> <destination> <partition> <topic id> <producer id> <epoch> <start> <end>
    P <lane> <first sequence> <last sequence> <next source offset> <crc>     before a batch is sent, synced
    A <lane> <last sequence> <destination offset>                            after it was acknowledged
    S <lane> <next source offset>                after the last P, the source held nothing to carry up to here
    G <lane> <first missing> <last missing>      the source lost these; goes on behind them
    E <lane> <leader epoch>                      of the source's newest batch before the position; before its P or S

Each line ends with a space, the CRC-32 of what stands before it as 8 hex digits, and a line feed.  A line that is
torn or damaged at the end was never synced, hence nothing followed from it: reading ends there.  A lane is one
partition of a source on its way to one partition of a destination, with a producer id of its own.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from eson.brokers.kafka.wire.batches import next_sequence

VERSION = 1
MOST_SAID = 1 << 19
KEEP, KEEP_LEAST, KEEP_ALL = 512, 16, 1 << 15
"""Entries kept of a lane behind the acknowledged one, what a destination may lose and get again; of all lanes together."""


MOST_GAPS = 1000
"""Gaps kept of a lane, the newest: what is told of them must fit into a message."""


class JournalError(Exception):
    """The journal is damaged before its end, or of another version or processor.  Retry: no; the operator decides."""


@dataclass(frozen=True)
class Lane:
    """An H record.  `start`: first source offset; `floor`: end of the destination's partition when it was made."""

    number: int
    source: int
    source_partition: int
    source_topic: str
    destination: int
    destination_partition: int
    destination_topic: str
    producer_id: int
    epoch: int
    start: int
    floor: int


@dataclass(slots=True)
class Entry:
    """A P record, and the position behind it, which S and G move on."""

    first: int
    last: int
    next_offset: int
    crc: int


@dataclass
class LaneState:
    """What the journal knows of one lane.  `acknowledged`: the last A, as (last sequence, destination offset)."""

    lane: Lane
    start: int
    entries: list[Entry] = field(default_factory=list)
    acknowledged: tuple[int, int] | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list)
    leader_epoch: int = -1
    """The last E: the source's, -1 if unknown."""

    def plan(self, entry: Entry) -> None:
        """A P record.  What was planned from the same sequence on is void: it was asked for again and had not come."""
        before = next_sequence(entry.first, -1)
        if self.entries and self.entries[-1].last == before:
            self.entries.append(entry)
            return
        for at in range(len(self.entries) - 1, -1, -1):
            if self.entries[at].first == entry.first:
                del self.entries[at:]
                break
            if self.entries[at].last == before:
                del self.entries[at + 1 :]
                break
        self.entries.append(entry)

    def acknowledge(self, last: int, offset: int) -> None:
        self.acknowledged = (last, offset)

    def skip(self, next_offset: int) -> None:
        if self.entries:
            self.entries[-1].next_offset = next_offset
        else:
            self.start = next_offset

    def miss(self, first: int, last: int) -> None:
        """A G record."""
        self.gaps.append((first, last))
        del self.gaps[:-MOST_GAPS]
        self.skip(last + 1)

    def forget_behind(self, last: int | None) -> None:
        """Forgets what was planned behind this sequence (None: all): it did not arrive and cannot any more."""
        at = None if last is None else self.find(last)
        del self.entries[0 if at is None else at + 1 :]

    def find(self, last: int) -> int | None:
        """Index of the entry that ends with this sequence."""
        for at in range(len(self.entries) - 1, -1, -1):
            if self.entries[at].last == last:
                return at
        return None

    def position(self) -> int:
        """The source offset before which everything is acknowledged."""
        at = None if self.acknowledged is None else self.find(self.acknowledged[0])
        return self.start if at is None else self.entries[at].next_offset

    def prune(self, keep: int) -> None:
        """Forgets entries far behind the acknowledged one."""
        at = None if self.acknowledged is None else self.find(self.acknowledged[0])
        if at is not None and at > keep:
            self.start = self.entries[at - keep - 1].next_offset
            del self.entries[: at - keep]


def kept(lanes: int) -> int:
    """Entries to keep of each of so many lanes: memory is bounded, of however many partitions a queue has."""
    return max(KEEP_LEAST, min(KEEP, KEEP_ALL // max(1, lanes)))


def line(text: str) -> bytes:
    """One record with its end mark."""
    octets = text.encode("ascii")
    return b"%s %08x\n" % (octets, zlib.crc32(octets))


def opening(processor: str) -> bytes:
    return line(f"J {VERSION} {processor}")


def lane_line(lane: Lane) -> bytes:
    return line(
        f"H {lane.number} {lane.source} {lane.source_partition} {lane.source_topic or '-'} {lane.destination}"
        f" {lane.destination_partition} {lane.destination_topic or '-'} {lane.producer_id} {lane.epoch}"
        f" {lane.start} {lane.floor}"
    )


def lanes_said(lanes: Iterable[Lane]) -> bytes:
    """H records for who keeps them elsewhere; begins with a line feed if not all fit into `MOST_SAID` octets."""
    octets = b"".join(map(lane_line, lanes))
    if len(octets) <= MOST_SAID:
        return octets
    return b"\n" + octets[: octets.rindex(b"\n", 0, MOST_SAID) + 1]


def lanes_heard(octets: bytes) -> tuple[list[Lane], bool]:
    """What `lanes_said` gave, and whether it is all.  Raises `JournalError`."""
    records = octets.removeprefix(b"\n")
    try:
        lanes = [_lane(text.removeprefix("H ").split(" ")) for text, _ in _records(records)]
    except ValueError:
        raise JournalError("what was kept of the journal makes no sense") from None
    if records and not lanes:
        raise JournalError("what was kept of the journal is damaged")
    return lanes, not octets.startswith(b"\n")


def entry_line(number: int, entry: Entry) -> bytes:
    return line(f"P {number} {entry.first} {entry.last} {entry.next_offset} {entry.crc}")


def acknowledged_line(number: int, last: int, offset: int) -> bytes:
    return line(f"A {number} {last} {offset}")


def skip_line(number: int, next_offset: int) -> bytes:
    return line(f"S {number} {next_offset}")


def gap_line(number: int, first: int, last: int) -> bytes:
    return line(f"G {number} {first} {last}")


def leader_epoch_line(number: int, epoch: int) -> bytes:
    return line(f"E {number} {epoch}")


@dataclass
class Journal:
    """A whole journal as read.  `valid` octets of the file are whole records; the rest, if any, is a torn end."""

    processor: str
    lanes: dict[int, LaneState]
    valid: int


def parse(octets: bytes) -> Journal:
    """Raises `JournalError` for what no crash can leave."""
    journal = Journal("", {}, 0)
    for number, (text, end) in enumerate(_records(octets), 1):
        try:
            _apply(journal, number, text)
        except (ValueError, KeyError, IndexError) as error:
            raise JournalError(f"record {number} of the journal makes no sense: {text[:60]}") from error
        journal.valid = end
    return journal


def compacted(journal: Journal) -> Iterator[bytes]:
    """The records of a new file that says the same."""
    yield opening(journal.processor)
    for _, state in sorted(journal.lanes.items()):
        yield from lane_records(state)


def lane_records(state: LaneState) -> Iterator[bytes]:
    """The records that say what is known of one lane."""
    number = state.lane.number
    yield lane_line(state.lane)
    for first, last in state.gaps:
        yield gap_line(number, first, last)
    if state.start != state.lane.start or state.gaps:
        yield skip_line(number, state.start)
    if state.leader_epoch >= 0:
        yield leader_epoch_line(number, state.leader_epoch)
    for entry in state.entries:
        yield entry_line(number, entry)
    if state.acknowledged is not None:
        yield acknowledged_line(number, *state.acknowledged)


_MARK = re.compile(rb"^(.*) ([0-9a-f]{8})$")


def _records(octets: bytes) -> Iterable[tuple[str, int]]:
    at, torn = 0, False
    while at < len(octets):
        end = octets.find(b"\n", at)
        match = _MARK.match(octets[at:end]) if end >= 0 else None
        whole = match is not None and int(match[2], 16) == zlib.crc32(match[1])
        if match is not None and whole:
            if torn:
                raise JournalError(f"the journal is damaged before octet {at}, and goes on behind it")
            # what is not ASCII fits no record: it is refused where it is read
            yield match[1].decode("ascii", "backslashreplace"), end + 1
        torn = torn or not whole
        at = end + 1 if end >= 0 else len(octets)


def _apply(journal: Journal, number: int, text: str) -> None:
    kind, *words = text.split(" ")
    if (kind == "J") != (number == 1):
        raise ValueError(kind)
    if kind == "J":
        version, journal.processor = words
        if int(version) != VERSION:
            raise JournalError(f"the journal has version {version}, known is {VERSION}")
        if not journal.processor:
            raise ValueError("no processor")
        return
    if kind == "H":
        lane = _lane(words)
        journal.lanes[lane.number] = LaneState(lane, lane.start)
        return
    state = journal.lanes[int(words[0])]
    numbers = [int(word) for word in words[1:]]
    if kind == "P":
        first, last, next_offset, crc = numbers
        state.plan(Entry(first, last, next_offset, crc))
    elif kind == "A":
        last, offset = numbers
        state.acknowledge(last, offset)
        if len(state.entries) > 2 * KEEP:
            state.prune(KEEP)
    elif kind == "S":
        (next_offset,) = numbers
        state.skip(next_offset)
    elif kind == "G":
        first, last = numbers
        state.miss(first, last)
    elif kind == "E":
        (state.leader_epoch,) = numbers
    else:
        raise ValueError(kind)


def _lane(words: list[str]) -> Lane:
    (
        number,
        source,
        source_partition,
        source_topic,
        destination,
        partition,
        topic,
        producer,
        epoch,
        start,
        floor,
    ) = words
    return Lane(
        int(number),
        int(source),
        int(source_partition),
        "" if source_topic == "-" else source_topic,
        int(destination),
        int(partition),
        "" if topic == "-" else topic,
        int(producer),
        int(epoch),
        int(start),
        int(floor),
    )
