"""The table of `docs/security.md`: what it names as proof exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "security.md"


def rows() -> list[list[str]]:
    """The cells of each row of the table, without its head."""
    section = PAGE.read_text().partition("## Attack, defence, proof")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def names_in(file: str) -> set[str]:
    (path,) = TESTS.rglob(f"{file}.py")
    body = ast.parse(path.read_text()).body
    return {one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_names_a_proof_or_says_that_there_is_none() -> None:
    table = rows()
    assert len(table) > 40
    for row in table:
        assert len(row) == 3, row
        assert row[2] == "none" or re.fullmatch(r"`\w+::test_\w+`(, `\w+::test_\w+`)*", row[2]), row


def test_every_named_test_exists() -> None:
    named = [proof for row in rows() for proof in re.findall(r"`(\w+)::(\w+)`", row[2])]
    missing = [f"{file}::{test}" for file, test in named if test not in names_in(file)]
    assert missing == []
