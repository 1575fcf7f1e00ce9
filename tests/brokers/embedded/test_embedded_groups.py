"""Consumer groups: who comes, who goes, who falls silent, and what each is told."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.embedded.in_memory import MemoryBroker
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eson.brokers.embedded.server.committed import Position
from eson.brokers.embedded.server.groups import (
    COMPLETING,
    EMPTY,
    PREPARING,
    STABLE,
    Group,
    GroupRefused,
    Joined,
    Joining,
)
from eson.brokers.embedded.server.service import forget_groups
from eson.brokers.kafka.wire.errors import ErrorCode


class Member:
    """One consumer as its group sees it."""

    def __init__(
        self,
        group: Group,
        name: str = "",
        instance: str | None = None,
        protocols: Any = None,
        known: bool = False,
        skips: bool = True,
    ) -> None:
        self.group, self.id, self.instance = group, name, instance
        self.protocols = protocols or [("range", b"topics")]
        self.known, self.skips = known, skips
        self.place: Joined | None = None
        self.assignment: bytes | None = None
        self.error: ErrorCode | None = None

    def join(self) -> Member:
        self.place = self.error = None
        asked = Joining(
            self.id,
            self.instance,
            "client",
            "/127.0.0.1",
            10_000,
            60_000,
            "consumer",
            self.protocols,
            self.known,
            self.skips,
        )
        try:
            waiting = self.group.join(asked)
        except GroupRefused as refused:
            self.error = refused.code
            self.id = refused.member_id or self.id
            return self
        self.waiting = waiting
        waiting.addCallbacks(self._joined, self._refused)
        return self

    def _joined(self, place: Joined) -> None:
        self.place, self.id = place, place.member_id

    def _refused(self, failure: Any) -> None:
        self.error = failure.value.code

    def sync(self, assignments: dict[str, bytes] | None = None) -> Member:
        self.assignment = self.error = None
        assert self.place is not None
        waiting: Deferred[bytes] = self.group.sync(
            self.id, self.instance, self.place.generation, "consumer", "range", (assignments or {}).items()
        )
        waiting.addCallbacks(self._synced, self._refused)
        return self

    def _synced(self, assignment: bytes) -> None:
        self.assignment = assignment

    def heartbeat(self) -> ErrorCode:
        assert self.place is not None
        try:
            self.group.heartbeat(self.id, self.instance, self.place.generation)
        except GroupRefused as refused:
            return refused.code
        return ErrorCode.NONE

    @property
    def leads(self) -> bool:
        return self.place is not None and self.place.leader == self.id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def group(clock: Clock) -> Group:
    return Group("g", clock)


def stable(group: Group, *members: Member) -> None:
    """All join and sync: each gets its own id as its assignment."""
    for member in members:
        member.join()
    for member in members:
        if group.state == PREPARING and member.place is not None:
            member.join()
    for member in members:
        member.sync({each: each.encode() for each in group.members} if member.leads else None)
    assert group.state == STABLE
    assert [m.assignment for m in members] == [m.id.encode() for m in members]


def test_the_first_member_leads_alone(group: Group) -> None:
    first = Member(group).join()
    assert first.place is not None
    assert (first.place.generation, first.leads, group.state) == (1, True, COMPLETING)
    assert first.place.members == ((first.id, None, b"topics"),)
    first.sync({first.id: b"all"})
    assert (first.assignment, group.state) == (b"all", STABLE)


def test_a_new_member_first_gets_its_id(group: Group, clock: Clock) -> None:
    first = Member(group, known=True).join()
    assert first.error is ErrorCode.MEMBER_ID_REQUIRED
    assert first.id.startswith("client-")
    assert group.state == EMPTY
    assert first.join().place is not None
    promised = Member(group, known=True).join()
    clock.advance(10)
    assert promised.join().error is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_second_member_lets_the_first_come_again(group: Group) -> None:
    first, second = Member(group), Member(group)
    stable(group, first)
    second.join()
    assert (second.place, group.state) == (None, PREPARING)
    assert first.heartbeat() is ErrorCode.REBALANCE_IN_PROGRESS
    first.join()
    assert first.place is not None
    assert second.place is not None
    assert first.place.generation == second.place.generation == 2
    assert first.leads
    assert len(first.place.members) == 2
    assert second.place.members == ()
    second.sync()
    assert second.assignment is None
    first.sync({first.id: b"1", second.id: b"2"})
    assert (first.assignment, second.assignment) == (b"1", b"2")


def test_a_member_that_leaves_is_not_waited_for(group: Group) -> None:
    first, second = Member(group), Member(group)
    stable(group, first, second)
    group.leave(second.id, None)
    assert group.state == PREPARING
    first.join()
    assert first.place is not None
    assert len(first.place.members) == 1
    group.leave(first.id, None)
    assert group.state == EMPTY
    with pytest.raises(GroupRefused, match="UNKNOWN_MEMBER_ID"):
        group.leave(first.id, None)


def test_a_silent_member_is_left_out(group: Group, clock: Clock) -> None:
    first, second = Member(group), Member(group)
    stable(group, first, second)
    for _ in range(3):
        clock.advance(4)
        first.heartbeat()
    assert list(group.members) == [first.id]
    first.join()
    assert first.place is not None
    assert second.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID


def test_who_does_not_come_again_in_time_is_left_behind(group: Group, clock: Clock) -> None:
    """It sends heartbeats, but its application hangs."""
    first, second, third = Member(group), Member(group), Member(group)
    stable(group, first, second)
    third.join()
    second.join()
    for _ in range(13):
        clock.advance(5)
        if first.id in group.members:
            first.heartbeat()
    assert second.place is not None
    assert third.place is not None
    assert set(group.members) == {second.id, third.id}
    assert second.leads or third.leads


def test_a_member_that_waits_is_not_silent(group: Group, clock: Clock) -> None:
    first, second = Member(group), Member(group)
    stable(group, first)
    second.join()
    for _ in range(5):
        clock.advance(8)
        first.heartbeat()
    assert second.id == ""
    assert len(group.members) == 2
    first.join()
    assert second.place is not None


def test_a_member_whose_connection_broke_while_it_waited(group: Group, clock: Clock) -> None:
    first, second = Member(group), Member(group)
    stable(group, first)
    second.join()
    second.waiting.addErrback(lambda _: None).cancel()
    assert len(group.members) == 2
    for _ in range(3):
        clock.advance(4)
        first.heartbeat()
    assert len(group.members) == 1


def test_the_leader_that_joins_again_makes_a_new_generation(group: Group) -> None:
    first, second = Member(group), Member(group)
    stable(group, first, second)
    generation = group.generation
    assert second.join().place is not None
    assert group.generation == generation  # a follower that wants the same is just told its place
    first.join()
    assert group.state == PREPARING
    second.join()
    assert group.generation == generation + 1


def test_other_topics_make_a_new_generation(group: Group) -> None:
    first, second = Member(group), Member(group)
    stable(group, first, second)
    second.protocols = [("range", b"other topics")]
    second.join()
    assert group.state == PREPARING
    first.join()
    assert first.place is not None
    assert (second.id, None, b"other topics") in first.place.members


def test_the_protocol_that_all_know_and_most_prefer_is_taken(group: Group) -> None:
    first = Member(group, protocols=[("range", b""), ("sticky", b"")])
    second = Member(group, protocols=[("sticky", b""), ("range", b"")])
    third = Member(group, protocols=[("sticky", b"")])
    first.join()
    first.sync({})
    second.join()
    third.join()
    first.join()
    assert {m.place.protocol for m in (first, second, third) if m.place} == {"sticky"}
    assert Member(group, protocols=[("range", b"")]).join().error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_a_static_member_that_comes_back_keeps_its_place(group: Group) -> None:
    first, second = Member(group, instance="one"), Member(group, instance="two")
    stable(group, first, second)
    generation, old = group.generation, second.id
    again = Member(group, instance="two").join()
    assert again.place is not None
    assert (again.place.generation, group.state) == (generation, STABLE)
    assert again.id != old
    assert again.sync().assignment == old.encode()
    assert second.heartbeat() is ErrorCode.FENCED_INSTANCE_ID
    leader = Member(group, instance="one").join()
    assert leader.place is not None
    assert leader.place.skip_assignment


def test_a_static_leader_of_an_old_client_comes_back_as_a_follower(group: Group) -> None:
    """It would assign anew, and nobody would hear of it."""
    first = Member(group, instance="one")
    stable(group, first)
    again = Member(group, instance="one", skips=False).join()
    assert again.place is not None
    assert (again.place.leader, again.place.members, again.place.skip_assignment) == (first.id, (), False)
    assert again.sync().assignment == first.id.encode()


def test_a_static_member_that_wants_something_else_keeps_its_place_as_long_as_the_protocol_stays(
    group: Group,
) -> None:
    first = Member(group, instance="one", protocols=[("range", b"1"), ("sticky", b"1")])
    stable(group, first)
    second = Member(group, instance="one", protocols=[("range", b"2"), ("sticky", b"2")]).join()
    assert (group.state, group.generation) == (STABLE, 1)
    assert second.place is not None
    assert second.place.members == ((second.id, "one", b"2"),)
    third = Member(group, instance="one", protocols=[("sticky", b"3")]).join()
    assert third.place is not None
    assert (group.state, third.place.generation, third.place.protocol) == (COMPLETING, 2, "sticky")


def test_a_name_of_a_static_member_that_nobody_has(group: Group) -> None:
    member = Member(group)
    stable(group, member)
    member.instance = "other"
    assert member.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID
    assert member.join().error is ErrorCode.UNKNOWN_MEMBER_ID
    with pytest.raises(GroupRefused, match="UNKNOWN_MEMBER_ID"):
        group.leave(member.id, "other")


def test_a_member_cannot_leave_what_all_know(group: Group) -> None:
    member = Member(group)
    stable(group, member)
    member.protocols = [("other", b"")]
    assert member.join().error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert (group.state, group.members[member.id].protocols) == (STABLE, [("range", b"topics")])


def test_assignments_are_remembered_until_there_are_others(group: Group) -> None:
    first, second = Member(group), Member(group)
    stable(group, first)
    second.join()
    first.join()
    assert group.state == COMPLETING
    assert [m.assignment for m in group.members.values()] == [first.id.encode(), b""]
    Member(group).join()  # before the leader said anything
    assert group.state == PREPARING
    assert {m.assignment for m in group.members.values()} == {b""}


def test_generations_are_checked(group: Group) -> None:
    member = Member(group)
    stable(group, member)
    with pytest.raises(GroupRefused, match="ILLEGAL_GENERATION"):
        group.heartbeat(member.id, None, 7)
    with pytest.raises(GroupRefused, match="ILLEGAL_GENERATION"):
        group.sync(member.id, None, 7, None, None, [])
    with pytest.raises(GroupRefused, match="INCONSISTENT_GROUP_PROTOCOL"):
        group.sync(member.id, None, 1, "consumer", "other", [])


def test_who_may_commit(group: Group) -> None:
    group.check_commit("", None, -1)
    member = Member(group)
    stable(group, member)
    group.check_commit(member.id, None, 1)
    for member_id, generation, code in (
        (member.id, 2, "ILLEGAL_GENERATION"),
        ("other", 1, "UNKNOWN_MEMBER_ID"),
        ("", -1, "UNKNOWN_MEMBER_ID"),
    ):
        with pytest.raises(GroupRefused, match=code):
            group.check_commit(member_id, None, generation)
    Member(group).join()
    group.check_commit(member.id, None, 1)  # before it gives its partitions up
    member.join()
    with pytest.raises(GroupRefused, match="REBALANCE_IN_PROGRESS"):
        group.check_commit(member.id, None, 2)


def test_a_closed_group_leaves_no_timers(group: Group, clock: Clock) -> None:
    stable(group, Member(group), Member(group))
    Member(group, known=True).join()
    Member(group).join()
    group.close()
    assert clock.getDelayedCalls() == []


def test_groups_that_have_neither_members_nor_positions_are_forgotten() -> None:
    memory = MemoryBroker()
    broker = memory.broker
    for name in ("left", "kept", "used"):
        broker.offsets.note_type(name, "consumer")
        Member(broker.groups.obtain(name)).join()
    for name in ("left", "kept"):
        (member,) = broker.groups.obtain(name).members
        broker.groups.obtain(name).leave(member, None)
    broker.offsets.commit("kept", {("topic", 0): Position(1, 0, "", broker.now())})
    memory.settle()
    memory.reactor.advance(1)
    Deferred.fromCoroutine(forget_groups(broker))
    assert {group.id for group in broker.groups.all()} == {"kept", "used"}
    assert [broker.offsets.type_of(name) for name in ("left", "kept", "used")] == ["", "consumer", "consumer"]
    memory.reactor.advance(3600)  # the session of the last member runs out
    Deferred.fromCoroutine(forget_groups(broker))
    assert {group.id for group in broker.groups.all()} == {"kept"}
