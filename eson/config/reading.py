"""From YAML nodes to values, with every fault found and none raised.

A *converter* makes a value of an `Entry` or raises `Unfit`.  A section is a frozen dataclass and a table of converters, one
for each key; what the file leaves out keeps the dataclass's default.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from eson.errors import Fault

T = TypeVar("T")


class Unfit(Exception):
    """A value that its key cannot take.  Retry: no; it becomes a `Fault`."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Faults:
    """All faults found so far, and the line on which each key stands."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self.secrets: list[str] = []
        self._lines: dict[str, int] = {}
        self._made: list[tuple[object, str]] = []

    def made(self, value: T, path: str) -> T:
        """Remembers where a section was read, for checks that come when all are."""
        self._made.append((value, path))
        return value

    def path_of(self, value: object) -> str:
        """Where a section was read; "" for one that the file does not set."""
        return next((path for made, path in self._made if made is value), "")

    def holds_secret(self, path: str) -> None:
        """The file itself holds a secret, at `path`."""
        self.secrets.append(path)

    def stands(self, path: str, line: int) -> None:
        self._lines[path] = line

    def has(self, path: str) -> bool:
        """Whether the file sets that key."""
        return path in self._lines

    def found_in(self, path: str) -> bool:
        """Whether that value, or anything inside it, has a fault already."""
        return any(one.key == path or one.key.startswith((f"{path}.", f"{path}[")) for one in self.found)

    def add(self, path: str, reason: str, remedy: str) -> None:
        """A fault at `path`, shown on its line or on that of what encloses it (0: the whole file)."""
        at = path
        while at and at not in self._lines:
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        self.put(Fault(self._lines.get(at, 0), path or "the file", reason, remedy))

    def put(self, fault: Fault) -> None:
        """What is read twice is reported once."""
        if fault not in self.found:
            self.found.append(fault)

    def in_order(self) -> list[Fault]:
        return sorted(self.found, key=lambda fault: fault.line)


@dataclass(frozen=True)
class Entry:
    """One value in the file: its node, the keys that lead to it, the file's directory, and where faults go."""

    node: yaml.Node
    path: str
    directory: Path
    faults: Faults

    def scalar(self) -> str | None:
        """The text of a plain value, None for null.  Raises `Unfit` for a list or a mapping."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise Unfit("is a list or a mapping", "Write a single value")
        return None if self.is_null() else str(self.node.value)

    def is_null(self) -> bool:
        return self.node.tag == "tag:yaml.org,2002:null"

    def is_list(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)

    def is_of(self, kind: str) -> bool:
        """Whether YAML reads the value as `int`, `bool`, …"""
        return self.node.tag == f"tag:yaml.org,2002:{kind}"

    def items(self) -> Iterator[Entry]:
        """The items of a list.  Raises `Unfit` for anything else."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise Unfit("is no list", "Write it in brackets: [A, B]")
        for index, node in enumerate(self.node.value):
            yield self._below(node, f"{self.path}[{index}]", node)

    def pairs(self) -> Mapping[str, Entry]:
        """The keys of a mapping and what they say; a key given twice is a fault.  Raises `Unfit` for anything else."""
        if not isinstance(self.node, yaml.MappingNode):
            raise Unfit("is no mapping", "Write keys and values: {key: value}")
        found: dict[str, Entry] = {}
        for key, node in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Unfit("has a key that is no word", "Write keys as plain words")
            name = str(key.value)
            path = f"{self.path}.{name}" if self.path else name
            if name in found:
                self.faults.put(
                    Fault(_line(key), path, "is given twice", "Keep one of the two and remove the other")
                )
                continue
            found[name] = self._below(node, path, key)
        return found

    def without(self, keys: Collection[str]) -> Entry:
        """The same mapping without some of its keys."""
        if not isinstance(self.node, yaml.MappingNode):
            return self
        kept = [(key, value) for key, value in self.node.value if key.value not in keys]
        node = yaml.MappingNode(self.node.tag, kept, self.node.start_mark, self.node.end_mark)
        return dataclasses.replace(self, node=node)

    def _below(self, node: yaml.Node, path: str, where: yaml.Node) -> Entry:
        self.faults.stands(path, _line(where))
        return Entry(node, path, self.directory, self.faults)

    def read(self, convert: Callable[[Entry], T], otherwise: T) -> T:
        """What `convert` makes of this entry; a fault and `otherwise` if it cannot."""
        try:
            return convert(self)
        except Unfit as unfit:
            self.faults.add(self.path, unfit.reason, unfit.remedy)
            return otherwise


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


Convert = Callable[[Entry], Any]
_UNREADABLE: Any = object()


def section(kind: type[T], table: Mapping[str, Convert], **fields: str) -> Callable[[Entry], T]:
    """A converter to the dataclass `kind`, with one converter for each key.

    `fields` tells the field of a key that is called otherwise; two keys of one field exclude each other.  Never raises:
    a field that is needed and cannot be read is left empty.
    """

    def convert(entry: Entry) -> T:
        try:
            given = entry.pairs()
        except Unfit as unfit:
            entry.faults.add(entry.path, unfit.reason, unfit.remedy)
            return entry.faults.made(kind(**_needed(kind, {})), entry.path)
        values = _read_keys(entry, table, given, fields)
        empty = _needed(kind, values)
        for name in empty:
            key = next((key for key, field in fields.items() if field == name), name)
            if key not in given:
                entry.faults.add(_join(entry.path, key), "is missing", "It has no default: say it")
        return entry.faults.made(kind(**values, **empty), entry.path)

    return convert


def _read_keys(
    entry: Entry, table: Mapping[str, Convert], given: Mapping[str, Entry], fields: Mapping[str, str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    by_field: dict[str, str] = {}
    for key, value in given.items():
        if key not in table:
            entry.faults.add(value.path, "is no key that is known here", _suggestion(key, table))
            continue
        field = fields.get(key, key)
        if field in by_field:
            entry.faults.add(value.path, f"contradicts `{by_field[field]}`", "Keep one of the two")
            continue
        by_field[field] = key
        read = value.read(table[key], _UNREADABLE)
        if read is not _UNREADABLE:
            values[field] = read
    return values


def _needed(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Empty values for the fields that have no default and are not among `values`."""
    return {
        field.name: () if str(field.type).startswith("tuple") else ""
        for field in dataclasses.fields(kind)
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    }


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(known)}"


def many(convert: Callable[[Entry], T]) -> Callable[[Entry], tuple[T, ...]]:
    """A converter of lists; items that cannot be read are reported one by one."""

    def convert_all(entry: Entry) -> tuple[T, ...]:
        items = (item.read(convert, _UNREADABLE) for item in entry.items())
        return tuple(item for item in items if item is not _UNREADABLE)

    return convert_all


def mapping(key: Callable[[str], str], convert: Callable[[Entry], T]) -> Callable[[Entry], Mapping[str, T]]:
    """A converter of mappings whose keys are names: `key` makes their canonical form or raises `Unfit`."""

    def convert_all(entry: Entry) -> Mapping[str, T]:
        found: dict[str, T] = {}
        for name, value in entry.pairs().items():
            try:
                proper = key(name)
            except Unfit as unfit:
                entry.faults.add(value.path, unfit.reason, unfit.remedy)
                continue
            read = value.read(convert, _UNREADABLE)
            if proper in found:
                entry.faults.add(value.path, "is given twice", "Keep one of the two and remove the other")
            elif read is not _UNREADABLE:
                found[proper] = read
        return MappingProxyType(found)

    return convert_all
