"""Bodies of replies as values, whether the agent sent pairs or JSON (interface sections 4 and 6)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eson.errors import NameNotAllowed, ProtocolViolation
from eson.model.names import canonical_flow

Item = Mapping[str, Any]
"""Keys as the agent sent them.  From TEXT every value is a text, and a key that came twice a list of texts."""

SUBSCRIBED = " SUBSCRIBED TO "
_PAIR = re.compile(r' *([A-Za-z][A-Za-z0-9-]*)=("(?:[^"\\]|\\["\\])*"|[^ "]*)(?= |\Z)')
_ESCAPED = re.compile(r'\\(["\\])')
_MAX_PAIRS = 1000
_NO_BODY = "The agent sent a body that holds no pairs and no JSON"


def listing(lines: Sequence[str]) -> list[Item]:
    """One item a line.  Raises `ProtocolViolation`."""
    return [_json(line) if line.startswith("{") else _merged(_pairs(line)) for line in lines]


def description(lines: Sequence[str]) -> Item:
    """One item of a pair a line, or a JSON object.  Raises `ProtocolViolation`."""
    if len(lines) == 1 and lines[0].startswith("{"):
        return _json(lines[0])
    if len(lines) > _MAX_PAIRS:
        raise ProtocolViolation("The agent describes one thing without end")
    return _merged([one for line in lines for one in _pairs(line)])


def subscribed(lines: Sequence[str]) -> tuple[str, str]:
    """What SUBSCRIBE answered: (local flow as typed, or "", copy).  Raises `ProtocolViolation`."""
    if len(lines) != 1:
        raise ProtocolViolation("The agent answered SUBSCRIBE with something else than one line")
    if lines[0].startswith("{"):
        found = _json(lines[0])
        local, copy = found.get("local", ""), found.get("copy")
        if not isinstance(copy, str) or not isinstance(local, str):
            raise ProtocolViolation("The agent answered SUBSCRIBE without the copy's name")
    else:
        local, _, copy = lines[0].rpartition(SUBSCRIBED)
    try:
        return local, canonical_flow(copy)
    except NameNotAllowed:
        raise ProtocolViolation("The agent answered SUBSCRIBE with what is no name of a copy") from None


def pending_copy(text: str) -> str:
    """The copy's name in `202 Pending <copy>`, "" where there is none."""
    word, _, copy = text.partition(" ")
    try:
        return canonical_flow(copy) if word == "Pending" else ""
    except NameNotAllowed:
        return ""


def texts(item: Item, key: str) -> list[str]:
    """The value of a key as a list of texts, however many there are; none if it is missing."""
    value = item.get(key)
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def text(item: Item, key: str) -> str:
    """The value of a key as one text, the first of several; "" if it is missing."""
    return (texts(item, key) or [""])[0]


def _json(line: str) -> Item:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolViolation(_NO_BODY) from None
    if not isinstance(found, dict):
        raise ProtocolViolation(_NO_BODY)
    return found


def _pairs(line: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(line.rstrip(" "))
    while position < end:
        one = _PAIR.match(line, position)
        if one is None or len(found) == _MAX_PAIRS:
            raise ProtocolViolation(_NO_BODY)
        key, value = one[1].lower(), one[2]
        found.append((key, _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value))
        position = one.end()
    if not found:
        raise ProtocolViolation(_NO_BODY)
    return found


def _merged(pairs: Sequence[tuple[str, str]]) -> Item:
    item: dict[str, Any] = {}
    for key, value in pairs:
        if key not in item:
            item[key] = value
        elif isinstance(item[key], list):
            item[key].append(value)
        else:
            item[key] = [item[key], value]
    return item
