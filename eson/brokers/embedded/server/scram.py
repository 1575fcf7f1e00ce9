"""DescribeUserScramCredentials and AlterUserScramCredentials.  A password that goes takes its connections with it."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from eson.brokers.embedded.log.validation import StorageFailed
from eson.brokers.embedded.server.client import Broker, Client
from eson.brokers.embedded.server.rights import ALTER, DESCRIBE
from eson.brokers.kafka.wire.apis import (
    AlterUserScramCredentialsResponse,
    DescribeUserScramCredentialsResponse,
)
from eson.brokers.kafka.wire.errors import ErrorCode
from eson.brokers.kafka.wire.messages import Request
from eson.identity.verifier import Verifier, hmac_sha256

SCRAM_SHA_256 = 1
MIN_ITERATIONS, MAX_ITERATIONS = 4096, 16384
_Described = DescribeUserScramCredentialsResponse.DescribeUserScramCredentialsResult
_Altered = AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult
_MISSING = "Attempt to describe a user credential that does not exist: "


def describe_credentials(broker: Broker, client: Client, request: Request) -> Any:
    response = DescribeUserScramCredentialsResponse(
        version=request.version, error_code=0, error_message=None, results=[]
    )
    if not broker.may_cluster(client, DESCRIBE):
        response.error_code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        response.error_message = "Cluster authorization failed."
        response.results = [
            _Described(user="", error_code=response.error_code, error_message=None, credential_infos=[])
            for _ in request.body.users or ()
        ]
        return response
    asked = request.body.users
    names = Counter([user.name for user in asked] if asked else list(broker.catalogue.users))
    for name, times in names.items():
        result = _Described(user=name, error_code=0, error_message=None, credential_infos=[])
        response.results.append(result)
        verifier = broker.catalogue.users.get(name)
        if times > 1:
            result.error_code = ErrorCode.DUPLICATE_RESOURCE
            result.error_message = (
                f"Cannot describe SCRAM credentials for the same user twice in a single request: {name}"
            )
        elif verifier is None:
            result.error_code, result.error_message = ErrorCode.RESOURCE_NOT_FOUND, _MISSING + name
        else:
            result.credential_infos = [
                _Described.CredentialInfo(mechanism=SCRAM_SHA_256, iterations=verifier.iterations)
            ]
    return response


async def alter_credentials(broker: Broker, client: Client, request: Request) -> Any:
    """Durable before the answer.

    Deleting a credential cuts the user's open connections.  A new password leaves them: it replaces the old one for
    new connections, and the ACLs decide over those that are open.
    """
    body = request.body
    deletions, upsertions = list(body.deletions or ()), list(body.upsertions or ())
    names = Counter(asked.name for asked in (*deletions, *upsertions))
    allowed = broker.may_cluster(client, ALTER)
    results: dict[str, Any] = {name: _Altered(user=name, error_code=0, error_message=None) for name in names}
    gone = []
    async with broker.catalogue.lock:
        for asked in (*deletions, *upsertions):
            result = results[asked.name]
            result.error_code, result.error_message = _fault(broker, asked, names, allowed)
            if result.error_code:
                continue
            try:
                if hasattr(asked, "salted_password"):
                    await broker.catalogue.set_user(asked.name, _verifier(asked))
                else:
                    await broker.catalogue.remove_user(asked.name)
                    gone.append(asked.name)
            except StorageFailed as error:
                result.error_code, result.error_message = ErrorCode.KAFKA_STORAGE_ERROR, str(error)
    for name in gone:
        broker.close_principal(f"User:{name}")
    return AlterUserScramCredentialsResponse(version=request.version, results=list(results.values()))


def _verifier(asked: Any) -> Verifier:
    client_key = hmac_sha256(asked.salted_password, b"Client Key")
    return Verifier(
        asked.salt,
        asked.iterations,
        hashlib.sha256(client_key).digest(),
        hmac_sha256(asked.salted_password, b"Server Key"),
    )


def _fault(broker: Broker, asked: Any, names: Counter[str], allowed: bool) -> tuple[ErrorCode, str | None]:
    if not allowed:
        return ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed."
    if not asked.name:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty"
    if names[asked.name] > 1:
        return ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"
    if asked.mechanism != SCRAM_SHA_256:
        return ErrorCode.UNSUPPORTED_SASL_MECHANISM, "This broker has SCRAM-SHA-256 only"
    if not hasattr(asked, "salted_password"):
        if asked.name not in broker.catalogue.users:
            return ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist"
        return ErrorCode.NONE, None
    if broker.admin is not None and asked.name == broker.admin[0]:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "This user is the broker's administrator"
    if asked.iterations < MIN_ITERATIONS:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations"
    if asked.iterations > MAX_ITERATIONS:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations"
    if not asked.salt or len(asked.salted_password) != 32:
        return ErrorCode.UNACCEPTABLE_CREDENTIAL, "Salt or salted password of a wrong length"
    return ErrorCode.NONE, None
