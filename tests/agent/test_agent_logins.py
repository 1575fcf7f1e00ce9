"""Logins: who gets in, who does not, and what cannot be told apart."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from servers.outcomes import result_of as done
from twisted.internet.defer import Deferred, succeed

from eson.agent.accounts import Accounts, SealedVerifiers, Terms
from eson.agent.audit import Audit
from eson.agent.logins import LEVEL, QUEUE, Logins, decoy_secret
from eson.errors import NotAvailableNow
from eson.identity.mechanisms import AskVerifier, Challenge, Succeeded
from eson.identity.mechanisms.scram import ScramClient
from eson.identity.throttle import Throttle
from eson.identity.verifier import Verifier
from eson.model.principals import ANONYMOUS, user
from eson.store.memory import MemoryStore
from eson.store.port import Change

T = TypeVar("T")
KEY = b"k" * 32
PEER = "192.0.2.1"


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Slow:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.now = True
        self.ran = 0

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.ran += 1
        if self.now:
            return succeed(work())
        answer: Deferred[Any] = Deferred()
        self.waiting.append((work, answer))
        return answer

    def go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for work, answer in waiting:
            answer.callback(work())


class House:
    def __init__(self) -> None:
        self.store, self.clock, self.slow = MemoryStore(), Hand(), Slow()
        self.sealed = SealedVerifiers(KEY, 4096)
        self.audit = Audit(self.clock)
        self.throttle = Throttle()
        self.seconds, self.pauses = 0.0, list[float]()
        self.accounts = Accounts(self.store, self.sealed, self.audit, succeed_with)
        self.logins = self.over(self.store)
        for name, terms in (
            ("test", Terms(home="flows.unix.ar", groups=frozenset({"staff"}), operator=True)),
            ("emiliano", Terms(participant="emiliano.ar", home="flows.unix.ar")),
            ("locked", Terms()),
        ):
            done(self.accounts.add("me", name, "secret", terms))
        done(self.accounts.lock("me", "locked", True))

    def over(self, store: MemoryStore, sealed: SealedVerifiers | None = None) -> Logins:
        return Logins(
            store,
            sealed or self.sealed,
            "unix.ar",
            self.throttle,
            self.audit,
            self.clock,
            self.slow,
            decoy_secret(KEY),
            self.pause,
            lambda: self.seconds,
        )

    def pause(self, seconds: float) -> Deferred[None]:
        self.pauses.append(seconds)
        return succeed(None)

    def check(self, name: str, password: str, peer: str = PEER) -> bool:
        return done(self.logins.check_password(name, password, peer))

    def audited(self) -> list[tuple[str, str, str, str]]:
        entries = done(self.store.audit())
        return [(e.actor, e.object, e.outcome, e.detail) for e in entries if e.act == "login"]


def succeed_with(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


@pytest.fixture
def house() -> House:
    return House()


def test_a_password_is_checked_off_the_reactor(house: House) -> None:
    assert house.check("test", "secret")
    assert not house.check("test", "Secret")
    assert house.slow.ran == 2


@pytest.mark.parametrize("name", ["nobody", "locked", "", "test@unix.ar", "TEST"])
def test_others_take_the_same_way_and_fail(house: House, name: str) -> None:
    assert not house.check(name, "secret")
    assert house.slow.ran == 1, "an unknown user costs as many digests as a known one"


def scram(house: House, name: str, password: str) -> tuple[Challenge, object]:
    """One SCRAM login: the server's first message and the outcome."""
    client = ScramClient(name, password, nonce="client")
    server = house.logins.mechanism("SCRAM-SHA-256")
    assert server is not None
    asked = server.respond(client.initial())
    assert asked == AskVerifier(name)
    first = server.verifier(done(house.logins.verifier(name, PEER)))
    assert isinstance(first, Challenge)
    return first, server.respond(client.answer(first.data))


def test_scram_succeeds_for_the_right_password(house: House) -> None:
    assert isinstance(scram(house, "test", "secret")[1], Succeeded)
    assert not isinstance(scram(house, "test", "wrong")[1], Succeeded)


