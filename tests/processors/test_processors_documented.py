"""The page of processors says the bounds that the program has."""

from __future__ import annotations

from pathlib import Path

import pytest

from eson.brokers.kafka.wire.compression import DEFAULT_LIMITS
from eson.brokers.kafka.wire.records import MOST_AT_ONCE
from eson.config.places import Places
from eson.processors.child.fetcher import FAR, FAR_BYTES, FETCH_BYTES, LARGEST_BATCH
from eson.processors.child.window import LEAST_OWN, MOST_KEPT

PAGE = (Path(__file__).parents[2] / "docs" / "processors.md").read_text()


@pytest.mark.parametrize(
    "said",
    [
        f"an answer of {FETCH_BYTES >> 20} MiB that arrives",
        f"down to {LEAST_OWN >> 10} KiB",
        f"no answer comes within {FAR * 1000:.0f} ms | an answer of {FAR_BYTES >> 20} MiB",
        f"{LARGEST_BATCH >> 20} MiB an answer beyond what was asked for",
        f"{DEFAULT_LIMITS.octets >> 20} MiB when it is decompressed",
        f"beyond {DEFAULT_LIMITS.floor >> 20} MiB no more than {DEFAULT_LIMITS.ratio} times its own size",
        f"{MOST_AT_ONCE:,} events",
        f"{MOST_KEPT >> 20} MB in a process",
        f"`{Places(Path('<state>')).journals}/<id>.journal`",
    ],
)
def test_the_bounds_are_those_of_the_program(said: str) -> None:
    assert said in PAGE
