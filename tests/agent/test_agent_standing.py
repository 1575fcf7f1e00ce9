"""A lock ends open sessions."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from eson.agent.standing import AT_ONCE, Standing
from eson.store.memory import MemoryStore
from eson.store.port import DropAccount, PutAccount
from eson.store.records import Account


def put(store: MemoryStore, name: str, locked: bool = False) -> None:
    account = Account(name, b"salt", 4096, b"stored", b"sealed", locked=locked)
    Deferred.fromCoroutine(store.apply(PutAccount(account)))


def turn(standing: Standing) -> None:
    Deferred.fromCoroutine(standing.look())


def test_a_lock_and_a_removal_end_the_sessions_of_that_account() -> None:
    store, ended = MemoryStore(), []
    for name in ("a", "b", "c"):
        put(store, name)
    standing = Standing(store, lambda: {"a", "b", "c"}, ended.append)
    for _ in range(3):
        turn(standing)
    assert ended == []
    put(store, "a", locked=True)
    Deferred.fromCoroutine(store.apply(DropAccount("c")))
    turn(standing)
    assert ended == ["a", "c"]


def test_many_accounts_take_several_turns_and_all_have_theirs() -> None:
    looked: list[str] = []

    class Counting(MemoryStore):
        async def account(self, name: str) -> Account | None:
            looked.append(name)
            return await super().account(name)

    names = {f"user{n:04}" for n in range(2 * AT_ONCE + 10)}
    standing = Standing(Counting(), lambda: names, lambda name: None)
    turn(standing)  # begins a round
    for _ in range(2):
        turn(standing)
    assert len(looked) == 2 * AT_ONCE
    turn(standing)
    assert sorted(looked) == sorted(names)
