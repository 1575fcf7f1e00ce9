"""Rates as FNAP writes them (interface section 4, `rate`), and limits of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eson.errors import Usage

NONE = "none"
_RATE = re.compile(r"([0-9]{1,10})(/s|b/s)\Z")


@dataclass(frozen=True)
class RateLimit:
    """How fast a flow is filled at most: `records` and `octets` a second, None: no limit.  True if there is any."""

    records: int | None = None
    octets: int | None = None

    def __bool__(self) -> bool:
        return self.records is not None or self.octets is not None

    def __str__(self) -> str:
        """As `parse_rate_limit` reads it, "" for no limit."""
        records = "" if self.records is None else f"{self.records}/s"
        octets = "" if self.octets is None else f"{self.octets}B/s"
        return ",".join(part for part in (records, octets) if part)


UNLIMITED = RateLimit()


def parse_rate_limit(text: str) -> RateLimit:
    """`1000/s`, `5000000B/s`, `1000/s,5000000B/s` or `none`, whatever the case.  Raises `Usage`."""
    if text.lower() == NONE:
        return UNLIMITED
    records: int | None = None
    octets: int | None = None
    for part in text.lower().split(","):
        found = _RATE.match(part)
        if found is None:
            raise Usage(
                "Usage: limit=RECORDS/s, OCTETSB/s or both, such as 1000/s,5000000B/s, of 10 digits at most; or limit=none"
            )
        number, of_records = int(found[1]), found[2] == "/s"
        if not number:
            raise Usage(
                "Usage: a limit is 1 at least: limit=none for no limit, PAUSE SUBSCRIPTION to carry nothing"
            )
        if (records if of_records else octets) is not None:
            raise Usage("Usage: limit has one rate in records and one in octets at most")
        if of_records:
            records = number
        else:
            octets = number
    return RateLimit(records, octets)
