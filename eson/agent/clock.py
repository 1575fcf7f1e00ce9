"""The time of day."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """A `Clock` that tells what the system says."""

    def now(self) -> datetime:
        return datetime.now(UTC)
