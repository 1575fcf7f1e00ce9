"""Principals, positions, states and lineage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.errors import Conflict, EsonError, Usage
from eson.model.flows import Visibility, ancestry_mark, parse_visibility
from eson.model.positions import AtOffsets, AtTime, Beginning, Now, parse_position
from eson.model.principals import ANONYMOUS, Caller, Principal, parse_principal, user
from eson.model.rates import UNLIMITED, RateLimit, parse_rate_limit
from eson.model.subscriptions import CHANGES, State, check_change


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("beginning", Beginning()),
        ("NOW", Now()),
        ("17", AtOffsets(((0, 17),))),
        ("0:5,3:9", AtOffsets(((0, 5), (3, 9)))),
        ("2026-11-24T10:00:00Z", AtTime(datetime(2026, 11, 24, 10, tzinfo=UTC))),
        ("2026-11-24T12:00:00.5+02:00", AtTime(datetime(2026, 11, 24, 10, 0, 0, 500000, tzinfo=UTC))),
        ("2026-11-24t10:00:00.123456789z", AtTime(datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC))),
    ],
)
def test_each_form_of_a_position_is_read(text: str, value: object) -> None:
    """BEGINNING, NOW, offsets and times are told apart by their form."""
    assert parse_position(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "1:2:3",
        "0:1,0:2",
        "9" * 19,
        "2026-13-01T00:00:00Z",
        "2026-11-24",
        "0:1,",
        "٣",
        "0001-01-01T00:00:00+23:59",
    ],
)
def test_what_is_no_position_gets_the_usage(text: str) -> None:
    """A wrong position names the forms that exist."""
    with pytest.raises(Usage, match="Usage: FROM"):
        parse_position(text)


@given(
    st.one_of(
        st.builds(Now), st.builds(Beginning), st.integers(0, 2**63 - 1).map(lambda o: AtOffsets(((0, o),)))
    )
)
def test_a_position_survives_being_written_down(position: object) -> None:
    """What `str` gives is read back as the same position."""
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text", ["user:test", "user:juan@emiliano.ar", "group:staff", "participant:emiliano.ar", "anonymous"]
)
def test_a_principal_survives_being_written_down(text: str) -> None:
    """The four kinds of principal have one text each."""
    assert str(parse_principal(text)) == text


@pytest.mark.parametrize(
    "text", ["", "user:", "user:a b", "user:a@", "user:a@b", "group:", "robot:x", "participant:"]
)
def test_what_is_no_principal_is_refused(text: str) -> None:
    """Nothing else is a principal."""
    with pytest.raises(EsonError):
        parse_principal(text)


def test_a_caller_acts_as_itself_its_groups_and_its_participant() -> None:
    """Rights may be held by any of these."""
    caller = Caller(user("juan", "emiliano.ar"), groups=frozenset({"staff"}))
    assert caller.principals == {
        user("juan", "emiliano.ar"),
        Principal("group", "staff"),
        Principal("participant", participant="emiliano.ar"),
    }
    assert Caller(ANONYMOUS).principals == {ANONYMOUS}


def test_only_the_changes_of_the_interface_are_legal() -> None:
    """Every pair of states is decided; ended is final, and every state may end."""
    legal = {(old, new) for old, after in CHANGES.items() for new in after}
    for old in State:
        for new in State:
            if old is new or (old, new) in legal:
                check_change(old, new)
            else:
                with pytest.raises(Conflict):
                    check_change(old, new)
    assert not CHANGES[State.ENDED]
    assert all(State.ENDED in CHANGES[state] for state in State if state is not State.ENDED)
    assert State.ACTIVE not in CHANGES[State.ENDED]


def test_visibility_and_lineage_marks() -> None:
    """Visibility is read whatever the case; a lineage mark has 16 hex digits."""
    assert parse_visibility("Public") is Visibility.PUBLIC
    with pytest.raises(Usage):
        parse_visibility("secret")
    assert len(ancestry_mark("time.flows.unix.ar")) == 16


NUMBERS = st.one_of(st.none(), st.integers(1, 10**10 - 1))


@given(NUMBERS, NUMBERS)
def test_a_limit_reads_what_it_writes(records: int | None, octets: int | None) -> None:
    limit = RateLimit(records, octets)
    assert parse_rate_limit(str(limit) or "none") == limit
    assert bool(limit) == (limit != UNLIMITED)


@pytest.mark.parametrize(
    "text",
    ["", "7", "7/", "0/s", "0B/s", "1/s,1/s", "1B/s,2b/S", "1/s,", "1 /s", "1/s\n", "9" * 11 + "/s", "x"],
)
def test_what_is_no_limit_gets_the_usage(text: str) -> None:
    with pytest.raises(Usage, match="limit"):
        parse_rate_limit(text)