@pytest.mark.parametrize("name", ["nobody", "locked"])
def test_scram_of_an_unknown_user_looks_like_a_known_one(house: House, name: str) -> None:
    first, outcome = scram(house, name, "secret")
    again, _ = scram(house, name, "secret")
    assert not isinstance(outcome, Succeeded)

    def salt_and_count(challenge: Challenge) -> list[str]:
        return challenge.data.decode().split(",")[1:]

    assert salt_and_count(first) == salt_and_count(again), "its salt is always the same"
    assert salt_and_count(first) != salt_and_count(scram(house, f"{name}2", "secret")[0])
    known = salt_and_count(scram(house, "test", "secret")[0])
    assert salt_and_count(first)[1] == known[1]
    assert len(base64.b64decode(salt_and_count(first)[0][2:])) == len(base64.b64decode(known[0][2:]))


def test_known_and_unknown_users_open_as_many_seals(house: House) -> None:
    opened: list[str] = []

    class Counting(SealedVerifiers):
        def open(self, account: Any) -> Verifier:
            opened.append(account.name)
            return super().open(account)

    logins = house.over(house.store, Counting(KEY, 4096))
    for name in ("test", "nobody", "locked"):
        done(logins.verifier(name, PEER))
    assert opened == ["test", "", "locked"]


@pytest.mark.parametrize("name", ["test", "nobody", "locked"])
@pytest.mark.parametrize("took", [0.0, 0.001, 0.5])
def test_every_answer_comes_after_the_same_time(house: House, name: str, took: float) -> None:
    """Whatever the store took: the moment of the answer says nothing of what it found."""

    class Slower(MemoryStore):
        async def account(self, name: str) -> Any:
            house.seconds += took
            return await house.store.account(name)

    done(house.over(Slower()).verifier(name, PEER))
    assert house.pauses == [pytest.approx(max(0.0, LEVEL - took))]


def authorise(house: House, name: str, authorisation: str = "") -> Any:
    return done(house.logins.authorise(name, authorisation, "PLAIN", PEER, tls=True))


@pytest.mark.parametrize("authorisation", ["", "test", "test@unix.ar"])
def test_an_account_acts_as_itself(house: House, authorisation: str) -> None:
    caller = authorise(house, "test", authorisation)
    assert caller.principal == user("test")
    assert (caller.account, caller.home, caller.groups, caller.operator) == (
        "test",
        "flows.unix.ar",
        {"staff"},
        True,
    )
    assert (caller.mechanism, caller.tls) == ("PLAIN", True)
    assert house.audited() == [("user:test", "test", "ok", "PLAIN from 192.0.2.1 over TLS")]


def test_another_participants_agent_acts_for_its_users(house: House) -> None:
    caller = authorise(house, "emiliano", "ana@Emiliano.ar")
    assert caller.principal == user("ana", "emiliano.ar")
    assert (caller.account, caller.home, caller.groups, caller.operator) == (
        "emiliano",
        "",
        frozenset(),
        False,
    )
    itself = authorise(house, "emiliano")
    assert (itself.principal, itself.is_ours) == (user("emiliano"), False), "though the account is ours"
    assert authorise(house, "test").is_ours
    assert house.audited()[0][:3] == ("user:ana@emiliano.ar", "emiliano", "ok")


@pytest.mark.parametrize(
    ("name", "authorisation"),
    [
        ("test", "emiliano"),
        ("test", "ana@emiliano.ar"),
        ("emiliano", "ana@unix.ar"),
        ("emiliano", "test"),
        ("emiliano", "ana@sub.emiliano.ar"),
        ("emiliano", "@emiliano.ar"),
        ("emiliano", "a\0b@emiliano.ar"),
        ("locked", ""),
        ("removed", ""),
    ],
)
def test_nobody_acts_as_somebody_else(house: House, name: str, authorisation: str) -> None:
    assert authorise(house, name, authorisation) is None
    ((actor, object, outcome, detail),) = house.audited()
    assert (actor, object, outcome) == (name, name, "failed")
    assert "\0" not in detail


