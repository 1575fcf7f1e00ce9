"""From a line to a command (interface section 4).  Verbs stand in one table; nothing is looked up by a peer's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, cast

from eson.errors import EsonError, NotOffered, Usage
from eson.fnap.core import commands as c
from eson.fnap.core.usage import USAGE
from eson.model.names import MAX_FQDN, PROCESSOR_ID, canonical, canonical_flow
from eson.model.positions import parse_position
from eson.model.principals import parse_principal
from eson.model.subscriptions import State

_TOKEN = re.compile(r'[^ "]*(?:"(?:[^"\\]|\\["\\])*")?[^ "]*')
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}\Z")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]+={0,2}|=)\Z")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")
_BARE = re.compile(r"[!#-\[\]-~\x80-\U0010ffff]+\Z")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_TOKEN_VALUE = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_STATES = frozenset(state.value for state in State)

UNKNOWN = "Unknown command"


class UnknownCommand(EsonError):
    """The first word of a line is no verb.  Retry: with another verb (HELP lists them)."""

    code = 500

    def __init__(self) -> None:
        super().__init__(UNKNOWN)


def parse_command(line: str) -> c.Command:
    """The command of a line without its CRLF.  Raises `UnknownCommand`, `Usage`, `NameNotAllowed`, `NotOffered`."""
    words = _words(line)
    verb = _verb(words)
    rule = _RULES.get(verb)
    if rule is None:
        raise UnknownCommand
    try:
        return rule(_Words(verb, words[1:]))
    except _WrongWords:
        raise Usage(f"Usage: {USAGE[verb]}") from None


def verb_of(line: str) -> str:
    """The first word of a line as a verb, DESC as DESCRIBE; "" for an empty line."""
    return _verb(line.lstrip(" ").split(" ", 1))


def _verb(words: list[str]) -> str:
    verb = upper(words[0]) if words else ""
    return "DESCRIBE" if verb == "DESC" else verb


def upper(word: str) -> str:
    """Upper case in ASCII alone: `ſ` is no S, and `ﬂow` no FLOW."""
    return word.upper() if word.isascii() else word


def _words(line: str) -> list[str]:
    """Splits at runs of spaces outside quotation marks."""
    if '"' not in line:
        return [word for word in line.split(" ") if word]
    words: list[str] = []
    position = 0
    while position < len(line):
        if line[position] == " ":
            position += 1
            continue
        found = _TOKEN.match(line, position)
        end = found.end() if found else position
        if end == position or (end < len(line) and line[end] != " "):
            verb = _verb(words)
            if verb in USAGE:
                raise Usage(f"Usage: {USAGE[verb]}")
            raise UnknownCommand
        words.append(line[position:end])
        position = end
    return words


class _WrongWords(Exception):
    """The words do not fit the verb."""


class _Words:
    """The words behind a verb, taken one by one."""

    __slots__ = ("_rest", "verb")

    def __init__(self, verb: str, words: list[str]) -> None:
        self.verb = verb
        self._rest = words

    def take(self) -> str:
        if not self._rest:
            raise _WrongWords
        return self._rest.pop(0)

    def keyword(self, *allowed: str) -> str:
        word = upper(self.take())
        if word not in allowed:
            raise _WrongWords
        return word

    def optional(self, *keywords: str) -> bool:
        """Takes the next word if it is one of `keywords`."""
        if self._rest and upper(self._rest[0]) in keywords:
            self._rest.pop(0)
            return True
        return False

    def left(self) -> bool:
        return bool(self._rest)

    def peek(self) -> str:
        return self._rest[0] if self._rest else ""

    def end(self) -> None:
        if self._rest:
            raise _WrongWords

    def matching(self, pattern: re.Pattern[str]) -> str:
        word = self.take()
        if not pattern.match(word):
            raise _WrongWords
        return word

    def number(self) -> int:
        return int(self.matching(_NUMBER))

    def fqdn(self) -> str:
        return canonical(self.take())

    def flow(self) -> str:
        """A flow that exists: a copy's name may be longer than that of a flow that has copies."""
        return canonical_flow(self.take(), MAX_FQDN)

    def new_flow(self) -> str:
        return canonical_flow(self.take())

    def flows(self, until: str = "") -> list[str]:
        found = []
        while self._rest and not (until and upper(self._rest[0]) == until):
            found.append(self.flow())
        return found

    def id(self) -> str:
        word = self.take()
        lower = word.lower()
        return lower if word.isascii() and PROCESSOR_ID.match(lower) else canonical_flow(word, MAX_FQDN)

    def quoted(self) -> str:
        word = self.take()
        if not _QUOTED.match(word):
            raise _WrongWords
        return _value(word)

    def pairs(self) -> c.Pairs:
        found = []
        while self._rest:
            key, equals, value = self._rest.pop(0).partition("=")
            if not equals or not _KEY.match(key):
                raise _WrongWords
            found.append((key.lower(), _value(value)))
        if len({key for key, _ in found}) != len(found):
            raise Usage("Usage: each key once")
        return tuple(found)

    def page(self) -> c.Page:
        after = self.fqdn() if self.optional("AFTER") else ""
        limit = self.number() if self.optional("LIMIT") else None
        self.end()
        return c.Page(after, limit)


