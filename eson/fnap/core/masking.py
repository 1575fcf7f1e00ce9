"""Credentials in lines that people or logs will see."""

from __future__ import annotations

import re

_PASSWORD = re.compile(
    r"""(?ix) \b (?: (password\s*=\s*) (?: "(?:[^"\\]|\\.)*" | \S+ )
                 | ("password"\s*:\s*) "(?:[^"\\]|\\.)*" )"""
)


def masked(line: str) -> str:
    """`line` with the values of `password` as `***`, in TEXT and JSON."""
    if "assword" not in line and "ASSWORD" not in line.upper():
        return line
    return _PASSWORD.sub(lambda found: f"{found[1]}***" if found[1] else f'{found[2]}"***"', line)
