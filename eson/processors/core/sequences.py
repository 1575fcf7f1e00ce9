"""Sequences of an idempotent producer: 31 bits, one for each record, from 2³¹ − 1 back to 0."""

from __future__ import annotations

_SIZE = 1 << 31


def is_behind(sequence: int, other: int) -> bool:
    """Whether `sequence` comes before `other`, as long as they are less than half of the circle apart."""
    return 0 < (other - sequence) % _SIZE < _SIZE // 2
