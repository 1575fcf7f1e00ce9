"""The groups of the embedded broker answer as Apache Kafka's do: members, leaders, generations, assignments, positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from servers.peers import Asked, Peers, commit, coordinate, made_topic

from eson.brokers.kafka.wire import apis

Request = Callable[[str], Any]
RANGE = (("range", b"m"),)


@pytest.fixture
def topic(peers: Peers) -> str:
    return made_topic(peers)


@dataclass
class Members:
    """The members of one group by our names for them, each on a connection of its own; unknown names are sent as they are."""

    peers: Peers
    group: str
    version: int = 9

    def id(self, peer: str, name: str) -> str:
        return self.peers.ids[peer].get(name, name)

    def join(
        self,
        name: str = "",
        *,
        instance: str | None = None,
        session: int = 10_000,
        rebalance: int = 10_000,
        kind: str = "consumer",
        protocols: tuple[tuple[str, bytes], ...] = RANGE,
        group: str | None = None,
    ) -> Request:
        shape = apis.JoinGroupRequest.JoinGroupRequestProtocol
        return lambda peer: apis.JoinGroupRequest(
            group_id=self.group if group is None else group, session_timeout_ms=session, rebalance_timeout_ms=rebalance,
            member_id=self.id(peer, name), group_instance_id=instance, protocol_type=kind,
            protocols=[shape(name=protocol, metadata=metadata) for protocol, metadata in protocols],
        )  # fmt: skip

    def sync(
        self,
        name: str,
        generation: int,
        given: Mapping[str, bytes] = {},
        *,
        instance: str | None = None,
        kind: str = "consumer",
        protocol: str = "range",
    ) -> Request:
        shape = apis.SyncGroupRequest.SyncGroupRequestAssignment
        return lambda peer: apis.SyncGroupRequest(
            group_id=self.group, generation_id=generation, member_id=self.id(peer, name), group_instance_id=instance,
            protocol_type=kind, protocol_name=protocol,
            assignments=[shape(member_id=self.id(peer, one), assignment=octets) for one, octets in given.items()],
        )  # fmt: skip

    def beat(self, name: str, generation: int, instance: str | None = None) -> Any:
        """Asks for a heartbeat, of both."""
        return self.peers.both(
            lambda peer: apis.HeartbeatRequest(
                group_id=self.group, generation_id=generation, member_id=self.id(peer, name), group_instance_id=instance
            ),
            4,
        )  # fmt: skip

    def leave(self, *who: tuple[str, str | None]) -> Any:
        shape = apis.LeaveGroupRequest.MemberIdentity
        return self.peers.both(
            lambda peer: apis.LeaveGroupRequest(
                group_id=self.group,
                members=[
                    shape(member_id=self.id(peer, name), group_instance_id=instance, reason=None)
                    for name, instance in who
                ],
            ),
            5,
        )

    def describe(self) -> Any:
        asked = apis.DescribeGroupsRequest(groups=[self.group], include_authorized_operations=True)
        return self.peers.both(asked, 5).groups[0]

    def commit(self, topic: str, name: str, generation: int, instance: str | None = None) -> Any:
        return self.peers.both(
            lambda peer: commit(self.group, topic, self.id(peer, name), generation, instance=instance), 8
        )

    def enter(self, name: str, **asked: Any) -> None:
        """A new member learns its id."""
        answer = self.peers.both(self.join(**asked), self.version, learn=name)
        assert answer.error_code == 79

    def begin_join(self, name: str, **asked: Any) -> Asked:
        return self.peers.begin(self.join(name, **asked), self.version, via=name)

    def joined(self, asked: Asked, generation: int, **learn: str) -> Any:
        answer = self.peers.end(asked, **learn)
        assert (answer.error_code, answer.generation_id) == (0, generation)
        return answer

    def synced(self, asked: Asked, assignment: bytes) -> None:
        assert self.peers.end(asked).assignment == assignment

    def first(self, name: str, given: bytes = b"all", **asked: Any) -> None:
        """A group of one member, in its first generation."""
        self.enter(name, **asked)
        self.joined(self.begin_join(name, **asked), 1)
        self.synced(self.begin_sync(name, 1, {name: given}), given)

    def begin_sync(self, name: str, generation: int, given: Mapping[str, bytes] = {}, **asked: Any) -> Asked:
        return self.peers.begin(self.sync(name, generation, given, **asked), 5, via=name)


@pytest.fixture
def members(peers: Peers) -> Members:
    group = f"group-{peers.topic}"
    coordinate(peers, group)
    return Members(peers, group)


def test_what_one_member_may_ask(peers: Peers, topic: str, members: Members) -> None:
    members.beat("x", 0)
    peers.both(members.sync("x", 0), 5)
    for asked in (
        members.join("unknown"), members.join(session=1), members.join(session=2_000_000_000), members.join(group=""),
        members.join(protocols=()), members.join(kind=""),
    ):  # fmt: skip
        peers.both(asked, 7)
    members.enter("one")
    members.joined(members.begin_join("one"), 1)
    members.describe()
    members.commit(topic, "one", 1)  # before the assignment
    members.beat("one", 1)
    members.beat("one", 9)
    peers.both(members.sync("one", 9), 5)
    peers.both(members.sync("one", 1, kind="other"), 5)
    peers.both(members.sync("one", 1, protocol="other"), 5)
    peers.both(members.sync("one", 1, {"one": b"mine"}), 5)
    peers.both(members.sync("one", 1), 3)
    members.beat("one", 1)
    peers.both(members.join(kind="other"), 7)
    peers.both(members.join(protocols=(("other", b""),)), 7)
    peers.both(members.join("one", protocols=(("other", b""),)), 7)
    for name, generation in (("one", 1), ("one", 5), ("unknown", 1), ("", -1), ("one", -1)):
        members.commit(topic, name, generation)
    members.describe()
    for version in (5, 6):
        peers.both(
            apis.DescribeGroupsRequest(groups=["no-such-group"], include_authorized_operations=False), version
        )
    for group in (members.group, "no-such-group", ""):
        peers.both(apis.DeleteGroupsRequest(groups_names=[group]), 2)
    members.leave(("one", None), ("unknown", None))
    members.beat("one", 1)
    members.commit(topic, "", -1)
    members.describe()
    for _ in range(2):
        peers.both(apis.DeleteGroupsRequest(groups_names=[members.group]), 2)


def test_a_second_member_comes_and_the_first_goes(peers: Peers, topic: str, members: Members) -> None:
    """Both take part in the rebalance, the leader says who reads what, each is told its own part and no other."""
    members.first("one")
    members.enter("two")
    second = members.begin_join("two", protocols=(("range", b"n"),))
    assert members.beat("one", 1).error_code == 27
    members.describe()
    members.commit(topic, "one", 1)
    peers.both(members.sync("one", 1), 5)
    again = members.begin_join("one")
    assert len(members.joined(again, 2).members) == 2
    assert members.joined(second, 2).members == []
    members.describe()
    members.commit(topic, "two", 2)
    waiting = members.begin_sync("two", 2)
    leading = members.begin_sync("one", 2, {"one": b"left", "two": b"right"})
    members.synced(waiting, b"right")
    members.synced(leading, b"left")
    members.describe()
    for name in ("one", "two"):
        members.beat(name, 1)
        members.beat(name, 2)
    # who follows and wants the same is told where it is; who leads or wants something else starts anew
    members.joined(members.begin_join("two", protocols=(("range", b"n"),)), 2)
    assert members.beat("one", 2).error_code == 0
    second = members.begin_join("two", protocols=(("range", b"other"),))
    assert members.beat("one", 2).error_code == 27
    members.joined(members.begin_join("one"), 3)
    members.joined(second, 3)
    members.leave(("one", None))
    assert members.beat("two", 3).error_code == 27
    members.joined(members.begin_join("two"), 4)
    members.synced(members.begin_sync("two", 4, {"two": b"all"}), b"all")
    members.describe()


def test_who_does_not_come_back_in_time_is_left_behind(peers: Peers, members: Members) -> None:
    members.first("one", rebalance=700)
    members.enter("two")
    members.joined(members.begin_join("two", rebalance=700), 2)
    members.beat("one", 2)
    members.beat("two", 2)
    members.describe()


def test_the_protocol_is_one_that_all_know(peers: Peers, members: Members) -> None:
    both = (("range", b"1"), ("roundrobin", b"2"))
    members.first("one", protocols=both)
    members.enter("two", protocols=(("sticky", b"3"), ("roundrobin", b"4")))
    second = members.begin_join("two", protocols=(("sticky", b"3"), ("roundrobin", b"4")))
    answer = members.joined(members.begin_join("one", protocols=both), 2)
    assert answer.protocol_name == "roundrobin"
    members.joined(second, 2)
    members.describe()
    peers.both(members.join(protocols=(("range", b""),)), 7)


@pytest.mark.parametrize("version", [7, 9])
def test_a_static_member_comes_back(peers: Peers, topic: str, members: Members, version: int) -> None:
    """It takes its place again in the same generation; whoever it was before is fenced."""
    members.version = version
    members.joined(members.begin_join("", instance="i"), 1, learn="before")
    members.synced(members.begin_sync("before", 1, {"before": b"all"}, instance="i"), b"all")
    members.describe()
    members.joined(members.begin_join("", instance="i"), 1, learn="after")
    members.describe()
    for name, instance in (
        ("before", "i"),
        ("before", None),
        ("after", "i"),
        ("after", None),
        ("after", "j"),
    ):
        members.beat(name, 1, instance)
        members.commit(topic, name, 1, instance)
        peers.both(members.sync(name, 1, instance=instance), 5)
    peers.both(members.join("before", instance="i"), version)
    peers.both(members.join("after", instance="j"), version)
    members.leave(("before", "i"), ("", "nobody"), ("unknown", None), ("", "i"))
    members.describe()


def test_a_static_member_that_wants_something_else(peers: Peers, members: Members) -> None:
    """The generation goes on as long as its protocol does, and ends with it."""
    both = (("range", b"1"), ("roundrobin", b"2"))
    members.joined(members.begin_join("", instance="i", protocols=both), 1, learn="one")
    members.synced(members.begin_sync("one", 1, {"one": b"all"}, instance="i"), b"all")
    other = (("range", b"3"), ("roundrobin", b"4"))
    members.joined(members.begin_join("", instance="i", protocols=other), 1, learn="two")
    members.describe()
    members.joined(members.begin_join("", instance="i", protocols=other[1:]), 2, learn="three")
    members.describe()


def test_a_static_follower_comes_back(peers: Peers, members: Members) -> None:
    members.joined(members.begin_join("", instance="i"), 1, learn="one")
    second = members.peers.begin(members.join(instance="j"), 9, via="two")
    first = members.begin_join("one", instance="i")
    members.joined(second, 2, learn="two")
    members.joined(first, 2)
    waiting = members.begin_sync("two", 2, instance="j")
    members.synced(members.begin_sync("one", 2, {"one": b"left", "two": b"right"}, instance="i"), b"left")
    members.synced(waiting, b"right")
    members.joined(members.peers.begin(members.join(instance="j"), 9, via="again"), 2, learn="two again")
    members.synced(members.begin_sync("two again", 2, instance="j"), b"right")
    members.beat("one", 2, "i")
    members.describe()


def test_groups_are_listed(peers: Peers, topic: str, members: Members) -> None:
    positions = f"positions-{topic}"
    members.first("one")
    coordinate(peers, positions)
    peers.both(commit(positions, topic, "", -1), 7)

    def mine(answer: Any) -> bool:
        listed = [group for group in answer.groups if group.group_id in (members.group, positions)]
        answer.groups = sorted(listed, key=lambda group: group.group_id)
        return True

    for version in range(6):
        peers.both(apis.ListGroupsRequest(), version, wait=mine)
    for states in (["Stable"], ["stable", "Empty"], ["Dead"], ["NoSuchState"]):
        peers.both(apis.ListGroupsRequest(states_filter=states), 4, wait=mine)
    for types in (["classic"], ["Classic"], ["consumer"]):
        peers.both(apis.ListGroupsRequest(types_filter=types), 5, wait=mine)
    peers.both(apis.ListGroupsRequest(types_filter=["no-such-type"]), 5, wait=mine)


def test_positions(peers: Peers, topic: str) -> None:
    group = f"positions-{topic}"
    coordinate(peers, group)
    ready = lambda answer: answer.topics[0].partitions[0].error_code not in (14, 15, 16)  # noqa: E731
    peers.both(commit(group, topic, "", -1), 7, wait=ready)
    peers.both(commit(group, topic, "", 3), 7)
    peers.both(commit(group, topic, "", -1, partition=7), 7)
    peers.both(commit(group, "no-such-topic", "", -1), 7)
    peers.both(commit(group, topic, "", -1, metadata="m" * 4097), 7)
    peers.both(commit(group, topic, "", -1, metadata="kept"), 7)
    shape = apis.OffsetFetchRequest.OffsetFetchRequestTopic
    for name in (group, "no-such-group"):
        for topics in (
            None,
            [shape(name=topic, partition_indexes=[0, 1, 9])],
            [shape(name="no-such-topic", partition_indexes=[0])],
        ):
            peers.both(apis.OffsetFetchRequest(group_id=name, topics=topics, require_stable=False), 7)
    asked = apis.OffsetFetchRequest.OffsetFetchRequestGroup
    groups = [asked(group_id=group, topics=None), asked(group_id="no-such-group", topics=None)]
    peers.both(apis.OffsetFetchRequest(groups=groups, require_stable=False), 8)


def test_coordinators(peers: Peers, topic: str) -> None:
    peers.both(
        apis.FindCoordinatorRequest(key=topic, key_type=0), 2, wait=lambda answer: answer.error_code != 15
    )
    peers.both(
        apis.FindCoordinatorRequest(key_type=0, coordinator_keys=["a", "b"]),
        4,
        wait=lambda answer: all(c.error_code != 15 for c in answer.coordinators),
    )
