"""Leader epochs: a reader can tell whether what it carried still stands in the log."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from brokers.embedded.batch_samples import batch
from brokers.embedded.faulty_files import FaultyFiles
from brokers.embedded.in_memory import Client, MemoryBroker
from brokers.embedded.memory_disk import Disk
from fastcrc.crc32 import iscsi as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.brokers.embedded.log.epochs import LARGEST, MOST_KEPT, NONE, Epochs, LeaderEpoch, next_epoch
from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.kafka.wire import apis
from eson.brokers.kafka.wire.batches import iterate
from eson.identity.verifier import ISSUED_ITERATIONS, salted_password

NOW = 1_800_000_000_000
YEAR = 366 * 86_400_000


@pytest.fixture
def disk() -> Disk:
    return Disk()


def begin(disk: Disk, epoch: int, crash: bool = False) -> None:
    """A start of the broker whose epoch is this one."""
    disk.epoch = LeaderEpoch()
    disk.epoch.value = epoch
    if crash:
        disk.crash()
    else:
        disk.open()


def stamped(disk: Disk) -> list[tuple[int, int]]:
    """Base offset and epoch of each batch that can be read."""
    found, offset = [], disk.partition.start
    while (part := disk.partition.read(offset, 1 << 20)) is not None:
        for header, _ in iterate(memoryview(part.file.read_at(part.position, part.size))):
            found.append((header.base_offset, header.leader_epoch))
            offset = header.last_offset + 1
    return found


def ends(disk: Disk, *epochs: int) -> list[tuple[int, int]]:
    return [disk.partition.epochs.end_of(epoch, disk.partition.synced) for epoch in epochs]


# which epoch a start gets


def test_each_start_has_a_larger_epoch_than_all_before_whatever_the_clock_says() -> None:
    epoch = next_epoch(0, NOW)
    for now in (NOW, NOW + 1, NOW - YEAR, 0, -YEAR, NOW + 200 * YEAR, NOW + 200 * YEAR, NOW):
        following = next_epoch(epoch, now)
        assert epoch < following < LARGEST
        epoch = following


def test_two_that_go_on_from_the_same_copy_a_second_apart_have_different_epochs() -> None:
    assert next_epoch(3, NOW) < next_epoch(3, NOW + 1000)
    assert next_epoch(next_epoch(3, NOW - 60_000), NOW) < next_epoch(3, NOW + 1000)


def test_the_last_epoch_of_all_stays() -> None:
    assert next_epoch(LARGEST, NOW) == LARGEST
    last = LeaderEpoch()
    last.raise_above(LARGEST)
    assert last.value == LARGEST


# what is remembered of a partition


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=12), st.integers(0, 60), st.data())
def test_ends_are_where_the_first_batch_of_a_larger_epoch_begins(
    steps: list[tuple[int, int]], start: int, data: st.DataObject
) -> None:
    epochs, held, epoch = Epochs(), [], 1
    for more, count in steps:
        epoch += more
        epochs.begin(epoch, len(held))
        held += [epoch] * count
    start = min(start, len(held))
    epochs.cut_before(start)
    epochs = Epochs.load(epochs.dump())
    assert [epochs.at(offset) for offset in range(start, len(held))] == held[start:]
    asked = data.draw(st.integers(0, epoch + 1))
    _, end = epochs.end_of(asked, len(held))
    later = [offset for offset in range(start, len(held)) if held[offset] > asked]
    if held and asked > held[-1]:
        assert end == -1
    elif held:
        assert end == (later[0] if later else len(held))


def test_nothing_is_known_of_an_empty_log_or_of_no_epoch() -> None:
    epochs = Epochs()
    assert (epochs.latest, epochs.at(0), epochs.end_of(NONE, 0), epochs.end_of(0, 0)) == (
        NONE, NONE, (NONE, -1), (NONE, -1),
    )  # fmt: skip
    epochs.begin(4, 0)
    assert epochs.end_of(NONE, 9) == (NONE, -1)
    assert epochs.end_of(2, 9) == (2, 0)


def test_an_epoch_in_which_nothing_was_written_was_none() -> None:
    epochs = Epochs()
    for epoch, start in ((4, 0), (6, 10), (7, 10), (9, 10)):
        epochs.begin(epoch, start)
    assert [epochs.end_of(epoch, 20) for epoch in (4, 6, 7, 9)] == [(4, 10), (4, 10), (4, 10), (9, 20)]


def test_what_is_remembered_is_bounded() -> None:
    epochs = Epochs()
    for epoch in range(2 * MOST_KEPT):
        epochs.begin(epoch, 10 * epoch)
    assert len(epochs.dump()) == 12 * MOST_KEPT
    assert epochs.end_of(2 * MOST_KEPT - 2, 1 << 40) == (2 * MOST_KEPT - 2, 10 * (2 * MOST_KEPT - 1))
    assert epochs.end_of(0, 1 << 40) == (0, 10 * MOST_KEPT)


# a partition


@pytest.mark.parametrize("segment_bytes", [250, 1 << 20])
@pytest.mark.parametrize("how", ["crash", "stop"])
def test_batches_carry_the_epoch_of_their_start_and_where_it_ended_is_known_later(
    how: str, segment_bytes: int
) -> None:
    disk = Disk(segment_bytes=segment_bytes)
    for epoch in (5, 6, 9):
        begin(disk, epoch, how == "crash")
        for _ in range(3):
            disk.append(2)
        if how == "stop":
            disk.partition.checkpoint()
            disk.committer.flush()
    begin(disk, 12)
    assert stamped(disk) == [(0, 5), (2, 5), (4, 5), (6, 6), (8, 6), (10, 6), (12, 9), (14, 9), (16, 9)]
    assert ends(disk, 4, 5, 6, 8, 9, 12, 13) == [
        (4, 0),
        (5, 6),
        (6, 12),
        (6, 12),
        (9, 18),
        (12, 18),
        (-1, -1),
    ]
    assert [disk.partition.epochs.at(offset) for offset in (0, 5, 6, 17)] == [5, 5, 6, 9]


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["append", "append", "sync", "checkpoint", "stop", "crash", "raise"]), max_size=30
    ),
    segment_bytes=st.sampled_from([250, 9000, 1 << 20]),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_what_is_known_of_epochs_is_what_the_batches_say(
    steps: list[str], segment_bytes: int, seed: int
) -> None:
    disk, random = Disk(segment_bytes=segment_bytes), Random(seed)
    for step in [*steps, "sync", "crash"]:
        if step == "append":
            disk.partition.append(batch(1, random.randbytes(random.choice((40, 5000)))))
        elif step == "sync":
            disk.committer.flush()
        elif step == "checkpoint":
            disk.partition.checkpoint()
        elif step == "raise":
            disk.epoch.raise_above(disk.epoch.value + random.choice((0, 2)))
        else:
            if step == "stop":
                disk.partition.checkpoint()
                disk.committer.flush()
            for job in disk.committer.take(random.randint(0, 5)):
                job.write()
            disk.files = disk.files.crash(random)
            begin(disk, disk.epoch.value + 1)
        found = stamped(disk)
        assert [disk.partition.epochs.at(offset) for offset, _ in found] == [epoch for _, epoch in found]
        for epoch in {epoch for _, epoch in found}:
            later = [offset for offset, other in found if other > epoch]
            assert ends(disk, epoch) == [(epoch, later[0] if later else disk.partition.synced)]


@pytest.mark.parametrize("missing", [0, 1, -1])
def test_a_lost_checkpoint_is_made_up_for_by_the_batches(missing: int) -> None:
    disk = Disk(segment_bytes=250)
    for epoch in (5, 6, 9):
        begin(disk, epoch)
        for _ in range(4):
            disk.append()
    paths = [path for path in disk.files.files if path.endswith(".checkpoint")]
    disk.files.remove(paths[missing])
    begin(disk, 12)
    assert ends(disk, 5, 6, 9) == [(5, 4), (6, 8), (9, 12)]


def test_a_start_after_which_nothing_is_written_costs_and_leaves_nothing(disk: Disk) -> None:
    begin(disk, 5)
    disk.append()
    disk.partition.checkpoint()
    disk.committer.flush()
    disk.crash()
    before = {path: bytes(file.now) for path, file in disk.files.files.items()}
    for epoch in range(6, 20):
        begin(disk, epoch)
    assert {path: bytes(file.now) for path, file in disk.files.files.items()} == before
    assert sum(file.syncs for file in disk.files.files.values()) == 0
    disk.append()
    assert stamped(disk) == [(0, 5), (1, 19)]
    assert ends(disk, 5, 7, 19) == [(5, 1), (5, 1), (19, 2)]


def copied(files: FaultyFiles) -> FaultyFiles:
    """A backup."""
    return files.crash()


def test_an_older_copy_that_was_put_back_and_grew_past_what_was_read_shows_it(disk: Disk) -> None:
    begin(disk, next_epoch(0, NOW))
    for _ in range(8):
        disk.append()
    first = disk.epoch.value
    backup = copied(disk.files)
    begin(disk, next_epoch(first, NOW + 10_000))  # the live one is restarted, and goes on
    for _ in range(4):
        disk.append()
    lost = disk.epoch.value
    assert ends(disk, lost) == [(lost, 12)]
    disk.files = backup
    begin(disk, next_epoch(first, NOW + 20_000))
    for _ in range(10):
        disk.append()
    # who read up to 10 or 12 in an epoch that is gone is told that the common past ends at 8
    assert ends(disk, lost) == [(first, 8)]
    assert ends(disk, first) == [(first, 8)]


def test_the_end_of_an_epoch_is_not_told_before_it_is_synced(disk: Disk) -> None:
    begin(disk, 5)
    disk.append()
    disk.partition.append(batch())
    disk.epoch.raise_above(7)
    disk.partition.append(batch())
    assert ends(disk, 5) == [(5, 1)]
    disk.committer.flush()
    assert ends(disk, 5, 8) == [(5, 2), (8, 3)]


def test_an_epoch_whose_batches_were_refused_by_the_disk_begins_with_those_that_it_took(disk: Disk) -> None:
    begin(disk, 5)
    disk.append()
    disk.files.space = 0
    disk.partition.append(batch()).addErrback(lambda failure: failure.trap(StorageFailed) and None)
    disk.epoch.raise_above(7)
    disk.partition.append(batch()).addErrback(lambda failure: failure.trap(StorageFailed) and None)
    disk.committer.flush()
    disk.files.space = None
    disk.now += 1000
    assert disk.append() == 1
    assert stamped(disk) == [(0, 5), (1, 8)]
    assert ends(disk, 5, 8) == [(5, 1), (8, 2)]


def test_what_was_deleted_from_the_beginning_is_forgotten(disk: Disk) -> None:
    for epoch in (5, 6, 9):
        begin(disk, epoch)
        disk.append(10)
    disk.partition.delete_before(15)
    disk.committer.flush()
    for _ in range(2):
        assert ends(disk, 4, 5, 6, 9) == [(4, 15), (5, 15), (6, 20), (9, 30)]
        disk.open()


def older(files: FaultyFiles) -> None:
    """Takes out of the checkpoints what older versions did not write."""
    for path, file in files.files.items():
        if path.endswith(".checkpoint"):
            content = bytes(file.now)
            entries = int.from_bytes(content[40:44], "big")
            length = int.from_bytes(content[44:48], "big")
            body = content[8 : 48 + 24 * entries + length]
            file.now = bytearray(b"ESC1" + crc32c(body).to_bytes(4, "big") + body)
            file.synced = bytes(file.now)


@pytest.mark.parametrize("segment_bytes", [250, 1 << 20])
def test_a_log_of_an_older_version_is_of_epoch_0_and_goes_on(segment_bytes: int) -> None:
    disk = Disk(segment_bytes=segment_bytes)
    for _ in range(7):
        disk.append()
    disk.partition.checkpoint()
    disk.committer.flush()
    sizes = [len(file.now) for file in disk.files.files.values()]
    older(disk.files)
    assert sizes != [len(file.now) for file in disk.files.files.values()]
    begin(disk, 4)
    assert disk.append() == 7
    assert stamped(disk) == [(offset, 0) for offset in range(7)] + [(7, 4)]
    assert ends(disk, 0, 4) == [(0, 7), (4, 8)]
    begin(disk, 5)
    assert ends(disk, 0, 4) == [(0, 7), (4, 8)]


# the broker


TOPIC = "epochs.flows.unix.ar"


@pytest.fixture
def broker() -> MemoryBroker:
    made = MemoryBroker()
    assert made.create(made.client(), TOPIC) == 0
    return made


def write(client: Client, count: int = 1) -> int:
    data = apis.ProduceRequest.TopicProduceData
    part = data.PartitionProduceData(index=0, records=batch(count))
    asked = apis.ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout_ms=1000,
        topic_data=[data(name=TOPIC, partition_data=[part])],
    )
    answer = client.ask(asked, 9).responses[0].partition_responses[0]
    assert answer.error_code == 0
    return int(answer.base_offset)


def told(client: Client) -> int:
    """The epoch that Metadata tells."""
    topic = apis.MetadataRequest.MetadataRequestTopic(name=TOPIC, topic_id=None)
    answer = client.ask(apis.MetadataRequest(topics=[topic], allow_auto_topic_creation=False), 12)
    return int(answer.topics[0].partitions[0].leader_epoch)


def asked_end(client: Client, epoch: int, current: int = -1, partition: int = 0) -> tuple[int, int, int]:
    """Error, epoch and offset of OffsetForLeaderEpoch."""
    topic = apis.OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    part = topic.OffsetForLeaderPartition(
        partition=partition, current_leader_epoch=current, leader_epoch=epoch
    )
    request = apis.OffsetForLeaderEpochRequest(replica_id=-1, topics=[topic(topic=TOPIC, partitions=[part])])
    answers = {
        (one.error_code, one.leader_epoch, one.end_offset)
        for version in (2, 3, 4)
        for one in client.ask(request, version).topics[0].partitions
    }
    (answer,) = answers
    return answer


def fetched(client: Client, offset: int, current: int = -1, last: int = -1, wait_ms: int = 0) -> Any:
    topic = apis.FetchRequest.FetchTopic
    part = topic.FetchPartition(
        partition=0, fetch_offset=offset, partition_max_bytes=1 << 20, current_leader_epoch=current, last_fetched_epoch=last
    )  # fmt: skip
    request = apis.FetchRequest(
        max_wait_ms=wait_ms, min_bytes=1, max_bytes=1 << 20, topics=[topic(topic=TOPIC, partitions=[part])], rack_id=""
    )  # fmt: skip
    return client.ask(request, 12).responses[0].partitions[0]


def listed(client: Client, timestamp: int, current: int = -1) -> tuple[int, int, int]:
    """Error, epoch and offset of ListOffsets."""
    topic = apis.ListOffsetsRequest.ListOffsetsTopic
    part = topic.ListOffsetsPartition(partition_index=0, current_leader_epoch=current, timestamp=timestamp)
    request = apis.ListOffsetsRequest(replica_id=-1, topics=[topic(name=TOPIC, partitions=[part])])
    answer = client.ask(request, 7).topics[0].partitions[0]
    return answer.error_code, answer.leader_epoch, answer.offset


def test_each_start_has_an_epoch_that_is_told_and_checked(broker: MemoryBroker) -> None:
    first = told(broker.client())
    assert write(broker.client(), 3) == 0
    broker.crash()
    client = broker.client()
    second = told(client)
    assert second > first
    assert write(client, 2) == 3
    assert asked_end(client, first) == (0, first, 3)
    assert asked_end(client, second, second) == (0, second, 5)
    assert asked_end(client, second + 1) == (0, -1, -1)
    assert asked_end(client, second, first) == (74, -1, -1)
    assert asked_end(client, second, second + 1) == (75, -1, -1)
    assert asked_end(client, second, partition=1) == (3, -1, -1)
    assert [fetched(client, 0, epoch).error_code for epoch in (-1, second, first, second + 1)] == [
        0,
        0,
        74,
        75,
    ]
    assert [listed(client, -2, epoch)[0] for epoch in (-1, second, first, second + 1)] == [0, 0, 74, 75]
    assert (listed(client, -2), listed(client, -1)) == ((0, first, 0), (0, second, 5))


def test_a_fetch_says_where_what_was_fetched_last_is_not_there_any_more(broker: MemoryBroker) -> None:
    first = told(broker.client())
    write(broker.client(), 3)
    broker.crash()
    client = broker.client()
    second = told(client)
    write(client, 2)
    assert len(fetched(client, 3, last=first).records) == len(batch())
    assert len(fetched(client, 4, last=second).records) == len(batch())
    diverged = fetched(client, 4, last=first, wait_ms=60_000)  # at once
    assert (diverged.diverging_epoch.epoch, diverged.diverging_epoch.end_offset) == (first, 3)
    assert (diverged.error_code, bytes(diverged.records or b""), diverged.high_watermark) == (0, b"", 5)
    assert fetched(client, 3, last=second + 1).error_code == 1
    assert fetched(client, -1, last=first).error_code == 1


def test_a_start_on_a_full_disk_has_an_epoch_too_and_reads(broker: MemoryBroker) -> None:
    first = told(broker.client())
    write(broker.client())
    broker.files = broker.files.crash()
    broker.files.space = 0
    broker.open()
    client = broker.client()
    second = told(client)
    assert second > first
    assert len(fetched(client, 0, second).records) == len(batch())
    broker.files.space = None
    broker.reactor.advance(1)
    write(client)
    assert broker.create(client, "another") == 0
    broker.crash()
    assert told(broker.client()) > second
    assert asked_end(broker.client(), second) == (0, second, 2)


def test_a_log_that_is_newer_than_the_catalogue_raises_the_epoch_for_good(broker: MemoryBroker) -> None:
    """The parts of the data folder were copied one after the other, and the clock was set back since."""
    old = bytes(broker.files.files["data/catalogue"].now)
    for _ in range(4):
        broker.crash()
        write(broker.client())
    last = told(broker.client())
    file = broker.files.files["data/catalogue"]
    file.now, file.synced = bytearray(old), old
    broker.crash()
    client = broker.client()
    stale = told(client)
    assert stale < last
    assert fetched(client, 0, stale).error_code == 74
    raised = told(client)
    assert raised > last
    write(client)
    assert asked_end(client, last, raised) == (0, last, 4)
    assert asked_end(client, raised, raised) == (0, raised, 5)
    broker.crash()
    assert told(broker.client()) > raised


def test_who_may_ask_where_an_epoch_ended() -> None:
    broker = MemoryBroker(login=True)
    admin = broker.client("admin")
    broker.create(admin, TOPIC)
    write(admin, 3)
    epoch = told(admin)
    change = apis.AlterUserScramCredentialsRequest
    salted = salted_password("secret", b"salt" * 4, ISSUED_ITERATIONS)
    upsertion = change.ScramCredentialUpsertion(
        name="reader", mechanism=1, iterations=ISSUED_ITERATIONS, salt=b"salt" * 4, salted_password=salted
    )
    admin.ask(change(deletions=[], upsertions=[upsertion]), 0)
    reader = broker.client("reader", "secret")
    assert asked_end(reader, epoch) == (29, -1, -1)
    create = apis.CreateAclsRequest
    for resource, name, operation in ((2, TOPIC, 8), (4, "kafka-cluster", 9)):
        rule = create.AclCreation(
            resource_type=resource, resource_name=name, resource_pattern_type=3, principal="User:reader",
            host="*", operation=operation, permission_type=3,
        )  # fmt: skip
        admin.ask(create(creations=[rule]), 3)
        assert asked_end(reader, epoch) == (0, epoch, 3)
        delete = apis.DeleteAclsRequest
        gone = delete.DeleteAclsFilter(
            resource_type_filter=resource, resource_name_filter=name, pattern_type_filter=3,
            principal_filter="User:reader", host_filter="*", operation=operation, permission_type=3,
        )  # fmt: skip
        admin.ask(delete(filters=[gone]), 3)
        reader = broker.client("reader", "secret")
        assert asked_end(reader, epoch)[0] == 29
