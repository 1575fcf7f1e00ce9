"""When to try again: full jitter, so that what fell together does not rise together."""

from __future__ import annotations

from collections.abc import Callable

SHORTEST, LONGEST = 0.1, 30.0


class Backoff:
    """Delays between `shortest` and a ceiling that doubles with each failure up to `longest`, in seconds.

    `uniform` draws between two bounds (`random.uniform`).  `reset` is called at progress, never at mere life.
    """

    def __init__(
        self, uniform: Callable[[float, float], float], shortest: float = SHORTEST, longest: float = LONGEST
    ) -> None:
        self._uniform, self._shortest, self._longest = uniform, shortest, longest
        self.failures = 0

    def next_delay(self) -> float:
        """Counts a failure and says how long to wait."""
        self.failures += 1
        ceiling = min(self._longest, self._shortest * 2.0 ** min(self.failures, 32))
        return self._uniform(self._shortest, ceiling)

    def reset(self) -> None:
        self.failures = 0
