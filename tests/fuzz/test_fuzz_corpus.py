"""Every fuzzing target over its whole corpus, and over some seconds of mutations; the long way is `make fuzz`."""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest
from fuzz.harness import TARGETS, bounded, corpus, mutations, target

SECONDS = float(os.environ.get("ESON_MUTATION_SECONDS", "2"))
SEED = int(os.environ.get("ESON_MUTATION_SEED", "1"))
MOST_MEMORY = 80 << 20
"""Octets that one input may make Python allocate: decompression stops at 64 MiB."""


def test_ci_fuzzes_every_target() -> None:
    fuzzed = re.findall(r'make fuzz[^"]*"([^"]*)"', (Path(__file__).parents[2] / ".ci" / "run").read_text())
    assert sorted(" ".join(fuzzed).split()) == sorted(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_what_our_encoders_make(name: str) -> None:
    """Run `python -m fuzz.make_corpus` where seeds changed on purpose."""
    made = {f"seed-{seed}": octets for seed, octets in target(name).seeds().items()}
    kept = {file: octets for file, octets in corpus(name).items() if file.startswith("seed-")}
    assert made.keys() == kept.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_in_the_corpus_breaks_its_target(name: str) -> None:
    """Only the named errors, in bounded time and memory."""
    one_input = target(name).one_input
    for octets in corpus(name).values():
        one_input(octets)  # what is loaded or compiled at first use does not count
    for file, octets in corpus(name).items():
        tracemalloc.start()
        try:
            bounded(one_input, octets)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST_MEMORY, file


@pytest.mark.parametrize("name", TARGETS)
def test_no_mutation_breaks_its_target(name: str) -> None:
    one_input, end, count = target(name).one_input, time.monotonic() + SECONDS, 0
    for octets in mutations(list(corpus(name).values()), SEED):
        try:
            bounded(one_input, octets)
        except BaseException as error:
            raise AssertionError(f"{name} broke with {octets.hex()}") from error
        count += 1
        if time.monotonic() > end:
            break
    assert count > 20
