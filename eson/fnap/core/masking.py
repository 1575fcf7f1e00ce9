"""Credentials in lines that people or logs will see."""

from __future__ import annotations

import re

_PASSWORD = re.compile(
    r"""(?ix) (?<![a-z0-9]) (?: (password\s*=\s*) (?: "(?:[^"\\]|\\.)*" | \S+ )
                 | ("password"\s*:\s*) "(?:[^"\\]|\\.)*" )"""
)


def masked(line: str) -> str:
    """`line` with the values of `password` as `***`, in TEXT and JSON."""
    if "password" not in line.lower():
        return line
    return _PASSWORD.sub(lambda found: f"{found[1]}***" if found[1] else f'{found[2]}"***"', line)
