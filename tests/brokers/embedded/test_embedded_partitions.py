"""All partitions together: one object for each, and the settings that its topic has now."""

from __future__ import annotations

from brokers.embedded.batch_samples import batch
from brokers.embedded.faulty_files import FaultyFiles, ignore
from brokers.embedded.in_memory import MemoryBroker

from eson.brokers.embedded.log.committing import ManualCommitter
from eson.brokers.embedded.log.partition import Limits
from eson.brokers.embedded.log.partitions import MAX_OPEN, Partitions
from eson.brokers.kafka.wire import apis


def test_a_partition_is_never_open_twice_however_many_are_in_use() -> None:
    committer = ManualCommitter()
    partitions = Partitions(FaultyFiles(), committer, "log", lambda topic: Limits(), lambda: 0)
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
