"""The port to the supervisor of processors: what the agent orders, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, get_args

from eson.brokers.port import Access
from eson.model.rates import UNLIMITED, RateLimit

Kind = Literal["bridge", "collector", "distributor", "signal"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BY_PARTITION: tuple[Kind, ...] = ("bridge", "distributor")
"""Kinds that carry partition n to partition n: their destinations need as many as the source has.

The others make a new flow of several: partition n goes to n modulo the number that the destination has.
"""
State = Literal["starting", "running", "paused", "unreachable", "failing", "stopped"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class ProcessorEnd:
    """One end of a processor: a queue at a broker.  `foreign`: its address came from another participant.

    `limit`: no faster than this is a destination filled; of a source it means nothing.
    """

    access: Access
    queue: str
    flow: str
    foreign: bool = False
    limit: RateLimit = UNLIMITED


@dataclass(frozen=True)
class ProcessorOrder:
    """What a processor shall do.  `id` names its journal too; `start`: partition → source offset, fixed by the agent."""

    id: str
    kind: Kind
    sources: tuple[ProcessorEnd, ...]
    destinations: tuple[ProcessorEnd, ...]
    start: Mapping[int, int] | Literal["beginning", "now"] = "beginning"
    when: str = ""
    """A signal's condition (CloudEvents SQL), "" for all events."""
    lanes: bytes = field(default=b"", compare=False, repr=False)
    """What it said of its journal when it was ready last: a journal that holds less is lost, and never begun anew."""


@dataclass(frozen=True)
class ProcessorStatus:
    """What a processor last said.  `lag` in records; `rate` in records a second; times are aware UTC."""

    id: str
    kind: Kind
    state: State
    pid: int | None = None
    since: datetime | None = None
    restarts: int = 0
    lag: int | None = None
    rate: float | None = None
    last_event: datetime | None = None
    last_error: str = ""
    login_refused: bool = False
    gaps: Sequence[tuple[int, int, int]] = ()
    """(partition, first, last missing offset) seen since the processor was created."""
    lanes: bytes = field(default=b"", repr=False)
    """What its journal begins with, once it was ready: to be kept, and given back in `ProcessorOrder.lanes`."""


class Processors(Protocol):
    """The supervisor of processors."""

    async def create(self, order: ProcessorOrder) -> None:
        """Starts it and waits until it is ready (positions known, both ends reached).  Idempotent for the same id.

        Raises `TryLater` if it is not ready within its deadline; it goes on trying all the same.
        """

    async def update(self, order: ProcessorOrder) -> None: ...

    async def amend(self, order: ProcessorOrder) -> None:
        """As `update` for one that is there, without waiting until it is ready; others are left alone."""

    async def pause(self, id: str) -> None: ...

    async def resume(self, id: str) -> None: ...

    async def stop_processor(self, id: str) -> None:
        """Ends the process and keeps its journal, hence its position."""

    async def destroy(self, id: str) -> None:
        """Ends it and removes its journal.  Idempotent."""

    def status(self, id: str) -> ProcessorStatus | None: ...

    def ids(self) -> Sequence[str]:
        """All processors that run or shall run."""

    def listen(self, changed: Callable[[ProcessorStatus], None]) -> None:
        """Calls `changed` at each change of state, never for mere progress."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
