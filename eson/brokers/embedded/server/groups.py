"""Consumer groups of Kafka's classic protocol: who belongs, who leads, which generation; without the wire.

States (Kafka's `ClassicGroup`): Empty → PreparingRebalance → CompletingRebalance → Stable, and back to PreparingRebalance
whenever somebody comes, leaves, falls silent or changes what it wants.  Members are only in memory: after a restart
they join again; their positions are durable (`offsets.py`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed

from eson.brokers.kafka.wire.errors import ErrorCode

EMPTY, PREPARING, COMPLETING, STABLE, DEAD = (
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
)
MIN_SESSION_MS, MAX_SESSION_MS = 6_000, 1_800_000
MAX_MEMBERS = 1_000
Protocols = Sequence[tuple[str, bytes]]


class GroupRefused(Exception):
    """A request that does not fit the group's state; `code` says why.  Retry: as Kafka's clients do by code."""

    def __init__(self, code: ErrorCode, member_id: str = "") -> None:
        super().__init__(code.name)
        self.code = code
        self.member_id = member_id


@dataclass(frozen=True)
class Joining:
    """What a member asks for when it joins.  Times in milliseconds."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    session_ms: int
    rebalance_ms: int
    protocol_type: str
    protocols: Protocols
    needs_known_id: bool = False
    """JoinGroup v4 and later: a new member first gets an id and comes back with it."""
    knows_skipping: bool = True
    """JoinGroup v9 and later: a leader that comes back to its place can be told not to assign anew."""


@dataclass(frozen=True)
class Joined:
    """A member's place in a generation.  `members` (id, instance id, metadata) is for the leader only."""

    generation: int
    protocol_type: str
    protocol: str
    leader: str
    member_id: str
    members: tuple[tuple[str, str | None, bytes], ...] = ()
    skip_assignment: bool = False


@dataclass
class Member:
    id: str
    instance_id: str | None
    client_id: str
    host: str
    session_ms: int
    rebalance_ms: int
    protocols: Protocols
    assignment: bytes = b""
    joining: Deferred[Joined] | None = None
    syncing: Deferred[bytes] | None = None
    expiry: Any = None

    @classmethod
    def of(cls, id: str, asked: Joining, assignment: bytes = b"") -> Member:
        """Who joins as it asks to."""
        return cls(
            id,
            asked.instance_id,
            asked.client_id,
            asked.host,
            asked.session_ms,
            asked.rebalance_ms,
            asked.protocols,
            assignment,
        )

    def metadata(self, protocol: str) -> bytes:
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")


