"""Octets into lines: the same in any pieces, bounded, and cheap for a writer of single octets."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from eson.fnap.core.lines import LineBuffer, LineFault

PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"abc", b"x" * 12]) | st.binary(max_size=6), max_size=12
)


def lines_of(octets: bytes, cuts: list[int], limit: int) -> list[bytes | LineFault]:
    """The lines of `octets`, fed in pieces."""
    buffer = LineBuffer()
    found: list[bytes | LineFault] = []
    start = 0
    for end in [*sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]:
        buffer.feed(octets[start:end])
        start = end
        while (line := buffer.next_line(limit)) is not None:
            found.append(line)
    return found


@settings(max_examples=500, deadline=None)
@given(PIECES, st.lists(st.integers(0, 200), max_size=10), st.integers(0, 20))
def test_pieces_do_not_matter(pieces: list[bytes], cuts: list[int], limit: int) -> None:
    """The same octets give the same lines and faults, however they come."""
    octets = b"".join(pieces)
    assert lines_of(octets, cuts, limit) == lines_of(octets, list(range(len(octets))), limit)
    for line in lines_of(octets, cuts, limit):
        if isinstance(line, bytes):
            assert len(line) <= limit
            assert b"\n" not in line
            assert b"\r" not in line


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=12).filter(lambda text: not set(text) & set(b"\r\n")), max_size=6))
def test_lines_come_as_they_were_sent(lines: list[bytes]) -> None:
    """Lines in, the same lines out, and nothing is left."""
    buffer = LineBuffer()
    buffer.feed(b"".join(line + b"\r\n" for line in lines))
    assert [buffer.next_line(12) for _ in lines] == lines
    assert buffer.next_line(12) is None
    assert len(buffer) == 0


def test_a_long_line_in_single_octets_is_cheap() -> None:
    """A quarter of a megabyte, octet by octet, costs no more than a few passes over it."""
    buffer = LineBuffer()
    began = time.process_time()
    for _ in range(1 << 18):
        buffer.feed(b"x")
    assert buffer.next_line(1 << 18) is None
    buffer.feed(b"\r\n")
    assert buffer.next_line(1 << 18) == b"x" * (1 << 18)
    assert time.process_time() - began < 2


def test_what_is_cleared_is_gone() -> None:
    """Half a line, and one that is being dropped."""
    buffer = LineBuffer()
    buffer.feed(b"abc")
    buffer.feed(b"def")
    assert len(buffer) == 6
    buffer.clear()
    buffer.feed(b"x" * 20)
    assert buffer.next_line(5) is LineFault.TOO_LONG
    buffer.clear()
    buffer.feed(b"NOOP\r\n")
    assert buffer.next_line(5) == b"NOOP"


def test_a_flood_of_line_ends_is_counted_not_recursed() -> None:
    """However many bare line ends follow a line that is too long."""
    for flood in (b"\r", b"\n", b"\r\r\n\n"):
        buffer = LineBuffer()
        buffer.feed(b"x" * 100)
        assert buffer.next_line(50) is LineFault.TOO_LONG
        buffer.feed(flood * 50_000)
        assert buffer.next_line(50) in (None, LineFault.BARE_LINE_END)
