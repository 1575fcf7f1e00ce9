"""An event of WRITE: one JSON object on a line (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from eson.errors import Usage


def parse_event(line: bytes) -> dict[str, Any]:
    """The object of a line.  Raises `Usage` for anything else: no UTF-8, NaN, half of a surrogate pair, too deep."""
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        if b"\\u" in line:
            json.dumps(event, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise Usage("no JSON object")
    return event


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
