"""`eson check`: whether the configuration can be used."""

from __future__ import annotations

from pathlib import Path

import click

from eson.admin.checking import checked
from eson.admin.options import config_option


@click.command()
@config_option
def check(config: Path) -> None:
    """Say all that is wrong with the configuration; exit status 1 if anything is."""
    found = checked(config)
    click.echo(f"{config}: no faults; agent {found.agent} of {found.participant}")
