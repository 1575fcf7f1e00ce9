"""What `KEY=VALUE` pairs of CREATE and UPDATE set, and how DESCRIBE shows it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eson.errors import NotSupported, Usage
from eson.fnap.core.commands import Pairs
from eson.model.flows import parse_visibility
from eson.model.principals import parse_principal
from eson.model.rates import parse_rate_limit

MAX_PARTITIONS = 1000
MAX_DESCRIPTION = 400

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNITS_OCTETS = {"b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
_AMOUNT = re.compile(r"(\d{1,19})([a-z]+)\Z", re.ASCII)


def flow_settings(pairs: Pairs) -> dict[str, Any]:
    """Fields of `Flow` that the pairs set, with the keys themselves in `settings`.  Raises `Usage`, `NotSupported`."""
    return _settings(pairs, _FLOW)


def namespace_settings(pairs: Pairs) -> dict[str, Any]:
    """Fields of `Namespace` that the pairs set.  Raises `Usage`, `NotSupported`."""
    fields = _settings(pairs, _NAMESPACE)
    del fields["settings"]
    return fields


def _settings(pairs: Pairs, known: Mapping[str, Callable[[str], dict[str, Any]]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    seen: set[str] = set()
    for key, value in pairs:
        word = key.lower()
        if word not in known:
            raise Usage(f"Usage: keys are {', '.join(known)}")
        if word in seen:
            raise Usage(f"Usage: {word} is given twice")
        seen.add(word)
        fields.update(known[word](value))
    fields["settings"] = frozenset(seen)
    return fields


def _partitions(text: str) -> dict[str, Any]:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= MAX_PARTITIONS:
        raise Usage(f"Usage: partitions=1 to {MAX_PARTITIONS}")
    return {"partitions": int(text)}


def _description(text: str) -> dict[str, Any]:
    if len(text.encode()) > MAX_DESCRIPTION:
        raise Usage(f"Usage: description of at most {MAX_DESCRIPTION} octets")
    return {"description": text}


def _mode(text: str) -> dict[str, Any]:
    if text.lower() not in ("binary", "structured"):
        raise NotSupported("mode is binary or structured")
    return {"mode": text.lower()}


def _topic(text: str) -> dict[str, Any]:
    if not _TOPIC.match(text) or text in (".", ".."):
        raise Usage("Usage: topic=NAME of 1 to 249 letters, digits, dots, _ and -")
    return {"topic": text}


def parse_retention(text: str) -> tuple[int | None, int | None]:
    """Milliseconds and octets, None where not given: `7d`, `1GiB` or `7d,1GiB`.  Raises `Usage`."""
    milliseconds: int | None = None
    octets: int | None = None
    for part in text.lower().split(","):
        found = _AMOUNT.match(part)
        if found and found[2] in _UNITS_MS and milliseconds is None and int(found[1]):
            milliseconds = int(found[1]) * _UNITS_MS[found[2]]
        elif found and found[2] in _UNITS_OCTETS and octets is None and int(found[1]):
            octets = int(found[1]) * _UNITS_OCTETS[found[2]]
        else:
            raise Usage("Usage: retention=TIME, SIZE or TIME,SIZE, such as 7d,1GiB")
    if max(milliseconds or 0, octets or 0) >= 2**63:
        raise Usage("Usage: retention is too long")
    return milliseconds, octets


def format_retention(milliseconds: int | None, octets: int | None) -> str:
    """As `parse_retention` reads it, in the largest unit that divides it; Kafka's -1 is no limit and not shown."""
    parts = []
    if milliseconds is not None and milliseconds >= 0:
        parts.append(_shortest(milliseconds, _UNITS_MS))
    if octets is not None and octets >= 0:
        parts.append(_shortest(octets, _UNITS_OCTETS).upper().replace("I", "i"))
    return ",".join(parts)


def _shortest(amount: int, units: Mapping[str, int]) -> str:
    unit = max((name for name in units if amount % units[name] == 0), key=lambda name: units[name])
    return f"{amount // units[unit]}{unit}"


def _retention(text: str) -> dict[str, Any]:
    milliseconds, octets = parse_retention(text)
    return {"retention_ms": milliseconds, "retention_bytes": octets}


def _limit(text: str) -> dict[str, Any]:
    return {"limit": parse_rate_limit(text)}


def _visibility(text: str) -> dict[str, Any]:
    return {"visibility": parse_visibility(text)}


def _administrators(text: str) -> dict[str, Any]:
    return {"administrators": tuple(parse_principal(one) for one in text.split(",") if one)}


_FLOW: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "visibility": _visibility,
    "description": _description,
    "partitions": _partitions,
    "retention": _retention,
    "mode": _mode,
    "limit": _limit,
    "topic": _topic,
}
_NAMESPACE: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "broker": lambda text: {"broker": text},
    "copies": lambda text: {"copies": text},
    "visibility": _visibility,
    "administrators": _administrators,
}


def shown(keys: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` in the order of `keys`, absent and empty ones left out."""
    return {key: values[key] for key in keys if values.get(key) not in (None, "", (), [])}
