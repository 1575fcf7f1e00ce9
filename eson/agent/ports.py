"""What the agent needs from the other rooms and does not build itself.

Brokers are in `eson.brokers.port`; here are processors, names and the agents of other participants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from eson.brokers.port import Access, Server
from eson.model.positions import Position
from eson.model.principals import Principal


@dataclass(frozen=True)
class ProcessorEnd:
    """One end of a processor: a queue at a broker.  `foreign`: its address came from another participant."""

    access: Access
    queue: str
    flow: str
    foreign: bool = False


@dataclass(frozen=True)
class ProcessorOrder:
    """What a processor shall do.  `id` names its journal too; `start`: partition → source offset, fixed by the agent."""

    id: str
    kind: Literal["bridge", "collector", "distributor", "signal"]
    sources: tuple[ProcessorEnd, ...]
    destinations: tuple[ProcessorEnd, ...]
    start: Mapping[int, int] | Literal["beginning", "now"] = "beginning"
    records_per_second: int | None = None
    bytes_per_second: int | None = None


@dataclass(frozen=True)
class ProcessorStatus:
    """What a processor last said.  `lag` in records; `rate` in records a second; times are aware UTC."""

    id: str
    kind: str
    state: Literal["starting", "running", "paused", "unreachable", "failing", "stopped"]
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


class Processors(Protocol):
    """The supervisor of processors."""

    async def create(self, order: ProcessorOrder) -> None:
        """Starts it and waits until it is ready (positions known, both ends reached).  Idempotent for the same id.

        Raises `TryLater` if it is not ready within its deadline; it goes on trying all the same.
        """

    async def update(self, order: ProcessorOrder) -> None: ...

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


@dataclass(frozen=True)
class FlowNames:
    """What DNS shall say of a flow."""

    flow: str
    namespace: str
    broker_kind: str
    servers: tuple[Server, ...]
    broker_tls: bool
    queue: str
    """The real name of the queue; shown in TXT only where it differs from the flow's name."""
    catalogued: bool = True
    copy: bool = False


class Names(Protocol):
    """The name service as the agent sees it.  All idempotent."""

    async def publish_namespace(self, namespace: str) -> None: ...

    async def withdraw_namespace(self, namespace: str) -> None: ...

    async def publish_flow(self, names: FlowNames) -> None: ...

    async def withdraw_flow(self, flow: str) -> None: ...

    def published(self) -> Sequence[str]:
        """Flows that have records now."""

    def serial(self, zone: str) -> int: ...

    def zones(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Credential:
    """The answer to GET CREDENTIAL.  `kind` is the broker's type, or "fnap" for brokers that issue none."""

    name: str
    kind: str
    servers: tuple[Server, ...]
    security: str = "plaintext"
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    group: str = ""
    trust: str = "system"
    expires: datetime | None = None


@dataclass(frozen=True)
class RemoteFlow:
    """What DESCRIBE FLOW of another participant's agent says, as far as we need it."""

    flow: str
    partitions: int = 1
    state: str = ""
    reason: str = ""
    lineage: tuple[str, ...] = ()
    copy_of: str = ""


class RemoteSession(Protocol):
    """An authenticated session with another participant's agent.

    Raises `AgentUnreachable` (no connection, 4yz, lies on the wire) and `RemoteRefused` (5yz).
    """

    participant: str

    async def subscribe(self, flow: str, position: Position | None, token: str) -> tuple[str, bool]:
        """The copy's name and whether it is pending.  A copy that is not `<label>.<flow>` is a lie."""

    async def describe_flow(self, flow: str) -> RemoteFlow: ...

    async def get_credential(self, copy: str) -> Credential: ...

    async def unsubscribe(self, copy: str) -> None:
        """Success too if it does not exist any more."""

    async def find_by_token(self, flow: str, token: str) -> str | None:
        """The copy made for this token, if any."""

    async def change(self, verb: Literal["PAUSE", "RESUME", "STOP"], copy: str) -> None: ...

    async def notify(self, copy: str, state: str) -> None: ...

    async def quit(self) -> None: ...


class Remotes(Protocol):
    """The agents of other participants."""

    async def connect(self, flow: str, on_behalf_of: Principal) -> RemoteSession:
        """Discovers the agent of `flow` and logs in for `user@participant`.  Raises `AgentUnreachable`."""

    async def connect_participant(self, participant: str) -> RemoteSession:
        """To a participant's own agent (`_flow._tcp.<participant>` or `remotes`), for NOTIFY."""


class Clock(Protocol):
    def now(self) -> datetime: ...
