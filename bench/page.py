"""The tables of docs/performance.md, written to docs/performance_figures.md from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench import COLUMNS, ROOT, Row, cells

PAGE = ROOT / "docs" / "performance_figures.md"
TITLES = {
    "bridge": "Carrying events",
    "fnap": "The agent's sessions",
    "agent": "Flows and subscriptions",
    "names": "Names",
    "embedded": "The embedded broker",
}


def write(found: Mapping[str, Mapping[str, Any]]) -> None:
    """`found`: as `bench.results.load` gives it."""
    parts = ["% Written by `python -m bench plot`; do not edit.\n"]
    for name, title in TITLES.items():
        if name in found:
            parts += [
                f"### {title}\n",
                _conditions(found[name]),
                "\n".join(_table(found[name]["rows"])) + "\n",
            ]
    PAGE.write_text("\n".join(parts))
    print(PAGE)


def _conditions(told: Mapping[str, Any]) -> str:
    machine = told["machine"]
    java = f", {machine['java']}" if machine["java"] else ""
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items() if version)
    return (
        f"Measured {told['when'][:10]} in {told['seconds']} s on {machine['cores']} cores of {machine['cpu']},"
        f" {machine['system']}, Python {machine['python']}{java}; {libraries}.\n"
    )


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield _line(COLUMNS)
    yield _line("---" for _ in COLUMNS)
    for row in rows:
        what, *words = cells(row)
        # what is of the row before is set in
        yield _line(["… " + what.strip() if what.startswith(" ") else what, *words])


def _line(words: Iterable[str]) -> str:
    return "| " + " | ".join(word.strip().replace("|", "\\|") for word in words) + " |"
