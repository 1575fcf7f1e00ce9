"""CloudEvents SQL: predicates over the attributes of one event (CloudEvents SQL Expression Language 1.0.0).

`compile_expression` turns text into a value that can be evaluated; nothing of the text is ever run as code.  Evaluation
stops at the first error (the specification's fail-fast mode): every enclosing operator then has the zero value of
its type.  Operators of equal precedence are evaluated from left to right (section 3.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eson.model.cesql.operators import Node
from eson.model.cesql.parser import parse
from eson.model.cesql.values import CesqlError, EvaluationFailed, Value

__all__ = ["CesqlError", "Expression", "Value", "compile_expression"]


@dataclass(frozen=True)
class Expression:
    """A compiled expression."""

    text: str
    _root: Node = field(repr=False)

    def evaluate(self, attributes: Mapping[str, Value]) -> tuple[Value, CesqlError | None]:
        """The value, and the error that stopped the evaluation, if any.  Never raises."""
        try:
            return self._root(attributes), None
        except EvaluationFailed as failed:
            return failed.value, failed.error

    def holds(self, attributes: Mapping[str, Value]) -> bool:
        """Whether an event passes: the value is *true* and there was no error (section 1.2)."""
        value, error = self.evaluate(attributes)
        return value is True and error is None


def compile_expression(text: str) -> Expression:
    """Raises `CesqlError` (parse, missingFunction) with a text that says what is wrong and where."""
    return Expression(text, parse(text))
