"""What the user typed, as lines of FNAP (interface section 4), and a reply's code as an exit status."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eson.errors import EsonError, NameNotAllowed
from eson.fnap.core import quoting
from eson.model.names import canonical_flow

DONE, REFUSED, USAGE, TRY_LATER, NOT_TRUSTED, PENDING = range(6)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")
_TRUST_CODES = frozenset({530, 534, 535, 538})


class WrongWords(EsonError):
    """What the user typed cannot be said in FNAP.  Retry: after correction."""


def exit_status(code: int) -> int:
    """The exit status of `fnua` for a final reply's code (interface section 1)."""
    if code in _TRUST_CODES:
        return NOT_TRUSTED
    if code == 202:
        return PENDING
    if code < 400:
        return DONE
    return TRY_LATER if code < 500 else REFUSED


def quoted(text: str) -> str:
    """`text` as a quoted string.  Raises `WrongWords` for control characters, which FNAP cannot carry."""
    return quoting.quoted(_printable(text))


def _printable(text: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise WrongWords(f"{text!r} holds a control character: leave it out")
    return text


def pair(typed: str) -> str:
    """`key=value`, the value quoted where it must be.  Raises `WrongWords`."""
    key, equals, value = typed.partition("=")
    if not equals or not _KEY.match(key):
        raise WrongWords(f"{typed!r} is no key=value, such as visibility=public")
    return f"{key}={quoting.written(_printable(value))}"


def with_pairs(verb: str, name: str, pairs: Sequence[str]) -> str:
    """A command with pairs behind its name."""
    return " ".join([verb, name, *map(pair, pairs)])


def subscribe(
    flow: str, local: str | None, start: str | None, prefix: str, home: str, token: str | None = None
) -> str:
    """SUBSCRIBE; without LOCAL: the agent's prefix and the flow's name, else the flow's first label below home.

    `home` is "" where the flow is hosted at the asked agent and no LOCAL is wanted.
    """
    if local is None:
        name = canonical_flow(flow)
        if prefix:
            local = prefix + name
        elif home:
            local = f"{name.split('.', 1)[0]}.{home}"
    words = ["SUBSCRIBE", flow]
    if local:
        words += ["LOCAL", local]
    if start:
        words += ["FROM", start]
    if token:
        words += ["AS", token]
    return " ".join(words)


def read(flow: str, start: str | None, limit: int | None, follow: bool) -> str:
    """READ; LIMIT and FOLLOW exclude each other.  Raises `WrongWords`."""
    if limit is not None and follow:
        raise WrongWords("--limit and --follow exclude each other: leave one out")
    words = ["READ", flow]
    if start:
        words += ["FROM", start]
    if limit is not None:
        words += ["LIMIT", str(limit)]
    if follow:
        words.append("FOLLOW")
    return " ".join(words)


def subscriber(verb: str, name: str, principal: str | None, reason: str | None) -> str:
    """APPROVE, DENY or REMOVE SUBSCRIBER."""
    words = [verb.upper(), "SUBSCRIBER", name]
    if principal:
        words.append(principal)
    if reason:
        words.append(quoted(reason))
    return " ".join(words)


def checked_flow(text: str) -> str:
    """The flow as typed, if it is one.  Raises `WrongWords`."""
    try:
        canonical_flow(text)
    except NameNotAllowed as error:
        raise WrongWords(error.text) from None
    return text
