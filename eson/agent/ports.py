"""What the agent needs of the agents of other participants, and the clock.

The ports to brokers, processors and names stand in those rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from eson.model.positions import Position
from eson.model.principals import Principal
from eson.model.servers import Server


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

    Raises `AgentUnreachable` (no connection, 4yz, lies on the wire) and `RemoteRefused` (5yz, with the text of the reply:
    `No such flow: …` means that the other side does not know it any more).
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

    async def quit(self) -> None:
        """Ends the session; never raises."""


class Remotes(Protocol):
    """The agents of other participants."""

    async def connect(self, flow: str, on_behalf_of: Principal) -> RemoteSession:
        """Discovers the agent of `flow` and logs in for `user@participant`.  Raises `AgentUnreachable`."""

    async def connect_participant(self, participant: str) -> RemoteSession:
        """To a participant's own agent (`_flow._tcp.<participant>` or `remotes`), for NOTIFY."""


class Clock(Protocol):
    def now(self) -> datetime: ...


class Delayed(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...

    def active(self) -> bool: ...


class Scheduler(Protocol):
    """The part of a reactor that the agent needs.  Its seconds go on as ever when somebody moves the time of day."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, what: Callable[..., Any], *args: Any) -> Delayed: ...
