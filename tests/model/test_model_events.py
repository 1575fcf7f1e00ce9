"""CloudEvents and records: every variant is read, what is written comes back, reasons are plain."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, from_structured_event
from hypothesis import assume, given
from hypothesis import strategies as st

from eson.errors import Usage
from eson.model.events import WRAPPED, EventRecord, Headers, event_of, line_of, record_of

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
MINIMAL = {"source": "/s", "type": "t"}
WHOLE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": "2026-11-25T10:00:00.000Z"}


@dataclass(frozen=True)
class Read:
    """A record as a broker gives it."""

    value: bytes | None = None
    headers: Headers = ()
    key: bytes | None = None
    partition: int = 2
    offset: int = 7
    timestamp: int = 1764064800000


def stored(record: EventRecord) -> Read:
    return Read(record.value, record.headers, record.key)


def headers(**values: str | bytes | None) -> Headers:
    return tuple(
        (name.replace("__", "-"), value.encode() if isinstance(value, str) else value)
        for name, value in values.items()
    )


CE = headers(ce_specversion="1.0", ce_id="1", ce_source="/s", ce_type="t")
PLACE = {"esonpartition": 2, "esonoffset": 7}


# Reading


@pytest.mark.parametrize(
    "content_type",
    [
        "application/cloudevents+json; charset=UTF-8",
        "Application/CloudEvents+JSON",
        "application/cloudevents",
    ],
)
def test_structured_events_are_known_by_the_prefix_of_their_content_type(content_type: str) -> None:
    value = json.dumps(MINIMAL | {"specversion": "1.0", "id": "1", "data": [1, None]}).encode()
    event = event_of(Read(value, headers(content__type=content_type)))
    assert event == {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": [1, None]} | PLACE


def test_a_structured_event_without_headers_is_read() -> None:
    """Older brokers had none."""
    assert event_of(Read(json.dumps(WHOLE).encode())) == WHOLE | PLACE


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "ce_datacontenttype", "CE_DataContentType"])
def test_the_data_type_is_found_where_producers_put_it(name: str) -> None:
    event = event_of(Read(b"<a/>", (*CE, (name, b"application/xml"))))
    assert event["datacontenttype"] == "application/xml"
    assert event["data"] == "<a/>"


def test_the_content_type_wins_over_ce_datacontenttype() -> None:
    both = (("content-type", b"text/plain"), ("ce_datacontenttype", b"application/json"))
    assert event_of(Read(b"1", CE + both))["data"] == "1"


@pytest.mark.parametrize(
    ("content_type", "value", "expected"),
    [
        (None, b'{"a":1}', {"data": {"a": 1}}),
        (None, b"\xff", {"data_base64": "/w=="}),
        (None, None, {}),
        ("application/json", b'"text"', {"data": "text"}),
        ("application/json", b"null", {"data_base64": "bnVsbA=="}),
        ("application/json", b"", {"data_base64": ""}),
        ("application/json", b"NaN", {"data_base64": "TmFO"}),
        ("application/json", b"1e999", {"data_base64": "MWU5OTk="}),
        ("application/json", b"[" * 100_000, {"data_base64": base64.b64encode(b"[" * 100_000).decode()}),
        ("application/vnd.a+json; v=1", b"[1]", {"data": [1]}),
        ("application/json; charset=latin-1", b"[1]", {"data_base64": "WzFd"}),
        ("text/plain; charset=utf-8", "é".encode(), {"data": "é"}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("text/plain", b"", {"data": ""}),
        ("application/octet-stream", b"abc", {"data_base64": "YWJj"}),
        ("application/cloudjson", b"[1]", {"data_base64": "WzFd"}),
    ],
)
def test_data_is_json_or_text_by_its_type_and_else_base64(
    content_type: str | None, value: bytes | None, expected: dict[str, Any]
) -> None:
    typed = headers(content__type=content_type) if content_type else ()
    event = event_of(Read(value, CE + typed))
    assert {name: event[name] for name in ("data", "data_base64") if name in event} == expected
    assert event["type"] == "t"


@pytest.mark.parametrize(
    "record",
    [
        Read(b"plain"),
        Read(None),
        Read(b'{"a":1}'),
        Read(b"[" * 100_000),
        Read(b"x", headers(content__type="application/cloudevents+json")),
        Read(b"x", headers(content__type="application/cloudevents+avro")),
        Read(b"[]", headers(content__type="application/cloudevents-batch+json")),
        Read(b"x", headers(ce_id="1", ce_source="/s", ce_type="t")),
        Read(b"x", headers(ce_specversion="0.3", ce_id="1", ce_source="/s", ce_type="t")),
        Read(b"x", headers(ce_specversion="1.0", ce_id="1", ce_source="/s", ce_type=b"\xff")),
        Read(b"x", (*CE, ("ce_my-name", b"v"))),
        Read(b"x", (*CE, ("ce_data", b"v"))),
        Read(b"x", (("a", None), ("a", b"\x00"), ("b", b""))),
        Read(json.dumps(WHOLE | {"ext": {"a": 1}}).encode()),
        Read(json.dumps(WHOLE | {"data": 1, "data_base64": "AA=="}).encode()),
        Read(json.dumps(WHOLE | {"data_base64": "?"}).encode()),
        Read(json.dumps(WHOLE | {"time": 5}).encode()),
    ],
)
def test_what_is_no_event_is_wrapped_and_unwrapped_untouched(record: Read) -> None:
    event = event_of(record, "time.flows.unix.ar")
    assert event["type"] == WRAPPED
    assert event["source"] == "flow://time.flows.unix.ar"
    assert event["id"] == "2-7"
    assert event["time"] == "2025-11-25T10:00:00.000Z"
    assert "data" not in event
    again = record_of(event, now=NOW)
    assert (again.key, again.value, again.headers) == (record.key, record.value, record.headers)


def test_a_record_without_time_has_none() -> None:
    assert "time" not in event_of(Read(b"x", timestamp=-1))
    assert "time" not in event_of(Read(b"x", timestamp=2**62))


def test_keys_come_as_text_or_base64_and_nobody_can_forge_the_place() -> None:
    forged = (*CE, ("ce_esonoffset", b"99"), ("ce_esonkey", b"other"), ("ce_esonheaders", b"x"))
    assert event_of(Read(None, forged, b"k"))["esonkey"] == "k"
    assert event_of(Read(None, forged, b"k"))["esonoffset"] == 7
    bare = event_of(Read(None, forged, None))
    assert "esonkey" not in bare
    assert "esonheaders" not in bare
    binary = event_of(Read(None, CE, b"\xff"))
    assert binary["esonkeybase64"] == "/w=="
    assert "esonkey" not in binary


def test_a_line_is_one_json_object_without_control_characters() -> None:
    line = line_of(Read(b'"\\ud800\x7f\\n"', CE + headers(content__type="application/json")))
    assert line.isascii()
    assert not any(octet < 32 or octet == 127 for octet in line)
    assert json.loads(line)["data"] == "\ud800\x7f\n"


def test_a_line_can_be_made_of_any_depth_of_data() -> None:
    """Somewhere between what can be read and what can be written again lies a depth; it must not matter."""
    for depth in (10, 200, 900, 1_000, 3_000, 50_000):
        line = line_of(Read(b"[" * depth + b"]" * depth, CE))
        assert line.startswith(b"{")


@given(
    st.binary(max_size=50) | st.none(),
    st.lists(
        st.tuples(
            st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type", "ce_", "x"]),
            st.sampled_from([b"1.0", b"a/json", b"application/cloudevents", b"\xff", b"", None]),
        ),
        max_size=8,
    ),
    st.binary(max_size=5) | st.none(),
)
def test_any_record_is_readable_as_a_line(
    value: bytes | None, some: list[tuple[str, bytes | None]], key: bytes | None
) -> None:
    record = Read(value, tuple(some), key)
    event = json.loads(line_of(record))
    assert event["specversion"] == "1.0"
    again = event_of(stored(record_of(event, now=NOW)))
    assert {k: v for k, v in again.items() if k != "time"} == {
        k: v for k, v in event.items() if k != "time"
    } | ({} if "datacontenttype" in event or "data" not in event else {"datacontenttype": "application/json"})


# Writing


def test_what_is_missing_is_filled_in() -> None:
    record = record_of(MINIMAL, now=NOW)
    event = event_of(stored(record))
    assert event["time"] == "2026-11-25T10:00:00.000Z"
    assert event["specversion"] == "1.0"
    assert record.timestamp == NOW.timestamp() * 1000
    assert record.value is None
    other = event_of(stored(record_of(MINIMAL, now=NOW)))
    assert event["id"]
    assert event["id"] != other["id"]


def test_binary_mode_as_in_the_binding() -> None:
    event = WHOLE | {"subject": "é", "ext": True, "n": -5, "datacontenttype": "text/plain", "data": "hi"}
    assert record_of(event).headers == headers(
        ce_specversion="1.0",
        ce_id="1",
        ce_source="/s",
        ce_type="t",
        ce_subject="é",
        ce_time="2026-11-25T10:00:00.000Z",
        content__type="text/plain",
        ce_ext="true",
        ce_n="-5",
    )
    assert record_of(event).value == b"hi"


def test_json_data_without_a_type_is_said_to_be_json() -> None:
    assert ("content-type", b"application/json") in record_of(WHOLE | {"data": "text"}).headers
    assert record_of(WHOLE | {"data": "text"}).value == b'"text"'


def test_structured_mode_as_in_the_binding() -> None:
    record = record_of(WHOLE | {"data": {"a": 1}, "esonoffset": 3}, "structured")
    assert record.headers == headers(content__type="application/cloudevents+json; charset=UTF-8")
    assert record.value is not None
    assert json.loads(record.value) == WHOLE | {"datacontenttype": "application/json", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("attributes", "key"),
    [
        ({}, None),
        ({"partitionkey": "p"}, b"p"),
        ({"partitionkey": "p", "esonkey": "é"}, "é".encode()),
        ({"partitionkey": "p", "esonkeybase64": "/w=="}, b"\xff"),
        ({"esonkey": ""}, b""),
    ],
)
def test_the_key_of_the_record(attributes: dict[str, str], key: bytes | None) -> None:
    record = record_of(MINIMAL | attributes)
    assert record.key == key
    assert ("ce_partitionkey" in dict(record.headers)) == ("partitionkey" in attributes)
    assert "ce_esonkey" not in dict(record.headers)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, '"source" is missing'),
        ({"source": "/s"}, '"type" is missing'),
        (MINIMAL | {"source": ""}, '"source" must be a string'),
        (MINIMAL | {"type": 5}, '"type" must be a string'),
        (MINIMAL | {"id": ""}, '"id" must be a string'),
        (MINIMAL | {"specversion": "0.3"}, '"specversion" must be "1.0"'),
        (MINIMAL | {"time": "yesterday"}, '"time" must be a date-time'),
        (MINIMAL | {"Subject": "x"}, '"Subject" is no attribute name'),
        (MINIMAL | {"my_ext": "x"}, '"my_ext" is no attribute name'),
        (MINIMAL | {"": "x"}, "is no attribute name"),
        (MINIMAL | {"ext": [1]}, '"ext" must be a string, a whole number or a boolean'),
        (MINIMAL | {"ext": 1.5}, '"ext" must be a string, a whole number or a boolean'),
        (MINIMAL | {"ext": 2**31}, '"ext" is a number of more than 32 bits'),
        (MINIMAL | {"ext": "a\nb"}, '"ext" holds a control character'),
        (MINIMAL | {"ext": "\ud800"}, '"ext" holds a control character or half'),
        (MINIMAL | {"datacontenttype": "json"}, '"datacontenttype" must be a media type'),
        (MINIMAL | {"data": 1, "data_base64": "AA=="}, "exclude each other"),
        (MINIMAL | {"data_base64": "?"}, '"data_base64" is no base64'),
        (MINIMAL | {"data_base64": 5}, '"data_base64" is no base64'),
        (MINIMAL | {"data": {}, "datacontenttype": "text/plain"}, "must be a string; bytes go into"),
        (MINIMAL | {"data": "\ud800", "datacontenttype": "text/plain"}, "half a surrogate pair"),
        (MINIMAL | {"data": math.nan}, "numbers must be finite"),
        (MINIMAL | {"esonkey": 5}, '"esonkey" must be a string'),
        (MINIMAL | {"partitionkey": "\ud800"}, '"partitionkey" must be a string'),
        (MINIMAL | {"esonkeybase64": "?"}, '"esonkeybase64" is no base64'),
        (MINIMAL | {"type": WRAPPED, "esonheaders": "{}x"}, '"esonheaders" must be JSON text'),
        (MINIMAL | {"type": WRAPPED, "esonheaders": '[["\\ud800",null]]'}, '"esonheaders" must be JSON text'),
        (MINIMAL | {"type": WRAPPED, "esonheaders": "[1]"}, '"esonheaders" must be JSON text'),
    ],
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_what_is_no_event_is_refused_with_its_reason(event: dict[str, Any], reason: str, mode: Any) -> None:
    with pytest.raises(Usage) as refused:
        record_of(event, mode)
    assert reason in refused.value.text
    assert refused.value.text.isprintable()


def test_data_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Usage, match="nested too deeply"):
        record_of(MINIMAL | {"data": deep})


# Round trips

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
json_values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner | st.none(), max_size=3)
        | st.dictionaries(st.text(max_size=3), inner | st.none(), max_size=3)
    ),
    max_leaves=6,
)
content = st.one_of(
    st.just({}),
    st.builds(lambda data: {"data": data}, json_values),
    st.builds(lambda data: {"data": data, "datacontenttype": "application/x.y+json"}, json_values),
    st.builds(lambda data: {"data": data, "datacontenttype": "text/plain"}, texts),
    st.builds(
        lambda data: {
            "data_base64": base64.b64encode(data).decode(),
            "datacontenttype": "application/protobuf",
        },
        st.binary(max_size=20),
    ),
)
names = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True).filter(
    lambda name: (
        name not in {*WHOLE, "data", "subject", "datacontenttype", "dataschema", "partitionkey"}
        and not name.startswith("eson")
    )
)
events = st.builds(
    lambda required, extensions, data, key: required | extensions | data | key,
    st.fixed_dictionaries(
        {
            "specversion": st.just("1.0"),
            "id": texts,
            "source": texts,
            "type": texts.filter(lambda t: t != WRAPPED),
        }
        | {"time": st.just("2026-11-25T10:00:00.123456789+02:00")},
        optional={"subject": texts, "dataschema": texts},
    ),
    st.dictionaries(names, texts, max_size=3),
    content,
    st.one_of(
        st.just({}),
        texts.map(lambda key: {"esonkey": key}),
        st.binary().map(lambda key: {"esonkeybase64": base64.b64encode(key).decode()}),
    ),
)


@given(events, st.sampled_from(["binary", "structured"]))
def test_what_is_written_comes_back(event: dict[str, Any], mode: Any) -> None:
    expected = dict(event)
    if "esonkeybase64" in expected:
        key = base64.b64decode(expected["esonkeybase64"])
        try:
            expected["esonkey"] = key.decode()
            del expected["esonkeybase64"]
        except UnicodeDecodeError:
            pass
    if "data" in expected:
        expected.setdefault("datacontenttype", "application/json")
    read = event_of(stored(record_of(event, mode)))
    assert read == expected | PLACE
    assert json.loads(line_of(stored(record_of(event, mode)))) == read


@given(events)
def test_the_library_of_the_project_reads_what_we_write(event: dict[str, Any]) -> None:
    """Where it keeps what it reads: objects, text and octets as data."""
    assume(isinstance(event.get("data", {}), dict) or event.get("datacontenttype") == "text/plain")
    for mode, read in (("binary", from_binary_event), ("structured", from_structured_event)):
        record = record_of(event, mode)  # type: ignore[arg-type]
        found = read(
            KafkaMessage({name: value or b"" for name, value in record.headers}, None, record.value or b"")
        )
        assert (found.get_id(), found.get_source(), found.get_type()) == (
            event["id"],
            event["source"],
            event["type"],
        )
        assert found.get_subject() == event.get("subject")
        if event.get("datacontenttype") != "application/protobuf":
            assert found.get_data() == event.get("data")
        elif mode == "structured":
            assert found.get_data() == base64.b64decode(event["data_base64"])
