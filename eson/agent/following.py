"""Which state follows from what a processor says."""

from __future__ import annotations

from eson.model.subscriptions import State
from eson.processors.port import ProcessorStatus

NOT_READY = "processor not ready"
_REASONS = {"failing": "processor failing", "unreachable": "broker unreachable"}


def followed(state: State, reason: str, status: ProcessorStatus) -> tuple[State, str] | None:
    """State and reason that follow from a processor's status; None: nothing changes."""
    if status.state == "running":
        # a subscriber's record that is pending has a processor only once it is approved
        waits = state in (State.REQUESTED, State.PENDING, State.FAILING)
        return (State.ACTIVE, "") if waits else None
    new = _REASONS.get(status.state)
    if new is None:
        return None
    if state is State.ACTIVE or (state is State.FAILING and reason != new):
        return State.FAILING, new
    return None
