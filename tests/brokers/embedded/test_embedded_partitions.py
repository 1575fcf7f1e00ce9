"""All partitions together: one object for each, and the settings that its topic has now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brokers.embedded.batch_samples import batch
from brokers.embedded.faulty_files import FaultyFiles, ignore
from brokers.embedded.in_memory import MemoryBroker

from eson.brokers.embedded.log.committing import ManualCommitter, ThreadedCommitter
from eson.brokers.embedded.log.epochs import LeaderEpoch
from eson.brokers.embedded.log.files import File
from eson.brokers.embedded.log.partition import Limits, Partition
from eson.brokers.embedded.log.partitions import MAX_OPEN, Partitions
from eson.brokers.kafka.wire import apis


def test_a_partition_is_never_open_twice_however_many_are_in_use() -> None:
    committer = ManualCommitter()
    partitions = Partitions(FaultyFiles(), committer, "log", lambda topic: Limits(), lambda: 0, LeaderEpoch())
    for number in range(MAX_OPEN):
        partitions.get("busy", number).watchers.add(ignore)
    first = partitions.get("topic", 0)
    waiting = first.append(batch())
    again = partitions.get("topic", 0)
    assert again is first
    other = again.append(batch())
    committer.flush()
    bases: list[int] = []
    waiting.addCallback(bases.append)
    other.addCallback(bases.append)
    assert bases == [0, 1]


def test_a_topic_is_kept_as_long_as_it_was_made_to_be_kept() -> None:
    broker = MemoryBroker()
    client = broker.client()
    config = apis.CreateTopicsRequest.CreatableTopic.CreatableTopicConfig(
        name="retention.ms", value="3600000"
    )
    topic = apis.CreateTopicsRequest.CreatableTopic(
        name="made", num_partitions=1, replication_factor=1, assignments=[], configs=[config]
    )
    client.ask(apis.CreateTopicsRequest(topics=[topic], timeout_ms=1000, validate_only=False), 7)
    made = broker.broker.catalogue.topics["made"]
    assert broker.broker.partitions.get(made.id.hex, 0).limits.retention_ms == 3_600_000


class Mistaken:
    """A job with a mistake of ours in it."""

    def __init__(self, ended: list[Any], in_done: bool = False) -> None:
        self._ended, self._in_done = ended, in_done

    def write(self) -> Sequence[File]:
        if not self._in_done:
            raise ZeroDivisionError
        return ()

    def failed(self, error: OSError) -> None: ...

    def done(self, error: OSError | None) -> None:
        self._ended.append(error)
        if self._in_done:
            raise ZeroDivisionError


def test_a_mistake_in_one_job_neither_confirms_it_nor_keeps_others_from_being_done() -> None:
    committer = ThreadedCommitter(lambda report: None)
    partition = Partition(FaultyFiles(), committer, "log", Limits(), lambda: 0, LeaderEpoch())
    ended: list[Any] = []
    committer.submit(Mistaken(ended))
    committer.submit(Mistaken(ended, in_done=True))
    confirmed: list[int] = []
    partition.append(batch()).addCallback(confirmed.append)
    committer.stop()
    assert isinstance(ended[0], OSError)
    assert ended[1] is None
    assert confirmed == [0]
