"""One tree of errors.

Every error carries two separate texts: `text`, one line that may be shown to the peer, and `context`, facts for
the operator's log only.  The docstring of each class says what causes it and whether to retry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class EsonError(Exception):
    """Root of all errors that ESON raises on purpose.  Retry: see the subclass."""

    code: ClassVar[int] = 451

    def __init__(self, text: str, **context: object) -> None:
        super().__init__(text)
        self.text = text
        self.context = context


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration file: 1-based line (0: the file as a whole), key path, reason, remedy."""

    line: int
    key: str
    reason: str
    remedy: str


def _place(source: str, fault: Fault) -> str:
    return f"{source}:{fault.line}" if fault.line else source


class ConfigError(EsonError):
    """The configuration cannot be used; `faults` holds all of them.  Retry: after the file was mended."""

    def __init__(self, faults: Sequence[Fault], source: str = "eson.yaml") -> None:
        super().__init__("\n".join(f"{_place(source, f)}: {f.key}: {f.reason}. {f.remedy}" for f in faults))
        self.faults = tuple(faults)


class TryLater(EsonError):
    """Something that may pass by itself.  Retry: yes, later."""

    code = 451


class Busy(TryLater):
    """Another operation on the same object is under way.  Retry: yes, soon."""

    code = 450


class BackendFailed(TryLater):
    """Broker, name server or store failed and nothing was changed.  Retry: yes."""

    code = 451


class LimitReached(TryLater):
    """A configured limit is reached; `text` names it.  Retry: when something was released."""

    code = 452

    def __init__(self, which: str, **context: object) -> None:
        super().__init__(f"Limit reached: {which}", **context)


class NotAvailableNow(TryLater):
    """TLS or authentication cannot be offered at the moment.  Retry: yes."""

    code = 454


class AgentUnreachable(TryLater):
    """The agent of a flow could not be found or reached; one text, whatever the reason.  Retry: yes."""

    code = 456

    def __init__(self, flow: str, **context: object) -> None:
        super().__init__(f"Agent of {flow} cannot be reached", **context)


class Refused(EsonError):
    """The request cannot be granted as it stands.  Retry: no."""

    code = 554


class Usage(Refused):
    """The words of a command are wrong.  Retry: after correction."""

    code = 501


class NotOffered(Refused):
    """A verb, processor or broker type that is known but not offered here.  Retry: no."""

    code = 502


class NotSupported(Refused):
    """A value or mechanism that is not supported.  Retry: no."""

    code = 504


class NoSuch(Refused):
    """The object is missing, or hidden from this principal: the text is the same.  Retry: no."""

    code = 550

    def __init__(self, kind: str, name: str, **context: object) -> None:
        super().__init__(f"No such {kind}: {name}", **context)


class NotHosted(Refused):
    """The name belongs to another participant.  Retry: at that participant's agent."""

    code = 551

    def __init__(self, name: str, **context: object) -> None:
        super().__init__(f"Not hosted here: {name}", **context)


class TooLarge(Refused):
    """An event, batch or value exceeds a limit.  Retry: with less."""

    code = 552


class NameNotAllowed(Refused):
    """A name that is no name, or that this place cannot hold.  Retry: with another name."""

    code = 553

    def __init__(self, reason: str, **context: object) -> None:
        super().__init__(f"Name not allowed: {reason}", **context)


class Conflict(Refused):
    """The object exists, is not empty, has subscribers, or a loop would be closed.  Retry: no."""

    code = 554

    def __init__(self, reason: str, **context: object) -> None:
        super().__init__(f"Conflict: {reason}", **context)


class RemoteRefused(Refused):
    """The other participant's agent refused; its text follows.  Retry: no."""

    code = 556

    def __init__(self, text: str, **context: object) -> None:
        super().__init__(f"Remote agent refused: {text}", **context)


class NotAllowed(Refused):
    """The object is visible, but the right is missing.  Retry: after the owner granted it."""

    code = 557

    def __init__(self, right: str, name: str, **context: object) -> None:
        super().__init__(f"Not allowed: {right} on {name}", **context)


class AuthenticationFailed(Refused):
    """Unknown user, wrong password, or a mechanism's proof does not hold: one text for all.  Retry: no."""

    code = 535

    def __init__(self, **context: object) -> None:
        super().__init__("Authentication failed", **context)


class PeerFailed(EsonError):
    """A conversation with another server failed; never shown to a third party.  Retry: see the subclass."""


class Unreachable(PeerFailed):
    """No connection to a server: refused, lost, or silent beyond its deadline.  Retry: yes."""


class ProtocolViolation(PeerFailed):
    """A server did not keep to the protocol, so nothing that it says is believed.  Retry: once it is mended."""


class TlsFailed(PeerFailed):
    """A server's certificate, its name, or the handshake was not acceptable: nothing was sent.  Retry: no."""

    code = 454


class ReplyError(EsonError):
    """A server answered a command with 4yz or 5yz.  Retry: for 4yz, later."""

    def __init__(self, code: int, text: str, **context: object) -> None:
        super().__init__(text, **context)
        self.reply_code = code

    def __str__(self) -> str:
        return f"{self.reply_code} {self.text}"


class WriteStopped(EsonError):
    """WRITE ended early: `written` events were synced before it.  Retry: from the first event not written.

    On the way out `text` excludes the count, which the reply adds; a client's `text` is the reply as it came.
    """

    def __init__(self, code: int, text: str, written: int, **context: object) -> None:
        super().__init__(text, **context)
        self.reply_code = code
        self.written = written


class EncryptionRequired(Refused):
    """What was asked for is only given over TLS.  Retry: over TLS."""

    code = 538

    def __init__(self, **context: object) -> None:
        super().__init__("Encryption required", **context)
