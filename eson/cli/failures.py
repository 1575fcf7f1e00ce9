"""What went wrong as what a person reads, with a remedy, and as an exit status (interface section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from eson.cli.lines import NOT_TRUSTED, REFUSED, TRY_LATER, USAGE, WrongWords, exit_status
from eson.cli.profile import ProfileError
from eson.errors import (
    AgentUnreachable,
    AuthenticationFailed,
    EncryptionRequired,
    EsonError,
    NameNotAllowed,
    NotSupported,
    ProtocolViolation,
    ReplyError,
    TlsFailed,
    TryLater,
    Unreachable,
    Usage,
    WriteStopped,
)
from eson.identity.tls import BadTlsFile

_REMEDIES = {
    421: "Try again in a moment",
    450: "Try again in a moment",
    451: "Try again later; why it failed stands in the agent's log",
    452: "Remove what you need no more, or ask the agent's operator for more",
    454: "Try again later; if it stays so, the agent's log says why",
    456: "`fnua resolve` shows what DNS says of the flow; try again later",
    502: "The agent does not offer this (yet); `fnua get brokers` and `fnua whoami` show what it has",
    530: "Log in: set `username:` in the user agent's file, and give the password with `fnua login`",
    535: "Check the name and the password: `fnua login` asks for them anew",
    538: "Set `tls: starttls` or `tls: implicit` for this agent in the user agent's file",
    550: "It does not exist, or you may not see it: `fnua get flows` shows yours",
    551: "Name the agent that hosts it with -a",
    553: "A name is labels of letters, digits and inner hyphens, joined by dots: time.flows.unix.ar",
    554: "`fnua get` and `fnua describe` show what is in the way; `fnua delete … --force` ends subscriptions first",
    556: "Ask the owner of that flow",
    557: "Ask the owner for this right",
}
_NO_QUEUE = (
    "The broker's own tools list the queues that it has, and `fnua describe namespace` names the broker; "
    "without `topic=` a queue is made"
)
_TRUST = (
    "Check `fqdn:`, `address:` and `tls:` of this agent in the user agent's file, "
    "and set `trust:` to its CA's file if you know it to be right"
)


@dataclass(frozen=True)
class Account:
    """What a person is told: `text`, `remedy` ("" if there is none), and the exit status."""

    text: str
    remedy: str
    status: int


def account_of(error: EsonError) -> Account:
    """What to say of an error, and how to end."""
    if isinstance(error, ReplyError):
        return Account(error.text, _remedy(error), exit_status(error.reply_code))
    if isinstance(error, WriteStopped):
        remedy = (
            "Mend that line and send it and the rest again"
            if error.reply_code >= 500
            else "Send the rest later"
        )
        return Account(error.text, remedy, exit_status(error.reply_code))
    for kinds, remedy, status in _RULES:
        if isinstance(error, kinds):
            return Account(error.text, remedy or _why(error), status)
    return Account(error.text, "", REFUSED)


_RULES: tuple[tuple[tuple[type[EsonError], ...], str, int], ...] = (
    ((WrongWords, ProfileError, Usage, NameNotAllowed), "", USAGE),
    ((AuthenticationFailed,), _REMEDIES[535], NOT_TRUSTED),
    ((EncryptionRequired,), _REMEDIES[538], NOT_TRUSTED),
    ((TlsFailed,), _TRUST, NOT_TRUSTED),
    ((BadTlsFile,), "Mend `trust:` of this agent in the user agent's file", NOT_TRUSTED),
    ((NotSupported,), "", NOT_TRUSTED),
    ((AgentUnreachable,), "", TRY_LATER),
    ((Unreachable,), "Check the address of the agent, and try again later", TRY_LATER),
    ((ProtocolViolation,), "Tell the agent's operator; -d shows the dialogue", TRY_LATER),
    ((TryLater,), "", TRY_LATER),
)


def _remedy(error: ReplyError) -> str:
    if error.reply_code == 550 and error.text.startswith("No such queue:"):
        return _NO_QUEUE  # no command of FNAP lists those
    return _REMEDIES.get(error.reply_code, "")


def _why(error: EsonError) -> str:
    """The user agent is its user's own: the reason that an agent would keep to its log is told."""
    why = error.context.get("why")
    if not why:
        return ""
    first, _, _ = str(why).partition(" ")  # a name in DNS stays as it is
    return str(why) if "." in first else str(why)[:1].upper() + str(why)[1:]
