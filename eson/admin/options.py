"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from eson.config import chosen

F = TypeVar("F", bound=Callable[..., Any])


def _config(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path:
    return chosen(value, os.environ)


def config_option(command: F) -> F:
    """`--config FILE`, given to the command as a path."""
    return click.option(
        "--config",
        metavar="FILE",
        callback=_config,
        help="The configuration.  [default: $ESON_CONFIG, else /etc/eson/eson.yaml]",
    )(command)


def output_option(command: F) -> F:
    """`-o`, the style in which data is shown."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        help="A table (tab-separated where no terminal is), one JSON object a line, or YAML.",
    )(command)
