"""SUBSCRIBE: which of its three forms is asked for, and whether the caller may."""

from __future__ import annotations

from eson.agent.access import Access, require_create
from eson.agent.copies import Copies
from eson.agent.flows import Flows
from eson.agent.hosting import Hosting
from eson.agent.joining import Joining, Request
from eson.errors import NotAllowed, NotHosted, Usage
from eson.fnap.core.commands import Subscribe
from eson.fnap.core.replies import Outcome, Pending, Subscribed
from eson.model.principals import ANONYMOUS, Caller
from eson.model.subscriptions import State


class Subscribing:
    def __init__(
        self,
        hosting: Hosting,
        access: Access,
        flows: Flows,
        copies: Copies,
        joining: Joining,
    ) -> None:
        self._hosting = hosting
        self._access = access
        self._flows = flows
        self._copies = copies
        self._joining = joining

    async def subscribe(self, caller: Caller, command: Subscribe) -> Outcome:
        """Raises `NoSuch` (missing or hidden), `NotAllowed`, and what each form raises."""
        name = await self._access.spelled(caller, command.flow)
        here = self._hosting.hosts(name)
        if not command.local:
            if not here:
                raise Usage(f"Usage: SUBSCRIBE FLOW LOCAL FLOW: {command.flow} is not hosted here")
            return await self._copy(caller, command)
        found = await self._access.flow(caller, command.flow, "subscribe") if here else None
        local = await self._local(caller, command.local)
        request = Request(
            principal=caller.principal,
            flow=found.flow.name if found else name,
            local=local,
            typed_local=command.typed_local or command.local,
            position=command.position,
            token=command.token,
            source=(found.flow, found.approved) if found else None,
        )
        return await self._joining.subscribe(request)

    async def _copy(self, caller: Caller, command: Subscribe) -> Outcome:
        """At F's own agent: a copy, which the caller reads itself or carries on to a flow elsewhere."""
        found = await self._access.flow(caller, command.flow, "subscribe")
        made = await self._copies.subscribe(
            found.flow, caller.principal, found.approved, command.position, command.token
        )
        if made.state in (State.REQUESTED, State.PENDING):
            return Pending(made.copy)
        return Subscribed(made.copy)

    async def _local(self, caller: Caller, typed: str) -> str:
        """The local flow's whole name, if the caller may write it or create it.

        A name that no namespace hosted here ends is one below the caller's home.  Raises `NotAllowed`, `NotHosted`.
        """
        if caller.principal == ANONYMOUS:
            raise NotAllowed("write", typed)
        local = typed if self._hosting.hosts(typed) else self._access.at_home(caller, typed)
        if not local:
            raise NotHosted(typed)
        namespace = self._hosting.namespace_of(local)
        if await self._access.is_shown(caller, local):
            await self._access.flow(caller, local, "write")
        else:  # a hidden one as well: what is said must not tell the two apart
            require_create(caller, namespace)
            await self._flows.check_new(caller, local)
        return local
