"""Compiled encoders and decoders of `kafka.protocol`'s messages, made safe for octets of strangers.

kafka-python generates its codecs from Kafka's own schemas.  Its generator is used with a context of ours, which
changes five things in what it emits and nothing in the library: a length of variable size has at most five octets
(else a megabyte of 0xff computes for minutes); a section of tagged fields is cut out before it is decoded (else each
copies the whole rest of the frame) and is short; a message holds so many elements of lists at most, because an octet of
a list becomes an object of some hundred; `records` are views into the frame, never copied, on the way in and out; and the
end of the message is known, so that what is cut short or too long is noticed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from kafka.protocol.schemas.fields import StructField
from kafka.protocol.schemas.fields.codecs import EncodeBuffer, UnsignedVarInt32
from kafka.protocol.schemas.fields.codegen import CodegenContext

from eson.brokers.kafka.wire.malformed import MalformedMessage

Buffer = bytes | bytearray | memoryview
DECODING_ERRORS = (struct.error, IndexError, ValueError, AssertionError, OverflowError, TypeError)
MAX_VARINT_SHIFT = 28
MOST_ELEMENTS = 1_000_000
"""Of all lists of a message together: Metadata of a hundred thousand partitions has fewer."""
MOST_TAGGED = 1 << 16
"""Octets of a section of tagged fields."""

_SHIFT = re.compile(r"^\s*(_sh\d+) \+= 7$")
_REST = re.compile(r"^(.* = _BytesIO\()bytes\(data\[pos:\]\)\)$")
_LOOP = re.compile(r"^for _idx\d+ in range\((_n\d+)\):$")
_TOLD = re.compile(r"^pos \+= (_bio\d+)\.tell\(\)$")


class _SafeContext(CodegenContext):  # type: ignore[misc]
    """Rewrites the lines that trust the peer."""

    def __init__(self) -> None:
        super().__init__()
        self.globs.update(_section=_section, _bounded=_bounded, _whole=_whole, _spend=_spend)

    def emit(self, indent: str, line: str) -> None:
        rest, loop = _REST.match(line), _LOOP.match(line)
        if loop:
            super().emit(indent, f"left = _spend(left, {loop[1]})")
        super().emit(indent, f"{rest[1]}_section(data, pos))" if rest else line)
        if shift := _SHIFT.match(line):
            super().emit(indent, f"    _bounded({shift[1]})")
        elif told := _TOLD.match(line):
            super().emit(indent, f"_whole({told[1]})")


def _bounded(shift: int) -> None:
    if shift > MAX_VARINT_SHIFT:
        raise ValueError("a number of more than five octets")


def _spend(left: int, elements: int) -> int:
    if elements > left:
        raise ValueError(f"lists of {elements} elements and more")
    return left - max(elements, 0)


def _whole(section: Any) -> None:
    if section.read(1):
        raise ValueError("a tagged field that is shorter than it says")


def read_varint(data: memoryview, pos: int) -> tuple[int, int]:
    """An unsigned number of variable length, and where it ends.  Raises one of `DECODING_ERRORS`."""
    value = shift = 0
    while True:
        octet = data[pos]
        pos += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, pos
        shift += 7
        _bounded(shift)


def after_tagged_fields(data: memoryview, start: int) -> int:
    """Where the section of tagged fields that begins at `start` ends.  Raises one of `DECODING_ERRORS`."""
    count, pos = read_varint(data, start)
    for _ in range(count):
        _, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
        pos += size
    if pos > len(data):
        raise ValueError("tagged fields beyond the end")
    return pos


def _section(data: memoryview, start: int) -> bytes:
    end = after_tagged_fields(data, start)
    if end - start > MOST_TAGGED:
        raise ValueError(f"{end - start} octets of tagged fields")
    return bytes(data[start:end])


class _Cuts(EncodeBuffer):  # type: ignore[misc]
    """What is encoded, and where `records` belong into it."""

    __slots__ = ("cuts",)

    def __init__(self) -> None:
        super().__init__(512)
        self.cuts: list[tuple[int, Buffer]] = []


class _Records:
    """The type of `records`: views in both directions.  A sequence of buffers is written as one value."""

    batchable = False

    @staticmethod
    def emit_encode_into(ctx: Any, value: str, indent: str, compact: bool = False) -> None:
        ctx.globs.update(_cut=_cut, _size=_size)
        name, size = ctx.next_var("rv"), ctx.next_var("rn")
        inner = indent + "    "
        ctx.emit(indent, f"{name} = {value}")
        ctx.emit(indent, f"{size} = -1 if {name} is None else _size({name})")
        if compact:
            ctx.emit(indent, f"{size} += 1")
            ctx.emit(indent, "if True:")
            UnsignedVarInt32.emit_encode_into(ctx, size, inner)
        else:
            ctx.emit_reserve(indent, 4)
            ctx.emit(indent, f"pack_into('>i', buf, pos, {size})")
            ctx.emit(indent, "pos += 4")
        ctx.emit(indent, f"if {name} is not None: _cut(out, pos, {name})")

    @staticmethod
    def emit_decode_from(ctx: Any, name: str, indent: str, compact: bool = False) -> None:
        size = ctx.next_var("ln")
        if compact:
            UnsignedVarInt32.emit_decode_from(ctx, size, indent)
            ctx.emit(indent, f"{size} -= 1")
        else:
            ctx.emit(indent, f'{size} = unpack_from(">i", data, pos)[0]')
            ctx.emit(indent, "pos += 4")
        ctx.emit(indent, f"if {size} < 0: {name} = None")
        ctx.emit(indent, "else:")
        ctx.emit(indent, f"    {name} = data[pos:pos+{size}]")
        ctx.emit(indent, f"    pos += {size}")


def _size(value: Buffer | Sequence[Buffer]) -> int:
    return len(value) if isinstance(value, (bytes, bytearray, memoryview)) else sum(map(len, value))


def _cut(out: _Cuts, pos: int, value: Buffer | Sequence[Buffer]) -> None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        out.cuts.append((pos, value))
    else:
        out.cuts.extend((pos, part) for part in value)


def _twin(message: Any) -> Any:
    """A structure of our own for `message`'s schema that makes objects of kafka-python's classes."""
    twin = StructField(message.json)
    _adopt(twin, message._struct)
    twin.set_data_class(message)
    return twin


def _adopt(twin: Any, original: Any) -> None:
    for name, field in twin.fields.items():
        theirs = original.fields[name]
        if field.is_struct() or field.is_struct_array():
            field.set_data_class(theirs.data_class)
            _adopt(field, theirs)
        elif field.type_str == "records":
            field._type = _Records


@cache
def _structure(message: Any) -> Any:
    return _twin(message)


@cache
def _decoder(message: Any, version: int) -> Callable[[memoryview, int, int], tuple[Any, int]]:
    flexible = message.flexible_version_q(version)
    ctx = _SafeContext()
    ctx.lines.append("def _decode(data, pos, left):")
    _structure(message).emit_decode_from(
        ctx, "obj", "    ", version=version, compact=flexible, tagged=flexible
    )
    ctx.emit("    ", "return obj, pos")
    exec(compile(ctx.source(), f"<{message.name}_v{version}>", "exec"), ctx.globs)
    decode: Callable[[memoryview, int, int], tuple[Any, int]] = ctx.globs["_decode"]
    return decode


@cache
def _encoder(message: Any, version: int) -> Callable[[Any, _Cuts], None]:
    flexible = message.flexible_version_q(version)
    ctx = _structure(message).encode_into__optimized_context(version, compact=flexible, tagged=flexible)
    exec(compile(ctx.source(), f"<{message.name}_v{version}>", "exec"), ctx.globs)
    encode: Callable[[Any, _Cuts], None] = ctx.globs["_encode"]
    return encode


def decode_body(
    message: Any,
    version: int,
    data: memoryview,
    start: int = 0,
    trailing: bool = False,
    most: int = MOST_ELEMENTS,
) -> Any:
    """The object of class `message` that `data` holds from `start` to its end.  Raises `MalformedMessage`.

    `most`: elements that all its lists may have together.
    With `trailing` there may be octets behind it, which Kafka's own brokers ignore (librdkafka 2 sends some).
    """
    if not 0 <= version <= message.max_version:
        raise MalformedMessage(f"{message.name} has no version {version}")
    try:
        decoded, end = _decoder(message, version)(data, start, most)
    except DECODING_ERRORS as error:
        raise MalformedMessage(f"{message.name} v{version}: {error}") from error
    if end != len(data) and not (trailing and end < len(data)):
        what = (
            f"{len(data) - end} octets too many" if end < len(data) else f"{end - len(data)} octets missing"
        )
        raise MalformedMessage(f"{message.name} v{version}: {what}")
    return decoded


def encode_body(head: bytes, body: Any, version: int) -> list[Buffer]:
    """A frame in parts: its length, `head`, the encoded `body`; `records` are passed on as they are."""
    message: Any = type(body)
    out = _Cuts()
    out.pos = 4
    out.ensure(len(head))
    out.buf[4 : 4 + len(head)] = head
    out.pos += len(head)
    try:
        _encoder(message, version)(body, out)
    except (*DECODING_ERRORS, AttributeError) as error:
        raise MalformedMessage(f"{message.name} v{version} cannot be encoded: {error}") from error
    return _joined(out)


def _joined(out: _Cuts) -> list[Buffer]:
    parts: list[Buffer] = []
    done, records = 0, 0
    fixed = memoryview(out.buf)
    for pos, part in out.cuts:
        if pos > done:
            parts.append(fixed[done:pos])
            done = pos
        parts.append(part)
        records += len(part)
    if out.pos > done:
        parts.append(fixed[done : out.pos])
    struct.pack_into(">i", out.buf, 0, out.pos - 4 + records)
    return parts
