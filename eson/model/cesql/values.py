"""Values of CloudEvents SQL: three types, their casts and their errors (CESQL 1.0.0 sections 3.1, 3.3 and 3.7)."""

from __future__ import annotations

import enum
import re
from typing import Literal

MIN_INTEGER, MAX_INTEGER = -(2**31), 2**31 - 1

Value = str | int | bool
ErrorKind = Literal["parse", "math", "cast", "missingAttribute", "missingFunction", "functionEvaluation"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,10}\Z")


class CesqlError(Exception):
    """An expression that cannot be compiled, or whose evaluation went wrong.  Retry: after correction."""

    def __init__(self, kind: ErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind: ErrorKind = kind
        self.text = text


class EvaluationFailed(Exception):
    """Stops an evaluation.  `value` is what the failing expression has nevertheless; `own`: its own, not an operand's."""

    def __init__(self, error: CesqlError, value: Value, own: bool = True) -> None:
        super().__init__(error.text)
        self.error = error
        self.value = value
        self.own = own


class Kind(enum.Enum):
    STRING = "String"
    INTEGER = "Integer"
    BOOLEAN = "Boolean"

    @staticmethod
    def of(value: Value) -> Kind:
        if isinstance(value, bool):
            return Kind.BOOLEAN
        return Kind.INTEGER if isinstance(value, int) else Kind.STRING


def zero(kind: Kind) -> Value:
    """The zero value of a type."""
    if kind is Kind.STRING:
        return ""
    return 0 if kind is Kind.INTEGER else False


def cast(value: Value, kind: Kind) -> Value:
    """`value` as another type.  Raises `EvaluationFailed` with a cast error and the zero value."""
    if Kind.of(value) is kind:
        return value
    if kind is Kind.STRING:
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind is Kind.INTEGER:
        return int(value) if isinstance(value, bool) else _integer(str(value))
    return value != 0 if isinstance(value, int) else _boolean(str(value))


def _integer(text: str) -> int:
    if _INTEGER.match(text) and MIN_INTEGER <= int(text) <= MAX_INTEGER:
        return int(text)
    raise EvaluationFailed(CesqlError("cast", f"{text[:32]!r} is no integer of 32 bits"), 0)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise EvaluationFailed(CesqlError("cast", f"{text[:32]!r} is neither true nor false"), False)
