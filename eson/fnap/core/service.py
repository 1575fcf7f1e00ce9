"""What an FNAP server needs from the agent behind it: ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from eson.fnap.core.commands import AgentCommand, Read, Write
from eson.fnap.core.replies import Outcome
from eson.identity.verifier import Verifier
from eson.model.principals import Caller


class EventReader(Protocol):
    """A running READ.  Lines are JSON objects (CloudEvents) without line end, ready to send."""

    async def next_lines(self) -> list[bytes]:
        """The next lines, at most 64 of them or 1 MiB; waits if there are none yet; [] at the end of a bounded READ.

        Raises `EsonError`.  Never called again before the last call ended.
        """

    def close(self) -> None:
        """Ends it; a `next_lines` that waits returns []."""


class EventWriter(Protocol):
    """A running WRITE."""

    async def write(self, event: Mapping[str, Any]) -> None:
        """Accepts one CloudEvent (a decoded JSON object); may wait, which holds the client back.

        Raises `Usage` or `TooLarge` if it is no event (nothing after it is written), `WriteStopped` if the broker is lost.
        """

    async def finish(self) -> int:
        """Waits until all accepted events are synced; how many.  Raises `WriteStopped`."""

    def abort(self) -> None:
        """The client is gone: what was accepted is still written."""


class Authenticator(Protocol):
    """What the server asks about logins.  `peer` is the client's address.  All but `failed` raise `EsonError`."""

    async def verifier(self, username: str, peer: str) -> Verifier | None:
        """Raises `NotAvailableNow` if too many logins are under way or the peer failed too often."""

    async def check_password(self, username: str, password: str, peer: str) -> bool:
        """Raises `NotAvailableNow`."""

    async def authorise(
        self, username: str, authorisation: str, mechanism: str, peer: str, tls: bool
    ) -> Caller | None:
        """Who `username` is, or is allowed to act as; None: it is not."""

    def failed(self, username: str, mechanism: str, peer: str, reason: str) -> None:
        """For audit and throttle."""


class AgentService(Protocol):
    """The agent as the FNAP server sees it.  All methods raise `EsonError`."""

    async def execute(self, caller: Caller, command: AgentCommand) -> Outcome: ...

    async def open_reader(self, caller: Caller, command: Read) -> EventReader: ...

    async def open_writer(self, caller: Caller, command: Write) -> EventWriter: ...
