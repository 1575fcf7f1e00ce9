"""A session with ourselves: SUBSCRIBE … LOCAL where both flows are hosted here takes the steps of the far case."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from eson.agent.copies import Copies
from eson.agent.lineage import Lineages
from eson.agent.ports import Credential, RemoteFlow
from eson.errors import NoSuch, NotSupported
from eson.model.flows import Flow
from eson.model.positions import Position
from eson.model.principals import Principal
from eson.model.subscriptions import Reason, Side, State
from eson.store.port import Store


class LocalSession:
    """A `RemoteSession` with our own provider's side, on behalf of one principal."""

    participant = ""

    def __init__(
        self,
        store: Store,
        copies: Copies,
        lineages: Lineages,
        principal: Principal,
        source: tuple[Flow, bool] | None = None,
        local: str = "",
    ) -> None:
        self._store = store
        self._copies = copies
        self._lineages = lineages
        self._principal = principal
        self._source = source
        self._local = local

    async def subscribe(self, flow: str, position: Position | None, token: str) -> tuple[str, bool]:
        if self._source is None:
            raise NotSupported("a session of the reconciler makes no copies")
        source, approved = self._source
        made = await self._copies.subscribe(source, self._principal, approved, position, token, self._local)
        return made.copy, made.state is State.PENDING

    async def describe_flow(self, flow: str) -> RemoteFlow:
        record = await self._store.subscription(Side.PROVIDER, flow)
        if record is None:
            raise NoSuch("flow", flow)
        copy = await self._store.flow(flow)
        return RemoteFlow(
            flow=flow,
            partitions=1 if copy is None else copy.partitions,
            state=record.state.value,
            reason=record.reason,
            lineage=await self._lineages.of_copy(record),
            copy_of=record.flow,
        )

    async def get_credential(self, copy: str) -> Credential:
        """None is needed: our own processor reads our own broker."""
        return Credential(copy, "own", ())

    async def unsubscribe(self, copy: str) -> None:
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is not None and record.state is not State.ENDED:
            with suppress(NoSuch):  # it went meanwhile
                await self._copies.end(copy, Reason.UNSUBSCRIBED, self._principal)

    async def find_by_token(self, flow: str, token: str) -> str | None:
        found = await self._store.subscription_by_token(Side.PROVIDER, self._principal, flow, token)
        return None if found is None else found.copy

    async def change(self, verb: Literal["PAUSE", "RESUME", "STOP"], copy: str) -> None:
        raise NotSupported("each side pauses its own processor")

    async def notify(self, copy: str, state: str) -> None:
        pass

    async def quit(self) -> None:
        pass
