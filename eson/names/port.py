"""The port to the name service: what DNS shall say of flows and namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eson.model.servers import Server


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
