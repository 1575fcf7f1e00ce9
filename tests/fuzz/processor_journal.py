"""Target: a journal as a crash, a bad disk or a hand left it.

Input: an octet of switches, then the file.  The marks of its lines are mended where the switch says so.
"""

from __future__ import annotations

import re
import zlib

from eson.processors.core.journal import (
    Entry,
    JournalError,
    Lane,
    acknowledged_line,
    compacted,
    entry_line,
    gap_line,
    lane_line,
    opening,
    parse,
    skip_line,
)

MEND = 1
_MARK = re.compile(rb"^(.*) [0-9a-f]{8}$", re.DOTALL)


def seeds() -> dict[str, bytes]:
    lanes = [
        Lane(0, 0, 0, "a" * 32, 0, 0, "b" * 32, 77, 2, 5, 0),
        Lane(1, 1, 3, "", 0, 1, "", -1, -1, 0, 4),
    ]
    begin = opening("p-1") + b"".join(map(lane_line, lanes))
    plans = b"".join(entry_line(0, Entry(n * 10, n * 10 + 9, 15 + n * 10, 99)) for n in range(3))
    whole = begin + plans + acknowledged_line(0, 19, 700) + skip_line(1, 12) + gap_line(0, 45, 99)
    again = whole + entry_line(0, Entry(20, 24, 120, 5)) + entry_line(0, Entry(0x7FFFFFF0, 3, 140, 6))
    return {
        "empty": b"\0",
        "opening": b"\0" + opening("p-1"),
        "whole": bytes([MEND]) + whole,
        "planned-again": bytes([MEND]) + again,
        "torn": b"\0" + whole[:-9],
        "damaged-inside": b"\0" + whole.replace(b"P 0 10", b"P 0 11"),
        "zeros-at-the-end": b"\0" + whole + bytes(64),
        "version-2": bytes([MEND]) + whole.replace(b"J 1", b"J 2"),
    }


def one_input(octets: bytes) -> None:
    if not octets:
        return
    file = _mended(octets[1:]) if octets[0] & MEND else octets[1:]
    try:
        journal = parse(file)
    except JournalError:
        return
    assert journal.valid <= len(file)
    if not journal.processor:
        assert not journal.lanes
        return
    # what is left after a torn end was cut away, and what is written anew, say the same
    assert parse(file[: journal.valid]) == journal
    again = parse(b"".join(compacted(journal)))
    assert again.processor == journal.processor
    for number, state in journal.lanes.items():
        assert again.lanes[number].entries == state.entries
        assert again.lanes[number].gaps == state.gaps
        assert again.lanes[number].acknowledged == state.acknowledged
        assert again.lanes[number].position() == state.position()
        state.prune(1)


def _mended(file: bytes) -> bytes:
    lines = file.split(b"\n")
    for at, one in enumerate(lines[:-1]):
        if match := _MARK.match(one):
            lines[at] = b"%s %08x" % (match[1], zlib.crc32(match[1]))
    return b"\n".join(lines)