def test_a_stranger_is_anonymous_and_leaves_no_entry(house: House) -> None:
    caller = done(house.logins.authorise("", "", "ANONYMOUS", PEER, tls=False))
    assert (caller.principal, caller.account) == (ANONYMOUS, "")  # type: ignore[union-attr]
    assert house.audited() == []


def test_ten_thousand_wrong_passwords_are_mostly_not_looked_at(house: House) -> None:
    evaluated = 0
    for n in range(10_000):
        house.clock.time += timedelta(milliseconds=60)
        try:
            house.check(f"user{n % 50}", "guess")
            evaluated += 1
        except NotAvailableNow:
            pass
    assert evaluated == house.slow.ran <= 60
    assert house.check("test", "secret", peer="192.0.2.2")


def test_scram_is_held_to_the_same_count(house: House) -> None:
    for _ in range(10):
        done(house.logins.verifier("test", PEER))
    with pytest.raises(NotAvailableNow, match="try again later"):
        done(house.logins.verifier("test", PEER))
    with pytest.raises(NotAvailableNow):
        house.check("test", "secret")


def test_a_login_that_succeeds_gives_its_attempt_back(house: House) -> None:
    for _ in range(50):
        assert house.check("test", "secret")
        assert authorise(house, "test")


def test_no_more_passwords_wait_than_the_queue_holds(house: House) -> None:
    house.slow.now = False
    answers: list[Any] = []
    for n in range(QUEUE):
        work = house.logins.check_password("test", "secret", f"192.0.2.{n}")
        Deferred.fromCoroutine(work).addBoth(answers.append)
    with pytest.raises(NotAvailableNow):
        house.check("test", "secret", "198.51.100.1")
    house.slow.go()
    assert answers.count(True) == min(QUEUE, 30)  # those that the account's own limit let through
    house.slow.now = True
    assert not house.check("other", "secret", "198.51.100.1")


def test_failures_stand_in_the_audit_log_and_strangers_noise_does_not(house: House) -> None:
    house.logins.failed("test", "PLAIN", PEER, "wrong user or password")
    house.logins.failed("", "SCRAM-SHA-256", PEER, "the response is not base64")
    assert house.audited() == [("test", "test", "failed", "PLAIN from 192.0.2.1: wrong user or password")]


def test_failures_are_written_in_batches_and_bounded() -> None:
    class Stuck(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[int] = []
            self.held: Deferred[None] | None = None

        async def apply(self, *changes: Change) -> None:
            self.batches.append(len(changes))
            if self.held is not None:
                await self.held
            await super().apply(*changes)

    store, clock = Stuck(), Hand()
    sealed = SealedVerifiers(KEY, 4096)
    logins = Logins(
        store,
        sealed,
        "unix.ar",
        Throttle(),
        Audit(clock),
        clock,
        succeed_with,
        decoy_secret(KEY),
        lambda seconds: succeed(None),
    )
    held = store.held = Deferred()
    for n in range(1500):
        logins.failed(f"user{n}", "PLAIN", PEER, "wrong user or password")
    store.held = None
    held.callback(None)
    assert store.batches == [1, 1001]
    assert done(store.audit(after=1001))[0].detail == "499 more failed logins are not listed"


def test_an_account_sealed_with_another_key_cannot_log_in(house: House) -> None:
    logins = Logins(
        house.store,
        SealedVerifiers(b"j" * 32, 4096),
        "unix.ar",
        house.throttle,
        house.audit,
        house.clock,
        house.slow,
        decoy_secret(KEY),
        house.pause,
    )
    assert not done(logins.check_password("test", "secret", PEER))


def test_mechanisms_are_fresh_ones(house: House) -> None:
    for name in ("PLAIN", "SCRAM-SHA-256", "ANONYMOUS"):
        one, other = house.logins.mechanism(name), house.logins.mechanism(name)
        assert one is not None
        assert one.name == name
        assert one is not other
    assert house.logins.mechanism("GSSAPI") is None
