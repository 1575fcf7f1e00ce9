"""What a collector adds: the flow that each record comes from, as a header behind those that it has."""

from __future__ import annotations

from collections.abc import Callable

from eson.brokers.kafka.wire.records import BatchRecord

SOURCE = "eson-source"


def with_source(flow: str) -> Callable[[int, list[BatchRecord]], list[BatchRecord]]:
    """Adds `eson-source: flow://<flow>` to each record; what an earlier collector added stays before it."""
    header = (SOURCE, f"flow://{flow}".encode())

    def add(partition: int, records: list[BatchRecord]) -> list[BatchRecord]:
        return [record._replace(headers=(*record.headers, header)) for record in records]

    return add
