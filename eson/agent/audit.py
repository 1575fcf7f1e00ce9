"""Lines of the audit log, written in the transaction of what they tell of."""

from __future__ import annotations

from eson.agent.ports import Clock
from eson.model.principals import Principal
from eson.store.port import Note
from eson.store.records import AuditEntry

AGENT = "agent"
"""The actor of what nobody asked for: leases, the reconciler."""


class Audit:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def note(
        self, actor: Principal | str, act: str, object: str, detail: str = "", outcome: str = "ok"
    ) -> Note:
        """A change for `Store.apply`.  `detail` never holds a secret."""
        return Note(AuditEntry(self._clock.now(), str(actor), act, object, outcome, detail))
