"""From a command to its line: the inverse of `parse_command`, and the only place that words what a client sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from types import MappingProxyType
from typing import Any

from eson.errors import Usage
from eson.fnap.core import commands as c
from eson.fnap.core.quoting import quoted, written
from eson.model.positions import AtTime, Position

_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def command_line(command: c.Command) -> str:
    """The line of a command, without CRLF.  Raises `Usage` for text that FNAP cannot carry (control characters)."""
    line = " ".join(word for word in _WORDS[type(command)](command) if word)
    if _UNSENDABLE.search(line):
        raise Usage("Usage: no control characters: a command is one line of text")
    return line


def _position(position: Position | None) -> Iterator[str]:
    if position is None:
        return
    yield "FROM"
    if isinstance(position, AtTime):
        yield position.when.astimezone(UTC).isoformat().replace("+00:00", "Z")
    else:
        yield str(position)


def _page(page: c.Page) -> Iterator[str]:
    if page.after:
        yield f"AFTER {page.after}"
    if page.limit is not None:
        yield f"LIMIT {page.limit}"


def _named(verb: str, kind: str) -> Callable[[Any], Iterator[str]]:
    """CREATE and UPDATE with pairs, DELETE with FORCE."""

    def words(command: Any) -> Iterator[str]:
        yield f"{verb} {kind}"
        yield command.flow if kind == "FLOW" else command.namespace
        if verb == "DELETE":
            yield "FORCE" if command.force else ""
        else:
            yield from (f"{key}={written(value)}" for key, value in command.pairs)

    return words


def _ehlo(command: c.Ehlo) -> Iterator[str]:
    yield from ("EHLO", command.client)


def _authenticate(command: c.Authenticate) -> Iterator[str]:
    yield from ("AUTHENTICATE", command.mechanism, command.initial or "")


def _format(command: c.Format) -> Iterator[str]:
    yield "FORMAT JSON" if command.json else "FORMAT TEXT"


def _help(command: c.Help) -> Iterator[str]:
    yield from ("HELP", command.word)


def _describe(command: c.Describe) -> Iterator[str]:
    yield from ("DESCRIBE", command.kind, command.name)


def _get_namespaces(command: c.GetNamespaces) -> Iterator[str]:
    yield from ("GET NAMESPACES", command.below, *_page(command.page))


def _get_flows(command: c.GetFlows) -> Iterator[str]:
    yield from ("GET FLOWS", command.below, *_page(command.page))


def _get_subscriptions(command: c.GetSubscriptions) -> Iterator[str]:
    yield from ("GET SUBSCRIPTIONS", command.flow, *_page(command.page))


def _get_subscribers(command: c.GetSubscribers) -> Iterator[str]:
    yield from ("GET SUBSCRIBERS", command.flow, *_page(command.page))


def _get_credential(command: c.GetCredential) -> Iterator[str]:
    yield from ("GET CREDENTIAL", command.name)


def _get_items(command: c.GetItems) -> Iterator[str]:
    yield from ("GET", command.kind)


def _subscribe(command: c.Subscribe) -> Iterator[str]:
    yield from ("SUBSCRIBE", command.flow)
    local = command.typed_local or command.local
    if local:
        yield f"LOCAL {local}"
    yield from _position(command.position)
    if command.token:
        yield f"AS {command.token}"


def _unsubscribe(command: c.Unsubscribe) -> Iterator[str]:
    yield from ("UNSUBSCRIBE", command.id)


def _change_subscriber(command: c.ChangeSubscriber) -> Iterator[str]:
    yield from (command.verb, "SUBSCRIBER", command.name)
    if command.principal is not None:
        yield str(command.principal)
    if command.reason:
        yield quoted(command.reason)


def _change_subscription(command: c.ChangeSubscription) -> Iterator[str]:
    yield from (command.verb, "SUBSCRIPTION", command.id)


def _notify(command: c.Notify) -> Iterator[str]:
    yield from ("NOTIFY", command.copy, command.state)


def _read(command: c.Read) -> Iterator[str]:
    yield from ("READ", command.flow, *_position(command.position))
    if command.limit is not None:
        yield f"LIMIT {command.limit}"
    elif command.follow:
        yield "FOLLOW"


def _write(command: c.Write) -> Iterator[str]:
    yield from ("WRITE", command.flow)


def _replicate(command: c.Replicate) -> Iterator[str]:
    yield from ("REPLICATE", command.source, "TO", command.destination)


def _collect(command: c.Collect) -> Iterator[str]:
    yield from ("COLLECT", *command.sources, "TO", command.destination)


def _distribute(command: c.Distribute) -> Iterator[str]:
    yield from ("DISTRIBUTE", command.source, "TO", *command.destinations)


def _signal(command: c.Signal) -> Iterator[str]:
    yield from ("SIGNAL", *command.sources, "TO", *command.destinations)
    if command.when:
        yield f"WHEN {quoted(command.when)}"


def _alone(verb: str) -> Callable[[object], Iterator[str]]:
    return lambda command: iter((verb,))


_WORDS: Mapping[type, Callable[[Any], Iterator[str]]] = MappingProxyType(
    {
        c.Ehlo: _ehlo,
        c.Capabilities: _alone("CAPABILITIES"),
        c.StartTls: _alone("STARTTLS"),
        c.Authenticate: _authenticate,
        c.Format: _format,
        c.WhoAmI: _alone("WHOAMI"),
        c.Help: _help,
        c.Noop: _alone("NOOP"),
        c.Quit: _alone("QUIT"),
        c.CreateFlow: _named("CREATE", "FLOW"),
        c.CreateNamespace: _named("CREATE", "NAMESPACE"),
        c.Describe: _describe,
        c.UpdateFlow: _named("UPDATE", "FLOW"),
        c.UpdateNamespace: _named("UPDATE", "NAMESPACE"),
        c.DeleteFlow: _named("DELETE", "FLOW"),
        c.DeleteNamespace: _named("DELETE", "NAMESPACE"),
        c.GetNamespaces: _get_namespaces,
        c.GetFlows: _get_flows,
        c.GetSubscriptions: _get_subscriptions,
        c.GetSubscribers: _get_subscribers,
        c.GetCredential: _get_credential,
        c.GetItems: _get_items,
        c.Subscribe: _subscribe,
        c.Unsubscribe: _unsubscribe,
        c.ChangeSubscriber: _change_subscriber,
        c.ChangeSubscription: _change_subscription,
        c.Notify: _notify,
        c.Read: _read,
        c.Write: _write,
        c.Replicate: _replicate,
        c.Collect: _collect,
        c.Distribute: _distribute,
        c.Signal: _signal,
    }
)
