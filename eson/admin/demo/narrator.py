"""What the demo shows: acts and sentences, the dialogue on the wire dimmed beside them, progress with lag.

On a terminal in colour and with a moving bar; elsewhere plain lines that do not depend on the terminal's width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PICTURE = """
    unix.ar, the provider                             emiliano.ar, the subscriber

   time.flows.unix.ar ─▶ its copy  ════════════════▶  time.flows.emiliano.ar
        flow         processor      the network     processor       flow
"""
_WIDE = 110


class Narrator:
    def __init__(self, console: Console, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._plain = not console.is_terminal

    def opening(self) -> None:
        self._console.print(f"[bold cyan]{escape(PICTURE)}[/]", highlight=False, soft_wrap=True)
        self.say("emiliano.ar knows only a name: flow://time.flows.unix.ar. Everything else is found.")

    def act(self, title: str) -> None:
        self._console.print(f"\n[bold]{escape(title)}[/]", highlight=False)

    def say(self, text: str) -> None:
        self._console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    def good(self, text: str) -> None:
        self._console.print(f"  [green]✓[/] {escape(text)}", highlight=False, soft_wrap=True)

    def block(self, lines: Iterator[str] | list[str]) -> None:
        """Text as a program gave it."""
        for line in lines:
            self._console.print(f"    {escape(line)}", highlight=False, soft_wrap=True, style="cyan")

    def wire(self, who: str, direction: str, line: str, important: bool = True) -> None:
        """One line of the dialogue, `C:` or `S:`; the less important ones only if asked for."""
        if not (important or self._verbose):
            return
        shown = line if self._verbose or len(line) <= _WIDE else line[: _WIDE - 1] + "…"
        self._console.print(
            f"    {who:<11} {direction}: {escape(shown)}", style="dim", highlight=False, soft_wrap=True
        )

    def event(self, title: str, event: Mapping[str, Any]) -> None:
        self._console.print(f"  [bold]{escape(title)}[/]", highlight=False)
        self._console.print(
            f"    {escape(json.dumps(event, ensure_ascii=False))}",
            style="cyan",
            highlight=False,
            soft_wrap=True,
        )

    @contextmanager
    def carrying(self, total: int) -> Iterator[Carriage]:
        """A bar for `total` events on their way."""
        if self._plain:
            yield Carriage(total, None, None, self)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=40),
            TextColumn("{task.completed:>6,.0f} of {task.total:,.0f} arrived"),
            TextColumn("[yellow]lag {task.fields[lag]:>6,}[/]"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            yield Carriage(total, progress, progress.add_task("carrying", total=total, lag=0), self)


class Carriage:
    """Events on their way: how many were written, how many arrived; the lag is what lies between."""

    def __init__(
        self, total: int, progress: Progress | None, task: TaskID | None, narrator: Narrator
    ) -> None:
        self.total = total
        self.written = 0
        self.arrived = 0
        self._progress = progress
        self._task = task
        self._narrator = narrator
        self._told = 0

    @property
    def lag(self) -> int:
        return max(0, self.written - self.arrived)

    def moved(self, written: int | None = None, arrived: int | None = None) -> None:
        self.written = self.written if written is None else written
        self.arrived = self.arrived if arrived is None else arrived
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self.arrived, lag=self.lag)
        elif self.total and self.arrived * 4 // self.total > self._told:
            self._told = self.arrived * 4 // self.total
            self._narrator.say(f"{self.arrived} of {self.total} arrived, lag {self.lag}")
