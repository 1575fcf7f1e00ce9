"""CloudEvents SQL: the project's conformance cases, and what they leave out.

`cesql_cases.jsonl` restates the cases of the CloudEvents SQL technology compatibility kit (cloudevents/spec, cesql/cesql_tck):
expression, attributes, value, kind of error.  One case is left out: it wants `NOT 10` to be a cast error, which the table of
casts in section 3.7 of the specification contradicts.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.model.cesql import CesqlError, Value, compile_expression
from eson.model.cesql.like import matcher
from eson.model.cesql.parser import MAX_DEPTH, MAX_TOKENS

CASES = [json.loads(line) for line in (Path(__file__).parent / "cesql_cases.jsonl").read_text().splitlines()]
EVENT: dict[str, Value] = {"specversion": "1.0", "id": "x", "source": "/s", "type": "t"}


def outcome(text: str, attributes: dict[str, Value]) -> tuple[Value, str]:
    try:
        value, error = compile_expression(text).evaluate(attributes)
    except CesqlError as refused:
        return False, refused.kind
    return value, error.kind if error else ""


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_conformance(case: list[object]) -> None:
    """Each case of the kit has its value, of its type, and its error."""
    expression, attributes, value, error = case
    got, failure = outcome(str(expression), {**EVENT, **attributes})  # type: ignore[dict-item]
    assert (got, type(got), failure) == (value, type(value), error)


def test_all_cases_are_there() -> None:
    assert len(CASES) > 240


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("NOT 10", False),
        ("NOT 0", True),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("2 - 3 - 4", -5),
        ("TRUE OR FALSE AND FALSE", False),
        ("'it\\'s' = \"it's\"", True),
        ("1 <> 2", True),
        ("UPPER('é') = 'É'", True),
        ("LENGTH(TRIM('\u2003a\x1f')) = 2", True),
        ("+5 = 5", True),
    ],
)
def test_what_the_specification_says_beside_the_cases(expression: str, value: Value) -> None:
    assert outcome(expression, EVENT) == (value, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "id =",
        "id = 'x",
        "AND",
        "1 2",
        "id LIKE type",
        "99999999999",
        "a..b",
        "x IN ()",
        "é = 1",
        "f(1,)",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    """With a place and a reason that a person can use."""
    with pytest.raises(CesqlError) as refused:
        compile_expression(text)
    assert refused.value.kind == "parse"
    assert "column" in refused.value.text or "at its end" in refused.value.text


@pytest.mark.parametrize(
    ("text", "explained"),
    [("data.n > 5", True), ("1 = 1 AND x.y = 2", True), ("1.5 < x", False), ("x .y", False), (".x", False)],
)
def test_who_asks_for_data_is_told_that_attributes_alone_are_seen(text: str, explained: bool) -> None:
    """A dot behind a name looks like a path into data; any other dot does not."""
    with pytest.raises(CesqlError, match="is not understood") as refused:
        compile_expression(text)
    assert ("attributes alone are seen, never its data" in refused.value.text) is explained


def test_an_unknown_function_is_refused_before_any_event() -> None:
    with pytest.raises(CesqlError, match="no function EVAL"):
        compile_expression("EVAL('1')")


@pytest.mark.parametrize(
    "text", ["(" * 5000 + "1", "NOT " * 1000 + "TRUE", "-" * 3000 + "1", "1" + "+1" * 1900, "x" * 5000]
)
def test_no_text_exhausts_the_parser(text: str) -> None:
    """Depth, length and the number of operators are bounded."""
    started = time.perf_counter()
    outcome(text, EVENT)
    assert time.perf_counter() - started < 2


def test_the_longest_chain_can_be_evaluated() -> None:
    assert outcome("1" + "+1" * (MAX_TOKENS // 2 - 1), EVENT) == (MAX_TOKENS // 2, "")


def test_depth_within_the_limit() -> None:
    deep = MAX_DEPTH // 2 - 2
    assert outcome("(" * deep + "TRUE" + ")" * deep, EVENT) == (True, "")


def test_an_event_passes_only_with_true_and_without_an_error() -> None:
    assert compile_expression("type = 't'").holds(EVENT)
    assert not compile_expression("1").holds(EVENT)
    assert not compile_expression("missing = 1 OR TRUE").holds(EVENT)


def test_like_is_not_expensive() -> None:
    """No pattern backtracks."""
    started = time.perf_counter()
    assert not matcher("%a" * 50 + "%b")("a" * 20000)
    assert time.perf_counter() - started < 2


@given(st.text("ab%_\\", max_size=8), st.text("ab%_\\", max_size=8))
def test_like_agrees_with_its_definition(pattern: str, text: str) -> None:
    """Against the definition by recursion."""

    def fits(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "%":
            return any(fits(p[1:], t[n:]) for n in range(len(t) + 1))
        if p[0] == "\\" and p[1:2] in ("%", "_"):
            return t[:1] == p[1] and fits(p[2:], t[1:])
        return bool(t) and (p[0] in ("_", t[0])) and fits(p[1:], t[1:])

    assert matcher(pattern)(text) is fits(pattern, text)


@given(st.text("()'\"=<>!+-*/% \\ANDORXTLIKEin19a_,", max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    outcome(text, EVENT)