@dataclass
class Group:
    """One group.  All methods raise `GroupRefused`."""

    id: str
    reactor: Any
    state: str = EMPTY
    generation: int = 0
    protocol_type: str = ""
    protocol: str = ""
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    promised: dict[str, Any] = field(default_factory=dict)
    """Ids that were given to members who have not come back with them, and the timers that forget them."""
    deadline: Any = None

    # Joining

    def join(self, asked: Joining) -> Deferred[Joined]:
        if self.members and asked.protocol_type != self.protocol_type:
            raise GroupRefused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if not asked.protocols or not asked.protocol_type:
            raise GroupRefused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if not self._supported(asked):
            raise GroupRefused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if asked.member_id == "":
            return self._join_new(asked)
        if asked.member_id in self.promised:
            self.promised.pop(asked.member_id).cancel()
            return self._add(asked, asked.member_id)
        return self._rejoin(self._member(asked.member_id, asked.instance_id), asked)

    def _supported(self, asked: Joining) -> bool:
        """Whether every member knows one of the protocols, and who asks knew it before: as Kafka sees it."""
        names = {name for name, _ in asked.protocols}
        known = [{name for name, _ in m.protocols} for m in self.members.values()]
        return not known or bool(names.intersection(*known))

    def _join_new(self, asked: Joining) -> Deferred[Joined]:
        if len(self.members) + len(self.promised) >= MAX_MEMBERS:
            raise GroupRefused(ErrorCode.GROUP_MAX_SIZE_REACHED)
        member_id = f"{asked.instance_id or asked.client_id}-{uuid.uuid4()}"
        if asked.instance_id is not None:
            known = self._by_instance(asked.instance_id)
            return self._add(asked, member_id) if known is None else self._replace(known, member_id, asked)
        if asked.needs_known_id:
            forget = self.reactor.callLater(asked.session_ms / 1000, self._break_promise, member_id)
            self.promised[member_id] = forget
            raise GroupRefused(ErrorCode.MEMBER_ID_REQUIRED, member_id)
        return self._add(asked, member_id)

    def _break_promise(self, member_id: str) -> None:
        del self.promised[member_id]
        self._complete_if_all_joined()

    def _add(self, asked: Joining, member_id: str) -> Deferred[Joined]:
        member = Member.of(member_id, asked)
        self.protocol_type = asked.protocol_type
        self.members[member_id] = member
        self._prepare()
        return self._park(member)

    def _replace(self, old: Member, member_id: str, asked: Joining) -> Deferred[Joined]:
        """A static member that came back without its id: it takes its old place.

        The generation goes on as long as its protocol does, whatever else the member wants now (KIP-345).
        """
        self._dismiss(old, ErrorCode.FENCED_INSTANCE_ID)
        member = Member.of(member_id, asked, old.assignment)
        self.members = {
            (member_id if key == old.id else key): (member if key == old.id else value)
            for key, value in self.members.items()
        }
        leader = self.leader
        if leader == old.id:
            self.leader = member_id
        self._live(member)
        if self.state == STABLE and self._chosen_protocol() == self.protocol:
            if asked.knows_skipping:
                return succeed(self._place(member, skip_assignment=leader == old.id))
            # it would assign anew if it knew that it leads
            return succeed(Joined(self.generation, self.protocol_type, self.protocol, leader, member_id))
        self._prepare()
        return self._park(member)

    def _rejoin(self, member: Member, asked: Joining) -> Deferred[Joined]:
        same = list(member.protocols) == list(asked.protocols)
        unchanged = self.state == COMPLETING or (self.state == STABLE and member.id != self.leader)
        member.protocols = asked.protocols
        member.session_ms, member.rebalance_ms = asked.session_ms, asked.rebalance_ms
        self._live(member)
        if same and unchanged:
            return succeed(self._place(member))
        self._prepare()
        return self._park(member)

    def _park(self, member: Member) -> Deferred[Joined]:
        if member.joining is not None:
            stale, member.joining = member.joining, None
            stale.errback(GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID))
        parked: Deferred[Joined] = Deferred(lambda _: self._abandon(member, parked))
        member.joining = parked
        self._live(member)
        self._complete_if_all_joined()
        return parked

    def _abandon(self, member: Member, parked: Deferred[Joined]) -> None:
        """The connection of a member that waits was lost: its session runs out unless it comes back."""
        if member.joining is parked:
            member.joining = None
        self._live(member)

    # Rebalancing

    def _prepare(self) -> None:
        if self.state == PREPARING:
            return
        given = self.state == STABLE
        self.state = PREPARING
        for member in self.members.values():
            member.assignment = member.assignment if given else b""
            if member.syncing is not None:
                syncing, member.syncing = member.syncing, None
                syncing.errback(GroupRefused(ErrorCode.REBALANCE_IN_PROGRESS))
        longest = max((member.rebalance_ms for member in self.members.values()), default=0)
        self.deadline = self.reactor.callLater(longest / 1000, self._overdue)

    def _overdue(self) -> None:
        """Who has not joined by now is left behind; static members keep their place."""
        self.deadline = None
        for member in list(self.members.values()):
            if member.joining is None and member.instance_id is None:
                self._dismiss(member, ErrorCode.UNKNOWN_MEMBER_ID)
                del self.members[member.id]
        self._complete()

    def _complete_if_all_joined(self) -> None:
        if self.state == PREPARING and not self.promised and all(m.joining for m in self.members.values()):
            self._complete()

    def _complete(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.generation += 1
        if not self.members:
            self.state, self.protocol, self.leader = EMPTY, "", ""
            return
        self.state = COMPLETING
        self.protocol = self._chosen_protocol()
        if self.leader not in self.members or self.members[self.leader].joining is None:
            self.leader = next((m.id for m in self.members.values() if m.joining), next(iter(self.members)))
        for member in list(self.members.values()):
            joining, member.joining = member.joining, None
            self._live(member)
            if joining is not None:
                joining.callback(self._place(member))

    def _chosen_protocol(self) -> str:
        """The protocol that most members put first, of those that all know."""
        known = set.intersection(*({name for name, _ in m.protocols} for m in self.members.values()))
        votes: dict[str, int] = {}
        for member in self.members.values():
            first = next(name for name, _ in member.protocols if name in known)
            votes[first] = votes.get(first, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def _place(self, member: Member, skip_assignment: bool = False) -> Joined:
        members: tuple[tuple[str, str | None, bytes], ...] = ()
        if member.id == self.leader:
            members = tuple((m.id, m.instance_id, m.metadata(self.protocol)) for m in self.members.values())
        return Joined(
            self.generation,
            self.protocol_type,
            self.protocol,
            self.leader,
            member.id,
            members,
            skip_assignment,
        )

    # Being a member

    def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Iterable[tuple[str, bytes]],
    ) -> Deferred[bytes]:
        member = self._member(member_id, instance_id)
        if generation != self.generation:
            raise GroupRefused(ErrorCode.ILLEGAL_GENERATION)
        if protocol_type not in (None, self.protocol_type) or protocol not in (None, self.protocol):
            raise GroupRefused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if self.state == PREPARING:
            raise GroupRefused(ErrorCode.REBALANCE_IN_PROGRESS)
        self._live(member)
        parked: Deferred[bytes] = Deferred(lambda _: self._stop_syncing(member, parked))
        if self.state == STABLE:
            parked.callback(member.assignment)
            return parked
        member.syncing = parked
        if member_id == self.leader:
            given = dict(assignments)
            self.state = STABLE
            for each in list(self.members.values()):
                each.assignment = given.get(each.id, b"")
                syncing, each.syncing = each.syncing, None
                if syncing is not None:
                    syncing.callback(each.assignment)
        return parked

    @staticmethod
    def _stop_syncing(member: Member, parked: Deferred[bytes]) -> None:
        if member.syncing is parked:
            member.syncing = None

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> None:
        member = self._member(member_id, instance_id)
        if generation != self.generation:
            raise GroupRefused(ErrorCode.ILLEGAL_GENERATION)
        self._live(member)
        if self.state == PREPARING:
            raise GroupRefused(ErrorCode.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str, instance_id: str | None) -> None:
        if member_id in self.promised:
            self.promised.pop(member_id).cancel()
            self._complete_if_all_joined()
            return
        if member_id == "" and instance_id is not None:
            found = self._by_instance(instance_id)
            if found is None:
                raise GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID)
            member_id = found.id
        self._remove(self._member(member_id, instance_id))

    def check_commit(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Whether somebody may commit positions.  Outside of a group only while it has no members."""
        if generation < 0 and not self.members:
            return
        if not self.members:
            raise GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID if member_id else ErrorCode.ILLEGAL_GENERATION)
        member = self._member(member_id, instance_id)
        if generation != self.generation:
            raise GroupRefused(ErrorCode.ILLEGAL_GENERATION)
        if self.state == COMPLETING:
            raise GroupRefused(ErrorCode.REBALANCE_IN_PROGRESS)
        self._live(member)

    def _member(self, member_id: str, instance_id: str | None) -> Member:
        if instance_id is not None:
            known = self._by_instance(instance_id)
            if known is None:
                raise GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID)
            if known.id != member_id:
                raise GroupRefused(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def _by_instance(self, instance_id: str) -> Member | None:
        return next((m for m in self.members.values() if m.instance_id == instance_id), None)

    # Coming to an end

    def _live(self, member: Member) -> None:
        """A sign of life: the session runs anew."""
        if member.expiry is not None and member.expiry.active():
            member.expiry.reset(member.session_ms / 1000)
        else:
            member.expiry = self.reactor.callLater(member.session_ms / 1000, self._silent, member)

    def _silent(self, member: Member) -> None:
        if member.joining is not None or member.syncing is not None:
            self._live(member)
        elif self.members.get(member.id) is member:
            self._remove(member)

    def _remove(self, member: Member) -> None:
        self._dismiss(member, ErrorCode.UNKNOWN_MEMBER_ID)
        del self.members[member.id]
        if self.state in (STABLE, COMPLETING):
            self._prepare()
        self._complete_if_all_joined()

    @staticmethod
    def _dismiss(member: Member, code: ErrorCode) -> None:
        if member.expiry is not None and member.expiry.active():
            member.expiry.cancel()
        for waiting in (member.joining, member.syncing):
            if waiting is not None:
                waiting.errback(GroupRefused(code))
        member.joining = member.syncing = None

    def close(self) -> None:
        """Stops all timers: the broker ends."""
        for timer in (*self.promised.values(), *(m.expiry for m in self.members.values()), self.deadline):
            if timer is not None and timer.active():
                timer.cancel()


class Groups:
    """The groups that have or had members since the broker started."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._groups: dict[str, Group] = {}

    def get(self, group_id: str) -> Group | None:
        return self._groups.get(group_id)

    def obtain(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = Group(group_id, self._reactor)
        return group

    def all(self) -> list[Group]:
        return list(self._groups.values())

    def forget(self, group_id: str) -> None:
        group = self._groups.pop(group_id, None)
        if group is not None:
            group.close()

    def forget_unused(self, kept: Callable[[str], bool]) -> None:
        """Forgets groups without members, but those that are `kept` because they have positions."""
        for group in list(self._groups.values()):
            if not group.members and not group.promised and not kept(group.id):
                self.forget(group.id)

    def close(self) -> None:
        for group in self._groups.values():
            group.close()


def member_of(groups: Groups, group_id: str, act: Callable[[Group], Any]) -> Any:
    """Lets `act` have the group.  Raises `GroupRefused` if there is none: the member must join anew."""
    group = groups.get(group_id)
    if group is None:
        raise GroupRefused(ErrorCode.UNKNOWN_MEMBER_ID)
    return act(group)
