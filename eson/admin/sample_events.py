"""An event log to try things with: a week of arrivals at an airport, as CloudEvents, one JSON object a line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

FIRST = datetime(2026, 11, 16, 5, 30, tzinfo=UTC)
_AIRLINES = ("AR", "LA", "G3", "IB", "AF", "UX", "CM", "AV", "LH", "BA")
_ORIGINS = ("SCL", "GRU", "MVD", "MAD", "CDG", "BOG", "PTY", "LIM", "COR", "MDZ", "FRA", "LHR", "MIA", "BRC")
_STEPS = ("airborne", "approaching", "landed", "at-gate", "bags-on-belt")


def sample_events(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """`count` events in the order of their times; the same `seed` gives the same events."""
    chance = random.Random(seed)
    when = FIRST
    for number in range(count):
        when += timedelta(seconds=chance.expovariate(1 / 55))
        flight = f"{chance.choice(_AIRLINES)}{chance.randint(100, 9899)}"
        step = chance.choice(_STEPS)
        data: dict[str, Any] = {"flight": flight, "from": chance.choice(_ORIGINS), "status": step}
        if step == "at-gate":
            data["gate"] = f"{chance.choice('ABC')}{chance.randint(1, 24)}"
        elif step == "bags-on-belt":
            data["belt"] = chance.randint(1, 9)
        else:
            data["delay_minutes"] = max(0, round(chance.gauss(4, 12)))
        yield {
            "specversion": "1.0",
            "id": f"{seed}-{number:06d}",
            "source": "/airports/eze/arrivals",
            "type": f"com.airport.arrival.{step}",
            "subject": flight,
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": data,
        }


def write_sample(out: TextIO, count: int, seed: int = 1) -> None:
    """Writes `count` events as JSON lines."""
    for event in sample_events(count, seed):
        out.write(json.dumps(event, separators=(",", ":")) + "\n")
