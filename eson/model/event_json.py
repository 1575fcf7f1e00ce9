"""JSON, base64 and media types as CloudEvents use them."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any

_JSON_TYPE = re.compile(r"[^/;\s]+/(?:[^/;\s]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)
_TEXT_TYPE = re.compile(
    r"(?:text/|[^/;\s]+/(?:[^/;\s]+\+)?(?:xml|yaml|toml|csv|javascript)\s*(?:;|\Z))", re.IGNORECASE
)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def is_json(media_type: str) -> bool:
    """Whether it declares JSON in UTF-8 (JSON format, section 3.1)."""
    return bool(_JSON_TYPE.match(media_type)) and _is_utf8(media_type)


def is_text(media_type: str) -> bool:
    """Whether it declares text in UTF-8 that people read."""
    return bool(_TEXT_TYPE.match(media_type)) and _is_utf8(media_type)


def _is_utf8(media_type: str) -> bool:
    charset = _CHARSET.search(media_type)
    return charset is None or charset.group(1).lower() in _UTF8


def json_line(value: Any) -> bytes:
    """A value as one line of JSON without its end: UTF-8, no control characters (interface section 4, `event`).

    Raises `ValueError` for what JSON does not know (NaN), `RecursionError` for what is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.replace("\x7f", "\\u007f").encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        return text.replace("\x7f", "\\u007f").encode()


def parse_json(value: bytes) -> Any:
    """JSON by its standard: no NaN, no number that a double cannot hold.  Raises `ValueError`, `RecursionError`."""
    return json.loads(value.decode(), parse_constant=_no_number, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_number(text: str) -> float:
    raise ValueError(text)


def to_base64(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode()


def from_base64(text: str) -> bytes:
    """Raises `ValueError` for what is no base64, `TypeError` for what is no text."""
    return base64.b64decode(text, validate=True)
