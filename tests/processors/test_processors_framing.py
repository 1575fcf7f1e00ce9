"""Frames: however octets arrive, the same payloads leave; no claimed length makes the reader hold much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.processors.core.framing import MAX_FRAME, FrameError, FrameReader, frame


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_the_same_payloads_leave_however_they_arrive(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    reader, got = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == payloads
    assert reader.empty


def test_byte_by_byte_and_what_trails() -> None:
    reader, got = FrameReader(), []
    for octet in frame(b"one") + frame(b"") + b"\0\0\0\x05tra":
        got += reader.feed(bytes([octet]))
    assert got == [b"one", b""]
    assert not reader.empty
    assert reader.feed(b"il") == [b"trail"]


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_hostile_length_is_refused_before_anything_is_held(length: int) -> None:
    with pytest.raises(FrameError):
        FrameReader().feed(length.to_bytes(4, "big"))


def test_the_greatest_frame_passes_and_one_more_octet_does_not() -> None:
    assert FrameReader().feed(frame(bytes(MAX_FRAME))) == [bytes(MAX_FRAME)]
    with pytest.raises(FrameError):
        frame(bytes(MAX_FRAME + 1))
