"""`python -m bench plot`: docs/performance.svg and docs/performance_figures.md from the results.

How many times better than the peer, on a logarithmic axis.
"""

from __future__ import annotations

from typing import Any

from bench import ROOT, Row, page, short
from bench.results import load

PICTURE = ROOT / "docs" / "performance.svg"
OURS, MISSED, MARK = "#2a6f97", "#c1666b", "#222222"


def draw() -> None:
    """Raises `SystemExit` if nothing was measured."""
    found = load()
    rows = [row for told in found.values() for row in told["rows"] if _drawn(row)]
    if not rows:
        raise SystemExit("Nothing was measured yet: python -m bench")
    page.write(found)
    import matplotlib

    matplotlib.use("svg")
    # the same results give the same file
    matplotlib.rcParams.update({"svg.hashsalt": "eson", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.6 + 0.26 * len(rows)), layout="constrained")
    _bars(axes, rows)
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def _drawn(row: Row) -> bool:
    """Rows beside another system; what is compared with ourselves says nothing here."""
    return row.ratio is not None and not row.peer.startswith("eson")


def _bars(axes: Any, rows: list[Row]) -> None:
    places = range(len(rows))
    ratios = [row.ratio or 1.0 for row in rows]
    # from 1 to the right is better than the peer, to the left worse
    lengths = [ratio - 1 for ratio in ratios]
    colours = [MISSED if row.met is False else OURS for row in rows]
    axes.barh(places, lengths, left=1, color=colours, height=0.7)
    for place, row, ratio in zip(places, rows, ratios, strict=True):
        if row.times is not None:
            axes.plot([row.times, row.times], [place - 0.45, place + 0.45], color=MARK, linewidth=1.5)
        furthest = max(ratio, row.times or 0.0, 1.0)
        axes.text(furthest * 1.06, place, f"{short(ratio)}×", va="center")
    axes.set_xscale("log")
    axes.set_xlim(min(0.3, *ratios), max(*ratios, 10) * 2)
    axes.set_yticks(places, [f"{row.what.strip()}, {row.unit}   ({row.peer})" for row in rows])
    axes.invert_yaxis()
    axes.axvline(1, color=MARK, linewidth=0.8)
    axes.set_xlabel(
        "times better than the peer in the same run; a mark: what is promised; red: promise not kept"
    )
    axes.spines[["top", "right"]].set_visible(False)
