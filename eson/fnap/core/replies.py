"""Replies of FNAP as frozen values (interface sections 4 to 6).

The agent answers with an `Outcome`; the session renders it in the format that the client chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Scalar = str | int | float | bool
Value = Scalar | Sequence[str]
Item = Mapping[str, Value]
"""Keys in the order of interface section 6; a list stands for a key that is given once for each of its values."""


@dataclass(frozen=True)
class Ok:
    """`220 OK`, with a name, id or count behind it if `text` is not empty."""

    text: str = ""


@dataclass(frozen=True)
class Pending:
    """`202 Pending <copy>`."""

    copy: str


@dataclass(frozen=True)
class Listing:
    """A body with one line per item: `key=value` pairs, or a JSON object."""

    items: Sequence[Item]


@dataclass(frozen=True)
class Description:
    """A body with one line per pair, or one JSON object.

    `text_keys` names the keys that TEXT shows (None: all); JSON always shows all.
    """

    item: Item
    text_keys: frozenset[str] | None = None


@dataclass(frozen=True)
class Subscribed:
    """The answer to SUBSCRIBE: the copy alone, or `<local> SUBSCRIBED TO <copy>`; JSON `{"copy":…}` or with `local`."""

    copy: str
    local: str = ""


Outcome = Ok | Pending | Listing | Description | Subscribed
