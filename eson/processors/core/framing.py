"""Frames between the supervisor and a processor: length in 4 octets, network order, then so many octets."""

from __future__ import annotations

import struct

MAX_FRAME = 1 << 20
_LENGTH = struct.Struct("!I")


class FrameError(Exception):
    """The other side does not speak frames, or one is too long.  Retry: no, end the conversation."""


def frame(payload: bytes) -> bytes:
    """One frame.  Raises `FrameError` if the payload is longer than 1 MiB."""
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a message of {len(payload)} octets is longer than {MAX_FRAME}")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Takes octets as they come and gives whole payloads; holds at most one frame that is not whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """The payloads that became whole.  Raises `FrameError` as soon as a length is too great."""
        held = self._held
        held += octets
        payloads, at = [], 0
        while len(held) - at >= 4:
            (length,) = _LENGTH.unpack_from(held, at)
            if length > MAX_FRAME:
                raise FrameError(f"a frame claims {length} octets, more than {MAX_FRAME}")
            if len(held) - at - 4 < length:
                break
            payloads.append(bytes(held[at + 4 : at + 4 + length]))
            at += 4 + length
        del held[:at]
        return payloads

    @property
    def empty(self) -> bool:
        """Whether the octets so far end with a whole frame."""
        return not self._held
