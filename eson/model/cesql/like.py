"""LIKE of CloudEvents SQL: `%` for any text, `_` for one character (CESQL 1.0.0 section 3.4.3).

Matched without backtracking over earlier `%`, so that no pattern makes a long text expensive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_ONE = None
"""Stands for `_` among the characters of a piece."""
_Piece = Sequence[str | None]


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate on texts; `\\%` and `\\_` stand for the characters themselves."""
    pieces = _pieces(pattern)
    if len(pieces) == 1:
        only = pieces[0]
        return lambda text: len(text) == len(only) and _fits(only, text, 0)
    first, *middle, last = pieces
    return lambda text: _between(text, first, middle, last)


def _pieces(pattern: str) -> list[list[str | None]]:
    pieces: list[list[str | None]] = [[]]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\" and pattern[position + 1 : position + 2] in ("%", "_"):
            position += 1
            pieces[-1].append(pattern[position])
        elif char == "%":
            pieces.append([])
        else:
            pieces[-1].append(_ONE if char == "_" else char)
        position += 1
    return pieces


def _fits(piece: _Piece, text: str, at: int) -> bool:
    return all(wanted is _ONE or wanted == text[at + index] for index, wanted in enumerate(piece))


def _between(text: str, first: _Piece, middle: Sequence[_Piece], last: _Piece) -> bool:
    end = len(text) - len(last)
    at = len(first)
    if at > end or not _fits(first, text, 0) or not _fits(last, text, end):
        return False
    for piece in middle:
        # the earliest place leaves the most room for what follows
        while at + len(piece) <= end and not _fits(piece, text, at):
            at += 1
        if at + len(piece) > end:
            return False
        at += len(piece)
    return True
