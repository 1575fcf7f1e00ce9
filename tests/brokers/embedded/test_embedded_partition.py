"""A partition keeps what it confirmed, in order, whatever the disk does."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from brokers.embedded.batch_samples import batch
from brokers.embedded.memory_disk import Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.outcomes import result_of as outcome

from eson.brokers.embedded.log.partition import CHECKPOINT_EVERY
from eson.brokers.embedded.log.producers import OutOfOrder, StaleEpoch
from eson.brokers.embedded.log.validation import (
    BatchTooLarge,
    CorruptBatch,
    InvalidBatch,
    OffsetOutOfRange,
    StorageFailed,
)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_offsets_follow_each_other_and_batches_come_back_as_they_came(disk: Disk) -> None:
    assert [disk.append(3, b"a"), disk.append(1, b"b"), disk.append(2, b"c")] == [0, 3, 4]
    assert disk.all() == [(0, b"a"), (3, b"b"), (4, b"c")]
    assert (disk.partition.start, disk.partition.synced) == (0, 6)


def test_nothing_is_confirmed_or_read_before_it_is_synced(disk: Disk) -> None:
    waiting = disk.partition.append(batch())
    assert not waiting.called
    assert disk.partition.read(0, 1000) is None
    assert disk.partition.synced == 0
    disk.committer.flush()
    assert waiting.called
    assert disk.partition.synced == 1


def test_many_appends_of_one_round_cost_one_sync(disk: Disk) -> None:
    disk.append()
    file = next(file for path, file in disk.files.files.items() if path.endswith(".log"))
    before = file.syncs
    waiting = [disk.partition.append(batch()) for _ in range(100)]
    disk.committer.flush()
    assert all(one.called for one in waiting)
    assert file.syncs == before + 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"crc": 1}, CorruptBatch),
        ({"delta": 5}, InvalidBatch),
        ({"count": 0}, InvalidBatch),
        ({"attributes": 0x20}, InvalidBatch),
        ({"attributes": 5}, InvalidBatch),
        ({"magic": 1}, InvalidBatch),
        ({"base_offset": 7}, InvalidBatch),
        ({"producer_id": 1, "epoch": 0, "sequence": -1}, InvalidBatch),
        ({"payload": b"x" * 2_000_000}, BatchTooLarge),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused(
    disk: Disk, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        disk.partition.append(batch(**fields))
    assert disk.append() == 0


@pytest.mark.parametrize("cut", [0, 1, 60, 61, 100])
def test_less_than_a_batch_is_refused(disk: Disk, cut: int) -> None:
    with pytest.raises(InvalidBatch):
        disk.partition.append(batch()[:cut])


def test_two_batches_at_once_are_refused(disk: Disk) -> None:
    with pytest.raises(InvalidBatch, match="more than one"):
        disk.partition.append(memoryview(bytearray(bytes(batch()) * 2)))


def test_append_time_and_delete_horizon_bits_are_taken_without_a_word(disk: Disk) -> None:
    assert disk.append(attributes=0x08) == 0
    assert disk.append(attributes=0x40) == 1


def test_reading_is_bounded_and_ends_at_borders_of_batches(disk: Disk) -> None:
    for number in range(50):
        disk.append(1, b"%03d" % number * 300)
    size = len(batch(1, b"x" * 900))
    part = disk.partition.read(10, 5 * size + 100)
    assert part is not None
    assert part.size == 5 * size
    assert disk.partition.read(0, 1) is not None
    assert disk.partition.read(0, 1, at_least_one=False) is None


def test_an_offset_inside_a_batch_gives_the_whole_batch(disk: Disk) -> None:
    disk.append(10, b"first")
    disk.append(10, b"second")
    part = disk.partition.read(15, 1000)
    assert part is not None
    assert part.file.read_at(part.position + 61, 6) == b"second"


def test_offsets_outside_are_told(disk: Disk) -> None:
    disk.append()
    assert disk.partition.read(1, 100) is None
    for offset in (-1, 2):
        with pytest.raises(OffsetOutOfRange):
            disk.partition.read(offset, 100)


def test_segments_roll_and_are_read_through(disk: Disk) -> None:
    disk.limits.segment_bytes = 1000
    for number in range(40):
        disk.append(1, b"%d" % number * 20)
    assert sum(path.endswith(".log") for path in disk.files.files) >= 5
    assert [payload for _, payload in disk.all()] == [b"%d" % n * 20 for n in range(40)]
    disk.open()
    assert [payload for _, payload in disk.all()] == [b"%d" % n * 20 for n in range(40)]


def test_after_a_crash_everything_confirmed_is_there(disk: Disk) -> None:
    for number in range(10):
        disk.append(1, b"%d" % number)
    disk.partition.append(batch(1, b"never confirmed"))
    disk.crash()
    assert [payload for _, payload in disk.all()] == [b"%d" % n for n in range(10)]
    assert disk.append(1, b"next") == 10


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    unsynced=st.integers(0, 6),
    seed=st.integers(0, 2**32),
    segment=st.sampled_from([3000, 20_000, 1 << 27]),
    checkpoints=st.sets(st.integers(0, 12)),
)
def test_whatever_pages_arrive_a_crash_keeps_every_confirmed_batch_and_a_prefix_of_the_rest(
    sizes: list[int], unsynced: int, seed: int, segment: int, checkpoints: set[int]
) -> None:
    disk = Disk(segment_bytes=segment)
    sent = []
    for number, size in enumerate(sizes):
        payload = b"%06d" % number + bytes(Random(number).randbytes(size))
        sent.append((number, payload))
        waiting = disk.partition.append(batch(1, payload))
        if number in checkpoints:
            disk.partition.checkpoint()
        if number < len(sizes) - unsynced:
            disk.committer.flush()
            assert outcome(waiting) == number
    # the unconfirmed ones are written, and the machine dies before the round is synced
    for job in disk.committer.take(Random(seed).randint(0, 20)):
        job.write()
    confirmed = max(0, len(sizes) - unsynced)
    disk.crash(Random(seed))
    found = disk.all()
    assert found == sent[: len(found)]
    assert len(found) >= confirmed
    assert disk.append(1, b"goes on") == len(found)
    disk.crash(Random(seed + 1))
    assert disk.all() == [*sent[: len(found)], (len(found), b"goes on")]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_cut_of_the_tail_keeps_a_prefix_of_whole_batches(data: st.DataObject) -> None:
    disk = Disk()
    sent = []
    for number in range(data.draw(st.integers(1, 8))):
        payload = bytes([number]) * data.draw(st.integers(0, 400))
        disk.append(1, payload)
        sent.append((number, payload))
    (path,) = (path for path in disk.files.files if path.endswith(".log"))
    file = disk.files.files[path]
    cut = data.draw(st.integers(0, len(file.now)))
    garbage = data.draw(st.binary(max_size=200))
    file.now[cut:] = garbage
    borders = [0]
    for _, payload in sent:
        borders.append(borders[-1] + 61 + len(payload))
    disk.open()
    found = disk.all()
    assert found == sent[: len(found)]
    assert len(found) >= max(index for index, border in enumerate(borders) if border <= cut)
    assert disk.append(1, b"next") == len(found)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room_again(disk: Disk) -> None:
    disk.append(1, b"before", producer_id=7, epoch=0, sequence=0)
    disk.files.space = 30
    waiting = [
        disk.partition.append(batch(1, b"lost", producer_id=7, epoch=0, sequence=n)) for n in (1, 2, 3)
    ]
    disk.committer.flush()
    for one in waiting:
        with pytest.raises(StorageFailed):
            outcome(one)
    with pytest.raises(StorageFailed):
        disk.partition.append(batch())
    assert disk.all() == [(0, b"before")]
    disk.files.space = None
    disk.now += 1000
    assert disk.append(1, b"after", producer_id=7, epoch=0, sequence=1) == 1
    assert disk.all() == [(0, b"before"), (1, b"after")]
    disk.crash()
    assert disk.all() == [(0, b"before"), (1, b"after")]


def test_what_is_behind_a_failure_fails_too_even_if_there_is_room_again(disk: Disk) -> None:
    """It was placed behind a batch that is not there."""
    disk.append(1, b"before")
    waiting = [disk.partition.append(batch(1, b"lost")), disk.partition.append(batch(1, b"behind"))]
    disk.files.space = 10
    disk.committer.flush(1)
    disk.files.space = None
    disk.committer.flush()
    for one in waiting:
        with pytest.raises(StorageFailed):
            outcome(one)
    assert disk.all() == [(0, b"before")]


def test_a_disk_that_stays_full_keeps_refusing(disk: Disk) -> None:
    disk.append(1, b"before")
    disk.files.space = 0
    for _ in range(5):
        disk.now += 1000
        with pytest.raises(StorageFailed):
            disk.append(1, b"lost")
    disk.files.space = None
    disk.now += 1000
    assert disk.append(1, b"after") == 1
    assert disk.all() == [(0, b"before"), (1, b"after")]


def test_a_failed_sync_is_never_believed_the_second_time(disk: Disk) -> None:
    """The kernel says success about a file whose pages it dropped: what comes then must go into another file."""
    disk.append(1, b"before")
    disk.files.failing_syncs = 1
    with pytest.raises(StorageFailed):
        disk.append(1, b"lost")
    with pytest.raises(StorageFailed):
        disk.append(1, b"lost too")
    disk.now += 1000
    assert disk.append(1, b"after") == 1
    disk.crash()
    assert disk.all() == [(0, b"before"), (1, b"after")]


def test_what_a_failed_sync_left_in_memory_is_not_taken_for_good_by_the_next_process(disk: Disk) -> None:
    """It reads well, and is on no disk."""
    disk.append(1, b"before")
    disk.files.failing_syncs = 1
    with pytest.raises(StorageFailed):
        disk.append(1, b"refused")
    disk.open()
    assert disk.all() == [(0, b"before")]


def test_what_a_killed_process_had_not_synced_is_synced_before_it_is_read(disk: Disk) -> None:
    disk.append(1, b"before")
    disk.partition.append(batch(1, b"written"))
    disk.committer.take(1)[0].write()
    disk.open()
    assert disk.all() == [(0, b"before"), (1, b"written")]
    disk.crash()
    assert disk.all() == [(0, b"before"), (1, b"written")]


def test_a_partition_that_cannot_be_written_is_not_closed_as_idle(disk: Disk) -> None:
    disk.append()
    assert disk.partition.idle
    disk.files.space = 0
    with pytest.raises(StorageFailed):
        disk.append()
    assert not disk.partition.idle


def test_reading_on_from_the_end_needs_no_search(disk: Disk) -> None:
    for number in range(100):
        disk.append(1, b"%d" % number)
    assert disk.partition.read(0, 1 << 20) is not None
    assert disk.append(1, b"next") == 100
    (path,) = (path for path in disk.files.files if path.endswith(".log"))
    before = disk.files.files[path].reads
    part = disk.partition.read(100, 1 << 20)
    assert part is not None
    assert part.file.read_at(part.position + 61, 4) == b"next"
    assert disk.files.files[path].reads == before + 1


def test_a_failed_sync_of_the_first_batch_leaves_an_empty_partition(disk: Disk) -> None:
    disk.files.failing_syncs = 3
    with pytest.raises(StorageFailed):
        disk.append()
    disk.files.failing_syncs = 0
    disk.now += 1000
    assert disk.append(1, b"first") == 0
    disk.crash()
    assert disk.all() == [(0, b"first")]


# idempotent producers


def from_producer(sequence: int, count: int = 1, epoch: int = 0, producer_id: int = 7) -> dict[str, Any]:
    return {"count": count, "producer_id": producer_id, "epoch": epoch, "sequence": sequence}


def test_unknown_producers_may_begin_anywhere(disk: Disk) -> None:
    assert disk.append(**from_producer(1000)) == 0
    assert disk.append(**from_producer(1001)) == 1


def test_the_last_five_batches_are_recognised_and_no_more(disk: Disk) -> None:
    for sequence in range(0, 14, 2):
        disk.append(**from_producer(sequence, 2))
    for sequence in (4, 6, 8, 10, 12):
        assert disk.append(**from_producer(sequence, 2)) == sequence
    with pytest.raises(OutOfOrder):
        disk.append(**from_producer(2, 2))
    assert disk.partition.synced == 14


def test_all_five_are_recognised_after_a_crash(disk: Disk) -> None:
    for sequence in range(6):
        disk.append(**from_producer(sequence))
    disk.crash()
    for sequence in range(1, 6):
        assert disk.append(**from_producer(sequence)) == sequence
    assert disk.append(**from_producer(6)) == 6


def test_a_repetition_is_confirmed_only_with_the_original(disk: Disk) -> None:
    first = disk.partition.append(batch(**from_producer(0)))
    again = disk.partition.append(batch(**from_producer(0)))
    assert not again.called
    disk.committer.flush()
    assert (outcome(first), outcome(again)) == (0, 0)
    assert disk.partition.synced == 1


def test_a_repetition_of_what_could_not_be_written_fails_like_it(disk: Disk) -> None:
    disk.append(1, b"before")
    disk.files.space = 0
    first = disk.partition.append(batch(**from_producer(0)))
    again = disk.partition.append(batch(**from_producer(0)))
    disk.committer.flush()
    for one in (first, again):
        with pytest.raises(StorageFailed):
            outcome(one)


@pytest.mark.parametrize(("sequence", "count"), [(5, 1), (2, 2), (3, 1), (2, 3), (0, 1), (1, 1)])
def test_gaps_overlaps_and_parts_are_refused(disk: Disk, sequence: int, count: int) -> None:
    disk.append(**from_producer(0, 4))
    with pytest.raises(OutOfOrder):
        disk.append(**from_producer(sequence, count))


def test_epochs(disk: Disk) -> None:
    disk.append(**from_producer(0))
    with pytest.raises(OutOfOrder):
        disk.append(**from_producer(1, epoch=1))
    assert disk.append(**from_producer(0, epoch=5)) == 1
    with pytest.raises(StaleEpoch):
        disk.append(**from_producer(1))
    assert disk.append(**from_producer(1, epoch=5)) == 2


def test_sequences_wrap(disk: Disk) -> None:
    last = 2**31 - 1
    assert disk.append(**from_producer(last - 1, 4)) == 0
    assert disk.append(**from_producer(2)) == 4
    assert disk.append(**from_producer(last - 1, 4)) == 0


def test_producers_survive_the_removal_of_their_batches_and_a_crash(disk: Disk) -> None:
    disk.limits.segment_bytes = 300
    for sequence in range(10):
        disk.append(**from_producer(sequence))
    waiting = disk.partition.delete_before(-1)
    disk.committer.flush()
    assert outcome(waiting) == 10
    disk.committer.flush()
    assert sum(path.endswith(".log") for path in disk.files.files) == 1
    disk.crash()
    assert disk.partition.start == disk.partition.synced == 10
    with pytest.raises(OutOfOrder):
        disk.append(**from_producer(4))
    assert disk.append(**from_producer(5)) == 5
    assert disk.append(**from_producer(10)) == 10


def test_a_producer_that_was_silent_for_a_day_is_forgotten(disk: Disk) -> None:
    disk.append(**from_producer(0))
    disk.now += 86_400_000
    disk.partition.retain()
    assert disk.partition.producers.get(7) is None
    assert disk.append(**from_producer(77)) == 1


# retention


def test_retention_by_size_keeps_at_least_so_much(disk: Disk) -> None:
    disk.limits.segment_bytes, disk.limits.retention_bytes = 1000, 3000
    for number in range(100):
        disk.append(1, b"%d" % number)
    disk.partition.retain()
    disk.committer.flush()
    assert 3000 <= disk.partition.size < 4100
    assert disk.partition.start > 0
    assert disk.all()[0][0] == disk.partition.start
    with pytest.raises(OffsetOutOfRange):
        disk.partition.read(disk.partition.start - 1, 100)


def test_retention_by_time_takes_the_last_segment_too(disk: Disk) -> None:
    disk.limits.retention_ms = 60_000
    disk.append(timestamp=disk.now)
    disk.now += 30_000
    disk.partition.retain()
    disk.committer.flush()
    assert disk.partition.start == 0
    disk.now += 30_001
    disk.partition.retain()
    disk.committer.flush()
    disk.partition.retain()
    disk.committer.flush()
    assert (disk.partition.start, disk.partition.synced) == (1, 1)
    assert disk.append() == 1
    disk.crash()
    assert (disk.partition.start, disk.partition.synced) == (1, 2)


def test_a_reader_keeps_what_it_still_sends(disk: Disk) -> None:
    disk.limits.segment_bytes, disk.limits.retention_bytes = 100, 0
    disk.append(1, b"old")
    part = disk.partition.read(0, 100)
    disk.append(1, b"new")
    disk.partition.retain()
    disk.committer.flush()
    assert disk.partition.start == 1
    assert part is not None
    assert part.file.read_at(part.position + 61, 3) == b"old"


def test_the_first_offset_survives_a_crash(disk: Disk) -> None:
    for _ in range(5):
        disk.append()
    waiting = disk.partition.delete_before(3)
    assert not waiting.called
    disk.committer.flush()
    assert outcome(waiting) == 3
    disk.crash()
    assert disk.partition.start == 3
    assert [offset for offset, _ in disk.all()] == [3, 4]
    for offset in (6, -2):
        with pytest.raises(OffsetOutOfRange):
            disk.partition.delete_before(offset)


# recovery


def test_a_checkpoint_spares_reading_again(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = b"x" * 1_000_000
    for _ in range(CHECKPOINT_EVERY // 1_000_000 + 2):
        disk.append(1, payload)
    (path,) = (path for path in disk.files.files if path.endswith(".log"))
    file = disk.files.files[path]
    file.now[500_000] ^= 1  # damage in what is known to be good is not looked for at each start
    disk.open()
    assert disk.partition.synced == CHECKPOINT_EVERY // 1_000_000 + 2


@pytest.mark.parametrize("where", range(0, 200, 3))
def test_a_damaged_checkpoint_is_as_good_as_none(disk: Disk, where: int) -> None:
    for sequence in range(3):
        disk.append(**from_producer(sequence))
    disk.partition.checkpoint()
    disk.committer.flush()
    for path, file in disk.files.files.items():
        if path.endswith(".checkpoint"):
            file.now[where % len(file.now)] ^= 1
    disk.open()
    assert disk.partition.synced == 3
    assert [(entry.seen, entry.batches) for _, entry in disk.partition.producers] == [
        (disk.now, ((0, 0, 0, 1_700_000_000_000), (1, 1, 1, 1_700_000_000_000), (2, 2, 2, 1_700_000_000_000)))
    ]
    assert disk.append(**from_producer(2)) == 2


def test_a_file_shorter_than_its_checkpoint_is_read_anew(disk: Disk) -> None:
    for sequence in range(3):
        disk.append(**from_producer(sequence))
    disk.partition.checkpoint()
    disk.committer.flush()
    for path, file in disk.files.files.items():
        if path.endswith(".log"):
            del file.now[150:]
    disk.open()
    assert disk.partition.synced == 1
    assert disk.append(**from_producer(1)) == 1


def test_a_sync_that_failed_within_a_round_confirms_nothing_of_that_round(disk: Disk) -> None:
    disk.append(payload=b"kept")
    first = disk.partition.append(batch(payload=b"first"))
    disk.partition.checkpoint()
    disk.files.failing_syncs = 1
    disk.committer.flush(100)
    with pytest.raises(StorageFailed):
        outcome(first)
    disk.crash()
    assert disk.all() == [(0, b"kept")]


def test_a_disk_that_was_full_when_an_empty_segment_was_last_is_written_again(disk: Disk) -> None:
    disk.limits.segment_bytes = 1
    disk.append(payload=b"old")
    disk.limits.segment_bytes = 1 << 20
    disk.partition._roll(disk.now)
    disk.committer.flush()
    disk.open()
    disk.files.space = 0
    with pytest.raises(StorageFailed):
        disk.append()
    disk.files.space = None
    disk.now += 2000
    assert disk.append(payload=b"new") == 1
    assert disk.all() == [(0, b"old"), (1, b"new")]


def test_segments_that_are_full_are_closed_but_for_a_few(disk: Disk) -> None:
    disk.limits.segment_bytes = 1
    for _ in range(50):
        disk.append()
    assert sum(segment.file is not None for segment in disk.partition._segments) <= 10
    assert len(disk.all()) == 50


def test_a_start_that_was_confirmed_never_goes_back(disk: Disk) -> None:
    for _ in range(10):
        disk.append()
    waiting = [disk.partition.delete_before(8), disk.partition.delete_before(3)]
    disk.committer.flush()
    assert [outcome(one) for one in waiting] == [8, 8]
    assert disk.open().start == 8


def test_what_comes_behind_a_start_that_outlived_its_segment_is_kept(disk: Disk) -> None:
    for _ in range(10):
        disk.append(payload=b"x" * 100)
    outcome_of = disk.partition.delete_before(8)
    disk.committer.flush()
    assert outcome(outcome_of) == 8
    log = next(file for path, file in disk.files.files.items() if path.endswith(".log"))
    log.now[70] ^= 0xFF  # the disk has rotted
    assert disk.open().end == 8
    assert disk.append(payload=b"new") == 8
    disk.open()
    assert disk.all() == [(8, b"new")]
