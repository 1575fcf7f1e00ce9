"""`fnua`: the user agent in the terminal (interface section 1)."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from eson import __version__
from eson.cli import events, identity, objects, processors, subscriptions
from eson.cli.console import Console
from eson.cli.failures import account_of
from eson.cli.output import Style, printable
from eson.cli.running import Interrupted
from eson.errors import EsonError

INTERRUPTED = 130
UNREAD = 141
"""As of a filter that ends by SIGPIPE: nobody reads what it prints."""
_WITH_VALUE = frozenset({"-c", "--config", "-a", "--agent", "--nameserver", "-o", "--output"})
_FLAGS = frozenset({"-d", "--debug"})


class Fnua(click.Group):
    """Takes its own options behind the verb too, as the draft types them, and ends with the status of what went wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _options_first(args))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # else it would fail at the very end, where nobody catches it
            return result
        except BrokenPipeError:
            # what is left in the buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)
        except EsonError as error:
            account = account_of(error)
            click.echo(f"fnua: {printable(account.text)}", err=True)
            if account.remedy:
                click.echo(printable(account.remedy), err=True)
            ctx.exit(account.status)
        except Interrupted:
            ctx.exit(INTERRUPTED)


def _options_first(args: list[str]) -> list[str]:
    """The arguments with the options of `fnua` itself in front; what follows `--` stays."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(args)
    for word in waiting:
        if word == "--":
            rest += ["--", *waiting]
        elif word in _WITH_VALUE:
            front += [word, *([value] if (value := next(waiting, None)) is not None else [])]
        elif word in _FLAGS or word.partition("=")[0] in _WITH_VALUE:
            front.append(word)
        else:
            rest.append(word)
    return front + rest


@click.group(cls=Fnua, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fnua")
@click.option(
    *("-c", "--config", "file"),
    metavar="FILE",
    help="Your file.  [default: $FNUA_CONFIG, else ~/.config/eson/fnua.yaml, else ~/.flow.yml]",
)
@click.option(
    "-a", "--agent", default="", metavar="AGENT", help="The agent to ask: its name in your file, or in DNS."
)
@click.option(
    "--nameserver", default="", metavar="HOST[:PORT]", help="The name server to ask.  [default: the system's]"
)
@click.option("-d", "--debug", is_flag=True, help="Show what is done and said, passwords as ***, on stderr.")
@click.option(
    *("-o", "--output", "style"),
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="Tables (lines where no terminal is), one JSON object a line, or YAML.",
)
@click.pass_context
def main(
    ctx: click.Context, file: str | None, agent: str, nameserver: str, debug: bool, style: Style
) -> None:
    """Your flows in the Event Streaming Open Network: create, share, subscribe, read and write.

    Exit status: 0 done, 1 refused, 2 wrong words, 3 try later, 4 login or TLS, 5 waits for approval.
    """
    console = ctx.ensure_object(Console)
    console.file, console.agent_name, console.nameserver = file, agent, nameserver
    console.debug, console.style = debug, style
    console.prepare()


for _command in (
    *(
        objects.create,
        objects.delete,
        objects.update,
        objects.describe,
        objects.get,
        events.read,
        events.write,
    ),
    *subscriptions.COMMANDS,
    *processors.COMMANDS,
    *identity.COMMANDS,
):
    main.add_command(_command)

if __name__ == "__main__":
    sys.exit(main())
