"""Sessions with the agent of a flow: another participant's, or ourselves."""

from __future__ import annotations

from eson.agent.copies import Copies
from eson.agent.hosting import Hosting
from eson.agent.lineage import Lineages
from eson.agent.local import LocalSession
from eson.agent.ports import Remotes, RemoteSession
from eson.errors import EsonError, NoSuch, RemoteRefused
from eson.model.flows import Flow
from eson.model.principals import Principal
from eson.store.port import Store


class Sessions:
    def __init__(
        self, store: Store, hosting: Hosting, copies: Copies, lineages: Lineages, remotes: Remotes
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._copies = copies
        self._lineages = lineages
        self._remotes = remotes

    async def connect(
        self,
        flow: str,
        principal: Principal,
        source: tuple[Flow, bool] | None = None,
        local: str = "",
    ) -> RemoteSession:
        """With the agent of `flow`, for `principal`.  `source`, if it is hosted here: the flow, and whether it is approved.

        Raises `AgentUnreachable`, `RemoteRefused`.
        """
        if self._hosting.hosts(flow):
            return LocalSession(self._store, self._copies, self._lineages, principal, source, local)
        return await self._remotes.connect(flow, principal)


def is_gone(error: EsonError) -> bool:
    """Whether the flow's agent says that it does not know the copy (any more)."""
    return isinstance(error, NoSuch) or (isinstance(error, RemoteRefused) and "No such flow: " in error.text)
