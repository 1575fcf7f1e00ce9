"""Measurements beside a peer, in the same run on the same machine: `python -m bench [NAME …]`."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# the servers that measurements need are those of the tests
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]


class Effort(enum.Enum):
    """How long measurements may take: to see that they work, for figures, for what needs many minutes."""

    QUICK = "quick"
    USUAL = "usual"
    LONG = "long"


class Row(NamedTuple):
    """One measured figure, the peer's, and what is promised.

    `less`: a smaller figure is the better one.  `times`: so many times better than the peer is promised; `bound`: our own
    figure is to reach it, or with `less` not to exceed it.  `gate`: the promise is one of the product, not only a goal.
    """

    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float = 0.0
    less: bool = False
    times: float | None = None
    bound: float | None = None
    gate: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer; None without one."""
        if not self.peer or not self.theirs or not self.ours:
            return None
        return self.theirs / self.ours if self.less else self.ours / self.theirs

    @property
    def target(self) -> str:
        parts = [] if self.times is None else [f"≥ {short(self.times)}×"]
        if self.bound is not None:
            parts.append(f"{'≤' if self.less else '≥'} {short(self.bound)}")
        return ", ".join(parts) + (" (gate)" if self.gate and parts else "")

    @property
    def met(self) -> bool | None:
        """None where nothing is promised."""
        if self.times is None and self.bound is None:
            return None
        far = self.times is None or (self.ratio is not None and self.ratio >= self.times)
        near = self.bound is None or (self.ours <= self.bound if self.less else self.ours >= self.bound)
        return far and near


COLUMNS = ("what", "unit", "eson", "peer", "peer's", "times better", "target", "")


def short(value: float) -> str:
    """Three digits that matter."""
    if value and abs(value) < 0.995:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


def cells(row: Row) -> tuple[str, ...]:
    verdict = {None: "", True: "met", False: "NOT MET"}[row.met]
    theirs = short(row.theirs) if row.peer else ""
    ratio = "" if row.ratio is None else f"{short(row.ratio)}×"
    note = f"  {row.note}" if row.note else ""
    return row.what, row.unit, short(row.ours), row.peer, theirs, ratio, row.target, verdict + note


def table(rows: Iterable[Row]) -> str:
    """The rows as plain text."""
    lines = [COLUMNS, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def show(rows: Iterable[Row]) -> None:
    """A table with colours on a terminal, plain text elsewhere."""
    rows = list(rows)
    if not sys.stdout.isatty():
        print(table(rows), flush=True)
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*COLUMNS)
    for row in rows:
        style = {None: "", True: "green", False: "bold red" if row.gate else "yellow"}[row.met]
        *words, verdict = cells(row)
        drawn.add_row(*words, f"[{style}]{verdict}[/]" if style else verdict)
    Console().print(drawn)
