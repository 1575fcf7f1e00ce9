"""Limits of rate: a bucket that fills by time and may go below empty, which then takes time."""

from __future__ import annotations

from collections.abc import Mapping

from eson.model.rates import RateLimit


class Bucket:
    """`per_second` units a second, after a lull one second's worth at once; None: no limit.  Times in seconds.

    It is empty at first, so that beginning anew gains nothing.
    """

    def __init__(self, per_second: int | None, now: float) -> None:
        self._rate = per_second
        self._level = 0.0
        self._at = now

    def take(self, units: int, now: float) -> float:
        """Takes `units` that were used and answers for how many seconds nothing more may be."""
        if not self._rate:
            return 0.0
        filled = self._level + max(0.0, now - self._at) * self._rate
        self._level = min(float(self._rate), filled) - units
        self._at = now
        return max(0.0, -self._level / self._rate)


class Limiter:
    """Keeps what one destination gets within its limit.  Times in seconds."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._records, self._octets = Bucket(limit.records, now), Bucket(limit.octets, now)

    def take(self, records: int, octets: int, now: float) -> float:
        """Takes what was sent and answers for how many seconds nothing more may be."""
        return max(self._records.take(records, now), self._octets.take(octets, now))

    def wait(self, now: float) -> float:
        """For how many seconds nothing may be sent."""
        return self.take(0, 0, now)


def limiters(limits: Mapping[int, RateLimit], known: Mapping[int, Limiter], now: float) -> dict[int, Limiter]:
    """One for each destination; where the limit is still the same, the known one: what was sent is not forgotten."""
    same = {number: one for number, one in known.items() if limits.get(number) == one.limit}
    return {number: same.get(number) or Limiter(limit, now) for number, limit in limits.items()}
