"""Bodies of replies: what our server renders is read back, and what is no body is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.client.bodies import description, listing, pending_copy, subscribed, text, texts
from eson.errors import ProtocolViolation
from eson.fnap.core.render import outcome_bytes
from eson.fnap.core.replies import Description, Listing, Outcome, Subscribed

keys = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
items = st.dictionaries(
    keys, st.one_of(values, st.lists(values, min_size=2, max_size=3)), min_size=1, max_size=4
)


def body(outcome: Outcome, as_json: bool) -> list[str]:
    lines = outcome_bytes(outcome, as_json).decode().split("\r\n")
    assert lines[0] == "220 DATA"
    assert lines[-2:] == ["220 OK", ""]
    return lines[1:-2]


@given(items, st.booleans())
def test_what_a_server_describes_is_read_back(item: dict[str, str | list[str]], as_json: bool) -> None:
    assert description(body(Description(item), as_json)) == item


@given(st.lists(items, max_size=3), st.booleans())
def test_what_a_server_lists_is_read_back(several: list[dict[str, str | list[str]]], as_json: bool) -> None:
    assert listing(body(Listing(several), as_json)) == several


@pytest.mark.parametrize("as_json", [False, True])
def test_the_answer_to_subscribe(as_json: bool) -> None:
    copy = "ksdj898.time.flows.unix.ar"
    assert subscribed(body(Subscribed(copy), as_json)) == ("", copy)
    assert subscribed(body(Subscribed(copy, "My.flows.ar"), as_json)) == ("My.flows.ar", copy)


def test_the_draft_s_own_reply_is_read() -> None:
    lines = ["flow=time.flows.unix.ar", "type=kafka", "topic=time.flows.unix.ar", "server=kf1.unix.ar:9092"]
    item = description([*lines, "server=kf2.unix.ar:9092"])
    assert texts(item, "server") == ["kf1.unix.ar:9092", "kf2.unix.ar:9092"]
    assert text(item, "server") == "kf1.unix.ar:9092"
    assert text(item, "nothing") == ""
    assert texts(item, "nothing") == []


@pytest.mark.parametrize(
    "line", ["", "   ", "word", "=x", "a=b c", 'a="b', 'a="b"c', "{", "[1]", "1=2", '{"a":' * 9000]
)
def test_what_is_no_body_is_refused(line: str) -> None:
    with pytest.raises(ProtocolViolation):
        listing([line])


def test_a_description_without_end_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        description(["a=b"] * 1001)
    with pytest.raises(ProtocolViolation):
        listing([" ".join(["a=b"] * 1001)])


@pytest.mark.parametrize(
    "lines", [[], ["a.b.c", "d.e.f"], ["{}"], ['{"copy":5}'], ['{"copy":"a.b","local":[]}'], ["x"], ["a b"]]
)
def test_what_is_no_answer_to_subscribe_is_refused(lines: list[str]) -> None:
    with pytest.raises(ProtocolViolation):
        subscribed(lines)


def test_the_copy_of_a_pending_subscription() -> None:
    assert pending_copy("Pending Ksdj898.time.flows.unix.ar") == "ksdj898.time.flows.unix.ar"
    assert pending_copy("Pending") == ""
    assert pending_copy("OK a.b") == ""
