"""What the fuzzers share: a target is a function of octets that may only raise its named error, within bounds.

A target module has `seeds()`, a few inputs made by our own encoders by name, and `one_input(octets)`, which raises for
whatever must not happen.  `python -m fuzz.run` drives it with atheris, the tests drive it with the mutations below.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol

CORPUS = Path(__file__).parent / "corpus"
TARGETS = (
    "kafka_requests",
    "kafka_responses",
    "kafka_batches",
    "processor_conversation",
    "processor_journal",
    "fnap_server",
    "fnap_client",
    "dns_queries",
    "dns_replies",
)
MOST_SECONDS = 2.0
"""CPU seconds that an input of at most `MOST_OCTETS` may take; the slowest real ones take milliseconds."""
MOST_OCTETS = 16384
_NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


class Target(Protocol):
    """A module of this folder."""

    @staticmethod
    def seeds() -> dict[str, bytes]: ...

    @staticmethod
    def one_input(octets: bytes) -> None: ...


class TooSlow(Exception):
    """An input took longer than its size allows."""


def target(name: str) -> Target:
    return import_module(f"fuzz.{name}")  # type: ignore[return-value]


def bounded(one_input: Callable[[bytes], None], octets: bytes) -> None:
    """Runs one input.  Raises `TooSlow`, and what the target finds."""
    began = time.process_time()
    one_input(octets)
    took = time.process_time() - began
    if took > MOST_SECONDS:
        raise TooSlow(f"{len(octets)} octets took {took:.1f} s")


def corpus(name: str) -> dict[str, bytes]:
    """The committed inputs of a target, seeds and what was found once."""
    return {file.name: file.read_bytes() for file in sorted((CORPUS / name).iterdir())}


def mutations(inputs: list[bytes], seed: int) -> Iterator[bytes]:
    """Inputs made of others without end: octets changed, cut, doubled, joined; numbers that are edges of something."""
    chance = random.Random(seed)
    while True:
        octets = bytearray(chance.choice(inputs))
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            _mutate(octets, chance, inputs)
        yield bytes(octets[:MOST_OCTETS])


def _mutate(octets: bytearray, chance: random.Random, inputs: list[bytes]) -> None:
    at = chance.randrange(len(octets) + 1)
    to = min(len(octets), at + chance.choice((1, 1, 2, 4, 16, 64)))
    kind = chance.randrange(6)
    if kind == 0:
        octets[at:to] = chance.randbytes(to - at)
    elif kind == 1:
        size = chance.choice((1, 2, 4, 8))
        octets[at : at + size] = (chance.choice(_NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, "big")
    elif kind == 2:
        del octets[at:to]
    elif kind == 3:
        octets[at:at] = octets[at:to] * chance.choice((1, 2, 30))
    elif kind == 4:
        other = chance.choice(inputs)
        start = chance.randrange(len(other) + 1)
        octets[at:to] = other[start : start + chance.choice((4, 32, 4096))]
    elif at < len(octets):
        octets[at] ^= 1 << chance.randrange(8)
