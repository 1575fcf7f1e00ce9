"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.describing import allowed_operations
from eson.brokers.embedded.server.groups import (
    DEAD,
    EMPTY,
    MAX_SESSION_MS,
    MIN_SESSION_MS,
    STABLE,
    Group,
    GroupRefused,
    Joined,
    Joining,
    member_of,
)
from eson.brokers.embedded.server.rights import DESCRIBE, GROUP, READ
from eson.brokers.kafka.wire.apis import (
    DescribeGroupsResponse,
    HeartbeatResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    ListGroupsResponse,
    SyncGroupResponse,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

KNOWN_ID_FROM, SKIPPING_FROM = 4, 9
_CLASSIC = "classic"


def refused(broker: Broker, client: Client, operation: int, group_id: str) -> ErrorCode:
    """Why a request about a group is refused before the group is asked; NONE if it is not."""
    if not group_id:
        return ErrorCode.INVALID_GROUP_ID
    if not broker.may_group(client, operation, group_id):
        return ErrorCode.GROUP_AUTHORIZATION_FAILED
    return ErrorCode.NONE


def join_group(broker: Broker, client: Client, request: Request) -> Any:
    body, version = request.body, request.version

    def failed(code: ErrorCode, member_id: str = "") -> Any:
        return JoinGroupResponse(
            version=version,
            error_code=code,
            generation_id=-1,
            protocol_type=None,
            protocol_name=None if version >= 7 else "",
            leader="",
            member_id=member_id or body.member_id,
            members=[],
        )

    code = refused(broker, client, READ, body.group_id)
    if code:
        return failed(code)
    if not MIN_SESSION_MS <= body.session_timeout_ms <= MAX_SESSION_MS:
        return failed(ErrorCode.INVALID_SESSION_TIMEOUT)
    asked = Joining(
        body.member_id,
        body.group_instance_id,
        client.client_id,
        f"/{client.host}",
        body.session_timeout_ms,
        body.rebalance_timeout_ms if body.rebalance_timeout_ms >= 0 else body.session_timeout_ms,
        body.protocol_type,
        [(protocol.name, protocol.metadata) for protocol in body.protocols or ()],
        version >= KNOWN_ID_FROM,
        version >= SKIPPING_FROM,
    )
    existing = broker.groups.get(body.group_id)
    if existing is None and body.member_id:
        return failed(ErrorCode.UNKNOWN_MEMBER_ID)
    try:
        joined = broker.groups.obtain(body.group_id).join(asked)
    except GroupRefused as error:
        return failed(error.code, error.member_id)

    def answer(place: Joined) -> Any:
        broker.offsets.note_type(body.group_id, place.protocol_type)
        return JoinGroupResponse(
            version=version,
            error_code=0,
            generation_id=place.generation,
            protocol_type=place.protocol_type,
            protocol_name=place.protocol,
            leader=place.leader,
            skip_assignment=place.skip_assignment,
            member_id=place.member_id,
            members=[
                JoinGroupResponse.JoinGroupResponseMember(member_id=m, group_instance_id=i, metadata=d)
                for m, i, d in place.members
            ],
        )

    return joined.addCallbacks(answer, lambda failure: failed(_code(failure)))


def _code(failure: Failure) -> ErrorCode:
    failure.trap(GroupRefused)
    error = failure.value
    assert isinstance(error, GroupRefused)
    return error.code


def sync_group(broker: Broker, client: Client, request: Request) -> Any:
    body, version = request.body, request.version

    def failed(code: ErrorCode) -> Any:
        return SyncGroupResponse(
            version=version, error_code=code, protocol_type=None, protocol_name=None, assignment=b""
        )

    code = refused(broker, client, READ, body.group_id)
    if code:
        return failed(code)
    if version >= 5 and (body.protocol_type is None or body.protocol_name is None):
        return failed(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    given = [(assigned.member_id, assigned.assignment) for assigned in body.assignments or ()]
    try:
        synced = member_of(
            broker.groups,
            body.group_id,
            lambda group: group.sync(
                body.member_id,
                body.group_instance_id,
                body.generation_id,
                body.protocol_type,
                body.protocol_name,
                given,
            ),
        )
    except GroupRefused as error:
        return failed(error.code)
    group = broker.groups.obtain(body.group_id)

    def answer(assignment: bytes) -> Any:
        return SyncGroupResponse(
            version=version,
            error_code=0,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            assignment=assignment,
        )

    return synced.addCallbacks(answer, lambda failure: failed(_code(failure)))


def heartbeat(broker: Broker, client: Client, request: Request) -> Any:
    body = request.body
    code = refused(broker, client, READ, body.group_id)
    if not code:
        try:
            member_of(
                broker.groups,
                body.group_id,
                lambda group: group.heartbeat(body.member_id, body.group_instance_id, body.generation_id),
            )
        except GroupRefused as error:
            code = error.code
    return HeartbeatResponse(version=request.version, error_code=code)


def leave_group(broker: Broker, client: Client, request: Request) -> Any:
    body, version = request.body, request.version
    code = refused(broker, client, READ, body.group_id)
    if code:
        return LeaveGroupResponse(version=version, error_code=code, members=[])
    if version < 3:
        code = _leave(broker, body.group_id, body.member_id, None)
        return LeaveGroupResponse(version=version, error_code=code)
    members = []
    for asked in body.members or ():
        code = _leave(broker, body.group_id, asked.member_id, asked.group_instance_id)
        members.append(
            LeaveGroupResponse.MemberResponse(
                member_id=asked.member_id, group_instance_id=asked.group_instance_id, error_code=code
            )
        )
    return LeaveGroupResponse(version=version, error_code=0, members=members)


def _leave(broker: Broker, group_id: str, member_id: str, instance_id: str | None) -> ErrorCode:
    try:
        member_of(broker.groups, group_id, lambda group: group.leave(member_id, instance_id))
    except GroupRefused as error:
        return error.code
    return ErrorCode.NONE


def describe_groups(broker: Broker, client: Client, request: Request) -> Any:
    described = []
    for group_id in request.body.groups or ():
        answer = DescribeGroupsResponse.DescribedGroup(
            error_code=0,
            error_message=None,
            group_id=group_id,
            group_state="",
            protocol_type="",
            protocol_data="",
            members=[],
        )
        described.append(answer)
        code = refused(broker, client, DESCRIBE, group_id)
        if code:
            answer.error_code = code
            continue
        group = broker.groups.get(group_id)
        if group is not None:
            _describe(group, answer)
        elif group_id in broker.offsets:
            answer.group_state, answer.protocol_type = EMPTY, broker.offsets.type_of(group_id)
        else:
            answer.group_state = DEAD
            if request.version >= 6:
                answer.error_code = ErrorCode.GROUP_ID_NOT_FOUND
                answer.error_message = f"Group {group_id} not found."
        if request.body.include_authorized_operations:
            answer.authorized_operations = allowed_operations(broker, client, GROUP, group_id)
    return DescribeGroupsResponse(version=request.version, groups=described)


def _describe(group: Group, answer: Any) -> None:
    answer.group_state, answer.protocol_type = group.state, group.protocol_type
    # while members come and go nothing is agreed upon
    answer.protocol_data = group.protocol if group.state == STABLE else ""
    answer.members = [
        DescribeGroupsResponse.DescribedGroup.DescribedGroupMember(
            member_id=member.id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.host,
            member_metadata=member.metadata(answer.protocol_data),
            member_assignment=member.assignment,
        )
        for member in group.members.values()
    ]


def list_groups(broker: Broker, client: Client, request: Request) -> Any:
    """Groups with members and groups with positions, as far as the client may describe them."""
    states = {state.lower() for state in request.body.states_filter or ()}
    types = {kind.lower() for kind in request.body.types_filter or ()}
    everything = broker.may_cluster(client, DESCRIBE)
    known = {group_id: (EMPTY, broker.offsets.type_of(group_id)) for group_id in broker.offsets.groups()}
    known.update({group.id: (group.state, group.protocol_type) for group in broker.groups.all()})
    groups = [
        ListGroupsResponse.ListedGroup(
            group_id=group_id, protocol_type=protocol_type, group_state=state, group_type=_CLASSIC
        )
        for group_id, (state, protocol_type) in known.items()
        if (not states or state.lower() in states)
        and (not types or _CLASSIC in types)
        and (everything or broker.may_group(client, DESCRIBE, group_id))
    ]
    return ListGroupsResponse(version=request.version, error_code=0, groups=groups)
