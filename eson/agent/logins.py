"""Logins: what the FNAP server asks about who somebody is.

An unknown or locked account takes the same way as a known one, to the last digest, and fails in the same words; passwords
are stretched in a few threads off the reactor, behind a short queue; and who fails often is not evaluated at all.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from eson.agent.accounts import Defer, SealedVerifiers
from eson.agent.audit import Audit
from eson.agent.ports import Clock
from eson.errors import EsonError, NameNotAllowed, NotAvailableNow, Usage
from eson.identity.mechanisms import ServerMechanism
from eson.identity.mechanisms.anonymous import AnonymousServer
from eson.identity.mechanisms.plain import PlainServer
from eson.identity.mechanisms.scram import ScramServer, decoy_verifier
from eson.identity.throttle import Throttle
from eson.identity.verifier import Verifier, check_password, hmac_sha256
from eson.model.names import shown
from eson.model.principals import ANONYMOUS, Caller, Principal, parse_principal, user
from eson.store.port import Change, Store
from eson.store.records import Account

QUEUE = 50
"""Passwords that may wait to be checked; two threads check about fifty a second."""
LEVEL = 0.003
"""A row that is there takes some microseconds longer to read than one that is not: the answer waits for this time."""
Pause = Callable[[float], Awaitable[object]]
NOTES = 1000
"""Failed logins that may wait to be written into the audit log; of more than that only the number is kept."""
TOO_MANY = "Too many logins failed or are under way: try again later"


class Logins:
    """An `Authenticator` over the store's accounts."""

    log = Logger()

    def __init__(
        self,
        store: Store,
        sealed: SealedVerifiers,
        participant: str,
        throttle: Throttle,
        audit: Audit,
        clock: Clock,
        defer: Defer,
        decoy_secret: bytes,
        pause: Pause,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sealed = sealed
        self._participant = participant
        self._throttle = throttle
        self._audit = audit
        self._clock = clock
        self._defer = defer
        self._decoy_secret = decoy_secret
        nobody = decoy_verifier("", decoy_secret, sealed.iterations)
        self._nobody = Account("", nobody.salt, nobody.iterations, nobody.stored_key, sealed.close(nobody))
        self._pause, self._monotonic = pause, monotonic
        self._checking = 0
        self._failures = _Failures(store, audit)

    def mechanism(self, name: str) -> ServerMechanism | None:
        """A fresh server's half of a mechanism, None for one that is not there."""
        if name == "SCRAM-SHA-256":
            return ScramServer(self._decoy_secret, iterations=self._sealed.iterations)
        if name == "PLAIN":
            return PlainServer()
        return AnonymousServer() if name == "ANONYMOUS" else None

    # what the FNAP server asks

    async def verifier(self, username: str, peer: str) -> Verifier | None:
        """The verifier of an account that may log in, else None, after `LEVEL` seconds in either case.

        Raises `NotAvailableNow`, `BackendFailed`.
        """
        self._admit(username, peer)
        begun = self._monotonic()
        known, verifier = await self._look_up(username)
        await self._pause(max(0.0, begun + LEVEL - self._monotonic()))
        return verifier if known else None

    async def check_password(self, username: str, password: str, peer: str) -> bool:
        """Whether it is the password of an account that may log in.  Raises `NotAvailableNow`, `BackendFailed`."""
        if self._checking >= QUEUE:
            raise NotAvailableNow(TOO_MANY, peer=peer)
        self._admit(username, peer)
        self._checking += 1
        try:
            known, verifier = await self._look_up(username)
            right: bool = await self._defer(partial(check_password, verifier, password))
        finally:
            self._checking -= 1
        return right and known

    async def authorise(
        self, username: str, authorisation: str, mechanism: str, peer: str, tls: bool
    ) -> Caller | None:
        """Who a client that has proved to be `username` acts as; None if it may not.  Raises `BackendFailed`."""
        if not username:  # a stranger proves nothing, so that there is nothing to keep
            return Caller(ANONYMOUS, mechanism=mechanism, tls=tls)
        account = await self._store.account(username)
        caller = None
        if account is not None and not account.locked:
            caller = self._caller(account, authorisation, mechanism, tls)
        if caller is None:
            self.failed(username, mechanism, peer, f"may not act as {shown(authorisation)}")
            return None
        way = f"{mechanism} from {peer} over {'TLS' if tls else 'clear text'}"
        await self._store.apply(self._audit.note(caller.principal, "login", username, way))
        self._throttle.succeeded(peer, username, self._now())
        return caller

    def failed(self, username: str, mechanism: str, peer: str, reason: str) -> None:
        """Tells the log of a login that failed, and the audit log too if it got as far as a name."""
        self.log.info(
            "login of {user!r} from {peer} failed: {reason}", user=username, peer=peer, reason=reason
        )
        if username:  # only those passed the throttle, which bounds what strangers can write
            name = shown(username)
            self._failures.add(
                self._audit.note(name, "login", name, f"{mechanism} from {peer}: {reason}", "failed")
            )

    # how it is answered

    def _admit(self, username: str, peer: str) -> None:
        if not self._throttle.admit(peer, username, self._now()):
            self.log.info("login of {user!r} from {peer} put off", user=username, peer=peer)
            raise NotAvailableNow(TOO_MANY)

    async def _look_up(self, username: str) -> tuple[bool, Verifier]:
        """Whether such an account may log in, and its verifier or one that fits nothing: both take the same time."""
        account = await self._store.account(username)
        decoy = decoy_verifier(username, self._decoy_secret, self._sealed.iterations)
        try:
            verifier = self._sealed.open(account or self._nobody)
        except ValueError:
            self.log.error(
                "account {name} was sealed with another key: set its password again, or restore the key file",
                name=username,
            )
            return False, decoy
        if account is None or account.locked:
            return False, decoy
        return True, verifier

    def _caller(self, account: Account, authorisation: str, mechanism: str, tls: bool) -> Caller | None:
        own = {"", account.name, f"{account.name}@{self._participant}"}
        if authorisation in own:
            return Caller(
                user(account.name),
                account=account.name,
                home=account.home,
                groups=account.groups,
                operator=account.operator,
                mechanism=mechanism,
                tls=tls,
                agent_of=account.participant,
            )
        principal = _principal(authorisation)
        if principal is None or not account.participant or principal.participant != account.participant:
            return None
        return Caller(principal, account=account.name, mechanism=mechanism, tls=tls)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _principal(authorisation: str) -> Principal | None:
    """`NAME@DOMAIN` as a principal."""
    try:
        principal = parse_principal(f"user:{authorisation}")
    except (Usage, NameNotAllowed):
        return None
    return principal if principal.participant else None


class _Failures:
    """Writes failed logins into the audit log, one batch at a time, and holds a bounded number back meanwhile."""

    log = Logger()

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit
        self._waiting: list[Change] = []
        self._left_out = 0
        self._writing = False

    def add(self, note: Change) -> None:
        if len(self._waiting) >= NOTES:
            self._left_out += 1
            return
        self._waiting.append(note)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write()).addErrback(
                lambda failure: self.log.failure("the audit log of logins failed", failure)
            )

    async def _write(self) -> None:
        try:
            while self._waiting:
                notes, self._waiting = self._waiting, []
                if self._left_out:
                    detail = f"{self._left_out} more failed logins are not listed"
                    notes.append(self._audit.note("agent", "login", "", detail, "failed"))
                    self._left_out = 0
                await self._store.apply(*notes)
        except EsonError as error:
            self.log.error(
                "{count} failed logins are not in the audit log: {text}", count=len(notes), text=error
            )
        finally:
            self._writing = False


def decoy_secret(key: bytes) -> bytes:
    """What salts of unknown users are made from, out of the agent's own key: the same after each restart."""
    return hmac_sha256(key, b"decoy")
