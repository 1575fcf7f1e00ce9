"""Subscriptions: states, reasons and the legal changes between them (interface section 7)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from eson.errors import Conflict
from eson.model.principals import Principal


class State(enum.Enum):
    REQUESTED = "requested"
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILING = "failing"
    ENDED = "ended"


class Reason(enum.Enum):
    """Why a subscription ended."""

    UNSUBSCRIBED = "unsubscribed"
    REMOVED = "removed"
    DENIED = "denied"
    EXPIRED = "expired"
    LEASE = "lease"
    REVOKED = "revoked"
    FLOW_DELETED = "flow-deleted"
    LOOP = "loop"
    ERROR = "error"


class Side(enum.Enum):
    """Which end of a subscription a record describes."""

    PROVIDER = "provider"
    SUBSCRIBER = "subscriber"


CHANGES = MappingProxyType(
    {
        State.REQUESTED: frozenset({State.PENDING, State.ACTIVE, State.ENDED}),
        State.PENDING: frozenset({State.ACTIVE, State.ENDED}),
        State.ACTIVE: frozenset({State.PAUSED, State.STOPPED, State.FAILING, State.ENDED}),
        State.PAUSED: frozenset({State.ACTIVE, State.STOPPED, State.ENDED}),
        State.STOPPED: frozenset({State.ACTIVE, State.ENDED}),
        State.FAILING: frozenset({State.ACTIVE, State.PAUSED, State.STOPPED, State.ENDED}),
        State.ENDED: frozenset(),
    }
)


def check_change(old: State, new: State) -> None:
    """Let a legal change pass; a change to the same state is legal.  Raises `Conflict`."""
    if new is not old and new not in CHANGES[old]:
        raise Conflict(f"a subscription that is {old.value} cannot become {new.value}")


@dataclass(frozen=True)
class Subscription:
    """One side's record of a subscription.

    `id` is the copy's name once it is known (before that the token); `copy` is "" while unknown; `local` is the
    subscriber's own flow ("" on the provider's side, unless both are hosted here); `token` makes a repeated
    SUBSCRIBE find the same copy; `start` holds the offsets fixed at the start, (partition, offset) pairs of the source;
    `remote_state` is what the other side said last ("" if unknown).
    """

    id: str
    side: Side
    flow: str
    copy: str
    local: str
    principal: Principal
    token: str
    state: State
    reason: str
    actor: str
    since: datetime
    created: datetime
    start: tuple[tuple[int, int], ...] = ()
    position: str = "NOW"
    remote_state: str = ""
    renewed: datetime | None = None
    lineage: tuple[str, ...] = ()
    typed_local: str = ""
