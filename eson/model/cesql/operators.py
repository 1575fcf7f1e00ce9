"""Operators of CloudEvents SQL as functions from an event's attributes to a value (CESQL 1.0.0 sections 3.4 and 3.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eson.model.cesql.values import (
    MAX_INTEGER,
    MIN_INTEGER,
    CesqlError,
    EvaluationFailed,
    Kind,
    Value,
    cast,
    zero,
)

Node = Callable[[Mapping[str, Value]], Value]


def guard(kind: Kind, node: Node) -> Node:
    """`node`, with the zero value of `kind` if an operand of it failed (section 3.2)."""

    def guarded(event: Mapping[str, Value]) -> Value:
        try:
            return node(event)
        except EvaluationFailed as failed:
            if failed.own:
                failed.own = False
                raise
            raise EvaluationFailed(failed.error, zero(kind), own=False) from None

    return guarded


def attribute(name: str) -> Node:
    def value(event: Mapping[str, Value]) -> Value:
        found = event.get(name)
        if found is None:
            raise EvaluationFailed(
                CesqlError("missingAttribute", f"the event has no attribute {name}"), False, own=False
            )
        return found if isinstance(found, bool | int) else str(found)

    return value


def _and(left: Node, right: Node) -> Node:
    return guard(
        Kind.BOOLEAN,
        lambda event: bool(cast(left(event), Kind.BOOLEAN)) and bool(cast(right(event), Kind.BOOLEAN)),
    )


def _or(left: Node, right: Node) -> Node:
    return guard(
        Kind.BOOLEAN,
        lambda event: bool(cast(left(event), Kind.BOOLEAN)) or bool(cast(right(event), Kind.BOOLEAN)),
    )


def _xor(left: Node, right: Node) -> Node:
    return guard(
        Kind.BOOLEAN, lambda event: cast(left(event), Kind.BOOLEAN) is not cast(right(event), Kind.BOOLEAN)
    )


LOGIC: Mapping[str, Callable[[Node, Node], Node]] = {"AND": _and, "OR": _or, "XOR": _xor}


def equality(left: Node, right: Node, sign: str) -> Node:
    wanted = sign == "="

    def equal(event: Mapping[str, Value]) -> Value:
        x, y = left(event), right(event)
        return (cast(x, Kind.of(y)) == y) is wanted

    return guard(Kind.BOOLEAN, equal)


_ORDERS: Mapping[str, Callable[[int, int], bool]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}


def order(left: Node, right: Node, sign: str) -> Node:
    compare = _ORDERS[sign]
    return guard(
        Kind.BOOLEAN,
        lambda event: compare(int(cast(left(event), Kind.INTEGER)), int(cast(right(event), Kind.INTEGER))),
    )


def bounded(value: int) -> int:
    if MIN_INTEGER <= value <= MAX_INTEGER:
        return value
    raise EvaluationFailed(CesqlError("math", "the result does not fit 32 bits"), 0)


def _divide(x: int, y: int) -> int:
    if y == 0:
        raise EvaluationFailed(CesqlError("math", "division by zero"), 0)
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


_ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": _divide,
    "%": lambda x, y: x - y * _divide(x, y),
}


def arithmetic(left: Node, right: Node, sign: str) -> Node:
    compute = _ARITHMETIC[sign]
    return guard(
        Kind.INTEGER,
        lambda event: bounded(
            compute(int(cast(left(event), Kind.INTEGER)), int(cast(right(event), Kind.INTEGER)))
        ),
    )
