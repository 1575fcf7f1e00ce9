"""The sessions of one listener: who is let in, what ended, and the deadlines' clock."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from eson.fnap.core import render
from eson.fnap.core.policy import Policy
from eson.fnap.core.service import AgentService, Authenticator
from eson.fnap.net.places import Places
from eson.fnap.net.server import FnapServer
from eson.identity.tls import ServerTls
from eson.model.principals import Caller

_SLOTS = 20
"""Sessions are looked at once a second, a part of them at a time, so that no look takes long."""


class Clock(Protocol):
    """The part of the reactor that the server needs."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, what: Callable[..., object], *args: object) -> Any: ...


class FnapFactory(Factory[FnapServer]):
    """All sessions of one listener.  `places` is shared by the listeners of one agent.

    `tls`: for STARTTLS, or with `implicit_tls` from the first octet; `login_in_clear`: loopback peers may show passwords
    without TLS.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        policy: Policy,
        service: AgentService,
        authenticator: Authenticator,
        places: Places,
        clock: Clock,
        tls: ServerTls | None = None,
        implicit_tls: bool = False,
        login_in_clear: bool = True,
    ) -> None:
        self.policy = policy if tls is not None else replace(policy, starttls=False)
        self.service = service
        self.authenticator = authenticator
        self.places = places
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.outcomes: Counter[str] = Counter()
        """How many sessions ended, by the name of why."""
        self._login_in_clear = login_in_clear
        self._clock = clock
        self._slots: list[set[FnapServer]] = [set() for _ in range(_SLOTS)]
        self._next_slot = self._checked_slot = 0
        self._count = 0
        self._listening = False
        self._checking = LoopingCall(self._check)
        self._checking.clock = clock  # type: ignore[assignment]
        self._empty: Deferred[None] | None = None

    # what Twisted calls

    def doStart(self) -> None:
        super().doStart()  # type: ignore[no-untyped-call]
        self._listening = True
        if not self._checking.running:
            self._checking.start(1 / _SLOTS, now=False).addErrback(self.unexpected)

    def doStop(self) -> None:
        super().doStop()  # type: ignore[no-untyped-call]
        self._listening = self.numPorts > 0
        self._rest()

    def _rest(self) -> None:
        if not self._listening and not self._count and self._checking.running:
            self._checking.stop()

    def buildProtocol(self, addr: IAddress | None) -> FnapServer:
        return FnapServer(self, getattr(addr, "host", ""))

    # what sessions ask

    def now(self) -> float:
        return self._clock.seconds()

    def call_soon(self, what: Callable[[], None]) -> None:
        self._clock.callLater(0, what)

    def clear_is_safe(self, peer: str) -> bool:
        """Whether a password may be shown to this peer without TLS."""
        try:
            return self._login_in_clear and ipaddress.ip_address(peer).is_loopback
        except ValueError:
            return False

    def admit(self, session: FnapServer) -> tuple[str, str] | None:
        """Gives a place; or says why there is none."""
        session.slot = self._next_slot
        self._next_slot = (self._next_slot + 1) % _SLOTS
        self._slots[session.slot].add(session)
        self._count += 1
        return self.places.take(session.peer)

    def admit_user(self, session: FnapServer, caller: Caller) -> bool:
        if caller.account and not self.places.take_user(caller.account):
            return False
        session.counted_user = caller.account
        return True

    def forget(self, session: FnapServer) -> None:
        self._slots[session.slot].remove(session)
        self._count -= 1
        self.outcomes[session.outcome] += 1
        self.places.give_back(session.peer, session.counted_user)
        self._rest()
        if not self._count and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def report(self, error: BaseException, session: FnapServer) -> None:
        """To the operator's log, never to the peer."""
        if render.is_hidden(error):
            failure = Failure(error)
            self.log.failure("a command of {peer} failed", failure, peer=session.peer)
        elif context := render.context_of(error):
            text = str(error)
            self.log.info("{peer}: {text} {context!r}", peer=session.peer, text=text, context=dict(context))

    def unexpected(self, failure: Failure) -> None:
        self.log.failure("a session failed", failure)

    # all sessions

    def __len__(self) -> int:
        return self._count

    def _check(self) -> None:
        now = self.now()
        self._checked_slot = (self._checked_slot + 1) % _SLOTS
        for session in list(self._slots[self._checked_slot]):
            try:
                session.check(now)
            except Exception:  # deadlines of all the others go on
                self.unexpected(Failure())

    def accounts(self) -> set[str]:
        """Accounts that have sessions here."""
        return {session.counted_user for session in self._all() if session.counted_user}

    def end_sessions(self, account: str, outcome: str, text: str) -> None:
        """Ends all sessions of an account, whatever they are doing, with a 421."""
        for session in self._all():
            if session.counted_user == account:
                session.shut_down(outcome, text)

    async def shut_down(self, seconds: float = 5.0) -> None:
        """Tells every client with a 421 and waits until all are gone; those that linger are cut off after `seconds`."""
        for session in self._all():
            session.shut_down()
        if not self._count:
            return
        self._empty = Deferred()
        cut = self._clock.callLater(seconds, self._cut_off)
        await self._empty
        if cut.active():
            cut.cancel()

    def _cut_off(self) -> None:
        for session in self._all():
            session.transport.abortConnection()

    def _all(self) -> list[FnapServer]:
        return [session for slot in self._slots for session in slot]
