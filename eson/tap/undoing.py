"""What was started, to be stopped in the opposite order, each step within its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

Step = Callable[[], Awaitable[object]]


class Undoing:
    """A stack of steps; none of them keeps the others from being taken."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._steps: list[tuple[str, Step, float]] = []

    def add(self, name: str, step: Step, seconds: float = 10.0) -> None:
        """`step` is taken before all that were added earlier."""
        self._steps.append((name, step, seconds))

    async def run(self) -> None:
        """Takes all steps, the last first; what fails or takes too long is logged."""
        while self._steps:
            name, step, seconds = self._steps.pop()
            try:
                await Deferred.fromCoroutine(_awaited(step)).addTimeout(seconds, self._clock)
            except TimeoutError:
                self.log.error("{name} did not stop within {seconds} s", name=name, seconds=seconds)
            except Exception:
                self.log.failure("while {name} was stopped", name=name)


async def _awaited(step: Step) -> None:
    await step()
