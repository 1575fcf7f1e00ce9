"""`read` and `write`: events as JSON lines between a flow and the user's pipes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

import click
from rich.console import Console as Screen
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from eson.cli import lines
from eson.cli.arguments import word
from eson.cli.console import Console, pass_console, shown
from eson.cli.output import show_object
from eson.cli.running import Interrupted
from eson.errors import EsonError, TooLarge, Usage, WriteStopped
from eson.fnap.core.commands import Read
from eson.fnap.core.grammar import parse_command

MAX_LINE = 64 << 20
"""Octets of one line of input beyond which it is no event."""


@click.command()
@click.argument("flow", type=word)
@click.option(
    "--from",
    "start",
    type=word,
    metavar="POSITION",
    help="BEGINNING, NOW, a time, an offset or PARTITION:OFFSET,…",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many events.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new events until Ctrl-C.")
@pass_console
def read(console: Console, flow: str, start: str | None, limit: int | None, follow: bool) -> None:
    """Print the events of FLOW, one JSON object a line, from the oldest to the end that it has now."""
    command = parse_command(lines.read(lines.checked_flow(flow), start, limit, follow))
    assert isinstance(command, Read)
    try:
        some = console.run(_print_events(console, command))
    except Interrupted:
        if not follow:
            raise
    else:
        if not some:
            console.tell(f"No events: {flow} has none{f' from {start} on' if start else ''}")


async def _print_events(console: Console, command: Read) -> bool:
    """Whether there were any."""
    some = False
    async with await console.agent(command.flow) as agent:
        async with agent.read(command.flow, command.position, command.limit, command.follow) as events:
            if console.style == "yaml":
                async for event in events:
                    some = True
                    sys.stdout.write("---\n")
                    show_object(event, "yaml")
                return some
            out = sys.stdout.buffer
            while True:
                try:
                    out.write(await events.next_line() + b"\n")
                except StopAsyncIteration:
                    break
                some = True
                if not events.waiting:  # nothing is at hand: show what there is
                    out.flush()
            out.flush()
            return some


@click.command()
@click.argument("flow", type=word)
@click.option(
    "--file",
    "-F",
    "source",
    type=click.File("rb"),
    default="-",
    help="Read from this file.  [default: stdin]",
)
@pass_console
def write(console: Console, flow: str, source: BinaryIO) -> None:
    """Write events into FLOW: one CloudEvent as a JSON object a line.

    `source` and `type` are a must; `id` and `time` are filled in.  It ends with the input, when all is on disk.
    """
    count = console.run(_write_events(console, lines.checked_flow(flow), source))
    if console.style == "table":
        console.tell(f"{shown(count)} written")
    else:
        console.show_object({"written": count})


async def _write_events(console: Console, flow: str, source: BinaryIO) -> int:
    async with await console.agent(flow) as agent:
        with _Progress(source) as progress:
            try:
                return await agent.write(flow, _lines_of(console.world.chunks(source), progress))
            except (Usage, TooLarge) as error:
                written = error.context.get("written")
                if not isinstance(written, int):
                    raise
                raise _stopped(error, written) from error


def _stopped(error: EsonError, written: int) -> WriteStopped:
    """A line that was not sent, told as the agent tells of one that it did not take."""
    return WriteStopped(501, f"Line {written + 1}: {error.text}; {written} written", written)


async def _lines_of(chunks: AsyncIterator[bytes], progress: _Progress) -> AsyncIterator[bytes]:
    """Lines that hold something, without their ends; the last may lack its end."""
    rest = b""
    async for chunk in chunks:
        progress.advance(len(chunk))
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.strip()
        if len(rest) > MAX_LINE:
            raise TooLarge(f"a line of more than {MAX_LINE >> 20} MiB is no event")
    if rest.strip():
        yield rest.strip()


class _Progress:
    """A bar on stderr, if that is a terminal and the input a file; else nothing."""

    def __init__(self, source: BinaryIO) -> None:
        self._bar: Progress | None = None
        self._task = TaskID(0)
        size = _size(source)
        if size and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Screen(stderr=True), transient=True)
            self._task = self._bar.add_task("Writing", total=size)

    def __enter__(self) -> _Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, octets: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=octets)


def _size(source: BinaryIO) -> int:
    """Of a file that can be measured, else 0."""
    try:
        here = source.tell()
        end = source.seek(0, 2)
        source.seek(here)
    except (OSError, ValueError):
        return 0
    return end - here
