"""`create`, `update`, `delete`, `describe`, `get`: flows, namespaces, and what serves them."""

from __future__ import annotations

from contextlib import suppress

import click

from eson.cli import lines
from eson.cli.arguments import word
from eson.cli.console import Console, pass_console
from eson.cli.lines import WrongWords
from eson.cli.running import Interrupted
from eson.cli.watching import watch

NAMED = ("flow", "namespace")
DESCRIBED = ("flow", "namespace", "nameserver", "broker", "agent", "processor")
LISTED = (
    *("namespaces", "ns", "flows", "fl", "subscriptions", "subscribers", "credential", "grants"),
    *("brokers", "agents", "processors", "nameservers"),
)
_NAMELESS = frozenset({"brokers", "agents", "processors", "nameservers"})
_MUST_NAME = frozenset({"subscribers", "credential"})
_PAGED = frozenset({"namespaces", "flows", "subscriptions", "subscribers"})


@click.command()
@click.argument("kind", type=click.Choice(NAMED, case_sensitive=False))
@click.argument("name", type=word)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@pass_console
def create(console: Console, kind: str, name: str, settings: tuple[str, ...]) -> None:
    """Make a flow or a namespace.

    Keys of a flow: visibility=private|listed|public, description, partitions, retention=7d,1GiB, mode=binary|structured,
    limit=1000/s,5000000B/s; topic=NAME, for operators: a queue of another name that the broker has already.
    """
    reply = console.run(console.ask(lines.with_pairs(f"CREATE {kind.upper()}", name, settings), name))
    console.show_name(kind, reply.text.removeprefix("OK").strip() or name)


@click.command()
@click.argument("kind", type=click.Choice(NAMED, case_sensitive=False))
@click.argument("name", type=word)
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_console
def update(console: Console, kind: str, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of a flow or a namespace.

    Keys are those of `create`; a flow keeps its topic.  `limit` says how fast each subscription and processor may fill the
    flow, in events and octets a second, limit=none takes it away; of a copy it is the only key, and the provider's.
    """
    console.run(console.ask(lines.with_pairs(f"UPDATE {kind.upper()}", name, settings), name))
    console.tell(f"Updated {kind} {name}")


@click.command()
@click.argument("kind", type=click.Choice(NAMED, case_sensitive=False))
@click.argument("name", type=word)
@click.option("--force", is_flag=True, help="End its subscriptions first; a namespace: with its flows.")
@pass_console
def delete(console: Console, kind: str, name: str, force: bool) -> None:
    """Remove a flow with its events, or a namespace.  A queue that was there before its flow stays."""
    console.run(console.ask(f"DELETE {kind.upper()} {name}{' FORCE' if force else ''}", name))
    console.tell(f"Deleted {kind} {name}")


@click.command()
@click.argument("kind", type=click.Choice(DESCRIBED, case_sensitive=False))
@click.argument("name", type=word)
@pass_console
def describe(console: Console, kind: str, name: str) -> None:
    """Show all that is known of one thing."""
    console.show_description(console.run(console.ask(f"DESCRIBE {kind.upper()} {name}", name)))


@click.command()
@click.argument("kind", type=click.Choice(LISTED, case_sensitive=False))
@click.argument("name", type=word, required=False, default="")
@click.option("--after", type=word, default="", metavar="NAME", help="Begin behind this name.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--watch", "watched", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@pass_console
def get(
    console: Console, kind: str, name: str, after: str, limit: int | None, watched: bool, interval: float
) -> None:
    """List flows, namespaces, subscriptions and the rest; `get credential NAME` asks for a broker's password.

    NAME: the namespace below which, the flow whose subscribers or subscriptions, the copy or flow whose credential.
    """
    kind = {"ns": "namespaces", "fl": "flows"}.get(kind, kind)
    line = _get_line(kind, name, after, limit)
    if watched:
        if kind == "credential":
            raise WrongWords("a credential is not watched: each look would replace the password")
        with suppress(Interrupted):  # which is how one stops to watch
            console.run(watch(console, line, name, interval))
        return
    reply = console.run(console.ask(line, name))
    if kind == "credential":
        console.show_description(reply)
    else:
        console.show_listing(reply)


def _get_line(kind: str, name: str, after: str, limit: int | None) -> str:
    if name and kind in _NAMELESS:
        raise WrongWords(f"{kind} are listed without a name: leave {name!r} out")
    if not name and kind in _MUST_NAME:
        raise WrongWords(f"`get {kind}` needs the name of a flow")
    if (after or limit is not None) and kind not in _PAGED:
        raise WrongWords(f"{kind} are listed whole: leave --after and --limit out")
    words = ["GET", kind.upper(), name, *(("AFTER", after) if after else ())]
    if limit is not None:
        words += ["LIMIT", str(limit)]
    return " ".join(word for word in words if word)
