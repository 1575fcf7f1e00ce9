"""Outcomes and errors as lines of FNAP, in TEXT or JSON (interface sections 4 to 6)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from eson.errors import EsonError, Refused, TryLater, WriteStopped
from eson.fnap.core.grammar import UnknownCommand
from eson.fnap.core.quoting import written
from eson.fnap.core.replies import Description, Item, Listing, Ok, Outcome, Pending, Scalar, Subscribed, Value

DATA = b"220 DATA\r\n"
END = b"220 OK\r\n"
MAX_ERROR = 512
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
FAILED = "The agent failed; its operator finds the reason in the log. Try again later"
HIDDEN = f"451 {FAILED}"
_MARK = re.compile(r"220 (?=OK|DATA)")


def error_line(error: BaseException) -> bytes:
    """The reply to any error: one line of at most 512 octets with CRLF; unforeseen errors are not described."""
    if isinstance(error, WriteStopped):
        return line(f"{error.reply_code} {error.text}; {error.written} written")
    if isinstance(error, TryLater | Refused | UnknownCommand):
        return line(f"{error.code} {error.text}")
    return line(HIDDEN)


def line(text: str) -> bytes:
    """A line of our own wording with CRLF, at most 512 octets, cut between characters.

    Control characters become `?`, and `220 OK` and `220 DATA`, for which simple clients search, get a hyphen.
    """
    octets = _MARK.sub("220-", _UNPRINTABLE.sub("?", text)).encode("utf-8")
    if len(octets) > MAX_ERROR - 2:
        octets = octets[: MAX_ERROR - 2].decode("utf-8", "ignore").encode("utf-8")
    return octets + b"\r\n"


def outcome_bytes(outcome: Outcome, as_json: bool) -> bytes:
    """The whole reply to a command that succeeded."""
    if isinstance(outcome, Ok):
        return f"220 OK {outcome.text}\r\n".encode() if outcome.text else END
    if isinstance(outcome, Pending):
        return f"202 Pending {outcome.copy}\r\n".encode()
    return DATA + b"".join(text.encode() + b"\r\n" for text in _body(outcome, as_json)) + END


def body(lines: Iterable[str]) -> bytes:
    """A body of lines that we word ourselves."""
    return DATA + b"".join(line(text) for text in lines) + END


def _body(outcome: Listing | Description | Subscribed, as_json: bool) -> Iterator[str]:
    if isinstance(outcome, Subscribed):
        if as_json:
            found = (
                {"local": outcome.local, "copy": outcome.copy} if outcome.local else {"copy": outcome.copy}
            )
            yield _json(found)
        else:
            yield f"{outcome.local} SUBSCRIBED TO {outcome.copy}" if outcome.local else outcome.copy
    elif isinstance(outcome, Listing):
        for item in outcome.items:
            yield _json(item) if as_json else " ".join(pairs(item))
    elif as_json:
        yield _json(outcome.item)
    else:
        shown = outcome.text_keys
        for key, value in outcome.item.items():
            if shown is None or key in shown:
                yield from pairs({key: value})


def pairs(item: Item) -> Iterator[str]:
    """`key=value` for each scalar, and for each element of a list."""
    for key, value in item.items():
        for one in _scalars(value):
            yield f"{key}={_text(one)}"


def _scalars(value: Value) -> Iterable[Scalar]:
    return (value,) if isinstance(value, str | int | float) else value


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return written(_UNPRINTABLE.sub("?", str(value)))


def _json(item: Mapping[str, object]) -> str:
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in item.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).replace("\x7f", "\\u007f")


def is_hidden(error: BaseException) -> bool:
    """Whether the peer is told nothing of this error, so that it must be logged whole."""
    return not isinstance(error, TryLater | Refused | UnknownCommand | WriteStopped)


def context_of(error: BaseException) -> Mapping[str, object]:
    """What the operator's log says beside the text."""
    return error.context if isinstance(error, EsonError) else {}
