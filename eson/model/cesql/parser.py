"""From the text of an expression to a tree of operators, by recursive descent (CESQL 1.0.0 sections 2 and 3.6)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from eson.model.cesql.functions import FUNCTIONS, call, has_function
from eson.model.cesql.like import matcher
from eson.model.cesql.operators import LOGIC, Node, arithmetic, attribute, bounded, equality, guard, order
from eson.model.cesql.values import MAX_INTEGER, MIN_INTEGER, CesqlError, Kind, Value, cast

MAX_LENGTH = 4096
MAX_DEPTH = 64
MAX_TOKENS = 400
"""An operator takes two frames of the stack when it is evaluated."""

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<word>[A-Za-z0-9_]+)
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<sign><=|>=|<>|!=|[=<>+\-*/%(),])
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset({"AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"})
_NO_PATHS = ": the event's attributes alone are seen, never its data; a text with dots needs quotes"
_REQUIRED = frozenset({"id", "source", "specversion", "type"})


def parse(text: str) -> Node:
    """Raises `CesqlError`."""
    if len(text) > MAX_LENGTH:
        raise CesqlError("parse", f"is longer than {MAX_LENGTH} characters")
    return _Parser(_tokens(text)).whole()


class _Sort(enum.Enum):
    WORD = "word"
    STRING = "string"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True)
class _Token:
    sort: _Sort
    text: str
    column: int

    @property
    def keyword(self) -> str:
        upper = self.text.upper()
        return upper if self.sort is _Sort.WORD and upper in _KEYWORDS else ""


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    end = len(text.rstrip(" \t\r\n"))
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            where = f"column {position + 1}: {text[position : position + 10]!r} is not understood"
            raise CesqlError("parse", where + (_NO_PATHS if _is_path(text, position, found) else ""))
        found.append(_Token(_Sort(match.lastgroup), match[match.lastgroup], match.start(match.lastgroup) + 1))
        position = match.end()
        if len(found) > MAX_TOKENS:
            raise CesqlError("parse", f"column {position}: has more than {MAX_TOKENS} words and signs")
    found.append(_Token(_Sort.END, "", end + 1))
    return found


def _is_path(text: str, position: int, before: Sequence[_Token]) -> bool:
    """Whether a dot that follows a name at once stands at `position`, as in `data.n`."""
    if text[position] != "." or not before:
        return False
    last = before[-1]
    return (
        last.sort is _Sort.WORD
        and not last.text[0].isdigit()
        and last.column - 1 + len(last.text) == position
    )


class _Parser:
    """Recursive descent, one method for each level of precedence."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._logic()
        if self._now.sort is not _Sort.END:
            self._fail("an operator or the end is expected")
        return node

    @property
    def _now(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._now
        self._at += 1
        return token

    def _fail(self, why: str) -> NoReturn:
        where = f"column {self._now.column}" if self._now.sort is not _Sort.END else "at its end"
        raise CesqlError("parse", f"{where}: {why}")

    def _accept(self, *signs: str) -> str:
        token = self._now
        if token.sort is _Sort.SIGN and token.text in signs:
            self._at += 1
            return token.text
        return ""

    def _accept_keyword(self, *keywords: str) -> str:
        keyword = self._now.keyword
        if keyword in keywords:
            self._at += 1
            return keyword
        return ""

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._fail(f"{sign!r} is expected")

    # levels of precedence, loosest first

    def _logic(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"is nested more than {MAX_DEPTH} deep")
        left = self._comparison()
        while word := self._accept_keyword("AND", "OR", "XOR"):
            left = LOGIC[word](left, self._comparison())
        self._depth -= 1
        return left

    def _comparison(self) -> Node:
        left = self._sum()
        while sign := self._accept("=", "!=", "<>", ">=", "<=", ">", "<"):
            right = self._sum()
            left = equality(left, right, sign) if sign in ("=", "!=", "<>") else order(left, right, sign)
        return left

    def _sum(self) -> Node:
        left = self._product()
        while sign := self._accept("+", "-"):
            left = arithmetic(left, self._product(), sign)
        return left

    def _product(self) -> Node:
        left = self._predicate()
        while sign := self._accept("*", "/", "%"):
            left = arithmetic(left, self._predicate(), sign)
        return left

    def _predicate(self) -> Node:
        left = self._unary()
        while True:
            negated = self._now.keyword == "NOT" and self._tokens[self._at + 1].keyword in ("LIKE", "IN")
            if negated:
                self._at += 1
            if self._accept_keyword("LIKE"):
                left = self._like(left, negated)
            elif self._accept_keyword("IN"):
                left = self._in(left, negated)
            else:
                return left

    def _like(self, left: Node, negated: bool) -> Node:
        if self._now.sort is not _Sort.STRING:
            self._fail("LIKE needs a pattern in quotation marks")
        matches = matcher(_unquoted(self._take().text))
        return guard(Kind.BOOLEAN, lambda event: matches(str(cast(left(event), Kind.STRING))) is not negated)

    def _in(self, left: Node, negated: bool) -> Node:
        self._expect("(")
        elements = self._list()

        def within(event: Mapping[str, Value]) -> Value:
            value = left(event)
            kind = Kind.of(value)
            return any(cast(one(event), kind) == value for one in elements) is not negated

        return guard(Kind.BOOLEAN, within)

    def _list(self) -> list[Node]:
        found = [self._logic()]
        while self._accept(","):
            found.append(self._logic())
        self._expect(")")
        return found

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"is nested more than {MAX_DEPTH} deep")
        try:
            if self._accept_keyword("NOT"):
                operand = self._unary()
                return guard(Kind.BOOLEAN, lambda event: not cast(operand(event), Kind.BOOLEAN))
            if self._now.text in ("-", "+") and self._now.sort is _Sort.SIGN:
                return self._signed()
            return self._atom()
        finally:
            self._depth -= 1

    def _signed(self) -> Node:
        sign, after = self._take(), self._now
        touching = after.sort is _Sort.WORD and after.text.isdigit() and after.column == sign.column + 1
        if touching:
            return self._integer(int(sign.text + self._take().text))
        if sign.text == "+":
            self._at -= 1
            self._fail("a plus sign stands before an integer or between two values")
        operand = self._unary()
        return guard(Kind.INTEGER, lambda event: bounded(-int(cast(operand(event), Kind.INTEGER))))

    def _integer(self, value: int) -> Node:
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            self._fail("an integer has 32 bits")
        return lambda event: value

    def _atom(self) -> Node:
        if self._accept("("):
            node = self._logic()
            self._expect(")")
            return node
        token = self._now
        if token.sort is _Sort.STRING:
            text = _unquoted(self._take().text)
            return lambda event: text
        if token.sort is not _Sort.WORD:
            self._fail("a value is expected")
        if token.keyword in ("TRUE", "FALSE"):
            truth = self._take().keyword == "TRUE"
            return lambda event: truth
        if self._accept_keyword("EXISTS"):
            name = self._identifier()
            return lambda event: name in _REQUIRED or name in event
        if token.keyword:
            self._fail(f"{token.keyword} stands where a value is expected")
        if token.text.isdigit():
            return self._integer(int(self._take().text))
        following = self._tokens[self._at + 1]
        if following.sort is _Sort.SIGN and following.text == "(":
            return self._function()
        return attribute(self._identifier())

    def _identifier(self) -> str:
        token = self._now
        if token.sort is not _Sort.WORD or token.keyword or "_" in token.text or token.text.isdigit():
            self._fail("the name of an attribute is expected")
        return self._take().text.lower()

    def _function(self) -> Node:
        name = self._take().text.upper()
        self._expect("(")
        arguments = [] if self._accept(")") else self._list()
        if not has_function(name, len(arguments)):
            known = ", ".join(sorted(FUNCTIONS))
            raise CesqlError(
                "missingFunction", f"there is no function {name} with {len(arguments)} arguments: {known}"
            )
        kind = FUNCTIONS[name].result
        return guard(kind, lambda event: call(name, [one(event) for one in arguments]))


def _unquoted(literal: str) -> str:
    """Only the quotation mark itself is escaped; other backslashes stand for themselves (LIKE needs them)."""
    mark = literal[0]
    return literal[1:-1].replace("\\" + mark, mark)
