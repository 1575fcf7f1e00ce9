"""APPROVE, DENY and REMOVE SUBSCRIBER, at the provider's agent."""

from __future__ import annotations

from eson.agent.access import Access
from eson.agent.copies import Copies
from eson.agent.finding import Finding
from eson.agent.records import every_subscription
from eson.errors import Conflict, NoSuch, NotAllowed
from eson.fnap.core.commands import ChangeSubscriber
from eson.fnap.core.replies import Ok, Outcome, Pending
from eson.model.principals import Caller
from eson.model.subscriptions import Reason, Side, State, Subscription
from eson.store.port import Store


class Subscribers:
    def __init__(self, store: Store, access: Access, finding: Finding, copies: Copies) -> None:
        self._store = store
        self._access = access
        self._finding = finding
        self._copies = copies

    async def change(self, caller: Caller, command: ChangeSubscriber) -> Outcome:
        """Of a copy, or of a flow and a principal: then all that it waits for (REMOVE: has).

        Raises `NoSuch` (missing or hidden), `NotAllowed`, `Conflict` if it does not wait.
        """
        found = await self._named(caller, command)
        waiting = [one for one in found if one.state is State.PENDING]
        if command.verb == "REMOVE":
            for one in found:
                await self._copies.end(one.copy, Reason.REMOVED, caller.principal, command.reason)
            return Ok(command.name)
        if not waiting:
            raise Conflict(f"{found[0].copy} is {found[0].state.value}, not pending")
        if command.verb == "DENY":
            for one in waiting:
                await self._copies.end(one.copy, Reason.DENIED, caller.principal, command.reason)
            return Ok(command.name)
        done = [await self._copies.approve(one.copy, caller.principal) for one in waiting]
        late = [one for one in done if one.state is not State.ACTIVE]
        return Pending(late[0].copy) if late else Ok(command.name)

    async def _named(self, caller: Caller, command: ChangeSubscriber) -> list[Subscription]:
        """At least one live subscription."""
        if command.principal is None:
            return [await self._of_copy(caller, command.name)]
        found = await self._access.flow(caller, command.name, "administer")
        every = [
            one
            async for one in every_subscription(
                self._store, Side.PROVIDER, flow=found.flow.name, principal=command.principal
            )
        ]
        if not every:
            raise NoSuch("subscription", f"{command.principal} on {command.name}")
        return every

    async def _of_copy(self, caller: Caller, copy: str) -> Subscription:
        record = await self._store.subscription(Side.PROVIDER, copy)
        if record is None or record.state is State.ENDED or not await self._access.concerns(caller, record):
            raise NoSuch("subscription", copy)
        if not await self._finding.administers(caller, record):
            raise NotAllowed("administer", copy)
        return record
