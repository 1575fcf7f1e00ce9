"""The built-in functions of CloudEvents SQL (CESQL 1.0.0 section 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eson.model.cesql.values import MAX_INTEGER, MIN_INTEGER, CesqlError, EvaluationFailed, Kind, Value, cast

_S, _I, _B = Kind.STRING, Kind.INTEGER, Kind.BOOLEAN
# the White_Space property of Unicode; str.strip() also takes control characters
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


@dataclass(frozen=True)
class Function:
    """`parameters` by position, the last `optional` may be missing; `rest`: any number of further ones of that type.

    A parameter of type None takes any.
    """

    result: Kind
    run: Callable[..., Value]
    parameters: tuple[Kind | None, ...] = ()
    optional: int = 0
    rest: Kind | None = None


def _failed(text: str, value: Value) -> EvaluationFailed:
    return EvaluationFailed(CesqlError("functionEvaluation", text), value)


def _left(text: str, count: int) -> str:
    if count < 0:
        raise _failed("LEFT needs a length that is not negative", text)
    return text[:count]


def _right(text: str, count: int) -> str:
    if count < 0:
        raise _failed("RIGHT needs a length that is not negative", text)
    return text[max(0, len(text) - count) :]


def _substring(text: str, position: int, length: int = MAX_INTEGER) -> str:
    if position == 0:
        return ""
    if not -len(text) <= position <= len(text) or length < 0:
        raise _failed("SUBSTRING begins outside the text, or its length is negative", "")
    start = position - 1 if position > 0 else len(text) + position
    return text[start : start + length]


def _absolute(value: int) -> int:
    if value == MIN_INTEGER:
        raise EvaluationFailed(CesqlError("math", "the result does not fit 32 bits"), MAX_INTEGER)
    return abs(value)


FUNCTIONS: Mapping[str, Function] = {
    "INT": Function(_I, lambda x: cast(x, _I), (None,)),
    "BOOL": Function(_B, lambda x: cast(x, _B), (None,)),
    "STRING": Function(_S, lambda x: cast(x, _S), (None,)),
    "ABS": Function(_I, _absolute, (_I,)),
    "LENGTH": Function(_I, len, (_S,)),
    "CONCAT": Function(_S, lambda *parts: "".join(parts), rest=_S),
    "CONCAT_WS": Function(_S, lambda delimiter, *parts: delimiter.join(parts), (_S,), rest=_S),
    "LOWER": Function(_S, str.lower, (_S,)),
    "UPPER": Function(_S, str.upper, (_S,)),
    "TRIM": Function(_S, lambda text: text.strip(_WHITE_SPACE), (_S,)),
    "LEFT": Function(_S, _left, (_S, _I)),
    "RIGHT": Function(_S, _right, (_S, _I)),
    "SUBSTRING": Function(_S, _substring, (_S, _I, _I), optional=1),
}


def has_function(name: str, arity: int) -> bool:
    """Whether there is a function of that name (upper case) for so many arguments."""
    found = FUNCTIONS.get(name)
    if found is None:
        return False
    least = len(found.parameters) - found.optional
    return arity >= least and (found.rest is not None or arity <= len(found.parameters))


def call(name: str, arguments: Sequence[Value]) -> Value:
    """Casts the arguments and runs the function.  Raises `EvaluationFailed`."""
    function = FUNCTIONS[name]
    kinds = function.parameters + (function.rest,) * max(0, len(arguments) - len(function.parameters))
    ready = [one if kind is None else cast(one, kind) for one, kind in zip(arguments, kinds, strict=False)]
    return function.run(*ready)
