"""How much is asked for: whole batches, of as many partitions as have something."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eson.processors.core.portions import portions


def test_one_partition_takes_all() -> None:
    assert portions(2_000_000, 1, 0) == (2_000_000, 2_000_000)
    assert portions(2_000_000, 0, 0) == (2_000_000, 2_000_000)


def test_each_gets_whole_batches_of_its_share() -> None:
    octets, each = portions(2_000_000, 4, 40_000)
    assert 12 * 40_000 <= each < 12 * 41_000
    assert 4 * each <= octets <= 2_000_000


def test_fewer_partitions_where_a_share_is_less_than_a_batch() -> None:
    octets, each = portions(2_000_000, 4, 600_000)
    assert 600_000 <= each < 620_000
    assert octets == 3 * each


def test_a_batch_larger_than_an_answer_is_asked_for_as_any_other() -> None:
    assert portions(100_000, 4, 600_000) == (100_000, 100_000)


@given(st.integers(1, 1 << 24), st.integers(0, 10_000), st.integers(0, 1 << 25))
def test_what_is_asked_for_is_bounded_and_something(octets: int, partitions: int, largest: int) -> None:
    most, each = portions(octets, partitions, largest)
    assert 1 <= each <= most <= octets
