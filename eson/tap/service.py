"""The participant as a service: what starts in which order, and stops in the opposite one."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.threadpool import ThreadPool

from eson.agent.accounts import Accounts, SealedVerifiers
from eson.agent.audit import Audit
from eson.agent.building import build_agent
from eson.agent.clock import SystemClock
from eson.agent.logins import Logins, decoy_secret
from eson.agent.remotes import RemoteAgents
from eson.agent.service import Agent
from eson.agent.standing import Standing
from eson.config import Config, Places
from eson.errors import EsonError
from eson.fnap.net.factory import FnapFactory
from eson.fnap.net.places import Places as SessionPlaces
from eson.identity.keys import secret_key
from eson.identity.throttle import Throttle
from eson.processors.launcher import SpawnLauncher
from eson.processors.port import Processors
from eson.processors.supervisor import Supervisor
from eson.store.sqlite import SqliteStore
from eson.tap import rooms
from eson.tap.brokers import Brokers
from eson.tap.certificates import EVERY, AgentCertificate
from eson.tap.listening import Listeners
from eson.tap.logs import observer, open_log
from eson.tap.options import Options
from eson.tap.state import StateDirectory
from eson.tap.undoing import Undoing
from eson.web.metrics import Observed, metrics_site

CHECKERS = 2
"""Threads that stretch passwords; each check is about 40 ms of one core."""


WATCH_ACCOUNTS = 2.0
"""Seconds between two looks at the accounts of open sessions."""


class Participant(Service):
    """One participant's agent and all that belongs to it.

    `failed` is called with the text when it cannot go on after the reactor runs.
    """

    name = "eson"
    log = Logger()

    def __init__(self, config: Config, reactor: Any, failed: Callable[[str], None]) -> None:
        self._config = config
        self._reactor = reactor
        self._failed = failed
        self._places = Places(config.state)
        self._state = StateDirectory(self._places)
        self._listeners = Listeners(config, reactor)
        self._undoing = Undoing(reactor)
        self._starting: Deferred[None] | None = None
        self._remotes: RemoteAgents | None = None

    # what twistd calls

    def privilegedStartService(self) -> None:
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._listeners.bind()

    def startService(self) -> None:
        """Raises `EsonError` for what can be seen at once; the rest follows when the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._state.take()
        self._certificate = AgentCertificate(self._config, self._places)
        self._key = secret_key(self._places.sealing_key)
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._cannot_start)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def _cannot_start(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(EsonError):
            self._failed(str(failure.value))
            return
        self.log.failure("the agent cannot start", failure)
        self._failed(f"The agent cannot start: {failure.getErrorMessage()}. The log has the whole story")

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        self._state.forget_listeners()
        await self._undoing.run()
        self._state.release()
        self.log.info("eson: stopped")

    # the order in which things start

    async def _start(self) -> None:
        config = self._config
        self._watch_certificate()
        self._undoing.add("the name server", self._stop_names)
        store = await self._open_store()
        audit, sealed = Audit(SystemClock()), SealedVerifiers(self._key)
        checking = self._pool("passwords", CHECKERS)
        await Accounts(store, sealed, audit, checking).take_file(config.identity.accounts)
        brokers = Brokers(config, self._reactor, self._places, self._certificate, decoy_secret(self._key))
        self._undoing.add("brokers", brokers.stop, 30)
        await brokers.start()
        processors = await self._start_processors()
        clear, tls = (self._listeners.addresses(one) for one in (self._listeners.clear, self._listeners.tls))
        who = rooms.participant(config, clear, tls, self._names_port())
        names = rooms.names(config, who, clear)
        remotes = self._remotes = rooms.remotes(config, self._reactor, self._certificate)
        agent = build_agent(
            store=store,
            brokers=brokers.all,
            names=names,
            processors=processors,
            remotes=remotes,
            hosting=rooms.hosting(config, who),
            limits=rooms.agent_limits(config),
            sealing_key=self._key,
            clock=SystemClock(),
            scheduler=self._reactor,
        )
        self._undoing.add("the agent", agent.stop, 30)
        await agent.start()
        self._listeners.gate.open(names.respond)
        self._listeners.names.startService()
        logins = Logins(
            store,
            sealed,
            config.participant,
            Throttle(),
            audit,
            SystemClock(),
            checking,
            decoy_secret(self._key),
            partial(deferLater, self._reactor),
        )
        factories = self._open_fnap(agent, logins, brokers)
        self._watch_accounts(store, factories)
        self._open_metrics(processors, agent, factories, lambda: [*store.failing(), *brokers.failing()])
        self._state.tell_listeners({**self._listeners.told(), "brokers": brokers.listeners()})
        self.log.info("eson: ready")

    def _pool(self, name: str, threads: int) -> Callable[[Callable[[], Any]], Deferred[Any]]:
        pool = ThreadPool(0, threads, name=name)
        pool.start()

        async def stop() -> None:
            pool.stop()

        self._undoing.add(f"threads of {name}", stop)
        return partial(deferToThreadPool, self._reactor, pool)

    async def _open_store(self) -> SqliteStore:
        store = SqliteStore(self._places.store, self._pool("store", 1))
        await store.open()
        self._undoing.add("the store", store.close)
        return store

    async def _start_processors(self) -> Processors:
        config = self._config.processors
        processors = Supervisor(
            self._reactor,
            SpawnLauncher(self._reactor),
            self._places.journals,
            rooms.reach(self._config),
            config.per_process,
            config.start_rate,
        )
        self._undoing.add("processors", processors.stop, 20)
        await processors.start()
        return processors

    def _names_port(self) -> int:
        addresses = self._listeners.names.addresses
        return addresses[0][1] if addresses else 0

    async def _stop_names(self) -> None:
        await self._listeners.names.stopService()

    def _open_fnap(self, agent: Agent, logins: Logins, brokers: Brokers) -> list[FnapFactory]:
        config = self._config
        made = partial(
            FnapFactory,
            rooms.policy(config, logins, brokers.protocols()),
            agent,
            logins,
            SessionPlaces(rooms.session_limits(config)),
            self._reactor,
            self._certificate.tls,
            login_in_clear=config.fnap.login_in_clear == "loopback",
        )
        clear, tls = made(), made(implicit_tls=True)

        async def say_goodbye() -> None:
            await clear.shut_down()
            await tls.shut_down()

        self._undoing.add("sessions", say_goodbye, 15)
        self._undoing.add("listeners", self._listeners.close)
        self._listeners.open_fnap(clear, tls)
        return [clear, tls]

    def _watch_accounts(self, store: SqliteStore, factories: list[FnapFactory]) -> None:
        """Ends sessions of accounts that `eson account` locks or removes."""

        def accounts() -> set[str]:
            return factories[0].accounts() | factories[1].accounts()

        def end(account: str) -> None:
            self.log.info("sessions of {account} end: it was locked or removed", account=account)
            for factory in factories:
                factory.end_sessions(account, "account locked", "The account was locked")

        standing = Standing(store, accounts, end)
        self._repeat(
            "the watch over accounts", WATCH_ACCOUNTS, lambda: Deferred.fromCoroutine(_tried(standing))
        )

    def _repeat(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        loop = LoopingCall(kept_up(name, work))
        loop.clock = self._reactor
        loop.start(seconds, now=False).addErrback(
            lambda failure: self.log.failure("{name} failed", failure, name=name)
        )

        async def stop() -> None:
            if loop.running:
                loop.stop()

        self._undoing.add(name, stop)

    def _open_metrics(
        self,
        processors: Processors,
        agent: Agent,
        factories: list[FnapFactory],
        failing: Callable[[], Sequence[str]],
    ) -> None:
        counts = self._listeners.names.counts
        observed = Observed(
            processors=processors,
            missing=agent.missing,
            sessions=lambda: sum(map(len, factories)),
            outcomes=lambda: factories[0].outcomes + factories[1].outcomes,
            queries=lambda: {"udp": counts.udp, "tcp": counts.tcp},
            failing=failing,
        )
        self._listeners.open_metrics(metrics_site(observed))

    # the certificate

    def _watch_certificate(self) -> None:
        self._certificate.warn()
        self._repeat("the watch over the certificate", EVERY.total_seconds(), self._refresh)
        before = signal.signal(
            signal.SIGHUP, lambda _number, _frame: self._reactor.callFromThread(self._refresh, True)
        )

        async def restore() -> None:
            signal.signal(signal.SIGHUP, before)

        self._undoing.add("SIGHUP", restore)

    def _refresh(self, asked: bool = False) -> None:
        if self._certificate.refresh(asked) and self._remotes is not None:
            self._remotes.reload()


def kept_up(name: str, work: Callable[[], object]) -> Callable[[], Deferred[Any]]:
    """`work` for a `LoopingCall`, which would end for good with the first error."""

    def once() -> Deferred[Any]:
        return maybeDeferred(work).addErrback(
            lambda failure: Participant.log.failure("{name} failed", failure, name=name)
        )

    return once


async def _tried(standing: Standing) -> None:
    with suppress(EsonError):  # a store that fails is said by whoever needs it
        await standing.look()


class Loud(Service):
    """A `Participant` whose errors at start end the process with one text and status 1, and whose log is ours."""

    def __init__(
        self, participant: Participant, log_observer: Callable[[], Any] | None, nodaemon: bool
    ) -> None:
        self._participant = participant
        self._log_observer = log_observer
        self._nodaemon = nodaemon

    def setServiceParent(self, parent: Any) -> None:
        """twistd takes an observer that its application holds."""
        if self._log_observer is not None:
            parent.setComponent(ILogObserver, self._log_observer())
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        self._or_end(self._participant.privilegedStartService)

    def startService(self) -> None:
        self._or_end(self._participant.startService)

    def stopService(self) -> Deferred[None]:
        return self._participant.stopService()

    def _or_end(self, step: Callable[[], None]) -> None:
        try:
            step()
        except EsonError as error:
            _tell(str(error))
            if not self._nodaemon:
                raise  # twistd passes the text to the process that waits, and removes the pidfile
            raise SystemExit(1) from None


def makeService(options: Options) -> Service:
    """The service for twistd; opens nothing."""
    from twisted.internet import reactor

    count_steadily(reactor)

    def failed(text: str) -> None:
        _tell(text)
        atexit.register(_end_with_failure)
        reactor.callWhenRunning(_stop, reactor)

    def log_observer() -> Any:
        return observer(options.config.log, open_log(options.logfile, options.nodaemon))

    participant = Participant(options.config, reactor, failed)
    return Loud(participant, None if options.syslog else log_observer, options.nodaemon)


def count_steadily(reactor: Any) -> None:
    """What waits shall not wait longer, or shorter, because somebody moves the time of day.

    Twisted's reactor counts by it; once something waits, that cannot be changed any more.
    """
    if not reactor.running and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic


def _tell(text: str) -> None:
    """To the log and to whoever started us: twistd has made `sys.stderr` a part of the log."""
    Participant.log.critical("{text}", text=text)
    if sys.__stderr__ is not None:
        print(text, file=sys.__stderr__, flush=True)


def _stop(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()


def _end_with_failure() -> None:
    """twistd itself would end with status 0."""
    sys.stdout.flush()
    os._exit(1)
