"""SASLprep (RFC 4013), which makes equal what a person would call the same password."""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared form (queries may hold unassigned code points).  Raises `ValueError` for prohibited ones."""
    if text.isascii() and text.isprintable():
        return text
    # a peer chooses the text, before it is logged in: each table is asked once for each character that there is
    present = set(text)
    gone = {c for c in present if stringprep.in_table_b1(c)}
    spaces = {c for c in present if stringprep.in_table_c12(c)}
    mapped = "".join(" " if c in spaces else c for c in text if c not in gone)
    prepared = unicodedata.normalize("NFKC", mapped)
    present = set(prepared)
    if any(prohibited(c) for c in present for prohibited in _PROHIBITED):
        raise ValueError("holds a character that SASLprep prohibits")
    if any(stringprep.in_table_d1(c) for c in present):
        if any(stringprep.in_table_d2(c) for c in present):
            raise ValueError("mixes directions of writing")
        if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            raise ValueError("does not begin and end in its direction of writing")
    return prepared
