"""The supervisor in memory keeps the rules of the port, so that tests may stand on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from eson.brokers.port import Access
from eson.errors import TryLater
from eson.model.servers import Server
from eson.processors.memory import MemoryProcessors
from eson.processors.port import ProcessorEnd, ProcessorOrder, Processors, ProcessorStatus

END = ProcessorEnd(Access((Server("kf1.unix.ar", 9092),)), "time.flows.unix.ar", "time.flows.unix.ar")
ORDER = ProcessorOrder("ksdj898.time.flows.unix.ar", "bridge", (END,), (END,))


def run(awaitable: Coroutine[Any, Any, None]) -> None:
    asyncio.run(awaitable)


def test_it_is_a_supervisor() -> None:
    processors: Processors = MemoryProcessors()
    assert processors.ids() == []


def test_create_is_idempotent_and_listeners_hear_of_states_alone() -> None:
    processors, heard = MemoryProcessors(), list[str]()
    processors.listen(lambda status: heard.append(status.state))
    run(processors.create(ORDER))
    run(processors.create(ORDER))
    processors.change(ORDER.id, lag=5)
    assert heard == ["running"]
    assert processors.ids() == [ORDER.id]


def test_a_stopped_processor_keeps_its_journal_and_a_destroyed_one_does_not() -> None:
    processors = MemoryProcessors()
    run(processors.create(ORDER))
    run(processors.stop_processor(ORDER.id))
    assert processors.status(ORDER.id) is None
    assert processors.journals == {ORDER.id}
    run(processors.destroy(ORDER.id))
    run(processors.destroy(ORDER.id))
    assert processors.journals == set()


def test_what_is_not_ready_says_so_and_goes_on_trying() -> None:
    processors, heard = MemoryProcessors(), list[ProcessorStatus]()
    processors.listen(heard.append)
    processors.never_ready(ORDER.id)
    with pytest.raises(TryLater):
        run(processors.create(ORDER))
    assert processors.ids() == [ORDER.id]
    processors.ready(ORDER.id)
    assert [status.state for status in heard] == ["unreachable", "running"]


def test_pause_and_resume() -> None:
    processors = MemoryProcessors()
    run(processors.create(ORDER))
    run(processors.pause(ORDER.id))
    run(processors.create(ORDER))
    assert processors.status(ORDER.id).state == "paused"  # type: ignore[union-attr]
    run(processors.resume(ORDER.id))
    assert processors.status(ORDER.id).state == "running"  # type: ignore[union-attr]
