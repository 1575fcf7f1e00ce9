"""Accounts: from the file, by command, and what the store keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from servers.outcomes import result_of as done
from twisted.internet.defer import Deferred, succeed

from eson.agent.accounts import Accounts, SealedVerifiers, Terms
from eson.agent.audit import Audit
from eson.config.values import Account as FileAccount
from eson.config.values import Secret
from eson.errors import Conflict, EsonError, NameNotAllowed, NoSuch, Usage
from eson.identity.verifier import check_password
from eson.store.memory import MemoryStore
from eson.store.records import Account

T = TypeVar("T")
KEY = b"k" * 32


class Noon:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


def defer(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sealed() -> SealedVerifiers:
    return SealedVerifiers(KEY, 4096)


@pytest.fixture
def accounts(store: MemoryStore, sealed: SealedVerifiers) -> Accounts:
    return Accounts(store, sealed, Audit(Noon()), defer)


def found(store: MemoryStore, name: str) -> Account:
    account = done(store.account(name))
    assert account is not None
    return account


def audited(store: MemoryStore) -> list[str]:
    return [f"{entry.actor}: {entry.act} {entry.object}" for entry in done(store.audit())]


def test_the_password_is_verified_and_not_kept(
    accounts: Accounts, store: MemoryStore, sealed: SealedVerifiers
) -> None:
    done(accounts.add("me", "test", "open sesame", Terms(home="flows.Unix.ar", groups=frozenset({"staff"}))))
    account = found(store, "test")
    assert (account.home, account.groups, account.source) == ("flows.unix.ar", {"staff"}, "command")
    assert check_password(sealed.open(account), "open sesame")
    assert not check_password(sealed.open(account), "open barley")
    assert b"sesame" not in repr(vars(account)).encode()


def test_the_server_key_opens_with_this_key_alone(
    accounts: Accounts, store: MemoryStore, sealed: SealedVerifiers
) -> None:
    done(accounts.add("me", "test", "x"))
    account = found(store, "test")
    assert sealed.open(account).server_key not in account.sealed_server_key
    with pytest.raises(ValueError, match="cannot be decrypted"):
        SealedVerifiers(b"j" * 32).open(account)


def test_a_sealed_key_does_not_pass_for_another_accounts(
    accounts: Accounts, store: MemoryStore, sealed: SealedVerifiers
) -> None:
    from dataclasses import replace

    done(accounts.add("me", "a", "x"))
    done(accounts.add("me", "b", "x"))
    mixed = replace(found(store, "a"), sealed_server_key=found(store, "b").sealed_server_key)
    with pytest.raises(ValueError, match="cannot be decrypted"):
        sealed.open(mixed)


def test_the_file_comes_in_and_wins(accounts: Accounts, store: MemoryStore, sealed: SealedVerifiers) -> None:
    done(accounts.add("me", "test", "by command", Terms(operator=True)))
    done(accounts.add("me", "other", "by command"))
    done(accounts.take_file([FileAccount("test", Secret("by file"), home="flows.unix.ar")]))
    account = found(store, "test")
    assert check_password(sealed.open(account), "by file")
    assert (account.operator, account.home, account.source) == (False, "flows.unix.ar", "file")
    assert found(store, "other").source == "command"


def test_the_same_file_again_changes_nothing(accounts: Accounts, store: MemoryStore) -> None:
    file = [FileAccount("test", Secret("test"), groups=("a", "b"))]
    done(accounts.take_file(file))
    before, told = found(store, "test"), audited(store)
    done(accounts.take_file(file))
    assert found(store, "test") == before
    assert audited(store) == told == ["file: set account test"]


def test_new_terms_keep_the_salt(accounts: Accounts, store: MemoryStore) -> None:
    done(accounts.take_file([FileAccount("test", Secret("test"))]))
    before = found(store, "test")
    done(accounts.take_file([FileAccount("test", Secret("test"), operator=True)]))
    assert (found(store, "test").salt, found(store, "test").operator) == (before.salt, True)


def test_what_leaves_the_file_leaves_the_store(accounts: Accounts, store: MemoryStore) -> None:
    done(accounts.add("me", "command", "x"))
    done(accounts.take_file([FileAccount("a", Secret("a")), FileAccount("b", Secret("b"))]))
    done(accounts.take_file([FileAccount("b", Secret("b"))]))
    assert [account.name for account in done(accounts.all())] == ["b", "command"]
    assert "file: remove account a" in audited(store)


def test_a_lock_outlives_the_file_and_a_new_password_in_it(accounts: Accounts, store: MemoryStore) -> None:
    done(accounts.take_file([FileAccount("test", Secret("one"))]))
    done(accounts.lock("me", "test", True))
    done(accounts.take_file([FileAccount("test", Secret("one"))]))
    assert found(store, "test").locked
    done(accounts.take_file([FileAccount("test", Secret("two"))]))
    assert found(store, "test").locked
    done(accounts.lock("me", "test", False))
    assert not found(store, "test").locked
    assert audited(store)[-1] == "me: unlock account test"


def test_accounts_of_another_key_are_made_anew_from_the_file(accounts: Accounts, store: MemoryStore) -> None:
    done(accounts.take_file([FileAccount("test", Secret("test"))]))
    lost = SealedVerifiers(b"n" * 32, 4096)
    done(Accounts(store, lost, Audit(Noon()), defer).take_file([FileAccount("test", Secret("test"))]))
    assert check_password(lost.open(found(store, "test")), "test")


def test_commands_change_password_and_remove(
    accounts: Accounts, store: MemoryStore, sealed: SealedVerifiers
) -> None:
    done(accounts.add("me", "test", "one", Terms(participant="Emiliano.ar")))
    done(accounts.set_password("me", "test", "two"))
    assert check_password(sealed.open(found(store, "test")), "two")
    assert found(store, "test").participant == "emiliano.ar"
    done(accounts.remove("me", "test"))
    assert done(store.account("test")) is None
    assert audited(store) == [
        "me: add account test",
        "me: set password of account test",
        "me: remove account test",
    ]


@pytest.mark.parametrize("act", ["set_password", "remove"])
def test_what_the_file_says_is_changed_there(accounts: Accounts, act: str) -> None:
    done(accounts.take_file([FileAccount("test", Secret("test"))]))
    arguments = ("me", "test", "new") if act == "set_password" else ("me", "test")
    with pytest.raises(Conflict, match="change it there"):
        done(getattr(accounts, act)(*arguments))


@pytest.mark.parametrize(
    ("name", "password", "terms", "error"),
    [
        ("te st", "x", Terms(), Usage),
        ("", "x", Terms(), Usage),
        ("a" * 65, "x", Terms(), Usage),
        ("test", "", Terms(), Usage),
        ("test", "a\x07b", Terms(), Usage),
        ("test", "é" * 128, Terms(), Usage),
        ("test", "\N{SOFT HYPHEN}", Terms(), Usage),
        ("test", "x", Terms(home="unix"), NameNotAllowed),
        ("test", "x", Terms(groups=frozenset({"a b"})), Usage),
        ("test", "x", Terms(participant="emiliano.ar", operator=True), Usage),
        ("taken", "x", Terms(), Conflict),
    ],
)
def test_what_cannot_be_an_account(
    accounts: Accounts, store: MemoryStore, name: str, password: str, terms: Terms, error: type[EsonError]
) -> None:
    done(accounts.add("me", "taken", "x"))
    with pytest.raises(error):
        done(accounts.add("me", name, password, terms))
    assert len(audited(store)) == 1


def test_a_password_of_the_file_that_cannot_be_is_named(accounts: Accounts) -> None:
    with pytest.raises(Usage, match=r"Account test: The password .* prohibits"):
        done(accounts.take_file([FileAccount("test", Secret("a\ue000b"))]))


@pytest.mark.parametrize("act", ["set_password", "lock", "remove"])
def test_of_an_account_that_is_not_there(accounts: Accounts, act: str) -> None:
    more: dict[str, tuple[object, ...]] = {"set_password": ("x",), "lock": (True,), "remove": ()}
    with pytest.raises(NoSuch):
        done(getattr(accounts, act)("me", "nobody", *more[act]))
