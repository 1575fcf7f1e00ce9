"""Who fails often is not evaluated; others are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.identity.throttle import BY_ACCOUNT, BY_ADDRESS, Rule, Throttle, network_of


def test_ten_thousand_tries_from_one_address_are_mostly_not_evaluated() -> None:
    throttle = Throttle()
    evaluated = sum(throttle.admit("192.0.2.1", f"user{n % 100}", n * 0.06) for n in range(10_000))
    assert 50 <= evaluated <= 60
    assert throttle.admit("192.0.2.2", "user0", 600.0)


def test_ten_thousand_tries_at_once_are_charged_before_they_are_evaluated() -> None:
    throttle = Throttle()
    assert sum(throttle.admit("192.0.2.1", "test", 0.0) for _ in range(10_000)) == BY_ADDRESS.burst


def test_success_costs_nothing() -> None:
    throttle = Throttle()
    for _ in range(1000):
        assert throttle.admit("192.0.2.1", "test", 5.0)
        throttle.succeeded("192.0.2.1", "test", 5.0)
    assert len(throttle) == 1  # the proven pair alone


def test_credit_comes_back_with_time() -> None:
    throttle = Throttle()
    while throttle.admit("192.0.2.1", "test", 0.0):
        pass
    assert not throttle.admit("192.0.2.1", "test", BY_ADDRESS.every - 0.1)
    assert throttle.admit("192.0.2.1", "test", BY_ADDRESS.every)
    assert not throttle.admit("192.0.2.1", "test", BY_ADDRESS.every)


def test_many_addresses_cannot_guess_one_account_without_end() -> None:
    throttle = Throttle()
    evaluated = sum(throttle.admit(f"198.51.{n // 250}.{n % 250}", "test", n * 0.06) for n in range(10_000))
    assert evaluated <= BY_ACCOUNT.burst + 600 / BY_ACCOUNT.every


def test_nor_do_they_shut_its_owner_out() -> None:
    throttle = Throttle()
    assert throttle.admit("203.0.113.7", "test", 0.0)
    throttle.succeeded("203.0.113.7", "test", 0.0)
    for n in range(1000):
        throttle.admit(f"198.51.100.{n % 250}", "test", 1.0)
    assert not throttle.admit("198.51.101.1", "test", 1.0)
    assert throttle.admit("203.0.113.7", "test", 1.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_what_is_kept_is_bounded() -> None:
    throttle = Throttle(places=100)
    for n in range(10_000):
        address = f"198.51.{n // 250}.{n % 250}"
        throttle.admit(address, f"user{n}", 0.0)
        throttle.succeeded(address, f"user{n}", 0.0)
        throttle.admit(address, f"user{n}", 0.0)
    assert len(throttle) <= 300


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 30)), max_size=60),
    st.integers(1, 5),
    st.floats(0.5, 20),
)
def test_failures_never_exceed_burst_and_rate(
    attempts: list[tuple[str, bool, float]], burst: int, every: float
) -> None:
    """Whatever succeeds in between, the failures that were evaluated in any stretch keep the rule."""
    throttle = Throttle(Rule(burst, every), Rule(10_000, 0.001))
    now, failures = 0.0, []
    for account, right, pause in attempts:
        now += pause
        if throttle.admit("192.0.2.1", account, now):
            if right:
                throttle.succeeded("192.0.2.1", account, now)
            else:
                failures.append(now)
    for first in range(len(failures)):
        for last in range(first, len(failures)):
            assert last - first + 1 <= burst + (failures[last] - failures[first]) / every + 1e-6
