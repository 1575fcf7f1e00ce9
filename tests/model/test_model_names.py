"""Names: canonical form, limits, longest namespace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.errors import NameNotAllowed
from eson.model import names


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("flow://Time.Flows.Unix.AR", "time.flows.unix.ar"),
        ("FLOW://time.flows.unix.ar.", "time.flows.unix.ar"),
        ("a.b", "a.b"),
        ("xn--nxasmq6b.example", "xn--nxasmq6b.example"),
    ],
)
def test_canonical_form_is_lower_case_without_scheme_and_dot(typed: str, expected: str) -> None:
    """A flow typed in any legal spelling has one canonical form."""
    assert names.canonical_flow(typed) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "a",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        "é.ar",
        "a b.c",
        "a" * 64 + ".ar",
        "flow://",
        "a.b\x00",
    ],
)
def test_what_is_no_name_is_refused(bad: str) -> None:
    """What is no DNS name gets a reason."""
    with pytest.raises(NameNotAllowed):
        names.canonical_flow(bad)


def test_a_flow_leaves_room_for_the_records_of_its_copies() -> None:
    """227 octets pass, 228 do not."""
    fits = "a." * 112 + "abc"
    assert len(fits) == 227
    assert names.canonical_flow(fits) == fits
    with pytest.raises(NameNotAllowed):
        names.canonical_flow("b" + fits)


def test_longest_namespace_counts_whole_labels() -> None:
    """A flow belongs to the longest hosted suffix, on label borders."""
    hosted = ["unix.ar", "flows.unix.ar", "ows.unix.ar"]
    assert names.longest_namespace("time.flows.unix.ar", hosted) == "flows.unix.ar"
    assert names.longest_namespace("flows.unix.ar", hosted) == "unix.ar"
    assert names.longest_namespace("time.xunix.ar", hosted) is None


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """No text does anything but give a canonical name or `NameNotAllowed`."""
    try:
        name = names.canonical_flow(text)
    except NameNotAllowed as error:
        assert "\n" not in error.text
        assert len(error.text) < 512
    else:
        assert names.canonical_flow(name) == name


def test_new_labels_have_the_form_of_the_interface() -> None:
    """Labels begin with a letter and have seven characters."""
    assert all(names.COPY_LABEL.match(names.new_copy_label()) for _ in range(200))
    assert names.PROCESSOR_ID.match(names.new_processor_id())
