"""Frames: whole, byte by byte, many at once, hostile lengths."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eson.brokers.kafka.wire.frames import FrameReader
from eson.brokers.kafka.wire.malformed import MalformedMessage


def framed(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def read(data: bytes, step: int, cap: int = 1000) -> list[bytes]:
    reader = FrameReader(cap)
    return [bytes(frame) for at in range(0, len(data), step) for frame in reader.feed(data[at : at + step])]


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 70))
def test_however_it_is_cut_the_frames_are_the_same(bodies: list[bytes], step: int) -> None:
    assert read(framed(*bodies), step) == bodies


def test_what_trails_waits_for_the_rest() -> None:
    reader = FrameReader(100)
    assert [bytes(f) for f in reader.feed(framed(b"one") + b"\0\0\0\3tw")] == [b"one"]
    assert reader.buffered == 6
    assert [bytes(f) for f in reader.feed(b"o")] == [b"two"]
    assert reader.buffered == 0


@pytest.mark.parametrize("length", [b"\0\0\x03\xe9", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0"])
@pytest.mark.parametrize("step", [1, 4])
def test_a_hostile_length_is_refused_before_anything_is_kept(length: bytes, step: int) -> None:
    with pytest.raises(MalformedMessage, match="allowed are 1000"):
        read(length, step)


def test_a_frame_of_exactly_the_cap_passes() -> None:
    assert read(framed(b"x" * 1000), 7) == [b"x" * 1000]


def test_a_claim_costs_no_memory() -> None:
    reader = FrameReader(1 << 30)
    assert list(reader.feed(b"\x3f\xff\xff\xff" + b"x" * 10)) == []
    assert reader.buffered == 14
    assert reader._body.__sizeof__() < 200


def test_a_cap_can_be_raised_after_the_login() -> None:
    reader = FrameReader(2)
    assert len(list(reader.feed(framed(b"ab")))) == 1
    reader.cap = 4
    assert [bytes(f) for f in reader.feed(framed(b"abcd"))] == [b"abcd"]


def test_frames_can_be_written_to_and_keep_their_memory() -> None:
    reader = FrameReader(100)
    (first,) = reader.feed(framed(b"one"))
    first[0] = ord("O")
    (second,) = reader.feed(framed(b"two"))
    assert (bytes(first), bytes(second)) == (b"One", b"two")


def test_megabytes_take_time_in_proportion() -> None:
    """16 MB in pieces of 1 kB: quadratic copying would take minutes."""
    body = b"x" * (16 << 20)
    data = memoryview(framed(body))
    reader = FrameReader(1 << 25)
    began = time.perf_counter()
    frames = [f for at in range(0, len(data), 1024) for f in reader.feed(bytes(data[at : at + 1024]))]
    assert len(frames) == 1
    assert len(frames[0]) == len(body)
    assert time.perf_counter() - began < 5
