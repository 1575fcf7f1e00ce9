"""Who may do what, and what a name that a caller typed stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eson.agent.hosting import Hosting
from eson.errors import NameNotAllowed, NoSuch, NotAllowed
from eson.model.flows import Flow, Namespace, Visibility
from eson.model.names import canonical_flow, is_at_or_below
from eson.model.principals import ANONYMOUS, Caller
from eson.model.subscriptions import Side, State, Subscription
from eson.store.port import Store

Right = Literal["describe", "read", "write", "subscribe", "administer"]

_ALL: frozenset[Right] = frozenset({"describe", "read", "write", "subscribe", "administer"})
_COPY_OWNER: frozenset[Right] = frozenset({"describe", "read", "administer"})
_SUBSCRIBER: frozenset[Right] = frozenset({"describe", "read"})
_BY_VISIBILITY: dict[Visibility, frozenset[Right]] = {
    Visibility.PUBLIC: frozenset({"describe", "read", "subscribe"}),
    Visibility.LISTED: frozenset({"describe", "subscribe"}),
    Visibility.PRIVATE: frozenset(),
}
_STRANGER: dict[Visibility, frozenset[Right]] = {
    **_BY_VISIBILITY,
    # nobody could be told what became of the request of somebody without a name
    Visibility.LISTED: frozenset({"describe"}),
}


@dataclass(frozen=True)
class Found:
    """A flow as one caller who may know of it sees it; `subscription` is the provider's record if it is a copy."""

    flow: Flow
    namespace: Namespace
    rights: frozenset[Right]
    subscription: Subscription | None = None

    def require(self, right: Right) -> None:
        """Raises `NotAllowed`."""
        if right not in self.rights:
            raise NotAllowed(right, self.flow.name)

    @property
    def approved(self) -> bool:
        """Whether a subscription that this caller asks for needs nobody's approval."""
        return "administer" in self.rights or self.flow.visibility is Visibility.PUBLIC


def administers(caller: Caller, namespace: Namespace) -> bool:
    """Whether the caller is an operator or one of the namespace's administrators or its creator."""
    principals = caller.principals
    owner = namespace.owner is not None and namespace.owner in principals
    return caller.operator or owner or any(one in principals for one in namespace.administrators)


def require_create(caller: Caller, namespace: Namespace) -> None:
    """CREATE is for administrators, operators, and accounts whose home it is or lies above it.  Raises `NotAllowed`."""
    at_home = bool(caller.home) and is_at_or_below(namespace.name, caller.home)
    if not (at_home or administers(caller, namespace)):
        raise NotAllowed("administer", namespace.name)


def rights_on(
    caller: Caller, flow: Flow, namespace: Namespace, subscription: Subscription | None
) -> frozenset[Right]:
    """What the caller may do to the flow.  Nobody writes to a copy: only its processor does."""
    principals = caller.principals
    if flow.owner in principals or administers(caller, namespace):
        return _COPY_OWNER if flow.copy_of else _ALL
    if not flow.copy_of:
        return (_STRANGER if caller.principal == ANONYMOUS else _BY_VISIBILITY)[flow.visibility]
    if subscription is None or subscription.state is State.ENDED:
        return frozenset()
    if subscription.principal in principals or subscription.principal == ANONYMOUS:
        return _SUBSCRIBER
    return frozenset()


class Access:
    """Finds flows for callers."""

    def __init__(self, store: Store, hosting: Hosting) -> None:
        self._store = store
        self._hosting = hosting

    def at_home(self, caller: Caller, name: str) -> str:
        """`name` below the caller's home namespace; "" if it has none, or if the whole were no name."""
        if not caller.home or self._hosting.find(caller.home) is None:
            return ""
        try:
            return canonical_flow(f"{name}.{caller.home}")
        except NameNotAllowed:
            return ""

    async def spelled(self, caller: Caller, name: str) -> str:
        """The flow that `name` stands for: itself, or, if it is not hosted here, the caller's own of that name."""
        if not self._hosting.hosts(name):
            whole = self.at_home(caller, name)
            if whole and await self._store.flow(whole) is not None:
                return whole
        return name

    async def flow(self, caller: Caller, name: str, right: Right = "describe") -> Found:
        """The flow that the caller names.  Raises `NotHosted`, `NoSuch` (missing or hidden), `NotAllowed`."""
        whole = await self.spelled(caller, name)
        namespace = self._hosting.namespace_of(whole)
        flow = await self._store.flow(whole)
        if flow is None:
            raise NoSuch("flow", name)
        subscription = await self._store.subscription(Side.PROVIDER, whole) if flow.copy_of else None
        found = Found(flow, namespace, rights_on(caller, flow, namespace, subscription), subscription)
        if "describe" not in found.rights:
            raise NoSuch("flow", name)
        found.require(right)
        return found

    async def is_shown(self, caller: Caller, name: str) -> bool:
        """Whether there is a flow of that whole name of which the caller may know."""
        try:
            await self.flow(caller, name)
        except NoSuch:
            return False
        return True

    def sees(self, caller: Caller, flow: Flow) -> bool:
        """Whether a flow that is no copy is in the caller's lists."""
        return "describe" in self._rights(caller, flow)

    async def administers(self, caller: Caller, name: str) -> bool:
        """Whether the caller may do all to the flow of that name, which is no copy."""
        flow = await self._store.flow(name)
        return flow is not None and self._hosting.hosts(name) and "administer" in self._rights(caller, flow)

    def _rights(self, caller: Caller, flow: Flow) -> frozenset[Right]:
        return rights_on(caller, flow, self._hosting.namespace_of(flow.name), None)

    async def concerns(self, caller: Caller, record: Subscription) -> bool:
        """Whether the caller may know of the subscription: its principal, who administers the flow, an operator."""
        if caller.operator or record.principal in caller.principals:
            return True
        ours = record.flow if record.side is Side.PROVIDER else record.local
        return await self.administers(caller, ours)
