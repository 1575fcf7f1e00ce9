"""The headers of a destination's batches, read from a leader that does not give everything at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from processors.test_processors_restoring import TEN, Log, carried, written

from eson.brokers.kafka.wire.apis import FetchResponse
from eson.processors.child import scanning
from eson.processors.child.cluster import Topic
from eson.processors.child.scanning import newest_batch
from eson.processors.child.trouble import Unreachable


class Throttled(Log):
    """Every other answer names no partition, as that of a broker whose quota was passed; all with `most` = 0."""

    def __init__(self, batches: list[bytes], most: int = 1 << 30) -> None:
        super().__init__(batches)
        self.most, self.empty = most, False

    async def offsets(self, connection: Any, partitions: list[int], when: int) -> dict[int, int]:
        return {0: await self.offset(0, when)}

    def read(self, offset: int) -> Any:
        self.empty = not self.empty or len(self.given) >= self.most
        return FetchResponse(responses=[]) if self.empty else super().read(offset)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(topic: Topic, log: Any, partition: int, offset: int, committed: bool = False) -> Any:
        await asyncio.sleep(0)
        return log.read(offset)

    monkeypatch.setattr(scanning, "fetch_some", fetch)
    monkeypatch.setattr(scanning, "STEP", 0.001)


def newest(log: Log) -> int:
    async def test() -> int:
        found = await newest_batch(log.cluster, log.topic, log.leader(0), TEN, 0, -1)
        assert found is not None
        return found.last_sequence

    return asyncio.run(asyncio.wait_for(test(), 20))


def test_an_empty_answer_is_not_taken_for_the_end() -> None:
    """What stands behind it would be carried again."""
    assert newest(Throttled(carried(written(5)))) == 49


def test_a_leader_that_never_gives_what_it_holds_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PATIENCE", 0.05)
    with pytest.raises(Unreachable, match="gives nothing from offset 20 on, and says that it ends at 50"):
        newest(Throttled(carried(written(5)), 2))
