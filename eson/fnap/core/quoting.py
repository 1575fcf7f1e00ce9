"""Values in a line: bare where they may stand so, else in quotation marks (interface section 4, `value`)."""

from __future__ import annotations

import re

_BARE = re.compile(r"[!#-\[\]-~\x80-\U0010ffff]+\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')
_ESCAPED = re.compile(r'\\(["\\])')


def quoted(text: str) -> str:
    """`text` in quotation marks."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written(value: str) -> str:
    """A value as it stands in a line."""
    return value if _BARE.match(value) else quoted(value)


def unquoted(word: str) -> str | None:
    """What stands between quotation marks, None if `word` is not quoted."""
    found = _QUOTED.match(word)
    return _ESCAPED.sub(r"\1", found[1]) if found else None


def value_of(word: str) -> str | None:
    """The value that `word` writes, None if it writes none."""
    inside = unquoted(word)
    return inside if inside is not None else word if _BARE.match(word) else None
