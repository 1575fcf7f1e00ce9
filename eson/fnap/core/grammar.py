"""From a line to a command (interface section 4).  Verbs stand in one table; nothing is looked up by a peer's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, cast

from eson.errors import EsonError, NotOffered, Usage
from eson.fnap.core import commands as c
from eson.fnap.core.usage import USAGE
from eson.fnap.core.words import Words, WrongWords, split, upper
from eson.model.positions import parse_position
from eson.model.principals import parse_principal
from eson.model.subscriptions import State

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}\Z")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]+={0,2}|=)\Z")
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_STATES = frozenset(state.value for state in State)

UNKNOWN = "Unknown command"


class UnknownCommand(EsonError):
    """The first word of a line is no verb.  Retry: with another verb (HELP lists them)."""

    code = 500

    def __init__(self) -> None:
        super().__init__(UNKNOWN)


def parse_command(line: str) -> c.Command:
    """The command of a line without its CRLF.  Raises `UnknownCommand`, `Usage`, `NameNotAllowed`, `NotOffered`."""
    verb = verb_of(line)
    rule = _RULES.get(verb)
    if rule is None:
        raise UnknownCommand
    try:
        return rule(Words(verb, split(line)[1:]))
    except WrongWords:
        raise Usage(f"Usage: {USAGE[verb]}") from None


def verb_of(line: str) -> str:
    """The first word of a line as a verb, DESC as DESCRIBE; "" for an empty line."""
    verb = upper(line.lstrip(" ").split(" ", 1)[0])
    return "DESCRIBE" if verb == "DESC" else verb


# One rule a verb


def _ehlo(w: Words) -> c.Command:
    name = w.matching(_WORD) if w.left() else ""
    w.end()
    return c.Ehlo(name)


def _authenticate(w: Words) -> c.Command:
    mechanism = w.matching(_MECHANISM).upper()
    initial = w.matching(_BASE64) if w.left() else None
    w.end()
    return c.Authenticate(mechanism, initial)


def _create(w: Words) -> c.Command:
    if w.keyword("FLOW", "NAMESPACE") == "FLOW":
        return c.CreateFlow(w.new_flow(), w.pairs())
    return c.CreateNamespace(w.fqdn(), w.pairs())


def _update(w: Words) -> c.Command:
    kind = w.keyword("FLOW", "NAMESPACE")
    name = w.flow() if kind == "FLOW" else w.fqdn()
    pairs = w.pairs()
    if not pairs:
        raise WrongWords
    return c.UpdateFlow(name, pairs) if kind == "FLOW" else c.UpdateNamespace(name, pairs)


def _delete(w: Words) -> c.Command:
    kind = w.keyword("FLOW", "NAMESPACE")
    name = w.flow() if kind == "FLOW" else w.fqdn()
    force = w.optional("FORCE")
    w.end()
    return c.DeleteFlow(name, force) if kind == "FLOW" else c.DeleteNamespace(name, force)


def _describe(w: Words) -> c.Command:
    kind = w.keyword("FLOW", "NAMESPACE", "NAMESERVER", "BROKER", "AGENT", "PROCESSOR")
    if kind == "FLOW":
        name = w.flow()
    elif kind == "PROCESSOR":
        name = w.id()
    elif kind == "BROKER":
        name = w.matching(_WORD).lower().removesuffix(".")
    else:
        name = w.fqdn()
    w.end()
    return c.Describe(cast("c.DescribedKind", kind), name)


_LISTS = {"NS": "NAMESPACES", "FL": "FLOWS"}


def _get(w: Words) -> c.Command:
    word = upper(w.take())
    kind = _LISTS.get(word, word)
    if kind in ("NAMESPACES", "FLOWS"):
        below = w.fqdn() if w.left() and upper(w.peek()) not in ("AFTER", "LIMIT") else ""
        page = w.page()
        return c.GetNamespaces(below, page) if kind == "NAMESPACES" else c.GetFlows(below, page)
    if kind == "SUBSCRIPTIONS":
        flow = w.flow() if w.left() and upper(w.peek()) not in ("AFTER", "LIMIT") else ""
        return c.GetSubscriptions(flow, w.page())
    if kind == "SUBSCRIBERS":
        return c.GetSubscribers(w.flow(), w.page())
    if kind == "CREDENTIAL":
        name = w.fqdn()
        w.end()
        return c.GetCredential(name)
    if kind == "GRANTS":
        return _later("GET GRANTS")
    if kind in ("BROKERS", "AGENTS", "PROCESSORS", "NAMESERVERS"):
        w.end()
        return c.GetItems(cast("c.ListedKind", kind))
    raise WrongWords


def _subscribe(w: Words) -> c.Command:
    flow = w.flow()
    local = typed = ""
    if w.optional("LOCAL"):
        typed = w.peek()
        local = w.new_flow()
    position = parse_position(w.take()) if w.optional("FROM") else None
    token = w.matching(_TOKEN) if w.optional("AS") else ""
    w.end()
    return c.Subscribe(flow, local, typed, position, token)


def _subscriber(w: Words) -> c.Command:
    w.keyword("SUBSCRIBER")
    name = w.fqdn()
    principal = parse_principal(w.take()) if w.left() and not w.peek().startswith('"') else None
    reason = w.quoted() if w.left() else ""
    w.end()
    verb = cast("Literal['APPROVE', 'DENY', 'REMOVE']", w.verb)
    return c.ChangeSubscriber(verb, name, principal, reason)


def _subscription(w: Words) -> c.Command:
    w.keyword("SUBSCRIPTION")
    name = w.id()
    w.end()
    return c.ChangeSubscription(cast("Literal['PAUSE', 'RESUME', 'STOP']", w.verb), name)


def _unsubscribe(w: Words) -> c.Command:
    name = w.id()
    w.end()
    return c.Unsubscribe(name)


def _notify(w: Words) -> c.Command:
    name, state = w.fqdn(), w.take().lower()
    w.end()
    if state not in _STATES:
        raise WrongWords
    return c.Notify(name, state)


def _read(w: Words) -> c.Command:
    flow = w.flow()
    position = parse_position(w.take()) if w.optional("FROM") else None
    limit = w.number() if w.optional("LIMIT") else None
    follow = limit is None and w.optional("FOLLOW")
    w.end()
    return c.Read(flow, position, limit, follow)


def _write(w: Words) -> c.Command:
    flow = w.flow()
    w.end()
    return c.Write(flow)


def _replicate(w: Words) -> c.Command:
    source = w.flow()
    w.optional("TO")
    destination = w.flow()
    w.end()
    return c.Replicate(source, destination)


def _collect(w: Words) -> c.Command:
    sources = w.flows("TO")
    destination = w.flow() if w.optional("TO") else sources.pop() if sources else ""
    w.end()
    if not sources:
        raise WrongWords
    return c.Collect(tuple(sources), destination)


def _distribute(w: Words) -> c.Command:
    source = w.flow()
    w.optional("TO")
    destinations = w.flows()
    if not destinations:
        raise WrongWords
    return c.Distribute(source, tuple(destinations))


def _signal(w: Words) -> c.Command:
    sources, when = w.flows("TO"), ""
    if w.optional("TO"):
        destinations = w.flows("WHEN")
        when = w.quoted() if w.optional("WHEN") else ""
        w.end()
    else:
        sources, destinations = sources[:1], sources[1:]
    if not sources or not destinations:
        raise WrongWords
    return c.Signal(tuple(sources), tuple(destinations), when)


def _format(w: Words) -> c.Command:
    word = w.keyword("TEXT", "JSON")
    w.end()
    return c.Format(word == "JSON")


def _help(w: Words) -> c.Command:
    word = w.matching(_WORD).upper() if w.left() else ""
    w.end()
    return c.Help(word)


def _bare(command: c.Command) -> Callable[[Words], c.Command]:
    def rule(w: Words) -> c.Command:
        w.end()
        return command

    return rule


def _later(what: str) -> c.Command:
    raise NotOffered(f"{what} is not offered here")


def _later_rule(w: Words) -> c.Command:
    return _later(w.verb)


_RULES: Mapping[str, Callable[[Words], c.Command]] = MappingProxyType(
    {
        "EHLO": _ehlo,
        "CAPABILITIES": _bare(c.Capabilities()),
        "STARTTLS": _bare(c.StartTls()),
        "AUTHENTICATE": _authenticate,
        "CREATE": _create,
        "DESCRIBE": _describe,
        "UPDATE": _update,
        "DELETE": _delete,
        "GET": _get,
        "SUBSCRIBE": _subscribe,
        "UNSUBSCRIBE": _unsubscribe,
        "APPROVE": _subscriber,
        "DENY": _subscriber,
        "REMOVE": _subscriber,
        "PAUSE": _subscription,
        "RESUME": _subscription,
        "STOP": _subscription,
        "NOTIFY": _notify,
        "READ": _read,
        "WRITE": _write,
        "GRANT": _later_rule,
        "REVOKE": _later_rule,
        "REPLICATE": _replicate,
        "COLLECT": _collect,
        "DISTRIBUTE": _distribute,
        "SIGNAL": _signal,
        "FORMAT": _format,
        "WHOAMI": _bare(c.WhoAmI()),
        "HELP": _help,
        "NOOP": _bare(c.Noop()),
        "QUIT": _bare(c.Quit()),
    }
)
