"""Who may do what: Kafka's ACLs as its StandardAuthorizer decides them.

DENY wins over ALLOW, a super user over both, and what nobody allowed is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eson.brokers.kafka.wire.apis import (
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ACLResourceType,
)

TOPIC, GROUP, CLUSTER = int(ACLResourceType.TOPIC), int(ACLResourceType.GROUP), int(ACLResourceType.CLUSTER)
TRANSACTIONAL_ID = int(ACLResourceType.TRANSACTIONAL_ID)
CLUSTER_NAME = "kafka-cluster"
ANY, MATCH = int(ACLResourcePatternType.ANY), int(ACLResourcePatternType.MATCH)
LITERAL, PREFIXED = int(ACLResourcePatternType.LITERAL), int(ACLResourcePatternType.PREFIXED)
DENY, ALLOW = int(ACLPermissionType.DENY), int(ACLPermissionType.ALLOW)
ALL, READ, WRITE = int(ACLOperation.ALL), int(ACLOperation.READ), int(ACLOperation.WRITE)
CREATE, DELETE, ALTER = int(ACLOperation.CREATE), int(ACLOperation.DELETE), int(ACLOperation.ALTER)
DESCRIBE, CLUSTER_ACTION = int(ACLOperation.DESCRIBE), int(ACLOperation.CLUSTER_ACTION)
DESCRIBE_CONFIGS, ALTER_CONFIGS = int(ACLOperation.DESCRIBE_CONFIGS), int(ACLOperation.ALTER_CONFIGS)
IDEMPOTENT_WRITE = int(ACLOperation.IDEMPOTENT_WRITE)
EVERYONE = "User:*"
ANONYMOUS = "User:ANONYMOUS"

_IMPLIED_BY: dict[int, frozenset[int]] = {
    DESCRIBE: frozenset((DESCRIBE, READ, WRITE, DELETE, ALTER)),
    DESCRIBE_CONFIGS: frozenset((DESCRIBE_CONFIGS, ALTER_CONFIGS)),
}
OPERATIONS: dict[int, tuple[int, ...]] = {
    TOPIC: (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    GROUP: (READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    CLUSTER: (CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE),
}
"""What can be allowed on each kind of resource, as Kafka's `AclEntry.supportedOperations` has it."""


class Acl(NamedTuple):
    """One rule, in Kafka's numbers.  `principal` as `User:name`, `host` an address or `*`."""

    resource_type: int
    name: str
    pattern: int
    principal: str
    host: str
    operation: int
    permission: int

    def covers(self, resource_type: int, name: str) -> bool:
        if self.resource_type != resource_type:
            return False
        if self.pattern == PREFIXED:
            return name.startswith(self.name)
        return self.name in (name, "*")

    def applies(self, operation: int) -> bool:
        """Whether it speaks of this operation; an ALLOW also gives what its operation implies."""
        if self.operation in (ALL, operation):
            return True
        return self.permission == ALLOW and self.operation in _IMPLIED_BY.get(operation, ())


class Rights:
    """The rules in force.  With `open_to_all` nobody is refused anything."""

    def __init__(self, super_users: Iterable[str] = (), open_to_all: bool = False) -> None:
        self._super_users = frozenset(super_users)
        self._open_to_all = open_to_all
        self._rules: dict[str, dict[Acl, None]] = {}

    def __iter__(self) -> Iterator[Acl]:
        return iter([acl for rules in self._rules.values() for acl in rules])

    def __contains__(self, acl: Acl) -> bool:
        return acl in self._rules.get(acl.principal, ())

    def add(self, acl: Acl) -> None:
        self._rules.setdefault(acl.principal, {})[acl] = None

    def remove(self, acl: Acl) -> None:
        rules = self._rules.get(acl.principal, {})
        rules.pop(acl, None)
        if not rules:
            self._rules.pop(acl.principal, None)

    def is_free(self, principal: str) -> bool:
        """Whether no rule binds the principal."""
        return self._open_to_all or principal in self._super_users

    def allowed(self, principal: str, host: str, operation: int, resource_type: int, name: str) -> bool:
        if self.is_free(principal):
            return True
        found = False
        for owner in (principal, EVERYONE):
            for acl in self._rules.get(owner, ()):
                if (
                    acl.host not in ("*", host)
                    or not acl.covers(resource_type, name)
                    or not acl.applies(operation)
                ):
                    continue
                if acl.permission == DENY:
                    return False
                found = True
        return found

    def allowed_somewhere(self, principal: str, host: str, operation: int, resource_type: int) -> bool:
        """Whether there is any resource of the kind on which the operation is allowed (and not denied)."""
        if self.is_free(principal):
            return True
        return any(
            acl.permission == ALLOW
            and acl.resource_type == resource_type
            and acl.host in ("*", host)
            and acl.applies(operation)
            and not self._denied(principal, host, operation, acl)
            for owner in (principal, EVERYONE)
            for acl in self._rules.get(owner, ())
        )

    def _denied(self, principal: str, host: str, operation: int, given: Acl) -> bool:
        """Whether a rule denies all that `given` allows."""
        for owner in (principal, EVERYONE):
            for acl in self._rules.get(owner, ()):
                if (
                    acl.permission == DENY
                    and acl.resource_type == given.resource_type
                    and acl.host in ("*", host)
                    and acl.applies(operation)
                    and _spans(acl, given)
                ):
                    return True
        return False


def _spans(wide: Acl, narrow: Acl) -> bool:
    if wide.pattern == LITERAL:
        return wide.name == "*" or (narrow.pattern == LITERAL and wide.name == narrow.name)
    return narrow.name.startswith(wide.name)
