"""The broker in memory keeps the contract, and does what tests need of a stand-in."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.contract.broker_contract import BrokerContract, Call, fresh, read_all, record, write_all
from servers.outcomes import result_of
from twisted.internet.defer import ensureDeferred, maybeDeferred

from eson.brokers.memory import MemoryBroker
from eson.brokers.port import Broker, Rights
from eson.errors import BackendFailed


def run(function: Any, *arguments: Any) -> Any:
    """The result of something that must not wait."""
    return result_of(maybeDeferred(function, *arguments))


@pytest.fixture
def call() -> Call:
    return run


@pytest.fixture
def broker() -> Broker:
    return MemoryBroker()


class TestMemoryBroker(BrokerContract):
    pass


def test_a_broker_that_is_down_says_so_and_changes_nothing() -> None:
    broker = MemoryBroker("main")
    broker.down = True
    with pytest.raises(BackendFailed, match="Broker main cannot be reached"):
        run(broker.create_queue, "a.b")
    broker.down = False
    assert run(broker.describe_queue, "a.b") is None
    assert broker.calls == []


def test_a_reader_of_a_deleted_queue_is_told() -> None:
    broker, name = MemoryBroker(), fresh()
    run(broker.create_queue, name)
    source = run(broker.read, name, {0: 0}, None)
    waiting = ensureDeferred(source.next_records())
    run(broker.delete_queue, name)
    with pytest.raises(BackendFailed, match="was deleted"):
        run(lambda: waiting)


def test_what_retention_removed_is_a_gap_and_no_jump() -> None:
    broker, name = MemoryBroker(), fresh()
    run(broker.create_queue, name)
    run(write_all, broker, name, [record(b"%d" % i) for i in range(5)])
    broker.truncate(name, 0, 3)
    assert run(broker.first_offsets, name) == {0: 3}
    assert [r.offset for r in run(read_all, broker, name)] == [3, 4]
    with pytest.raises(BackendFailed, match="offset 0"):
        run(read_all, broker, name, {0: 0})


def test_rights_add_up_until_they_are_taken() -> None:
    broker = MemoryBroker()
    run(broker.allow, "c", Rights(read=("a",), group="c"))
    run(broker.allow, "c", Rights(read=("b",), write=("a",)))
    assert broker.rights["c"] == Rights(read=("a", "b"), write=("a",), group="c")
    run(broker.disallow, "c")
    assert "c" not in broker.rights
