"""Accounts in the store: made by the file at start or by `eson account`, read at each login.

What the file says wins: at each start its accounts replace those of the same name, and those that came from a file and are
not in it any more go.  A lock is kept: only a command takes it away.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from eson.agent.audit import Audit
from eson.config.values import Account as FileAccount
from eson.errors import Conflict, NoSuch, Usage
from eson.identity.saslprep import saslprep
from eson.identity.verifier import PEOPLE_ITERATIONS, Verifier, check_password, make_verifier, seal, unseal
from eson.model.names import canonical
from eson.store.port import Change, DropAccount, PutAccount, Store
from eson.store.records import Account

T = TypeVar("T")
Defer = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that takes long, off the reactor's thread."""

FILE, COMMAND = "file", "command"
MAX_PASSWORD = 255
"""Octets: what PLAIN can carry."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


@dataclass(frozen=True)
class Terms:
    """What an account may be, beside its password."""

    home: str = ""
    groups: frozenset[str] = frozenset()
    operator: bool = False
    participant: str = ""


class SealedVerifiers:
    """Verifiers as they are kept: the ServerKey, which would let a thief play the server, is encrypted."""

    def __init__(self, key: bytes, iterations: int = PEOPLE_ITERATIONS) -> None:
        self._key = key
        self.iterations = iterations

    def make(self, password: str) -> tuple[Verifier, bytes]:
        """A verifier and its sealed ServerKey, to be kept in an account.  Blocks for the iterations."""
        verifier = make_verifier(password, self.iterations)
        return verifier, self.close(verifier)

    def close(self, verifier: Verifier) -> bytes:
        """The verifier's ServerKey, sealed."""
        return seal(verifier.server_key, self._key, _label(verifier.salt))

    def account(self, name: str, password: str, terms: Terms, source: str) -> Account:
        """A new account's record.  Blocks for the iterations."""
        verifier, sealed = self.make(password)
        return Account(
            name=name,
            salt=verifier.salt,
            iterations=verifier.iterations,
            stored_key=verifier.stored_key,
            sealed_server_key=sealed,
            home=terms.home,
            groups=terms.groups,
            operator=terms.operator,
            participant=terms.participant,
            source=source,
        )

    def open(self, account: Account) -> Verifier:
        """The account's verifier.  Raises `ValueError` if it was sealed with another key."""
        server_key = unseal(account.sealed_server_key, self._key, _label(account.salt))
        return Verifier(account.salt, account.iterations, account.stored_key, server_key)


def _label(salt: bytes) -> str:
    return f"server key {salt.hex()}"


def check_name(name: str) -> str:
    """Raises `Usage`."""
    if not _NAME.match(name):
        raise Usage("An account's name has 1 to 64 letters, digits, hyphens, dots and underscores")
    return name


def check_new_password(password: str) -> str:
    """Raises `Usage` for one that no mechanism could carry."""
    try:
        prepared = saslprep(password)
    except ValueError as error:
        raise Usage(f"The password {error}: choose another") from None
    if not prepared or max(len(prepared.encode()), len(password.encode())) > MAX_PASSWORD:
        raise Usage(f"A password has 1 to {MAX_PASSWORD} octets")
    return password


class Accounts:
    """Changes accounts; each change stands in the audit log."""

    def __init__(self, store: Store, sealed: SealedVerifiers, audit: Audit, defer: Defer) -> None:
        self._store = store
        self._sealed = sealed
        self._audit = audit
        self._defer = defer

    async def take_file(self, accounts: Sequence[FileAccount]) -> None:
        """Makes the store's accounts what the file says.  Raises `Usage` for a password that cannot be."""
        kept = {account.name: account for account in await self._store.accounts()}
        changes: list[Change] = []
        for account in accounts:
            fresh = await self._of_file(account, kept.get(account.name))
            if fresh != kept.get(account.name):
                changes += [PutAccount(fresh), self._note(FILE, "set", account.name)]
        named = {account.name for account in accounts}
        for name, old in kept.items():
            if old.source == FILE and name not in named:
                changes += [DropAccount(name), self._note(FILE, "remove", name)]
        if changes:
            await self._store.apply(*changes)

    async def _of_file(self, account: FileAccount, old: Account | None) -> Account:
        if account.password is None:
            raise Usage(f"Account {account.name} has no password: set password_file")
        password = account.password.reveal()
        try:
            check_new_password(password)
        except Usage as error:
            raise Usage(f"Account {account.name}: {error.text}") from None
        terms = Terms(account.home, frozenset(account.groups), account.operator, account.participant)
        if old is not None and await self._defer(partial(self._same, old, password)):
            return replace(old, **vars(terms), source=FILE)
        fresh: Account = await self._defer(partial(self._sealed.account, account.name, password, terms, FILE))
        return replace(fresh, locked=old is not None and old.locked)

    def _same(self, old: Account, password: str) -> bool:
        """Whether the record verifies the password, with the count and the key of today."""
        try:
            verifier = self._sealed.open(old)
        except ValueError:
            return False
        return old.iterations == self._sealed.iterations and check_password(verifier, password)

    async def add(self, actor: str, name: str, password: str, terms: Terms = Terms()) -> None:
        """Raises `Usage`, and `Conflict` if it exists."""
        if terms.home:
            terms = replace(terms, home=canonical(terms.home))
        if terms.participant:
            terms = replace(terms, participant=canonical(terms.participant))
            if terms.operator:
                raise Usage("Another participant's agent cannot be an operator")
        for group in terms.groups:
            if not _NAME.match(group):
                raise Usage("A group's name has 1 to 64 letters, digits, hyphens, dots and underscores")
        check_name(name)
        check_new_password(password)
        if await self._store.account(name) is not None:
            raise Conflict(f"account {name} exists: change its password with `eson account passwd`")
        account = await self._defer(partial(self._sealed.account, name, password, terms, COMMAND))
        await self._store.apply(PutAccount(account), self._note(actor, "add", name))

    async def set_password(self, actor: str, name: str, password: str) -> None:
        """Raises `Usage`, `NoSuch`, and `Conflict` for an account of the file."""
        old = await self._own(name)
        check_new_password(password)
        verifier, sealed = await self._defer(partial(self._sealed.make, password))
        fresh = replace(
            old,
            salt=verifier.salt,
            iterations=verifier.iterations,
            stored_key=verifier.stored_key,
            sealed_server_key=sealed,
        )
        await self._store.apply(PutAccount(fresh), self._note(actor, "set password of", name))

    async def lock(self, actor: str, name: str, locked: bool) -> None:
        """Raises `NoSuch`."""
        old = await self._found(name)
        act = "lock" if locked else "unlock"
        await self._store.apply(PutAccount(replace(old, locked=locked)), self._note(actor, act, name))

    async def remove(self, actor: str, name: str) -> None:
        """Raises `NoSuch`, and `Conflict` for an account of the file."""
        await self._own(name)
        await self._store.apply(DropAccount(name), self._note(actor, "remove", name))

    async def all(self) -> Sequence[Account]:
        """By name."""
        return sorted(await self._store.accounts(), key=lambda account: account.name)

    async def _found(self, name: str) -> Account:
        found = await self._store.account(check_name(name))
        if found is None:
            raise NoSuch("account", name)
        return found

    async def _own(self, name: str) -> Account:
        found = await self._found(name)
        if found.source == FILE:
            raise Conflict(
                f"account {name} comes from the configuration: change it there and restart the agent"
            )
        return found

    def _note(self, actor: str, act: str, name: str) -> Change:
        return self._audit.note(actor, f"{act} account", name)
