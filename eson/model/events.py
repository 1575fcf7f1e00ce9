"""Events: JSON CloudEvents 1.0 on our side, records of a broker by the Kafka protocol binding on the other.

Written in binary mode (attributes as `ce_` headers, data as the value) or structured (the whole JSON event as the value);
every variant is read: any case of `content-type`, `ce_datacontenttype`, a null value, a structured event without
headers.  What is no CloudEvent 1.0 is wrapped: `type=eson.record`, its value as `data_base64`, its headers as
`esonheaders` (JSON text, pairs of name and base64 or null); written again, a wrapped record is what it was.

On reading `esonpartition`, `esonoffset` and `esonkey` are added (`esonkeybase64` for a key that is no UTF-8); on
writing the first two are dropped, and the key is `esonkey`, else `esonkeybase64`, else `partitionkey`, which stays.

Sources: CloudEvents 1.0.2, its JSON event format, its Kafka protocol binding.  The `cloudevents` library does not
convert here because it loses what is said above: strings, lists and numbers as JSON data, the digits of `time`, an event
whose content type is written in capitals, a key that is no text.  The tests compare with it where it does not.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from eson.errors import Usage
from eson.model.event_json import from_base64, is_json, is_text, json_line, parse_json, to_base64
from eson.model.names import shown
from eson.model.positions import format_time, parse_time

Mode = Literal["binary", "structured"]
Encoding = Literal["binary", "structured", "wrapped"]
Event = dict[str, Any]
Headers = tuple[tuple[str, bytes | None], ...]

WRAPPED = "eson.record"
STRUCTURED = "application/cloudevents+json; charset=UTF-8"
PREFIX = "ce_"
DATA = ("data", "data_base64")
REQUIRED = ("specversion", "id", "source", "type")
OPTIONAL = ("subject", "time", "datacontenttype", "dataschema")
READ_ATTRIBUTES = ("esonpartition", "esonoffset", "esonkey", "esonkeybase64", "esonheaders")
"""What reading adds and writing takes away again."""

_NAME = re.compile(r"[a-z0-9]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EVENT_TYPE = re.compile(r"application/cloudevents(?:\+json)?\s*(?:;|\Z)", re.IGNORECASE)
_MAX_INTEGER = 2**31


@dataclass(frozen=True)
class EventRecord:
    """A record to write.  `timestamp` is the time of writing, in milliseconds since 1970.

    The event's own time stays in `ce_time`: as the record's it would let retention drop an old event at once.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class ReadRecord(Protocol):
    """A record as a broker gives it; `timestamp` in milliseconds since 1970, -1 if there is none."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes | None]]: ...


class _NoEvent(Exception):
    """What was read is no CloudEvent 1.0."""


# Reading


def event_of(record: ReadRecord, flow: str = "") -> Event:
    """The JSON CloudEvent that a record holds, or that wraps it; never raises.  `flow` is the source of a wrapped one."""
    try:
        return _read(record) | _place(record)
    except (_NoEvent, ValueError, RecursionError):
        return _wrapped(record, flow) | _place(record)


def _place(record: ReadRecord) -> Event:
    """Where the record lies, and its key."""
    event: Event = {"esonpartition": record.partition}
    event["esonoffset"] = record.offset
    if record.key is not None:
        try:
            event["esonkey"] = record.key.decode()
        except UnicodeDecodeError:
            event["esonkeybase64"] = to_base64(record.key)
    return event


def line_of(record: ReadRecord, flow: str = "") -> bytes:
    """`event_of` as one line of JSON without its end: UTF-8, no control characters (interface section 4, `event`)."""
    try:
        return json_line(event_of(record, flow))
    except (ValueError, RecursionError):  # data nested as deep as only just could be read
        return json_line(_wrapped(record, flow) | _place(record))


def attributes_of(record: ReadRecord, flow: str = "", wrap: bool = False) -> tuple[Event, Encoding]:
    """`event_of` without its data, and how the record holds it; never raises.  Data of a binary event is not decoded.

    `wrap`: as if it were no CloudEvent.
    """
    encoding: Encoding = "wrapped"
    event: Event = {}
    try:
        if not wrap:
            held = _attributes_in_headers(record)
            encoding = "structured" if held is None else "binary"
            event = _structured(record.value) if held is None else held
    except (_NoEvent, ValueError, RecursionError):
        encoding = "wrapped"
    if encoding == "wrapped":
        event = _wrapped(record, flow)
    return {name: one for name, one in event.items() if name not in DATA} | _place(record), encoding


def _read(record: ReadRecord) -> Event:
    event = _attributes_in_headers(record)
    if event is None:
        return _structured(record.value)
    if record.value is not None:
        event |= _data_read(record.value, event.get("datacontenttype"))
    return event


def _attributes_in_headers(record: ReadRecord) -> Event | None:
    """Those of a binary event; None where the value must hold a structured one."""
    attributes: Event = {}
    content_type: str | None = None
    for name, value in record.headers:
        low = name.lower()
        if low.startswith(PREFIX):
            if value is None:
                continue
            attributes[low[len(PREFIX) :]] = value.decode()
        elif low == "content-type" and value is not None:
            content_type = value.decode()
    if is_event_type(content_type) if content_type is not None else not attributes:
        return None
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    _check_read(attributes)
    return _ordered(attributes)


def is_event_type(content_type: str) -> bool:
    """Whether a value of that type is a whole event."""
    return bool(_EVENT_TYPE.match(content_type))


def _structured(value: bytes | None) -> Event:
    if value is None or not value.lstrip().startswith(b"{"):
        raise _NoEvent
    found = parse_json(value)
    attributes = {key: one for key, one in found.items() if key not in DATA}
    _check_read(attributes)
    event = _ordered(attributes)
    if found.get("data_base64") is not None:
        if not isinstance(found["data_base64"], str) or found.get("data") is not None:
            raise _NoEvent
        event["data_base64"] = to_base64(from_base64(found["data_base64"]))
    elif found.get("data") is not None:
        event["data"] = found["data"]
    return event


def _check_read(attributes: Event) -> None:
    for name in READ_ATTRIBUTES:  # only this reading says where the record lies
        attributes.pop(name, None)
    for name, value in attributes.items():
        if not _NAME.match(name) or name == "data" or not (value is None or isinstance(value, str | int)):
            raise _NoEvent
    for name in REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise _NoEvent
    if attributes["specversion"] != "1.0":
        raise _NoEvent
    for name in OPTIONAL:
        if not isinstance(attributes.get(name), str | None):
            raise _NoEvent


def _data_read(value: bytes, content_type: str | None) -> Event:
    """`data` for what is JSON or text by its type, else `data_base64`."""
    try:
        if content_type is None or is_json(content_type):
            parsed = parse_json(value)
            if parsed is not None:  # null as data cannot be told from no data in the JSON format
                return {"data": parsed}
        elif is_text(content_type):
            return {"data": value.decode()}
    except (ValueError, RecursionError):
        pass
    return {"data_base64": to_base64(value)}


def _wrapped(record: ReadRecord, flow: str) -> Event:
    event: Event = {
        "specversion": "1.0",
        "id": f"{record.partition}-{record.offset}",
        "source": f"flow://{flow}" if flow else "/eson",
        "type": WRAPPED,
    }
    if 0 <= record.timestamp < 253402300800000:  # the year 10000
        event["time"] = format_time(datetime.fromtimestamp(record.timestamp / 1000, UTC))
    headers = [[name, None if value is None else to_base64(value)] for name, value in record.headers]
    if headers:
        event["esonheaders"] = json.dumps(headers, separators=(",", ":"))
    if record.value is not None:
        event["data_base64"] = to_base64(record.value)
    return event


def _ordered(attributes: Mapping[str, Any]) -> Event:
    """In the order in which people look for them; null means not there (JSON format, section 2.2)."""
    names = [*REQUIRED, *OPTIONAL, *(name for name in attributes if name not in REQUIRED + OPTIONAL)]
    return {name: attributes[name] for name in names if attributes.get(name) is not None}


# Writing


def record_of(event: Mapping[str, Any], mode: Mode = "binary", now: datetime | None = None) -> EventRecord:
    """The record that holds a JSON CloudEvent; a missing `id`, `time` or `specversion` is filled in.

    Raises `Usage` with a plain reason for what is no CloudEvent.
    """
    when = now or datetime.now(UTC)
    timestamp = int(when.timestamp() * 1000)
    key = _key(event)
    headers = _headers_of_wrapped(event) if event.get("type") == WRAPPED else None
    attributes = {
        name: value
        for name, value in event.items()
        if value is not None and name not in READ_ATTRIBUTES and name not in DATA
    }
    attributes.setdefault("specversion", "1.0")
    attributes.setdefault("id", str(uuid.uuid4()))
    attributes.setdefault("time", format_time(when))
    _check_written(attributes)
    has_text = event.get("data") is not None
    if has_text and "datacontenttype" not in attributes:
        attributes["datacontenttype"] = "application/json"  # what its absence means in JSON, said aloud
    value = _data_written(event, attributes.get("datacontenttype"))
    if headers is not None:
        return EventRecord(key, value, headers, timestamp)
    if mode == "structured":
        whole = _ordered(attributes)
        whole |= {name: event[name] for name in DATA if event.get(name) is not None}
        content_type = ("content-type", STRUCTURED.encode())
        return EventRecord(key, _dumped(whole), (content_type,), timestamp)
    return EventRecord(key, value, tuple(_headers(_ordered(attributes))), timestamp)


def _headers(attributes: Mapping[str, Any]) -> Iterable[tuple[str, bytes]]:
    for name, value in attributes.items():
        if name == "datacontenttype":
            yield "content-type", value.encode()
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield PREFIX + name, text.encode()


def _check_written(attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise Usage(f'"{shown(str(name))}" is no attribute name: lower-case letters and digits only')
        if isinstance(value, str):
            if _CONTROL.search(value):
                raise Usage(f'"{shown(name)}" holds a control character or half a surrogate pair')
        elif not isinstance(value, int):
            raise Usage(
                f'"{shown(name)}" must be a string, a whole number or a boolean; put what is more into "data"'
            )
        elif not -_MAX_INTEGER <= value < _MAX_INTEGER:
            raise Usage(f'"{shown(name)}" is a number of more than 32 bits: write it as a string')
    for name in ("source", "type"):
        if name not in attributes:
            raise Usage(f'"{name}" is missing: an event needs at least "source" and "type"')
    for name in (*REQUIRED, *OPTIONAL):
        if name in attributes and (not isinstance(attributes[name], str) or not attributes[name]):
            raise Usage(f'"{name}" must be a string that is not empty')
    if attributes["specversion"] != "1.0":
        raise Usage('"specversion" must be "1.0"')
    try:
        parse_time(attributes["time"])
    except Usage:
        raise Usage('"time" must be a date-time of RFC 3339, such as 2026-11-25T10:00:00Z') from None
    if "/" not in attributes.get("datacontenttype", "/"):
        raise Usage('"datacontenttype" must be a media type, such as application/json')


def _data_written(event: Mapping[str, Any], content_type: str | None) -> bytes | None:
    data, encoded = event.get("data"), event.get("data_base64")
    if data is not None and encoded is not None:
        raise Usage('"data" and "data_base64" exclude each other: leave one out')
    if encoded is not None:
        try:
            return from_base64(encoded)
        except (TypeError, ValueError):
            raise Usage('"data_base64" is no base64 text') from None
    if data is None:
        return None
    if is_json(content_type or ""):
        return _dumped(data)
    if not isinstance(data, str):
        raise Usage(
            f'"data" of type {shown(content_type or "")} must be a string; bytes go into "data_base64"'
        )
    try:
        return data.encode()
    except UnicodeEncodeError:
        raise Usage('"data" holds half a surrogate pair') from None


def _dumped(data: Any) -> bytes:
    try:
        return json_line(data)
    except (TypeError, ValueError):
        raise Usage('"data" is no JSON: numbers must be finite') from None
    except RecursionError:
        raise Usage('"data" is nested too deeply') from None


def _key(event: Mapping[str, Any]) -> bytes | None:
    for name in ("esonkey", "partitionkey"):
        if name == "partitionkey" and event.get("esonkeybase64") is not None:
            try:
                return from_base64(event["esonkeybase64"])
            except (TypeError, ValueError):
                raise Usage('"esonkeybase64" is no base64 text') from None
        key = event.get(name)
        if key is None:
            continue
        try:
            if isinstance(key, str):
                return key.encode()
        except UnicodeEncodeError:
            pass
        raise Usage(f'"{name}" must be a string: it becomes the key of the record')
    return None


def _headers_of_wrapped(event: Mapping[str, Any]) -> Headers:
    if event.get("esonheaders") is None:
        return ()
    try:
        return tuple(_header(name, value) for name, value in json.loads(event["esonheaders"]))
    except (TypeError, ValueError, RecursionError):
        raise Usage('"esonheaders" must be JSON text: a list of [name, base64 or null]') from None


def _header(name: str, value: str | None) -> tuple[str, bytes | None]:
    """Raises `ValueError`, `TypeError` for what Kafka cannot hold."""
    str.encode(name)
    return name, None if value is None else from_base64(value)
