"""What sources lost before it was carried, written into the audit log: each gap once, however often it is told."""

from __future__ import annotations

import re

from eson.agent.audit import AGENT, Audit
from eson.processors.port import ProcessorStatus
from eson.store.port import Store

ACT = "miss events"
_DETAIL = re.compile(r"partition \d+: offsets (\d+) to (\d+)\Z", re.ASCII)


class Gaps:
    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit
        self._noted: dict[str, set[str]] = {}
        """By processor, what the audit log holds of it; read when it is needed first."""

    async def note(self, status: ProcessorStatus) -> None:
        """Raises `BackendFailed`: it is then tried again with the next change."""
        found = {
            f"partition {partition}: offsets {first} to {last}" for partition, first, last in status.gaps
        }
        if not found:
            return
        if status.id not in self._noted:
            entries = await self._store.audited(ACT, status.id)
            self._noted[status.id] = {entry.detail for entry in entries}
        noted = self._noted[status.id]
        new = sorted(found - noted)
        if new:
            await self._store.apply(
                *(self._audit.note(AGENT, ACT, status.id, detail, "failed") for detail in new)
            )
            noted.update(new)

    def missing(self, id: str) -> int | None:
        """Records that the sources of a processor lost, as the audit log says; None until one was seen or read."""
        noted = self._noted.get(id)
        return None if noted is None else sum(map(_records, noted))


def _records(detail: str) -> int:
    found = _DETAIL.match(detail)
    return int(found[2]) - int(found[1]) + 1 if found else 0
