"""`replicate`, `collect`, `distribute`, `signal` (draft Figure 7), and `grant`, `revoke`."""

from __future__ import annotations

import click

from eson.cli.arguments import word
from eson.cli.console import Console, pass_console
from eson.cli.lines import quoted


def _without(word: str, words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one for one in words if one.lower() != word)


def _order(console: Console, line: str, below: str) -> None:
    """Sends it and shows the processor's id, of one that is not ready yet as well."""
    reply = console.run(console.ask(line, below))
    console.show_name("processor", reply.text.rpartition(" ")[2])
    console.leave_if_pending(reply)


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="SOURCE [to] DESTINATION")
@pass_console
def replicate(console: Console, words: tuple[str, ...]) -> None:
    """Carry one flow into another (a bridge)."""
    flows = _without("to", words)
    if len(flows) != 2:
        raise click.UsageError("Give one source and one destination")
    _order(console, f"REPLICATE {flows[0]} TO {flows[1]}", flows[1])


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="SOURCE... [to] DESTINATION")
@pass_console
def collect(console: Console, words: tuple[str, ...]) -> None:
    """Carry several flows into one."""
    flows = _without("to", words)
    if len(flows) < 2:
        raise click.UsageError("Give at least one source and one destination")
    _order(console, f"COLLECT {' '.join(flows[:-1])} TO {flows[-1]}", flows[-1])


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="SOURCE [to] DESTINATION...")
@pass_console
def distribute(console: Console, words: tuple[str, ...]) -> None:
    """Carry one flow into several, reading it once."""
    flows = _without("to", words)
    if len(flows) < 2:
        raise click.UsageError("Give one source and at least one destination")
    _order(console, f"DISTRIBUTE {flows[0]} TO {' '.join(flows[1:])}", flows[1])


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="SOURCE... to DESTINATION...")
@click.option("--when", metavar="EXPRESSION", help="CloudEvents SQL: only events for which this is true.")
@pass_console
def signal(console: Console, words: tuple[str, ...], when: str | None) -> None:
    """Send events into flows when something happens in others.  Without `to` there is one source."""
    places = [index for index, word in enumerate(words) if word.lower() == "to"] or [1]
    sources, destinations = _without("to", words[: places[0]]), _without("to", words[places[0] :])
    if not sources or not destinations:
        raise click.UsageError(
            "Give at least one source and one destination, with the word `to` between them"
        )
    condition = f" WHEN {quoted(when)}" if when else ""
    line = f"SIGNAL {' '.join(sources)} TO {' '.join(destinations)}{condition}"
    _order(console, line, sources[0])


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="RIGHTS [on] NAME [to] PRINCIPAL")
@click.option("--until", type=word, metavar="TIME", help="When it ends, as 2026-12-31T00:00:00Z.")
@click.option("--rate", type=word, metavar="RATE", help="At most so much: 100/s or 65536B/s.")
@pass_console
def grant(console: Console, words: tuple[str, ...], until: str | None, rate: str | None) -> None:
    """Give rights (read,write,subscribe,administer) on a flow or namespace.

    PRINCIPAL: user:NAME, user:NAME@DOMAIN, group:NAME, participant:DOMAIN or anonymous.
    """
    rights, name, principal = _three(words, "to")
    line = f"GRANT {rights} ON {name} TO {principal}"
    line += f" UNTIL {until}" if until else ""
    line += f" RATE {rate}" if rate else ""
    console.run(console.ask(line, name))
    console.tell(f"Granted {rights} on {name} to {principal}")


@click.command()
@click.argument("words", type=word, nargs=-1, required=True, metavar="RIGHTS [on] NAME [from] PRINCIPAL")
@pass_console
def revoke(console: Console, words: tuple[str, ...]) -> None:
    """Take rights away; what stands on them ends at once."""
    rights, name, principal = _three(words, "from")
    console.run(console.ask(f"REVOKE {rights} ON {name} FROM {principal}", name))
    console.tell(f"Revoked {rights} on {name} from {principal}")


def _three(words: tuple[str, ...], preposition: str) -> tuple[str, str, str]:
    rest = tuple(word for word in words if word.lower() not in ("on", preposition))
    if len(rest) != 3:
        raise click.UsageError("Give the rights, the name of a flow or namespace, and who")
    return rest[0], rest[1], rest[2]


COMMANDS: tuple[click.Command, ...] = (replicate, collect, distribute, signal, grant, revoke)
