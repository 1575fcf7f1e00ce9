"""Limits of rate: a bucket that fills by time and may go below empty, which then takes time."""

from __future__ import annotations


class Bucket:
    """`per_second` units a second, at most one second's worth at once; None: no limit.  Times in seconds."""

    def __init__(self, per_second: int | None, now: float) -> None:
        self._rate = per_second
        self._level = float(per_second or 0)
        self._at = now

    def take(self, units: int, now: float) -> float:
        """Takes `units` that were used and answers for how many seconds nothing more may be."""
        if not self._rate:
            return 0.0
        filled = self._level + max(0.0, now - self._at) * self._rate
        self._level = min(float(self._rate), filled) - units
        self._at = now
        return max(0.0, -self._level / self._rate)
