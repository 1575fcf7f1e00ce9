"""docs/fnap.abnf and the parser say the same, both ways; what the server sends is of the grammar too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from abnf import ParseError
from abnf import Rule as AbnfRule
from abnf.parser import Alternation, Concatenation, Literal, Option, Repetition, Rule
from fnap.test_fnap_command_text import commands
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from eson.errors import NameNotAllowed, NotOffered, Usage
from eson.fnap.core.command_text import command_line
from eson.fnap.core.grammar import UnknownCommand, parse_command
from eson.fnap.core.usage import USAGE

GRAMMAR = Path(__file__).parents[2] / "docs" / "fnap.abnf"


class Fnap(AbnfRule):
    """The rules of the file, apart from those of other grammars."""


Fnap.load_grammar(GRAMMAR.read_text("utf-8"))

# what the grammar leaves to sense: lengths of names, calendars, 63-bit offsets, keys given twice
MEANT: dict[str, st.SearchStrategy[str]] = {
    "fqdn": st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,3}[a-z0-9])?", fullmatch=True), min_size=2, max_size=3).map(".".join),
    "date-time": st.datetimes().map(lambda when: f"{when.replace(year=2000 + when.year % 100).isoformat()}Z"),
    "position": st.one_of(
        st.sampled_from(["BEGINNING", "now", "1999-12-31t23:59:59.5+01:00", "0:7", "7:1,0:9223372036854775807"]),
        st.integers(0, 2**63 - 1).map(str),
    ),
    "key": st.uuids().map(lambda unique: f"k{unique}"),
    "name": st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
}  # fmt: skip


def sentences(rule: Any) -> st.SearchStrategy[str]:
    """Texts that a parser of `abnf` accepts."""
    if isinstance(rule, Rule):
        meant = MEANT.get(rule.name)
        return meant if meant is not None else st.deferred(lambda: sentences(rule.definition))
    if isinstance(rule, Literal):
        if isinstance(rule.value, tuple):
            first, last = (ord(end) for end in rule.value)
            return st.characters(min_codepoint=first, max_codepoint=last, exclude_categories=["Cs"])
        return st.sampled_from([rule.value, rule.value.lower(), rule.value.upper()])
    if isinstance(rule, Alternation):
        return st.one_of([sentences(parser) for parser in rule.parsers])
    if isinstance(rule, Concatenation):
        return st.tuples(*[sentences(parser) for parser in rule.parsers]).map("".join)
    if isinstance(rule, Option):
        return st.one_of(st.just(""), sentences(rule.alternation))
    assert isinstance(rule, Repetition), rule
    low = rule.repeat.min
    high = low + 2 if rule.repeat.max is None else min(low + 2, rule.repeat.max)
    return st.lists(sentences(rule.element), min_size=low, max_size=high).map("".join)


def accepted(rule: str, text: str) -> bool:
    try:
        Fnap(rule).parse_all(text)
    except ParseError:
        return False
    return True


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(sentences(Fnap("command")))
@example("SIGNAL a.b c.d")
@example('SIGNAL a.b c.d TO e.f WHEN "x = 1"')
@example("SUBSCRIBE flow://A.b. local c.D FROM 0:1,1:2 as t")
def test_every_command_of_the_grammar_is_understood(line: str) -> None:
    """What the grammar accepts is parsed, or is one of the verbs that are not offered here."""
    try:
        parse_command(line)
    except NotOffered:
        assert line.upper().startswith(("GRANT ", "REVOKE ", "GET GRANTS"))


@settings(max_examples=400, deadline=None)
@given(commands())
def test_every_line_that_is_sent_is_of_the_grammar(command: Any) -> None:
    """What our client words is accepted by the grammar."""
    assert accepted("command", command_line(command))


WORDS = [*USAGE, "DESC", "FLOW", "NAMESPACE", "SUBSCRIPTION", "SUBSCRIBER", "FORCE", "FROM", "NOW", "LIMIT", "5", "FOLLOW",
         "AFTER", "TO", "ON", "AS", "t-1", "LOCAL", "a.b", "a", "c.d.", "flow://e.f", "p-abc1234", "k=v", "k", 'k="x y"', '"x"',
         "=", "ſUBSCRIBE", "ﬂow", "user:x", "anonymous", "ended", "JSON", "READ", "PLAIN", "AAAA", "0:1,1:2", "x\u00a0y", "WHEN"]  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join))
@example("FORMAT json")
@example("GET SUBSCRIPTIONS AFTER a.b LIMIT 5")
@example("GET SUBSCRIPTIONS AFTER p-abc1234 LIMIT 5")
@example("UNSUBSCRIBE flow://a.b")
def test_what_is_not_of_the_grammar_is_refused(line: str) -> None:
    """Any words in any order: the parser accepts a line if and only if the grammar does, keys given twice aside."""
    verb = line.split(" ")[0]
    assume(verb not in ("GRANT", "REVOKE") and "GRANTS" not in line)
    try:
        parse_command(line)
    except (Usage, UnknownCommand, NameNotAllowed) as error:
        assert not accepted("command", line) or "each key once" in str(error), line
    else:
        assert accepted("command", line), line


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("greeting", "220 fnaa.unix.ar FNAA\r\n"),
        ("reply", "220 OK time.flows.unix.ar\r\n"),
        ("reply", "220 DATA\r\nflow=time.flows.unix.ar\r\ntype=kafka\r\n220 OK\r\n"),
        ("reply", "220 DATA\r\nemiliano.ar-time.flows.unix.ar SUBSCRIBED TO ksdj898.time.flows.unix.ar\r\n220 OK\r\n"),
        ("reply", '220 DATA\r\n{"id":"1"}\r\n451 The broker was lost\r\n'),
        ("challenge", "220 OK\r\n"),
        ("challenge", "334 \r\n"),
        ("sasl-response", "AHRlc3QAdGVzdA=="),
        ("session-line", ".\r\n"),
    ],
)  # fmt: skip
def test_the_drafts_lines_are_of_the_grammar(rule: str, line: str) -> None:
    """Lines of the draft's sessions."""
    assert accepted(rule, line)