def _value(text: str) -> str:
    quoted = _QUOTED.match(text)
    if quoted:
        return re.sub(r'\\(["\\])', r"\1", quoted.group(1))
    if not _BARE.match(text):
        raise _WrongWords
    return text


# One rule a verb


def _ehlo(w: _Words) -> c.Command:
    name = w.matching(_WORD) if w.left() else ""
    w.end()
    return c.Ehlo(name)


def _authenticate(w: _Words) -> c.Command:
    mechanism = w.matching(_MECHANISM).upper()
    initial = w.matching(_BASE64) if w.left() else None
    w.end()
    return c.Authenticate(mechanism, initial)


def _create(w: _Words) -> c.Command:
    if w.keyword("FLOW", "NAMESPACE") == "FLOW":
        return c.CreateFlow(w.new_flow(), w.pairs())
    return c.CreateNamespace(w.fqdn(), w.pairs())


def _update(w: _Words) -> c.Command:
    kind = w.keyword("FLOW", "NAMESPACE")
    name = w.flow() if kind == "FLOW" else w.fqdn()
    pairs = w.pairs()
    if not pairs:
        raise _WrongWords
    return c.UpdateFlow(name, pairs) if kind == "FLOW" else c.UpdateNamespace(name, pairs)


def _delete(w: _Words) -> c.Command:
    kind = w.keyword("FLOW", "NAMESPACE")
    name = w.flow() if kind == "FLOW" else w.fqdn()
    force = w.optional("FORCE")
    w.end()
    return c.DeleteFlow(name, force) if kind == "FLOW" else c.DeleteNamespace(name, force)


def _describe(w: _Words) -> c.Command:
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


def _get(w: _Words) -> c.Command:
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
    raise _WrongWords


def _subscribe(w: _Words) -> c.Command:
    flow = w.flow()
    local = typed = ""
    if w.optional("LOCAL"):
        typed = w.peek()
        local = w.new_flow()
    position = parse_position(w.take()) if w.optional("FROM") else None
    token = w.matching(_TOKEN_VALUE) if w.optional("AS") else ""
    w.end()
    return c.Subscribe(flow, local, typed, position, token)


def _subscriber(w: _Words) -> c.Command:
    w.keyword("SUBSCRIBER")
    name = w.fqdn()
    principal = parse_principal(w.take()) if w.left() and not w.peek().startswith('"') else None
    reason = w.quoted() if w.left() else ""
    w.end()
    verb = cast("Literal['APPROVE', 'DENY', 'REMOVE']", w.verb)
    return c.ChangeSubscriber(verb, name, principal, reason)


def _subscription(w: _Words) -> c.Command:
    w.keyword("SUBSCRIPTION")
    name = w.id()
    w.end()
    return c.ChangeSubscription(cast("Literal['PAUSE', 'RESUME', 'STOP']", w.verb), name)


def _unsubscribe(w: _Words) -> c.Command:
    name = w.id()
    w.end()
    return c.Unsubscribe(name)


def _notify(w: _Words) -> c.Command:
    name, state = w.fqdn(), w.take().lower()
    w.end()
    if state not in _STATES:
        raise _WrongWords
    return c.Notify(name, state)


def _read(w: _Words) -> c.Command:
    flow = w.flow()
    position = parse_position(w.take()) if w.optional("FROM") else None
    limit = w.number() if w.optional("LIMIT") else None
    follow = limit is None and w.optional("FOLLOW")
    w.end()
    return c.Read(flow, position, limit, follow)


def _write(w: _Words) -> c.Command:
    flow = w.flow()
    w.end()
    return c.Write(flow)


def _replicate(w: _Words) -> c.Command:
    source = w.flow()
    w.optional("TO")
    destination = w.flow()
    w.end()
    return c.Replicate(source, destination)


def _collect(w: _Words) -> c.Command:
    sources = w.flows("TO")
    destination = w.flow() if w.optional("TO") else sources.pop() if sources else ""
    w.end()
    if not sources:
        raise _WrongWords
    return c.Collect(tuple(sources), destination)


def _distribute(w: _Words) -> c.Command:
    source = w.flow()
    w.optional("TO")
    destinations = w.flows()
    if not destinations:
        raise _WrongWords
    return c.Distribute(source, tuple(destinations))


def _signal(w: _Words) -> c.Command:
    sources, when = w.flows("TO"), ""
    if w.optional("TO"):
        destinations = w.flows("WHEN")
        when = w.quoted() if w.optional("WHEN") else ""
        w.end()
    else:
        sources, destinations = sources[:1], sources[1:]
    if not sources or not destinations:
        raise _WrongWords
    return c.Signal(tuple(sources), tuple(destinations), when)


def _format(w: _Words) -> c.Command:
    word = w.keyword("TEXT", "JSON")
    w.end()
    return c.Format(word == "JSON")


def _help(w: _Words) -> c.Command:
    word = w.matching(_WORD).upper() if w.left() else ""
    w.end()
    return c.Help(word)


def _bare(command: c.Command) -> Callable[[_Words], c.Command]:
    def rule(w: _Words) -> c.Command:
        w.end()
        return command

    return rule


def _later(what: str) -> c.Command:
    raise NotOffered(f"{what} is not offered here")


def _later_rule(w: _Words) -> c.Command:
    return _later(w.verb)


_RULES: Mapping[str, Callable[[_Words], c.Command]] = MappingProxyType(
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
