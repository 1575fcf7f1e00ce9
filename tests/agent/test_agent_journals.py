"""What a processor says of its journal is kept, and given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent.agent_world import START, TEST

from eson.agent.journals import KeptJournals
from eson.brokers.port import Access
from eson.errors import TryLater
from eson.model.subscriptions import State
from eson.processors.memory import MemoryProcessors
from eson.processors.port import ProcessorEnd, ProcessorOrder
from eson.store.memory import MemoryStore
from eson.store.port import DropJournal, DropProcessor, PutProcessor
from eson.store.records import StoredProcessor

END = ProcessorEnd(Access(()), "q", "f.flows.unix.ar")
ORDER = ProcessorOrder("p-aaaaaaa", "bridge", (END,), (END,))


def run(work: Any) -> Any:
    return asyncio.run(work)


def stored() -> MemoryStore:
    """A store that knows the processor."""
    store = MemoryStore()
    flows = ("f.flows.unix.ar",)
    run(
        store.apply(
            PutProcessor(
                StoredProcessor(
                    ORDER.id, "bridge", flows, flows, TEST.principal, State.ACTIVE, "", "", START, START
                )
            )
        )
    )
    return store


def test_it_is_kept_when_it_is_ready_and_given_back_when_it_begins_again() -> None:
    processors, store = MemoryProcessors(), stored()
    kept = KeptJournals(processors, store)
    run(kept.create(ORDER))
    assert processors.orders[ORDER.id].lanes == b""
    said = processors.status(ORDER.id).lanes  # type: ignore[union-attr]
    assert said
    assert run(store.journal(ORDER.id)) == said
    run(kept.stop_processor(ORDER.id))
    run(KeptJournals(processors, store).create(ORDER))
    assert processors.orders[ORDER.id].lanes == said


def test_one_that_never_was_ready_begins_as_ordered() -> None:
    processors, store = MemoryProcessors(), stored()
    kept = KeptJournals(processors, store)
    run(kept.keep(ORDER.id))
    assert run(store.journal(ORDER.id)) == b""


def test_what_is_said_while_it_goes_is_not_kept() -> None:
    processors, store = MemoryProcessors(), stored()
    kept = KeptJournals(processors, store)
    run(kept.create(ORDER))
    run(store.apply(DropJournal(ORDER.id)))

    look = store.journal

    async def slow(id: str) -> bytes:
        found = await look(id)
        await kept.destroy(id)
        return found

    store.journal = slow  # type: ignore[method-assign]
    run(kept.keep(ORDER.id))
    assert run(look(ORDER.id)) == b""


def test_it_goes_with_its_processor() -> None:
    processors, store = MemoryProcessors(), stored()
    kept = KeptJournals(processors, store)
    run(kept.create(ORDER))
    run(kept.destroy(ORDER.id))
    assert run(store.journal(ORDER.id)) == b""


@pytest.mark.parametrize("end", ["destroy", "stop_processor"])
def test_one_that_is_ended_while_its_start_is_on_its_way_does_not_start(end: str) -> None:
    """Such as by UNSUBSCRIBE while the reconciler, which saw it alive, asks the store for its order."""
    processors, store = MemoryProcessors(), stored()
    kept = KeptJournals(processors, store)
    look = store.journal

    async def slow(id: str) -> bytes:
        found = await look(id)
        await getattr(kept, end)(id)
        return found

    store.journal = slow  # type: ignore[method-assign]
    with pytest.raises(TryLater):
        run(kept.create(ORDER))
    assert processors.orders == {}
    store.journal = look  # type: ignore[method-assign]
    run(kept.create(ORDER))
    assert list(processors.orders) == [ORDER.id]


def test_one_whose_record_is_gone_does_not_start() -> None:
    """Whoever took the record was done before the start began."""
    processors, store = MemoryProcessors(), stored()
    run(store.apply(DropProcessor(ORDER.id)))
    with pytest.raises(TryLater):
        run(KeptJournals(processors, store).create(ORDER))
    assert processors.orders == {}
