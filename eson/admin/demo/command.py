"""`eson demo` on the command line."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from eson.admin.demo.events import load
from eson.admin.demo.keeping import how_to_go_on
from eson.admin.demo.narrator import Narrator
from eson.admin.demo.play import Play
from eson.admin.demo.programs import typed
from eson.admin.demo.stage import Stage
from eson.errors import EsonError

NEXT = (
    ("look around in it", "eson", "demo --keep"),
    ("your own participant", "eson", "init example.org --dir example"),
    ("run it", "twistd", "-n --pidfile= eson --config example/eson.yaml"),
)


@click.command()
@click.option(
    "--events", type=click.Path(path_type=Path), help="A file of CloudEvents, one JSON object a line."
)
@click.option(
    "--count", default=10_000, show_default=True, type=click.IntRange(100), help="Events of the sample."
)
@click.option(
    "--keep", is_flag=True, help="Leave both participants running, and say how to use and end them."
)
@click.option("-v", "--verbose", is_flag=True, help="The whole dialogue on the wire.")
def demo(events: Path | None, count: int, keep: bool, verbose: bool) -> None:
    """Two participants on this machine carry a flow from one to the other."""
    console = Console(highlight=False)
    try:
        loaded = load(events, count)
    except EsonError as error:
        raise click.ClickException(error.text) from None
    stage = Stage(kept=keep)
    narrator = Narrator(console, verbose)
    failure: list[BaseException] = []
    atexit.register(stage.stop)

    async def perform(reactor: Any) -> None:
        # first of all that fails then: what a reactor that stops tears down is no failure of the demo
        stopping = reactor.addSystemEventTrigger("before", "shutdown", failure.append, click.Abort())
        play = Play(reactor, stage, narrator, loaded)
        try:
            await play.begin()
            writer = await play.share()
            reader = await play.subscribe()
            await play.carry(writer, reader)
            if not keep:
                await play.part(reader)
            await writer.quit()
            await reader.quit()
            _summary(console, play.facts)
        except Exception as error:  # whatever it is, both participants are ended first
            failure.append(error)
        if not failure or not isinstance(failure[0], click.Abort):
            reactor.removeSystemEventTrigger(stopping)

    _end_with_terminal()
    try:
        react(lambda reactor: Deferred.fromCoroutine(perform(reactor)))
    except SystemExit as ended:
        if ended.code and not failure:
            failure.append(click.Abort())
    if keep and not failure:
        atexit.unregister(stage.stop)
        console.print(how_to_go_on(stage), highlight=False, markup=False, soft_wrap=True)
        return
    stage.stop()
    _end(stage, failure)


def _end_with_terminal() -> None:
    """A terminal that is closed ends the demo as SIGTERM does; under nohup nothing changes."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def _end(stage: Stage, failure: list[BaseException]) -> None:
    if not failure:
        stage.remove()
        return
    if isinstance(failure[0], click.Abort):
        stage.remove()
        raise failure[0]
    error = failure[0]
    text = error.text if isinstance(error, EsonError) else f"{type(error).__name__}: {error}"
    print(f"The demo failed: {text}\nThe logs are in {stage.directory}", file=sys.stderr)
    raise SystemExit(1) from error


def _summary(console: Console, facts: list[tuple[str, str]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact in facts:
        table.add_row(*fact)
    console.print("\n[bold]Done[/]")
    console.print(table)
    console.print("\n[bold]Go on with[/]")
    width = max(len(what) for what, _, _ in NEXT)
    for what, name, words in NEXT:
        console.print(f"  {what:<{width}}  [cyan]{escape(f'{typed(name)} {words}')}[/]", soft_wrap=True)
