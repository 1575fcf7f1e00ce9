"""The embedded name service behind the port `Names`: what the agent publishes is what the server answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from eson.errors import BackendFailed
from eson.names.core.authority import Authority, Settings
from eson.names.core.responder import Responder
from eson.names.port import FlowNames


class EmbeddedNames:
    """Implements `Names`.  Everything is in memory: the agent publishes it anew when it starts."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._authority = Authority(settings, now)
        self._responder = Responder(self._authority)

    def respond(self, data: bytes, stream: bool = False) -> bytes | None:
        """The reply to one DNS message; None for what gets none."""
        return self._responder.respond(data, stream)

    async def publish_namespace(self, namespace: str) -> None:
        self._authority.put_namespace(namespace)

    async def withdraw_namespace(self, namespace: str) -> None:
        self._authority.remove_namespace(namespace)

    async def publish_flow(self, names: FlowNames) -> None:
        """Raises `BackendFailed` for a server or queue whose name does not fit into records."""
        try:
            self._authority.put_flow(names)
        except ValueError as error:
            raise BackendFailed(f"DNS cannot say where {names.flow} is: {error}") from None

    async def withdraw_flow(self, flow: str) -> None:
        self._authority.remove_flow(flow)

    def published(self) -> Sequence[str]:
        return self._authority.flows()

    def serial(self, zone: str) -> int:
        """Raises `NotHosted`."""
        return self._authority.zone(zone).serial()

    def zones(self) -> Sequence[str]:
        return self._authority.zones()
