"""`eson` in the terminal: what the operator of a participant does."""

from __future__ import annotations

import sys
from typing import Any

import click

from eson import __version__
from eson.admin.accounts import account
from eson.admin.check import check
from eson.admin.demo.command import demo
from eson.admin.init import init
from eson.errors import EsonError


class Group(click.Group):
    """Shows errors that a person can cause as one text on stderr, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EsonError as error:
            click.echo(str(error), err=True)
            ctx.exit(1)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="eson")
def main() -> None:
    """Set up and look after a participant of the Event Streaming Open Network."""


main.add_command(init)
main.add_command(check)
main.add_command(account)
main.add_command(demo)

if __name__ == "__main__":
    sys.exit(main())
