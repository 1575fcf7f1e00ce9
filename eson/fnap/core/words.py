"""The words of a command's line, taken one by one (interface section 4, "lexical")."""

from __future__ import annotations

import re

from eson.errors import Usage
from eson.fnap.core import commands as c
from eson.fnap.core.quoting import unquoted, value_of
from eson.model.names import MAX_FQDN, PROCESSOR_ID, canonical, canonical_flow

_TOKEN = re.compile(r'[^ "]*(?:"(?:[^"\\]|\\["\\])*")?[^ "]*')
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")
_NUMBER = re.compile(r"[0-9]{1,10}\Z")


class WrongWords(Exception):
    """The words do not fit the verb."""


def upper(word: str) -> str:
    """Upper case in ASCII alone: `ſ` is no S, and `ﬂow` no FLOW."""
    return word.upper() if word.isascii() else word


def split(line: str) -> list[str]:
    """The line split at runs of spaces outside quotation marks.  Raises `WrongWords` for marks that do not pair."""
    if '"' not in line:
        return [word for word in line.split(" ") if word]
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position] == " ":
            position += 1
            continue
        found = _TOKEN.match(line, position)
        end = found.end() if found else position
        if end == position or (end < len(line) and line[end] != " "):
            raise WrongWords
        words.append(line[position:end])
        position = end
    return words


class Words:
    """The words behind a verb, taken one by one."""

    __slots__ = ("_rest", "verb")

    def __init__(self, verb: str, words: list[str]) -> None:
        self.verb = verb
        self._rest = words

    def take(self) -> str:
        if not self._rest:
            raise WrongWords
        return self._rest.pop(0)

    def keyword(self, *allowed: str) -> str:
        word = upper(self.take())
        if word not in allowed:
            raise WrongWords
        return word

    def optional(self, *keywords: str) -> bool:
        """Takes the next word if it is one of `keywords`."""
        if self._rest and upper(self._rest[0]) in keywords:
            self._rest.pop(0)
            return True
        return False

    def left(self) -> bool:
        return bool(self._rest)

    def peek(self) -> str:
        return self._rest[0] if self._rest else ""

    def end(self) -> None:
        if self._rest:
            raise WrongWords

    def matching(self, pattern: re.Pattern[str]) -> str:
        word = self.take()
        if not pattern.match(word):
            raise WrongWords
        return word

    def number(self) -> int:
        return int(self.matching(_NUMBER))

    def fqdn(self) -> str:
        return canonical(self.take())

    def flow(self) -> str:
        """A flow that exists: a copy's name may be longer than that of a flow that has copies."""
        return canonical_flow(self.take(), MAX_FQDN)

    def new_flow(self) -> str:
        return canonical_flow(self.take())

    def flows(self, until: str = "") -> list[str]:
        found = []
        while self._rest and not (until and upper(self._rest[0]) == until):
            found.append(self.flow())
        return found

    def id(self) -> str:
        word = self.take()
        lower = word.lower()
        return lower if word.isascii() and PROCESSOR_ID.match(lower) else canonical_flow(word, MAX_FQDN)

    def quoted(self) -> str:
        return _some(unquoted(self.take()))

    def pairs(self) -> c.Pairs:
        found = []
        while self._rest:
            key, equals, value = self._rest.pop(0).partition("=")
            if not equals or not _KEY.match(key):
                raise WrongWords
            found.append((key.lower(), _some(value_of(value))))
        if len({key for key, _ in found}) != len(found):
            raise Usage("Usage: each key once")
        return tuple(found)

    def page(self) -> c.Page:
        after = self.id() if self.optional("AFTER") else ""
        limit = self.number() if self.optional("LIMIT") else None
        self.end()
        return c.Page(after, limit)


def _some(value: str | None) -> str:
    if value is None:
        raise WrongWords
    return value
