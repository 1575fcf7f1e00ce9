"""Positions: where a reader or a subscription begins (interface section 4, `position`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from eson.errors import Usage

_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z", re.IGNORECASE | re.ASCII
)
_OFFSET = re.compile(r"\d{1,19}\Z", re.ASCII)
_AT = re.compile(r"\d{1,5}:\d{1,19}(?:,\d{1,5}:\d{1,19})*\Z", re.ASCII)
_MAX_OFFSET = 2**63 - 1


@dataclass(frozen=True)
class Beginning:
    """From the oldest event that is kept."""

    def __str__(self) -> str:
        return "BEGINNING"


@dataclass(frozen=True)
class Now:
    """Only what is written from now on."""

    def __str__(self) -> str:
        return "NOW"


@dataclass(frozen=True)
class AtTime:
    """From the first event whose timestamp is not before `when` (aware, UTC)."""

    when: datetime

    def __str__(self) -> str:
        return format_time(self.when)


@dataclass(frozen=True)
class AtOffsets:
    """From given offsets: pairs (partition, offset); partitions that are not named begin at their beginning."""

    offsets: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        if len(self.offsets) == 1 and self.offsets[0][0] == 0:
            return str(self.offsets[0][1])
        return ",".join(f"{partition}:{offset}" for partition, offset in self.offsets)


Position = Beginning | Now | AtTime | AtOffsets

_USAGE = "Usage: FROM BEGINNING | NOW | TIME (RFC 3339) | OFFSET | PARTITION:OFFSET[,…]"


def format_time(when: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """An RFC 3339 date-time as an aware UTC value; digits past microseconds are dropped.  Raises `Usage`."""
    found = _DATE_TIME.match(text)
    if not found:
        raise Usage(_USAGE)
    day, clock, fraction, zone = found.groups()
    iso = f"{day}T{clock}.{(fraction or '0')[:6].ljust(6, '0')}{'+00:00' if zone in 'Zz' else zone}"
    try:
        return datetime.fromisoformat(iso).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Usage(_USAGE) from None


def parse_position(text: str) -> Position:
    """The position that `text` names.  Raises `Usage`."""
    word = text.upper() if text.isascii() else text
    if word == "BEGINNING":
        return Beginning()
    if word == "NOW":
        return Now()
    if _OFFSET.match(text):
        return AtOffsets(((0, _offset(text)),))
    if _AT.match(text):
        pairs = tuple((int(p), _offset(o)) for p, o in (at.split(":") for at in text.split(",")))
        if len({partition for partition, _ in pairs}) != len(pairs):
            raise Usage(_USAGE)
        return AtOffsets(pairs)
    return AtTime(parse_time(text))


def _offset(text: str) -> int:
    value = int(text)
    if value > _MAX_OFFSET:
        raise Usage(_USAGE)
    return value
