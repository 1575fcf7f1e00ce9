"""What may be typed where one word of a command belongs."""

from __future__ import annotations

import click


def word(typed: str) -> str:
    """One word of FNAP: a space inside would begin another, and say what the user did not mean (`NAME FORCE`)."""
    if any(c.isspace() or c == '"' or not c.isprintable() for c in typed):
        raise click.BadParameter(f"{typed!r} is more than one word: leave spaces and quotation marks out")
    return typed
