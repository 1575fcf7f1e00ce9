"""CREATE, UPDATE and DELETE NAMESPACE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eson.agent.access import Access, administers
from eson.agent.audit import Audit
from eson.agent.flows import Flows
from eson.agent.hosting import Hosting
from eson.agent.locks import Locks
from eson.agent.parts import Parts
from eson.agent.ports import Clock
from eson.agent.records import quietly
from eson.agent.settings import namespace_settings
from eson.errors import Conflict, EsonError, NoSuch, NotAllowed, NotHosted, NotSupported
from eson.fnap.core.commands import CreateNamespace, DeleteNamespace, UpdateNamespace
from eson.fnap.core.replies import Ok
from eson.model.flows import Namespace
from eson.model.names import canonical, is_below, longest_namespace
from eson.model.principals import Caller
from eson.names.port import Names
from eson.store.port import DropIntention, DropNamespace, PutIntention, PutNamespace, Store
from eson.store.records import Intention

CREATE = "create-namespace"
DELETE = "delete-namespace"


class Namespaces:
    def __init__(
        self,
        store: Store,
        hosting: Hosting,
        access: Access,
        parts: Parts,
        names: Names,
        flows: Flows,
        locks: Locks,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store = store
        self._hosting = hosting
        self._access = access
        self._parts = parts
        self._names = names
        self._flows = flows
        self._locks = locks
        self._audit = audit
        self._clock = clock

    async def create(self, caller: Caller, command: CreateNamespace) -> Ok:
        """Below a namespace hosted here, for its administrators.  Raises `NotHosted`, `NotAllowed`, `Conflict`."""
        name = canonical(command.namespace)
        hosted = [one.name for one in self._hosting.all()]
        above = longest_namespace(name, hosted) or (name if name in hosted else None)
        if above is None:
            raise NotHosted(name)
        upper = self._hosting.namespace(above)
        at_home = bool(caller.home) and (is_below(name, caller.home) or name == caller.home)
        if not (at_home or administers(caller, upper)):
            raise NotAllowed("administer", upper.name)
        settings = self._checked(namespace_settings(command.pairs))
        with self._locks.hold(name):
            if self._hosting.find(name) is not None:
                raise Conflict(f"{name} exists")
            if await self._store.flow(name) is not None or await self._store.flows(below=name, limit=1):
                raise Conflict(f"{name} has flows")
            owner = {"configured": False, "owner": caller.principal, "created": self._clock.now()}
            namespace = replace(upper, name=name, **{**owner, **settings})
            intention = Intention(CREATE, name, self._clock.now())
            await self._store.apply(PutIntention(intention))
            try:
                await self._names.publish_namespace(name)
                note = self._audit.note(caller.principal, "create namespace", name)
                await self._store.apply(PutNamespace(namespace), DropIntention(name), note)
            except EsonError:
                await quietly(self.settle(intention))
                raise
            self._hosting.keep([namespace])
        return Ok(name)

    async def update(self, caller: Caller, command: UpdateNamespace) -> Ok:
        settings = self._checked(namespace_settings(command.pairs))
        old = self._administered(caller, command.namespace)
        if old.configured:
            raise NotSupported(f"{old.name} is set in the configuration")
        with self._locks.hold(_settings_lock(old.name)):
            if self._hosting.find(old.name) is None:
                raise NoSuch("namespace", old.name)
            namespace = replace(old, **settings)
            changes = " ".join(f"{key}={value}" for key, value in command.pairs)
            note = self._audit.note(caller.principal, "update namespace", old.name, changes)
            await self._store.apply(PutNamespace(namespace), note)
            self._hosting.keep([namespace])
        return Ok(old.name)

    async def delete(self, caller: Caller, command: DeleteNamespace) -> Ok:
        """Raises `Conflict` if it has flows (FORCE deletes them, and ends their subscribers) or namespaces below it."""
        namespace = self._administered(caller, command.namespace)
        name = namespace.name
        if namespace.configured:
            raise NotSupported(f"{name} is set in the configuration")
        below = [one.name for one in self._hosting.all() if is_below(one.name, name)]
        if below:
            raise Conflict(f"{name} has namespaces: {below[0]}; delete those first")
        with self._locks.hold(name, _settings_lock(name)):
            flows = await self._store.flows(below=name, limit=1000)
            if flows and not command.force:
                raise Conflict(f"{name} is not empty: {flows[0].name}; FORCE deletes its flows first")
            while flows:
                for one in flows:
                    found = await self._access.flow(caller, one.name, "administer")
                    await self._flows.remove(found, True, caller.principal)
                flows = await self._store.flows(below=name, limit=1000)
            intention = Intention(DELETE, name, self._clock.now())
            note = self._audit.note(caller.principal, "delete namespace", name)
            await self._store.apply(DropNamespace(name), PutIntention(intention), note)
            self._hosting.forget(name)
            await quietly(self.settle(intention))
        return Ok(name)

    def _administered(self, caller: Caller, name: str) -> Namespace:
        namespace = self._hosting.namespace(canonical(name))
        if not administers(caller, namespace):
            raise NotAllowed("administer", namespace.name)
        return namespace

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        for key in ("broker", "copies"):
            if key in settings and not self._parts.has_broker(settings[key]):
                raise NotSupported(f"no broker is called {settings[key]}")
        return settings

    async def settle(self, intention: Intention) -> None:
        """After a CREATE or DELETE that did not end: the records follow what is stored.  Raises `TryLater`."""
        stored = {one.name for one in await self._store.namespaces()}
        if intention.object in stored:
            await self._names.publish_namespace(intention.object)
        else:
            await self._names.withdraw_namespace(intention.object)
        await self._store.apply(DropIntention(intention.object))


def _settings_lock(namespace: str) -> str:
    """Apart from the namespace's own lock, which everyone shares who creates a flow below it."""
    return f"the settings of {namespace}"
