"""The small decisions: sequences, retries, rates, aborted transactions, and what becomes of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.brokers.kafka.wire.batches import HEADER, BatchHeader, next_sequence
from eson.model.rates import UNLIMITED, RateLimit
from eson.processors.core.backoff import Backoff
from eson.processors.core.batches import Verdict, judge
from eson.processors.core.rates import Bucket, Limiter, limiters
from eson.processors.core.sequences import is_behind
from eson.processors.core.transactions import ABORT, COMMIT, AbortedFilter, marker_kind

TOP = 2**31 - 1


def test_sequences_wrap() -> None:
    assert [next_sequence(-1, 1), next_sequence(TOP, 1), next_sequence(TOP - 4, 9), next_sequence(0, -1)] == [
        0,
        0,
        4,
        TOP,
    ]
    assert is_behind(TOP, 3)
    assert not is_behind(3, TOP)
    assert not is_behind(5, 5)


def test_retries_are_drawn_below_a_ceiling_that_doubles_until_progress() -> None:
    bounds: list[tuple[float, float]] = []
    backoff = Backoff(lambda low, high: bounds.append((low, high)) or high)
    assert [backoff.next_delay() for _ in range(10)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert {low for low, _ in bounds} == {0.1}
    backoff.reset()
    assert backoff.next_delay() == 0.2


def test_a_rate_is_kept_over_time() -> None:
    bucket, now, sent = Bucket(100, 0.0), 0.0, 0
    while now < 10:
        sent += 40
        now += bucket.take(40, now) + 1e-9
    assert 1000 <= sent <= 1000 + 40
    assert Bucket(None, 0.0).take(10**9, 0.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 3)), max_size=30))
def test_no_more_than_the_rate_and_one_second_passes(steps: list[tuple[int, float]]) -> None:
    bucket, now, sent = Bucket(100, 0.0), 0.0, 0
    for units, pause in steps:
        now += pause
        sent += units
        now += bucket.take(units, now)
        assert sent <= 100 * now + 100 + 1e-6


@pytest.mark.parametrize(
    "limit, wait",
    [
        (UNLIMITED, 0.0),
        (RateLimit(10), 20.0),
        (RateLimit(octets=100), 10.0),
        (RateLimit(10, 100), 20.0),
        (RateLimit(1000, 100), 10.0),
    ],
)
def test_the_stricter_of_two_rates_holds(limit: RateLimit, wait: float) -> None:
    """A batch of 200 records in 1,000 octets."""
    limiter = Limiter(limit, 0.0)
    assert limiter.wait(0.0) == 0.0
    assert limiter.take(200, 1000, 0.0) == limiter.wait(0.0) == wait
    assert limiter.wait(wait) == 0.0


def test_a_limit_that_stays_forgets_nothing_and_a_new_one_begins_anew() -> None:
    first = limiters({0: RateLimit(10), 1: RateLimit(10), 2: UNLIMITED}, {}, 0.0)
    for one in first.values():
        one.take(100, 1, 0.0)
    second = limiters({0: RateLimit(10), 1: RateLimit(20), 3: RateLimit(10)}, first, 1.0)
    assert {number: one.take(10, 1, 1.0) for number, one in second.items()} == {0: 10.0, 1: 0.5, 3: 1.0}


def control(kind: int) -> bytes:
    key = b"\0\0" + kind.to_bytes(2, "big")
    record = bytes([0, 0, 0, len(key) * 2]) + key + b"\x01\0"
    return bytes(61) + bytes([len(record) * 2]) + record


def test_markers_are_read_and_rubbish_is_none() -> None:
    assert marker_kind(control(ABORT)) == ABORT
    assert marker_kind(control(COMMIT)) == COMMIT
    for length in range(len(control(ABORT)) - 2):
        assert marker_kind(control(ABORT)[:length]) == -1
    assert marker_kind(bytes(61) + b"\xff" * 30) == -1


def test_aborted_transactions_are_dropped_and_no_other() -> None:
    aborted = AbortedFilter([(7, 100), (8, 50)])
    assert not aborted.drops(7, 49)
    assert aborted.drops(8, 55)
    assert not aborted.drops(9, 60)
    aborted.marker(8, 61, ABORT)
    assert not aborted.drops(8, 70)
    assert aborted.drops(7, 100)
    aborted.marker(7, 101, COMMIT)
    assert aborted.drops(7, 102)
    aborted.marker(7, 103, ABORT)
    assert not aborted.drops(7, 104)


def header(**fields: int) -> BatchHeader:
    whole = BatchHeader(100, 139, 0, 2, 0, 0, 9, 1, 1, -1, -1, -1, 10)
    return whole._replace(**fields)


VERDICTS = [
    (header(), Verdict.PASS),
    (header(attributes=3), Verdict.PASS),
    (header(attributes=0x10, producer_id=5), Verdict.PASS),
    (header(attributes=0x10, producer_id=6), Verdict.DROP_ABORTED),
    (header(attributes=0x30, producer_id=5, record_count=1, last_offset_delta=0), Verdict.DROP_CONTROL),
    (header(record_count=0), Verdict.DROP_EMPTY),
    (header(record_count=7), Verdict.RECODE_COMPACTED),
    (header(base_offset=95), Verdict.RECODE_INSIDE),
    (header(base_offset=90), Verdict.DROP_BEHIND),
    (header(attributes=0x08), Verdict.RECODE_APPEND_TIME),
    (header(attributes=0x40), Verdict.RECODE_DELETE_HORIZON),
    (header(length=2000), Verdict.RECODE_TOO_LARGE),
    (header(record_count=11), Verdict.REFUSE_COUNT),
    (header(last_offset_delta=-1), Verdict.REFUSE_COUNT),
    (header(record_count=TOP, last_offset_delta=TOP - 1), Verdict.REFUSE_COUNT),
    (header(record_count=TOP, last_offset_delta=TOP - 1, attributes=4), Verdict.REFUSE_COUNT),
    (header(record_count=100, last_offset_delta=99), Verdict.REFUSE_COUNT),
    (header(record_count=100, last_offset_delta=99, attributes=4), Verdict.PASS),
    (header(base_offset=-1), Verdict.REFUSE_OFFSET),
    (header(base_offset=1 << 62), Verdict.REFUSE_OFFSET),
    (header(attributes=5), Verdict.REFUSE_CODEC),
    (header(attributes=5, base_offset=95), Verdict.REFUSE_CODEC),
]


@pytest.mark.parametrize(("one", "verdict"), VERDICTS)
def test_what_becomes_of_a_batch(one: BatchHeader, verdict: Verdict) -> None:
    octets = memoryview(HEADER.pack(*one) + bytes(90))
    assert judge(one, octets, 100, 1000, AbortedFilter([(6, 0)])) is verdict


def test_every_verdict_is_reached_and_is_of_one_kind() -> None:
    assert {verdict for _, verdict in VERDICTS} == set(Verdict)
    for verdict in Verdict:
        assert [verdict.drops, verdict.recodes, verdict.refuses, verdict is Verdict.PASS].count(True) == 1
