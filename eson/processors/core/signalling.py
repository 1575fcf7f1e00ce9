"""The events that a signal makes: one for each event of a source that satisfies its condition.

A new event has an id and a source of its own, made from where its cause lies, so that making it again gives the same
octets; `esoncauseid` and `esoncausesource` name its cause.  All else is the cause's.  docs/decisions/signals.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eson.brokers.kafka.wire.records import BatchRecord, Headers
from eson.model.cesql import compile_expression
from eson.model.event_json import json_line, parse_json
from eson.model.events import PREFIX, Event, attributes_of, is_event_type

SIGNAL = "eson.signal"
"""Type of an event whose cause is no CloudEvent."""
_OWN = ("id", "source", "esoncauseid", "esoncausesource")


class _Placed(NamedTuple):
    """A record with its partition, as events are read from."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Signals:
    """Of one processor and one of its sources.  Raises `CesqlError` for a condition that is none."""

    def __init__(self, processor: str, flow: str, when: str = "") -> None:
        self._processor, self._flow = processor, flow
        self._condition = compile_expression(when) if when else None

    def __call__(self, partition: int, records: list[BatchRecord]) -> list[BatchRecord]:
        """The signals of a batch, each at its cause's offset."""
        made = []
        for record in records:
            placed = _Placed(partition, *record)
            attributes, encoding = attributes_of(placed, self._flow)
            if self._condition is not None and not self._condition.holds(attributes):
                continue
            made.append(record._replace(**self._signal(placed, attributes, encoding)))
        return made

    def _signal(self, record: _Placed, attributes: Event, encoding: str) -> dict[str, Any]:
        """Value and headers of the new event."""
        own = self._own(record, attributes)
        if encoding == "structured":
            try:
                return {"value": json_line(parse_json(record.value or b"") | own)}
            except (ValueError, RecursionError):  # what only just could be read
                attributes, encoding = attributes_of(record, self._flow, wrap=True)
                own = self._own(record, attributes)
        if encoding == "binary":
            mine = {PREFIX + name for name in _OWN}
            kept = tuple(one for one in record.headers if one[0].lower() not in mine)
            return {"headers": kept + _in_headers(own)}
        whole = {"specversion": "1.0", "type": SIGNAL, **own}
        if "time" in attributes:
            whole["time"] = attributes["time"]
        return {"headers": tuple(one for one in record.headers if _harmless(*one)) + _in_headers(whole)}

    def _own(self, record: _Placed, attributes: Event) -> dict[str, str]:
        id = f"{self._processor}-{record.partition}-{record.offset}"
        return dict(
            zip(_OWN, (id, f"flow://{self._flow}", attributes["id"], attributes["source"]), strict=True)
        )


def _in_headers(attributes: dict[str, str]) -> Headers:
    return tuple((PREFIX + name, value.encode()) for name, value in attributes.items())


def _harmless(name: str, value: bytes | None) -> bool:
    """Whether a header of a record that is no CloudEvent keeps none from being read in what becomes of it."""
    if name.lower().startswith(PREFIX):
        return False
    if name.lower() != "content-type" or value is None:
        return True
    try:
        return not is_event_type(value.decode())
    except UnicodeDecodeError:
        return False
