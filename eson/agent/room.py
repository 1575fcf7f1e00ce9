"""Room for partitions: what is carried partition for partition needs a destination that has as many as its source.

A destination that was made for its source follows it.  One that somebody created stays as it is: more partitions would
move the keys of all others that write to it, so who wants that says so.
"""

from __future__ import annotations

from dataclasses import replace

from eson.agent.audit import AGENT, Audit
from eson.agent.parts import Parts
from eson.errors import Conflict
from eson.model.flows import Flow
from eson.store.port import PutFlow, Store

FOREIGN_PARTITIONS = 200
"""As many are made for a copy at another participant: its agent says how many it has, our broker bears them."""


class NoRoom(Conflict):
    """The destination has too few partitions, and shall not be given more.  Retry: after it was given them."""


class Room:
    def __init__(self, store: Store, parts: Parts, audit: Audit) -> None:
        self._store = store
        self._parts = parts
        self._audit = audit

    async def check(self, flow: Flow, needed: int) -> None:
        """Whether a flow, or the queue that one would get, has so many if it is there.  Raises `Conflict`, `TryLater`."""
        if await self._store.flow(flow.name) is not None:
            have = flow.partitions if flow.partitions >= needed else await self._partitions(flow)
            if have < needed:
                raise _too_few(flow, have, needed)
        elif await self._store.intention(flow.name) is None:
            # else the queue is of a creation that did not end
            queue = await self._parts.find_queue(flow)
            if queue is not None and queue.partitions < needed:
                raise NoRoom(
                    f"the queue {flow.topic} is there already with {_count(queue.partitions)}, its source has {needed}:"
                    " add partitions to it, or choose another flow"
                )

    async def fit(self, flow: Flow, needed: int, maker: str) -> Flow:
        """The flow with at least so many, if it has them or was made for `maker`; whoever calls holds its lock.

        Raises `Conflict`, `TryLater`.
        """
        if flow.partitions >= needed:
            return flow
        if flow.made_for == maker:
            return await self.widen(flow, needed, maker)
        have = await self._partitions(flow)
        if have < needed:
            raise _too_few(flow, have, needed)
        return await self._keep(flow, have)

    async def widen(self, flow: Flow, needed: int, maker: str) -> Flow:
        """Adds what lacks, and notes it.  Raises `TryLater`."""
        have = await self._partitions(flow)
        if have >= needed:
            return await self._keep(flow, have)
        await self._parts.broker(flow.broker).add_partitions(flow.topic, needed)
        flow = replace(flow, partitions=needed)
        note = self._audit.note(
            AGENT, "add partitions", flow.name, f"{have} to {needed}, as the source of {maker}"
        )
        await self._store.apply(PutFlow(flow), note)
        return flow

    async def look(self, flow: Flow) -> Flow:
        """The flow with the partitions that were added at its broker; whoever calls holds its lock.  Raises `TryLater`."""
        return await self._keep(flow, await self._partitions(flow))

    async def _partitions(self, flow: Flow) -> int:
        """What its broker says: somebody may have added some there."""
        queue = await self._parts.find_queue(flow)
        return flow.partitions if queue is None else queue.partitions

    async def _keep(self, flow: Flow, partitions: int) -> Flow:
        if partitions <= flow.partitions:
            return flow
        flow = replace(flow, partitions=partitions)
        note = self._audit.note(AGENT, "find partitions", flow.name, f"{partitions}: added at its broker")
        await self._store.apply(PutFlow(flow), note)
        return flow


def check_foreign(local: str, copy: str, needed: int, verb: str) -> None:
    """Whether so many may be made for a copy at another participant.  Raises `NoRoom`, which tells how to have them."""
    if needed > FOREIGN_PARTITIONS:
        raise NoRoom(
            f"{copy} has {_count(needed)}, and no more than {FOREIGN_PARTITIONS} are made for another participant's flow:"
            f" {verb} FLOW {local} partitions={needed} first"
        )


def _too_few(flow: Flow, have: int, needed: int) -> NoRoom:
    return NoRoom(
        f"{flow.name} has {_count(have)}, its source has {needed}: UPDATE FLOW {flow.name} partitions={needed} first,"
        " or choose another flow"
    )


def _count(partitions: int) -> str:
    return f"{partitions} partition" + ("s" if partitions != 1 else "")
