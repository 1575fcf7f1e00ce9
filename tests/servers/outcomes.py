"""What an awaitable gives that needs no waiting."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def result_of(work: Awaitable[Any]) -> Any:
    """Its result, which must be there by now; raises its error."""
    outcome: list[Any] = []
    waiting = work if isinstance(work, Deferred) else Deferred.fromCoroutine(_whole(work))
    waiting.addBoth(outcome.append)
    assert outcome, "it waits for something"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


async def _whole(work: Awaitable[Any]) -> Any:
    return await work
