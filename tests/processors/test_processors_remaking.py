"""Collectors and signals: what they make of records, and that they make the same again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.brokers.kafka.wire.records import BatchRecord
from eson.brokers.port import Access
from eson.model.events import event_of
from eson.model.servers import Server
from eson.processors.child.remaking import check_condition, remaking
from eson.processors.core.collecting import with_source
from eson.processors.core.messages import OrderError, create_message, read_create
from eson.processors.core.signalling import Signals, _Placed
from eson.processors.port import ProcessorEnd, ProcessorOrder

END = ProcessorEnd(Access((Server("127.0.0.1", 9092),)), "queue", "time.flows.unix.ar")
ORDER = ProcessorOrder("p-1234567", "signal", (END,), (END,), when="type = 'tick'")
HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"17"),
    ("ce_source", b"/clock"),
    ("ce_type", b"tick"),
    ("ce_time", b"2026-11-25T10:00:00.120Z"),
    ("ce_zone", b"UTC"),
    ("content-type", b"application/json"),
    ("trace", b"\xff"),
)
BINARY = BatchRecord(41, 1_700_000_000_000, b"key", b'{ "n" : 1.10 }', HEADERS)
STRUCTURED = BatchRecord(
    42,
    1_700_000_000_001,
    b"key",
    b'{"specversion":"1.0","id":"18","source":"/clock","type":"tock","data":{"n":2}}',
    (("Content-Type", b"application/cloudevents+json"),),
)
PLAIN = BatchRecord(43, 1_700_000_000_002, b"\xff", b"\x00\x01", (("ce_id", b"odd"), ("trace", None)))


def read(record: BatchRecord) -> dict[str, object]:
    """As READ shows it."""
    return event_of(_Placed(0, *record))


def signals(when: str, *records: BatchRecord) -> list[BatchRecord]:
    return Signals("p-1234567", "time.flows.unix.ar", when)(3, list(records))


def test_a_signal_is_an_event_of_its_own_that_names_its_cause() -> None:
    (made,) = signals("", BINARY)
    assert (made.offset, made.timestamp, made.key, made.value) == BINARY[:4]
    assert ("trace", b"\xff") in made.headers
    event = read(made)
    assert event == read(BINARY) | {
        "id": "p-1234567-3-41",
        "source": "flow://time.flows.unix.ar",
        "esoncauseid": "17",
        "esoncausesource": "/clock",
    }


def test_a_structured_event_stays_structured() -> None:
    (made,) = signals("", STRUCTURED)
    assert made.headers == STRUCTURED.headers
    assert json.loads(made.value or b"") == {
        "specversion": "1.0",
        "id": "p-1234567-3-42",
        "source": "flow://time.flows.unix.ar",
        "type": "tock",
        "data": {"n": 2},
        "esoncauseid": "18",
        "esoncausesource": "/clock",
    }


def test_what_is_no_event_becomes_the_data_of_one() -> None:
    (made,) = signals("", PLAIN)
    assert (made.key, made.value) == (PLAIN.key, PLAIN.value)
    event = read(made)
    assert (event["type"], event["id"], event["data_base64"]) == ("eson.signal", "p-1234567-3-43", "AAE=")
    assert (event["esoncauseid"], event["esoncausesource"]) == ("3-43", "flow://time.flows.unix.ar")
    assert event["time"] == "2023-11-14T22:13:20.002Z"
    assert ("trace", None) in made.headers


def test_a_claim_to_be_a_whole_event_does_not_hide_what_it_becomes() -> None:
    for content_type in (b"application/cloudevents+json", b"\xff"):
        (made,) = signals("", PLAIN._replace(headers=(("content-type", content_type),)))
        assert read(made)["type"] == "eson.signal"


def test_signals_of_signals_name_their_direct_cause() -> None:
    (made,) = signals("", BINARY)
    (again,) = Signals("p-7654321", "ticks.flows.unix.ar")(0, [made])
    event = read(again)
    assert (event["id"], event["esoncauseid"]) == ("p-7654321-0-41", "p-1234567-3-41")
    assert len([name for name, _ in again.headers if name == "ce_esoncauseid"]) == 1


@pytest.mark.parametrize(
    ("when", "passes"),
    [
        ("type = 'tick'", [41]),
        ("type LIKE 't_ck' AND zone = 'UTC'", [41]),
        ("esonkey = 'key'", [41, 42]),
        ("esonpartition = 3", [41, 42, 43]),
        ("type = 'eson.record'", [43]),
        ("EXISTS zone", [41]),
        ("INT(zone) = 0", []),  # an error
        ("zone != 'x'", [41]),  # where it is missing, an error
        ("NOT (nothing = 1)", []),
        ("n = 1", []),  # data is not looked at
        ("FALSE", []),
        ("1", []),  # not true
    ],
)
def test_a_condition_sees_the_attributes_that_read_shows(when: str, passes: list[int]) -> None:
    assert [one.offset for one in signals(when, BINARY, STRUCTURED, PLAIN)] == passes


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["ce_specversion", "ce_id", "ce_source", "ce_type", "CE_ID", "content-type", "x"]
            ),
            st.one_of(
                st.none(), st.sampled_from([b"1.0", b"application/cloudevents", b"text/plain"]), st.binary()
            ),
        )
    ),
    st.one_of(st.none(), st.binary(), st.sampled_from([STRUCTURED.value, b'{"a":' * 2000, b"[1]"])),
)
def test_whatever_a_record_holds_its_signal_is_an_event_and_the_same_each_time(
    headers: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    record = BatchRecord(7, -1, None, value, tuple(headers))
    first, second = signals("", record), signals("", record)
    assert first == second
    event = read(first[0])
    assert event["id"] == "p-1234567-3-7"
    assert event["source"] == "flow://time.flows.unix.ar"


def test_a_collector_says_where_records_come_from() -> None:
    (made,) = with_source("time.flows.unix.ar")(3, [BINARY])
    assert made == BINARY._replace(headers=(*HEADERS, ("eson-source", b"flow://time.flows.unix.ar")))
    (again,) = with_source("all.flows.unix.ar")(0, [made])
    assert [value for name, value in again.headers if name == "eson-source"] == [
        b"flow://time.flows.unix.ar",
        b"flow://all.flows.unix.ar",
    ]
    assert read(made) == read(BINARY)
    assert read(with_source("time")(0, [STRUCTURED._replace(headers=())])[0]) == read(STRUCTURED)


def test_bridges_and_distributors_leave_records_as_they_are() -> None:
    for kind in ("bridge", "distributor"):
        assert remaking(replace(ORDER, kind=kind, when=""), 0) is None
    assert remaking(ORDER, 0) is not None
    assert remaking(replace(ORDER, kind="collector", when=""), 0) is not None


def test_the_condition_travels_with_the_order_and_is_checked() -> None:
    assert read_create(create_message(ORDER, "/journal")) == ORDER
    check_condition(ORDER)
    for wrong in (replace(ORDER, when="type ="), replace(ORDER, kind="bridge")):
        with pytest.raises(OrderError):
            check_condition(wrong)
