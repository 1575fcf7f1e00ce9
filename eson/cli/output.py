"""How `fnua` and `eson` show data: tables on a terminal, plain lines elsewhere, JSON, YAML."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

Style = Literal["table", "json", "yaml"]
Row = Mapping[str, Any]


def show_list(rows: Sequence[Row], style: Style, out: TextIO | None = None) -> None:
    """Many objects: a table on a terminal, tab-separated lines elsewhere; JSON is one object a line."""
    stream = out or sys.stdout
    if style == "json":
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif style == "yaml":
        _yaml(list(map(dict, rows)), stream)
    elif rows:
        columns = _columns(rows)
        if stream.isatty():
            Console(file=stream).print(as_table(rows))
        else:
            stream.write("\t".join(columns) + "\n")
            for row in rows:
                stream.write("\t".join(_cell(row.get(column)) for column in columns) + "\n")


def as_table(rows: Sequence[Row]) -> Table:
    """The rows under the names of their keys."""
    columns = _columns(rows)
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return table


def show_object(row: Row, style: Style, out: TextIO | None = None) -> None:
    """One object: `key value` lines, aligned on a terminal; a JSON object on one line; YAML."""
    stream = out or sys.stdout
    if style == "json":
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif style == "yaml":
        _yaml(dict(row), stream)
    else:
        width = max((len(key) for key in row), default=0) if stream.isatty() else 0
        for key, value in row.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                stream.write(f"{key.ljust(width)}{'  ' if width else '='}{_cell(one)}\n")


def _yaml(data: Any, stream: TextIO) -> None:
    yaml.safe_dump(data, stream, sort_keys=False, allow_unicode=True)


def _columns(rows: Iterable[Row]) -> list[str]:
    """All keys, each behind the one that it follows in its row, whichever rows have it."""
    seen: list[str] = []
    for row in rows:
        place = 0
        for key in row:
            if key not in seen:
                seen.insert(place, key)
            place = seen.index(key) + 1
    return seen


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_cell, value))
    return printable(str(value))


def printable(text: str) -> str:
    """`text` with every control character as `?`: what an agent says must not steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
