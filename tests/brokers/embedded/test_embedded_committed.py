"""Positions of groups: how many one user may have, and which give way."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.embedded.in_memory import Client, MemoryBroker

from eson.brokers.embedded.server.committed import MAX_GROUPS
from eson.brokers.kafka.wire import apis
from eson.identity.verifier import ISSUED_ITERATIONS, salted_password

TOPIC = "public.flows.unix.ar"
USERS = ("anonymous", "other")


@pytest.fixture
def broker() -> MemoryBroker:
    """Two users, who may read the topic in groups that begin with their names."""
    made = MemoryBroker(login=True)
    admin = made.client("admin")
    made.create(admin, TOPIC)
    salt = b"0123456789abcdef"
    salted = salted_password("pw", salt, ISSUED_ITERATIONS)
    change, create = apis.AlterUserScramCredentialsRequest, apis.CreateAclsRequest
    for user in USERS:
        upsert = change.ScramCredentialUpsertion(
            name=user, mechanism=1, iterations=ISSUED_ITERATIONS, salt=salt, salted_password=salted
        )
        admin.ask(change(deletions=[], upsertions=[upsert]), 0)
        for resource, name, pattern in ((2, TOPIC, 3), (3, f"{user}-", 4)):
            rule = create.AclCreation(
                resource_type=resource, resource_name=name, resource_pattern_type=pattern, principal=f"User:{user}",
                host="*", operation=3, permission_type=3,
            )  # fmt: skip
            admin.ask(create(creations=[rule]), 3)
    return made


def commit(client: Client, group: str) -> int:
    """The error code."""
    topic = apis.OffsetCommitRequest.OffsetCommitRequestTopic
    part = topic.OffsetCommitRequestPartition(partition_index=0, committed_offset=0)
    request: Any = apis.OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[topic(name=TOPIC, partitions=[part])],
    )
    answer = client.ask(request, 8)
    return int(answer.topics[0].partitions[0].error_code)


def names(broker: MemoryBroker, start: str) -> set[str]:
    return {group for group in broker.broker.offsets.groups() if group.startswith(start)}


def test_the_groups_of_one_user_are_bounded_and_the_one_that_was_silent_longest_gives_way(
    broker: MemoryBroker,
) -> None:
    reader = broker.client("anonymous", "pw")
    assert commit(broker.client("other", "pw"), "other-0") == 0
    for number in range(MAX_GROUPS):
        assert commit(reader, f"anonymous-{number}") == 0
        broker.reactor.advance(0.01)
    assert len(names(broker, "anonymous-")) == MAX_GROUPS
    assert commit(reader, "anonymous-0") == 0  # somebody still reads
    assert commit(reader, "anonymous-new") == 0
    assert len(names(broker, "anonymous-")) == MAX_GROUPS
    assert {"anonymous-0", "anonymous-2", "anonymous-new"} <= names(broker, "anonymous-")
    assert "anonymous-1" not in names(broker, "anonymous-")
    assert names(broker, "other-") == {"other-0"}
    # known as well after a start, also by which gives way
    held = names(broker, "anonymous-")
    broker.crash()
    assert names(broker, "anonymous-") == held
    reader = broker.client("anonymous", "pw")
    assert commit(reader, "anonymous-newer") == 0
    assert names(broker, "anonymous-") == held - {"anonymous-2"} | {"anonymous-newer"}
    assert names(broker, "other-") == {"other-0"}


def test_the_administrators_groups_are_not_bounded_and_no_one_elses(broker: MemoryBroker) -> None:
    admin = broker.client("admin")
    for number in range(MAX_GROUPS + 2):
        assert commit(admin, f"mine-{number}") == 0
    assert len(names(broker, "mine-")) == MAX_GROUPS + 2


def test_a_group_that_is_deleted_makes_room(broker: MemoryBroker) -> None:
    reader, admin = broker.client("anonymous", "pw"), broker.client("admin")
    for number in range(MAX_GROUPS):
        commit(reader, f"anonymous-{number}")
    gone = apis.DeleteGroupsRequest(groups_names=["anonymous-5"])
    assert admin.ask(gone, 2).results[0].error_code == 0
    commit(reader, "anonymous-new")
    assert "anonymous-0" in names(broker, "anonymous-")
    admin.ask(apis.DeleteTopicsRequest(topics=[], topic_names=[TOPIC], timeout_ms=1000), 5)
    assert names(broker, "") == set()
    broker.create(admin, TOPIC)
    commit(reader, "anonymous-new")
    assert names(broker, "") == {"anonymous-new"}
