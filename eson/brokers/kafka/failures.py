"""What goes wrong with a broker that speaks Kafka's protocol, as the port's errors."""

from __future__ import annotations

from eson.brokers.kafka.wire.errors import AUTHORIZATION, LEADER_MOVED, ErrorCode, is_retriable, name_of
from eson.errors import BackendFailed


class Unreachable(BackendFailed):
    """No connection, or one that ended, or no answer within the deadline.  Retry: yes."""


class LoginRefused(BackendFailed):
    """The broker refused the credential that it was given.  Retry: after the password was set again."""


class Answered(BackendFailed):
    """The broker answered with an error; `error_code` is Kafka's.  Retry: if `passing`."""

    def __init__(self, text: str, error_code: int, **context: object) -> None:
        super().__init__(text, error=name_of(error_code), **context)
        self.error_code = error_code

    @property
    def passing(self) -> bool:
        """Whether it may pass by itself, or when it is known who leads now."""
        return is_retriable(self.error_code) or self.error_code in LEADER_MOVED


_WHY = {
    ErrorCode.SECURITY_DISABLED: "has no authorizer: set authorizer.class.name, or `credentials: none`",
    ErrorCode.UNSUPPORTED_VERSION: "is too old for this",
    ErrorCode.POLICY_VIOLATION: "does not allow this by its policy",
    ErrorCode.INVALID_REPLICATION_FACTOR: "has too few servers for its default.replication.factor",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "does not take this name for a queue",
    ErrorCode.INVALID_CONFIG: "does not take this setting",
    ErrorCode.UNACCEPTABLE_CREDENTIAL: "does not take this user name or password",
    ErrorCode.NOT_ENOUGH_REPLICAS: "has too few replicas in sync",
    ErrorCode.MESSAGE_TOO_LARGE: "does not take a record of this size",
}


def answered(broker: str, error_code: int, what: str, detail: str | None = None) -> Answered:
    """The error for what the broker said to `what`; its own words are for the log only."""
    if error_code in AUTHORIZATION:
        why = "does not allow its user to do this"
    else:
        try:
            why = _WHY.get(ErrorCode(error_code), f"answered {name_of(error_code)}")
        except ValueError:
            why = f"answered {name_of(error_code)}"
    return Answered(f"Broker {broker} {why} ({what})", error_code, detail=detail or "")
