"""The codecs of record batches, with caps on what foreign octets may grow to."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cramjam
import lz4.frame
import zstandard

from eson.brokers.kafka.wire.malformed import MalformedMessage

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
NAMES = ("none", "gzip", "snappy", "lz4", "zstd")

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + b"\0\0\0\1\0\0\0\1"
_XERIAL_BLOCK = 32 * 1024
_GZIP_WINDOW = 31
_LZ4_FLAGS_AT, _LZ4_HAS_SIZE, _LZ4_BLOCK_HEAD = 4, 0x08, 4
_ZSTD_LEVEL, _ZSTD_STEP = 3, 256 * 1024
_ZSTD_WINDOW = 1 << 27
"""The largest that a compressor at any level uses; only what is really filled costs memory."""


@dataclass(frozen=True)
class Limits:
    """What decompressed records may take: `octets` in all, and `ratio` times their compressed size.

    The ratio counts from `floor` octets on: small batches of equal text compress a thousandfold and harm nobody.
    """

    octets: int = 64 * 1024 * 1024
    ratio: int = 500
    floor: int = 1024 * 1024

    def for_size(self, compressed: int) -> int:
        return min(self.octets, max(self.floor, compressed * self.ratio))


DEFAULT_LIMITS = Limits()


def decompress(codec: int, data: memoryview, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The octets that `data` holds.  Raises `MalformedMessage`, also for more octets than `limits` allow."""
    if codec == NONE:
        return bytes(data)
    if not NONE < codec < len(NAMES):
        raise MalformedMessage(f"codec {codec}")
    cap = limits.for_size(len(data))
    try:
        plain = _DECODERS[codec](data, cap)
    except (
        zlib.error,
        cramjam.DecompressionError,
        RuntimeError,
        EOFError,
        ValueError,
        zstandard.ZstdError,
    ) as error:
        raise MalformedMessage(f"{NAMES[codec]}: {error}") from error
    if len(plain) > cap:
        raise MalformedMessage(f"{NAMES[codec]}: {len(data)} octets grow to more than {cap}")
    return plain


def compress(codec: int, data: bytes) -> bytes:
    """The same octets always give the same result, as long as the codec's library is the same."""
    return _ENCODERS[codec](data)


def _gunzip(data: memoryview, cap: int) -> bytes:
    plain, rest = bytearray(), bytes(data)
    while rest and len(plain) <= cap:
        stream = zlib.decompressobj(_GZIP_WINDOW)
        plain += stream.decompress(rest, cap + 1 - len(plain))
        if not stream.eof and len(plain) <= cap:
            raise ValueError("cut short")
        rest = stream.unused_data
    return bytes(plain)


def _gzip(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=_GZIP_WINDOW)
    return stream.compress(data) + stream.flush()


def _unsnappy(data: memoryview, cap: int) -> bytes:
    if data[: len(_XERIAL_MAGIC)] != memoryview(_XERIAL_MAGIC):
        return _unsnappy_block(data, cap)
    plain, pos = bytearray(), len(_XERIAL_HEADER)
    while pos < len(data):
        if pos + 4 > len(data):
            raise ValueError("cut short")
        size = int.from_bytes(data[pos : pos + 4], "big", signed=True)
        pos += 4
        if size < 0 or pos + size > len(data):
            raise ValueError("a block that is cut short")
        plain += _unsnappy_block(data[pos : pos + size], cap - len(plain))
        pos += size
    return bytes(plain)


def _unsnappy_block(block: memoryview, cap: int) -> bytes:
    # the block says first how long it becomes, and the library allocates that
    if cramjam.snappy.decompress_raw_len(block) > cap:
        raise ValueError(f"{len(block)} octets grow to more than allowed")
    return bytes(cramjam.snappy.decompress_raw(block))


def _snappy(data: bytes) -> bytes:
    parts = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK]))
        parts += (len(block).to_bytes(4, "big"), block)
    return b"".join(parts)


def _unlz4(data: memoryview, cap: int) -> bytes:
    plain, rest = bytearray(), bytes(data)
    while rest and len(plain) <= cap:
        stream = lz4.frame.LZ4FrameDecompressor()
        plain += stream.decompress(rest, cap + 1 - len(plain))
        if not stream.eof and len(plain) <= cap:
            raise ValueError("cut short")
        rest = stream.unused_data or b""
    return bytes(plain)


def mended_lz4(data: memoryview) -> memoryview:
    """An LZ4 frame with the right checksum of its descriptor.

    Kafka's message format 0 counted the magic number into that checksum of one octet.  The right one is the one that
    the library accepts.  Raises `MalformedMessage` if there is none.
    """
    frame = bytearray(data)
    flags = frame[_LZ4_FLAGS_AT] if len(frame) > _LZ4_FLAGS_AT else 0
    checksum_at = _LZ4_FLAGS_AT + (10 if flags & _LZ4_HAS_SIZE else 2)
    if checksum_at < len(frame):
        for checksum in range(256):
            frame[checksum_at] = checksum
            try:
                lz4.frame.get_frame_info(bytes(frame[: checksum_at + 1 + _LZ4_BLOCK_HEAD]))
            except RuntimeError:
                continue
            return memoryview(frame)
    raise MalformedMessage("lz4: no frame")


def _lz4(data: bytes) -> bytes:
    compressed: bytes = lz4.frame.compress(
        data, block_size=lz4.frame.BLOCKSIZE_MAX64KB, block_linked=False, store_size=False
    )
    return compressed


def _unzstd(data: memoryview, cap: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        data, read_across_frames=True
    )
    plain = bytearray()
    while len(plain) <= cap and (some := reader.read(_ZSTD_STEP)):  # it allocates what it is asked for
        plain += some
    return bytes(plain)


def _zstd(data: bytes) -> bytes:
    compressed: bytes = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)
    return compressed


_DECODERS: dict[int, Callable[[memoryview, int], bytes]] = {
    GZIP: _gunzip,
    SNAPPY: _unsnappy,
    LZ4: _unlz4,
    ZSTD: _unzstd,
}
_ENCODERS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
