"""Measurements beside a peer, in the same run on the same machine: `python -m bench [NAME …]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One measured figure and the peer's; `ratio` is ours divided by the peer's."""

    what: str
    unit: str
    ours: float
    peer: str
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs if self.theirs else float("inf")


def table(rows: Iterable[Row]) -> str:
    """The rows as text, for people."""
    lines = [("what", "unit", "eson", "peer", "", "ratio")]
    lines += [
        (row.what, row.unit, _short(row.ours), row.peer, _short(row.theirs), f"{row.ratio:.2f}")
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
