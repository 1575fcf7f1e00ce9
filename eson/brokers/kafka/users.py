"""Users and rights of a broker: SCRAM credentials and ACLs (Kafka KIP-554, KIP-290)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from eson.brokers.kafka.failures import answered
from eson.brokers.kafka.net.cluster import Cluster
from eson.brokers.kafka.net.coalescing import Coalescer
from eson.brokers.kafka.net.gathering import gather
from eson.brokers.kafka.wire.apis import (
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ACLResourceType,
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeUserScramCredentialsRequest,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.port import Rights
from eson.identity.verifier import ISSUED_ITERATIONS, salted_password

SCRAM_SHA_256 = 1
ANY_HOST = "*"
_SALT_OCTETS = 16


class Binding(NamedTuple):
    """One ACL: the principal may do `operation` to what `name` matches."""

    resource: int
    name: str
    pattern: int
    principal: str
    operation: int


class _Credential(NamedTuple):
    """A change of a user's credential; without `salted` it is deleted."""

    username: str
    salt: bytes = b""
    salted: bytes = b""


class Users:
    """Credentials and ACLs; run every call in `Cluster.within`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._alter = Coalescer(self._alter_all, lambda change: change.username)
        self._bind = Coalescer(self._bind_all, lambda binding: binding)

    async def set_password(self, username: str, password: str) -> None:
        salt = secrets.token_bytes(_SALT_OCTETS)
        change = _Credential(username, salt, salted_password(password, salt, ISSUED_ITERATIONS))
        await self._cluster.retrying(lambda: self._change(change))
        await self._cluster.until(lambda: self._known(username, True))

    async def remove(self, username: str) -> None:
        """Success too if there is no such user."""
        await self._cluster.retrying(lambda: self._change(_Credential(username)))
        await self._cluster.until(lambda: self._known(username, False))

    async def names(self) -> Sequence[str]:
        return sorted(await self._cluster.retrying(lambda: self._describe(None)))

    async def allow(self, username: str, rights: Rights) -> None:
        """Waits until all of it can be seen.  Idempotent."""
        wanted = bindings(username, rights)
        await gather(self._cluster.retrying(partial(self._bind_one, one)) for one in wanted)
        await self._cluster.until(lambda: self._bound(username, set(wanted)))

    async def disallow(self, username: str) -> None:
        """Takes away what was allowed, and nothing that an operator denied."""
        await self._cluster.retrying(lambda: self._unbind(username))
        await self._cluster.until(lambda: self._unbound(username))

    async def _change(self, change: _Credential) -> None:
        code, message = await self._alter(change)
        if not change.salted and code == ErrorCode.RESOURCE_NOT_FOUND:
            return
        if code:
            raise answered(self._cluster.name, code, f"credential of {change.username}", message)

    async def _alter_all(self, changes: Sequence[_Credential]) -> Sequence[tuple[int, str | None]]:
        request: Any = AlterUserScramCredentialsRequest
        deletions, upsertions = [], []
        for username, salt, salted in changes:
            if not salted:
                deletions.append(request.ScramCredentialDeletion(name=username, mechanism=SCRAM_SHA_256))
                continue
            upsertions.append(
                request.ScramCredentialUpsertion(
                    name=username,
                    mechanism=SCRAM_SHA_256,
                    iterations=ISSUED_ITERATIONS,
                    salt=salt,
                    salted_password=salted,
                )
            )
        response = await self._cluster.to_controller(request(deletions=deletions, upsertions=upsertions))
        results = {result.user: (int(result.error_code), result.error_message) for result in response.results}
        nothing_said = (int(ErrorCode.UNKNOWN_SERVER_ERROR), None)
        return [results.get(change.username, nothing_said) for change in changes]

    async def _known(self, username: str, wanted: bool) -> bool:
        return (username in await self._describe(username)) is wanted

    async def _describe(self, username: str | None) -> set[str]:
        request: Any = DescribeUserScramCredentialsRequest
        users = None if username is None else [request.UserName(name=username)]
        response = await self._cluster.any(request(users=users))
        if response.error_code:
            raise answered(self._cluster.name, response.error_code, "list users", response.error_message)
        return {result.user for result in response.results if not result.error_code}

    async def _bind_one(self, binding: Binding) -> None:
        code, message = await self._bind(binding)
        if code:
            raise answered(self._cluster.name, code, f"rights of {binding.principal}", message)

    async def _bind_all(self, wanted: Sequence[Binding]) -> Sequence[tuple[int, str | None]]:
        creations = [
            CreateAclsRequest.AclCreation(
                resource_type=binding.resource,
                resource_name=binding.name,
                resource_pattern_type=binding.pattern,
                principal=binding.principal,
                host=ANY_HOST,
                operation=binding.operation,
                permission_type=int(ACLPermissionType.ALLOW),
            )
            for binding in wanted
        ]
        response = await self._cluster.to_controller(CreateAclsRequest(creations=creations))
        return [(int(result.error_code), result.error_message) for result in response.results]

    async def _unbind(self, username: str) -> None:
        filters = [DeleteAclsRequest.DeleteAclsFilter(**_filter(username))]
        response = await self._cluster.to_controller(DeleteAclsRequest(filters=filters))
        (result,) = response.filter_results
        for code, message in [
            (result.error_code, result.error_message),
            *((acl.error_code, acl.error_message) for acl in result.matching_acls),
        ]:
            if code:
                raise answered(self._cluster.name, code, f"rights of {username}", message)

    async def _bound(self, username: str, wanted: set[Binding]) -> bool:
        return wanted <= await self._bindings(username)

    async def _unbound(self, username: str) -> bool:
        return not await self._bindings(username)

    async def _bindings(self, username: str) -> set[Binding]:
        response = await self._cluster.any(DescribeAclsRequest(**_filter(username)))
        if response.error_code:
            raise answered(
                self._cluster.name, response.error_code, f"rights of {username}", response.error_message
            )
        return {
            Binding(
                resource.resource_type,
                resource.resource_name,
                resource.pattern_type,
                acl.principal,
                acl.operation,
            )
            for resource in response.resources
            for acl in resource.acls
        }


def principal(username: str) -> str:
    return f"User:{username}"


def bindings(username: str, rights: Rights) -> list[Binding]:
    """What `rights` are in ACLs."""
    topic, group = int(ACLResourceType.TOPIC), int(ACLResourceType.GROUP)
    literal, prefixed = int(ACLResourcePatternType.LITERAL), int(ACLResourcePatternType.PREFIXED)
    read, write, describe = int(ACLOperation.READ), int(ACLOperation.WRITE), int(ACLOperation.DESCRIBE)
    who = principal(username)
    found = [Binding(topic, name, literal, who, op) for name in rights.read for op in (read, describe)]
    found += [Binding(topic, name, literal, who, op) for name in rights.write for op in (write, describe)]
    if rights.group:
        found.append(Binding(group, rights.group, literal, who, read))
    if rights.groups_prefix:
        found.append(Binding(group, rights.groups_prefix, prefixed, who, read))
    return list(dict.fromkeys(found))


def _filter(username: str) -> dict[str, Any]:
    """All that is allowed to a user, as DescribeAcls and DeleteAcls ask for it."""
    return {
        "resource_type_filter": int(ACLResourceType.ANY),
        "resource_name_filter": None,
        "pattern_type_filter": int(ACLResourcePatternType.ANY),
        "principal_filter": principal(username),
        "host_filter": None,
        "operation": int(ACLOperation.ANY),
        "permission_type": int(ACLPermissionType.ALLOW),
    }
