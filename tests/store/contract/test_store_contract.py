"""One suite for every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.outcomes import result_of as run
from twisted.internet.defer import execute

from eson.errors import Conflict
from eson.model.flows import Flow, Namespace, Visibility
from eson.model.principals import ANONYMOUS, Principal, user
from eson.model.rates import RateLimit
from eson.model.subscriptions import Side, State, Subscription
from eson.store import port
from eson.store.memory import MemoryStore
from eson.store.records import Account, AuditEntry, Call, Intention, StoredCredential, StoredProcessor
from eson.store.sqlite import SqliteStore

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
TEST = user("test")
EMILIANO = user("emiliano", "emiliano.ar")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[port.Store]:
    made: port.Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "s.db", execute)
    run(made.open())
    yield made
    run(made.close())


def flow(name: str, **values: Any) -> Flow:
    return Flow(
        **{
            "name": name,
            "namespace": "flows.unix.ar",
            "broker": "local",
            "topic": name,
            "owner": TEST,
            "created": NOW,
            **values,
        }
    )


def subscription(label: str, **values: Any) -> Subscription:
    copy = f"{label}.time.flows.unix.ar"
    return Subscription(
        **{
            "id": copy,
            "side": Side.PROVIDER,
            "flow": "time.flows.unix.ar",
            "copy": copy,
            "local": "",
            "principal": EMILIANO,
            "token": f"token-{label}",
            "state": State.ACTIVE,
            "reason": "",
            "actor": "user:test",
            "since": NOW,
            "created": NOW,
            **values,
        }
    )


def test_gives_back_a_flow_as_it_was_put(store: port.Store) -> None:
    value = flow(
        "time.flows.unix.ar",
        visibility=Visibility.PRIVATE,
        description="Zeit, „genau“",
        partitions=3,
        retention_ms=1000,
        retention_bytes=2**40,
        settings=frozenset({"partitions", "description"}),
        limit=RateLimit(1000, 9_999_999_999),
        made_for="abcdefg.time.flows.emiliano.ar",
    )
    run(store.apply(port.PutFlow(value)))
    assert run(store.flow(value.name)) == value
    other = replace(value, description="other", limit=RateLimit(octets=1))
    run(store.apply(port.PutFlow(other)))
    assert run(store.flow(value.name)) == other
    run(store.apply(port.DropFlow(value.name)))
    run(store.apply(port.DropFlow(value.name)))
    assert run(store.flow(value.name)) is None


def test_gives_back_a_namespace_as_it_was_put(store: port.Store) -> None:
    value = Namespace(
        "flows.unix.ar", "local", "edge", administrators=(TEST, Principal("group", "staff")), private="inner"
    )
    child = Namespace(
        "a.flows.unix.ar",
        "local",
        "local",
        configured=False,
        owner=TEST,
        created=NOW,
        visibility=Visibility.PUBLIC,
    )
    run(store.apply(port.PutNamespace(value), port.PutNamespace(child)))
    assert run(store.namespaces()) == [child, value]
    run(store.apply(port.DropNamespace(child.name)))
    assert run(store.namespaces()) == [value]


def test_gives_back_a_subscription_as_it_was_put(store: port.Store) -> None:
    value = subscription(
        "ksdj898",
        start=((0, 5), (1, 2**62)),
        position="BEGINNING",
        remote_state="active",
        renewed=NOW,
        lineage=("a" * 16, "b" * 16),
        typed_local="As.Typed",
    )
    run(store.apply(port.PutSubscription(value)))
    assert run(store.subscription(Side.PROVIDER, value.id)) == value
    assert run(store.subscription(Side.SUBSCRIBER, value.id)) is None


def test_a_subscription_may_get_its_final_id(store: port.Store) -> None:
    before = subscription("ksdj898", id="token-1", side=Side.SUBSCRIBER, copy="")
    after = replace(before, id="ksdj898.time.flows.unix.ar", copy="ksdj898.time.flows.unix.ar")
    run(store.apply(port.PutSubscription(before)))
    run(store.apply(port.PutSubscription(after, replaces="token-1")))
    assert run(store.subscriptions(Side.SUBSCRIBER)) == [after]


def test_the_other_records_come_back_as_they_were_put(store: port.Store) -> None:
    credential = StoredCredential("c.x.y", Side.SUBSCRIBER, "local", ANONYMOUS, NOW, "v", b"\x00\xff")
    intention = Intention("create-flow", "a.b", NOW, {"existed": False, "n": [1, "ü"]})
    call = Call("k", "f.x", "", "tok", EMILIANO, NOW, 3, NOW + timedelta(seconds=1))
    account = Account(
        "test", b"salt", 210000, b"stored", b"sealed", "flows.unix.ar", frozenset({"a", "b"}), True
    )
    run(
        store.apply(
            port.PutCredential(credential),
            port.PutIntention(intention),
            port.PutCall(call),
            port.PutAccount(account),
        )
    )
    assert run(store.credential(Side.SUBSCRIBER, "c.x.y")) == credential
    assert run(store.credential(Side.PROVIDER, "c.x.y")) is None
    assert run(store.intention("a.b")) == intention
    assert run(store.intentions()) == [intention]
    assert run(store.calls()) == [call]
    assert (run(store.call("k")), run(store.call("l"))) == (call, None)
    assert run(store.account("test")) == account
    assert run(store.accounts()) == [account]
    run(
        store.apply(
            port.DropCredential(Side.SUBSCRIBER, "c.x.y"),
            port.DropIntention("a.b"),
            port.DropCall("k"),
            port.DropAccount("test"),
        )
    )
    assert run(store.credential(Side.SUBSCRIBER, "c.x.y")) is None
    assert run(store.intention("a.b")) is None
    assert run(store.intentions()) == run(store.calls()) == run(store.accounts()) == []


def test_all_changes_of_one_apply_hold_or_none(store: port.Store) -> None:
    run(store.apply(port.UseLabel("ksdj898")))
    with pytest.raises(Conflict):
        run(store.apply(port.PutFlow(flow("a.flows.unix.ar")), port.UseLabel("ksdj898")))
    assert run(store.flow("a.flows.unix.ar")) is None
    assert run(store.count_flows(TEST)) == 0


def test_pages_are_by_name_and_leave_copies_out(store: port.Store) -> None:
    names = [f"f{number}.flows.unix.ar" for number in range(5)]
    run(store.apply(*(port.PutFlow(flow(name)) for name in reversed(names))))
    run(store.apply(port.PutFlow(flow("ksdj898.f0.flows.unix.ar", copy_of="f0.flows.unix.ar"))))
    run(store.apply(port.PutFlow(flow("x.other.ar", namespace="other.ar"))))
    first = run(store.flows("flows.unix.ar", limit=3))
    rest = run(store.flows("flows.unix.ar", after=first[-1].name, limit=3))
    assert [one.name for one in (*first, *rest)] == names
    assert run(store.flows("nix.ar")) == []
    assert len(run(store.flows())) == 6
    assert len(run(store.all_flows())) == 7


def test_finds_what_lies_directly_below(store: port.Store) -> None:
    run(store.apply(port.PutFlow(flow("a.b.flows.unix.ar"))))
    run(store.apply(port.PutFlow(flow("ksdj898.c.flows.unix.ar", copy_of="c.flows.unix.ar"))))
    assert run(store.flow_directly_below("b.flows.unix.ar")).name == "a.b.flows.unix.ar"
    assert run(store.flow_directly_below("flows.unix.ar")) is None
    assert run(store.flow_directly_below("c.flows.unix.ar")) is None


def test_counts_flows_of_an_owner_without_copies(store: port.Store) -> None:
    run(store.apply(port.PutFlow(flow("a.flows.unix.ar")), port.PutFlow(flow("b.flows.unix.ar"))))
    run(store.apply(port.PutFlow(flow("a.flows.unix.ar", description="again"))))
    run(store.apply(port.PutFlow(flow("k.a.flows.unix.ar", copy_of="a.flows.unix.ar"))))
    assert run(store.count_flows(TEST)) == 2
    run(store.apply(port.DropFlow("a.flows.unix.ar"), port.DropFlow("k.a.flows.unix.ar")))
    assert run(store.count_flows(TEST)) == 1
    assert run(store.count_flows(EMILIANO)) == 0


def test_counts_what_somebody_sees_of_a_namespace(store: port.Store) -> None:
    hidden = flow("b.flows.unix.ar", visibility=Visibility.PRIVATE)
    copy = flow("k.a.flows.unix.ar", copy_of="a.flows.unix.ar")
    other = flow("x.other.ar", namespace="other.ar")
    run(store.apply(*(port.PutFlow(one) for one in (flow("a.flows.unix.ar"), hidden, copy, other))))
    assert run(store.count_visible("flows.unix.ar", None)) == 2
    assert run(store.count_visible("flows.unix.ar", [EMILIANO])) == 1
    assert run(store.count_visible("flows.unix.ar", [EMILIANO, TEST])) == 2
    assert run(store.count_visible("flows.unix.ar", [])) == 1


def test_finds_subscriptions_by_every_condition(store: port.Store) -> None:
    mine = subscription("aaaaaaa")
    theirs = subscription("bbbbbbb", principal=user("ana"), local="g.flows.unix.ar")
    ended = subscription("ccccccc", state=State.ENDED, since=NOW - timedelta(days=31))
    waits = subscription("ddddddd", state=State.PENDING)
    here = subscription("eeeeeee", side=Side.SUBSCRIBER, flow="f.other.ar", local="h.flows.unix.ar")
    for one in (mine, theirs, ended, waits, here):
        run(store.apply(port.PutSubscription(one)))
    assert run(store.subscriptions()) == [mine, theirs, waits, here]
    assert run(store.subscriptions(Side.PROVIDER, flow="time.flows.unix.ar")) == [mine, theirs, waits]
    assert run(store.subscriptions(principal=user("ana"))) == [theirs]
    assert run(store.subscriptions(local="h.flows.unix.ar")) == [here]
    assert run(store.subscriptions(Side.PROVIDER, ended=True, after=mine.id, limit=2)) == [theirs, ended]
    assert run(store.subscription_by_token(Side.PROVIDER, EMILIANO, mine.flow, "token-aaaaaaa")) == mine
    assert run(store.subscription_by_token(Side.PROVIDER, EMILIANO, mine.flow, "token-ccccccc")) is None
    assert run(store.subscription_by_token(Side.PROVIDER, TEST, mine.flow, "token-aaaaaaa")) is None
    assert run(store.ended_before(NOW - timedelta(days=30))) == [ended]
    assert run(store.ended_before(NOW - timedelta(days=40))) == []
    assert run(store.count_subscriptions("emiliano.ar")) == 2
    assert run(store.count_subscriptions("")) == 1
    assert run(store.count_subscriptions("", user("ana"))) == 1
    assert run(store.count_subscriptions("", TEST)) == 0
    assert run(store.count_subscriptions("emiliano.ar", EMILIANO)) == 2
    assert run(store.count_pending()) == 1


def test_the_audit_log_is_numbered_and_read_in_order(store: port.Store) -> None:
    for number in range(3):
        run(store.apply(port.Note(AuditEntry(NOW, "user:test", "create", f"f{number}"))))
    entries = run(store.audit())
    assert [(one.number, one.object) for one in entries] == [(1, "f0"), (2, "f1"), (3, "f2")]
    assert [one.object for one in run(store.audit(after=1, limit=1))] == ["f1"]
    run(store.apply(port.Note(AuditEntry(NOW, "user:test", "delete", "f1"))))
    assert [(one.number, one.act) for one in run(store.audited("create", "f1"))] == [(2, "create")]
    assert run(store.audited("create", "f9")) == []


def processor(id: str, **values: Any) -> StoredProcessor:
    return StoredProcessor(
        **{
            "id": id,
            "kind": "bridge",
            "sources": ("a.flows.unix.ar",),
            "destinations": ("b.flows.unix.ar",),
            "owner": TEST,
            "state": State.REQUESTED,
            "reason": "",
            "actor": "user:test",
            "since": NOW,
            "created": NOW,
            **values,
        }
    )


def test_finds_processors_by_owner_and_by_each_of_their_flows(store: port.Store) -> None:
    bridge = processor("p-aaaaaaa", start=((0, 7), (1, 0)))
    signal = processor(
        "p-bbbbbbb",
        kind="signal",
        sources=("a.flows.unix.ar", "c.flows.unix.ar"),
        destinations=("d.flows.unix.ar", "e.flows.unix.ar"),
        owner=EMILIANO,
        state=State.FAILING,
        reason="processor failing",
        feeds=(("far.flows.other.ar", "c.flows.unix.ar"),),
        when="type = 'tick'",
    )
    run(store.apply(port.PutProcessor(signal), port.PutProcessor(bridge)))
    assert run(store.processor("p-bbbbbbb")) == signal
    assert run(store.processors()) == [bridge, signal]
    assert run(store.processors(source="a.flows.unix.ar")) == [bridge, signal]
    assert run(store.processors(source="a.flows.unix.ar", owner=TEST)) == [bridge]
    assert run(store.processors(destination="e.flows.unix.ar")) == [signal]
    assert run(store.processors(destination="a.flows.unix.ar")) == []
    assert run(store.processors(after="p-aaaaaaa", limit=1)) == [signal]
    moved = replace(signal, destinations=("d.flows.unix.ar",), state=State.PAUSED)
    run(store.apply(port.PutProcessor(moved)))
    assert run(store.processors(destination="e.flows.unix.ar")) == []
    ended = replace(moved, state=State.ENDED, reason="unsubscribed", since=NOW - timedelta(days=31))
    run(store.apply(port.PutProcessor(ended)))
    assert run(store.processors()) == [bridge]
    assert run(store.processors(source="c.flows.unix.ar")) == []
    assert run(store.processor("p-bbbbbbb")) == ended
    assert run(store.processors_ended_before(NOW - timedelta(days=30))) == [ended]
    assert run(store.processors_ended_before(NOW - timedelta(days=40))) == []
    run(store.apply(port.DropProcessor("p-bbbbbbb"), port.DropProcessor("p-zzzzzzz")))
    assert run(store.processors()) == [bridge]
    assert run(store.processors(source="c.flows.unix.ar")) == []
    assert run(store.processor("p-bbbbbbb")) is None


def test_keeps_what_a_journal_begins_with(store: port.Store) -> None:
    """Octets as they are; nothing for a processor that never said anything."""
    assert run(store.journal("p-aaaaaaa")) == b""
    run(store.apply(port.PutJournal("p-aaaaaaa", b"H 0\n\x00")))
    run(store.apply(port.PutJournal("p-aaaaaaa", b"H 1\n\xff")))
    assert run(store.journal("p-aaaaaaa")) == b"H 1\n\xff"
    run(store.apply(port.DropJournal("p-aaaaaaa"), port.DropJournal("p-bbbbbbb")))
    assert run(store.journal("p-aaaaaaa")) == b""
