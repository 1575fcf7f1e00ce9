"""The settings of a topic: which there are, what they accept, and what they mean for the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eson.brokers.embedded.log.partition import Limits

INT, LONG, STRING, LIST, BOOLEAN, DOUBLE = 3, 5, 2, 7, 1, 6
_LARGEST_INT, _LARGEST_LONG = 2**31 - 1, 2**63 - 1


class InvalidConfig(Exception):
    """A setting that is unknown or has a value that is not offered here (INVALID_CONFIG).  Retry: no."""


class Setting(NamedTuple):
    """`check` raises `ValueError` with the reason."""

    default: str
    kind: int
    check: Callable[[str], object]
    about: str
    server_name: str
    """What Kafka calls the broker's own setting that holds where a topic has none."""


def _number(low: int, high: int) -> Callable[[str], object]:
    def check(text: str) -> object:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"Value must be {low} to {high}")
        return value

    return check


def _only(*values: str) -> Callable[[str], object]:
    def check(text: str) -> object:
        if text not in values:
            raise ValueError(f"This broker offers {' or '.join(values)}")
        return text

    return check


SETTINGS: Mapping[str, Setting] = {
    "cleanup.policy": Setting(
        "delete", LIST, _only("delete"), "There is no compaction.", "log.cleanup.policy"
    ),
    "compression.type": Setting(
        "producer", STRING, _only("producer"), "Batches are kept as they came.", "compression.type"
    ),
    "max.message.bytes": Setting(
        "1048588", INT, _number(1024, 64 << 20), "Largest batch, in octets.", "message.max.bytes"
    ),
    "message.timestamp.type": Setting(
        "CreateTime",
        STRING,
        _only("CreateTime"),
        "Timestamps are the producer's.",
        "log.message.timestamp.type",
    ),
    "min.insync.replicas": Setting(
        "1", INT, _only("1"), "There is one copy, and it is synced.", "min.insync.replicas"
    ),
    "retention.bytes": Setting(
        "-1",
        LONG,
        _number(-1, _LARGEST_LONG),
        "Octets kept per partition; -1: no limit.",
        "log.retention.bytes",
    ),
    "retention.ms": Setting(
        "604800000",
        LONG,
        _number(-1, _LARGEST_LONG),
        "How long records are kept; -1: for ever.",
        "log.retention.ms",
    ),
    "segment.bytes": Setting(
        "134217728", INT, _number(14, _LARGEST_INT), "Octets of a file of the log.", "log.segment.bytes"
    ),
}


def check_configs(configs: Mapping[str, str]) -> None:
    """Raises `InvalidConfig` for the first setting that cannot be."""
    for name, value in configs.items():
        setting = SETTINGS.get(name)
        if setting is None:
            raise InvalidConfig(f"Unknown topic config name: {name}")
        try:
            setting.check(value)
        except ValueError as error:
            raise InvalidConfig(f"Invalid value {value} for configuration {name}: {error}") from None


def limits_of(configs: Mapping[str, str], retention_ms: int) -> Limits:
    """What the log makes of a topic's own settings; `retention_ms` is the broker's."""
    return Limits(
        retention_ms=int(configs.get("retention.ms", retention_ms)),
        retention_bytes=int(configs.get("retention.bytes", SETTINGS["retention.bytes"].default)),
        segment_bytes=int(configs.get("segment.bytes", SETTINGS["segment.bytes"].default)),
        max_message_bytes=int(configs.get("max.message.bytes", SETTINGS["max.message.bytes"].default)),
    )
