"""DescribeAcls, CreateAcls, DeleteAcls.  Taking a right away cuts the open connections of whom it was taken from."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.rights import (
    ALL,
    ALLOW,
    ALTER,
    ANY,
    CLUSTER,
    CLUSTER_NAME,
    DENY,
    DESCRIBE,
    LITERAL,
    MATCH,
    OPERATIONS,
    PREFIXED,
    TRANSACTIONAL_ID,
    Acl,
)
from eson.brokers.kafka.wire.apis import CreateAclsResponse, DeleteAclsResponse, DescribeAclsResponse
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request

_ANY_TYPE = 1
_FilterResult = DeleteAclsResponse.DeleteAclsFilterResult


def matches(acl: Acl, wanted: Any) -> bool:
    """Kafka's `AclBindingFilter`: None and ANY match all; MATCH asks for whatever covers a resource's name."""
    if wanted.resource_type_filter not in (_ANY_TYPE, acl.resource_type):
        return False
    if wanted.principal_filter not in (None, acl.principal) or wanted.host_filter not in (None, acl.host):
        return False
    if wanted.operation not in (_ANY_TYPE, acl.operation) or wanted.permission_type not in (
        _ANY_TYPE,
        acl.permission,
    ):
        return False
    name, pattern = wanted.resource_name_filter, wanted.pattern_type_filter
    if pattern not in (ANY, MATCH, acl.pattern):
        return False
    if name is None:
        return True
    if pattern == MATCH:
        return acl.covers(acl.resource_type, name)
    return acl.name == str(name)


def describe_acls(broker: Broker, client: Client, request: Request) -> Any:
    response = DescribeAclsResponse(version=request.version, error_code=0, error_message=None, resources=[])
    if not broker.may_cluster(client, DESCRIBE):
        response.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        response.error_message = "Cluster authorization failed."
        return response
    found = sorted(acl for acl in broker.rights if matches(acl, request.body))
    for (resource_type, name, pattern), rules in groupby(found, key=lambda acl: acl[:3]):
        response.resources.append(
            DescribeAclsResponse.DescribeAclsResource(
                resource_type=resource_type,
                resource_name=name,
                pattern_type=pattern,
                acls=[
                    DescribeAclsResponse.DescribeAclsResource.AclDescription(
                        principal=acl.principal,
                        host=acl.host,
                        operation=acl.operation,
                        permission_type=acl.permission,
                    )
                    for acl in rules
                ],
            )
        )
    return response


async def create_acls(broker: Broker, client: Client, request: Request) -> Any:
    """Durable before the answer.  A DENY cuts connections like the loss of an ALLOW."""
    allowed = broker.may_cluster(client, ALTER)
    results, wanted = [], []
    for asked in request.body.creations or ():
        result = CreateAclsResponse.AclCreationResult(error_code=0, error_message=None)
        results.append(result)
        acl = Acl(
            asked.resource_type,
            asked.resource_name,
            asked.resource_pattern_type,
            asked.principal,
            asked.host,
            asked.operation,
            asked.permission_type,
        )
        if not allowed:
            result.error_code, result.error_message = (
                ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
                "Cluster authorization failed.",
            )
        elif reason := _fault(acl):
            result.error_code, result.error_message = ErrorCode.INVALID_REQUEST, reason
        else:
            wanted.append((acl, result))
    async with broker.catalogue.lock:
        fresh = [acl for acl, _ in wanted if acl not in broker.rights]
        try:
            await broker.catalogue.add_acls(*fresh)
        except StorageFailed as error:
            for _, result in wanted:
                result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
            fresh = []
    for principal in dict.fromkeys(acl.principal for acl in fresh if acl.permission == DENY):
        broker.close_principal(principal)
    return CreateAclsResponse(version=request.version, results=results)


def _fault(acl: Acl) -> str:
    """Why a rule cannot be; "" if it can."""
    if acl.resource_type not in (*OPERATIONS, TRANSACTIONAL_ID):
        return "Invalid resource type"
    if acl.pattern not in (LITERAL, PREFIXED):
        return "Invalid pattern type"
    if not acl.name:
        return "Resource name should not be empty"
    if acl.resource_type == CLUSTER and acl.name != CLUSTER_NAME:
        return f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}"
    if acl.permission not in (ALLOW, DENY):
        return "Invalid permission type"
    if acl.operation != ALL and acl.operation not in OPERATIONS.get(acl.resource_type, (acl.operation,)):
        return "Invalid operation"
    if ":" not in acl.principal:
        return "Could not parse principal (expected User:name)"
    return "" if acl.host else "Host should not be empty"


async def delete_acls(broker: Broker, client: Client, request: Request) -> Any:
    """Durable before the answer; the connections of the principals are cut then."""
    allowed = broker.may_cluster(client, ALTER)
    results = []
    gone: dict[Acl, None] = {}
    async with broker.catalogue.lock:
        for wanted in request.body.filters or ():
            result = _FilterResult(error_code=0, error_message=None, matching_acls=[])
            results.append(result)
            if not allowed:
                result.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
                result.error_message = "Cluster authorization failed."
                continue
            found = [acl for acl in broker.rights if matches(acl, wanted) and acl not in gone]
            gone.update(dict.fromkeys(found))
            result.matching_acls = [_deleted(acl) for acl in found]
        try:
            await broker.catalogue.remove_acls(*gone)
        except StorageFailed as error:
            for result in results:
                result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
                result.matching_acls = []
            gone = {}
    for principal in dict.fromkeys(acl.principal for acl in gone if acl.permission == ALLOW):
        broker.close_principal(principal)
    return DeleteAclsResponse(version=request.version, filter_results=results)


def _deleted(acl: Acl) -> Any:
    return _FilterResult.DeleteAclsMatchingAcl(
        error_code=0,
        error_message=None,
        resource_type=acl.resource_type,
        resource_name=acl.name,
        pattern_type=acl.pattern,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission,
    )
