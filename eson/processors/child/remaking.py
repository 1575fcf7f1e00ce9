"""Processors that give other records than they take: collectors say where each comes from, signals make new events."""

from __future__ import annotations

from collections.abc import Callable

from eson.brokers.kafka.wire.records import BatchRecord
from eson.processors.core.messages import OrderError
from eson.processors.port import ProcessorOrder

Remake = Callable[[int, list[BatchRecord]], list[BatchRecord]]
"""From the records of one batch of a source's partition to those that are carried: the same ones each time."""


def check_condition(order: ProcessorOrder) -> None:
    """Raises `OrderError` for a condition that is none, or that is no signal's."""
    if not order.when:
        return
    from eson.model.cesql import CesqlError, compile_expression

    if order.kind != "signal":
        raise OrderError("only a signal has a condition")
    try:
        compile_expression(order.when)
    except CesqlError as error:
        raise OrderError(f"the condition cannot be read: {error}") from None


def remaking(order: ProcessorOrder, source: int) -> Remake | None:
    """What becomes of the records of one of the order's sources; None: their octets pass."""
    # what a bridge does not need it does not import
    if order.kind == "collector":
        from eson.processors.core.collecting import with_source

        return with_source(_flow(order, source))
    if order.kind == "signal":
        from eson.processors.core.signalling import Signals

        return Signals(order.id, _flow(order, source), order.when)
    return None


def _flow(order: ProcessorOrder, source: int) -> str:
    end = order.sources[source]
    return end.flow or end.queue
