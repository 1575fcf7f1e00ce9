"""The participant's accounts, opened by a command beside the agent, which may be running."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from eson.agent.accounts import Accounts, SealedVerifiers
from eson.agent.audit import Audit
from eson.agent.clock import SystemClock
from eson.config import Places
from eson.errors import EsonError
from eson.identity.keys import secret_key
from eson.store.sqlite import SqliteStore

T = TypeVar("T")


class WrongUser(EsonError):
    """A command would leave files that the agent cannot open.  Retry: as the user that the error names."""


def wait(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """Runs a coroutine to its end where everything happens at once."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result  # type: ignore[no-any-return]


def at_once(work: Callable[[], Any]) -> Deferred[Any]:
    """For whoever wants a function to run elsewhere: it runs here and now."""
    return maybeDeferred(work)


def this_person() -> str:
    """The actor for the audit log."""
    try:
        return f"system user {getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name
        return f"system user {os.geteuid()}"


@contextmanager
def opened_accounts(places: Places) -> Iterator[Accounts]:
    """Accounts over the store.  Raises `EsonError`: not the owner, the store cannot be opened, a key is missing."""
    make_state(places)
    store = SqliteStore(places.store, at_once)
    wait(store.open())
    try:
        sealed = SealedVerifiers(secret_key(places.sealing_key))
        yield Accounts(store, sealed, Audit(SystemClock()), at_once)
    finally:
        wait(store.close())


def make_state(places: Places) -> None:
    """The state directory, for its owner alone.  Raises `EsonError` if it is somebody else's."""
    state = places.state
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = state.stat().st_uid
    except OSError as error:
        raise WrongUser(
            f"{state} cannot be made or read: {error.strerror}. Run this as the user that the agent runs as, "
            "or set `state:` to a directory of that user"
        ) from None
    if owner != os.geteuid():
        raise WrongUser(
            f"{state} belongs to user {_name(owner)}. Run this as that user: sudo -u {_name(owner)} eson …"
        )


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
