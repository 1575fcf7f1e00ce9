"""`--watch`: a list that is asked for again and again, over one session as long as it lasts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console as Screen
from rich.live import Live

from eson.cli.console import Console
from eson.cli.output import as_table, show_list
from eson.client.bodies import Item, listing
from eson.errors import AgentUnreachable, Unreachable

LOST = (Unreachable, AgentUnreachable)


async def watch(console: Console, line: str, below: str, interval: float) -> None:
    """On a terminal the list in its place; elsewhere each item when it is new or has changed.  Ends by Ctrl-C.

    An agent that is lost on the way is sought until it is back: who watches does so because something happens to it.
    """
    watching = Watching(console, line, below, interval)
    if not (sys.stdout.isatty() and console.style == "table"):
        await watching.go_on()
        return
    with Live(console=Screen(), auto_refresh=False, transient=False) as live:
        watching.live = live
        await watching.go_on()


class Watching:
    """What is asked, and what was seen last."""

    def __init__(self, console: Console, line: str, below: str, interval: float) -> None:
        self.live: Live | None = None
        self._console = console
        self._line, self._below, self._interval = line, below, interval
        self._seen: Sequence[Item] | None = None
        self._lost = False

    async def go_on(self) -> None:
        while True:
            try:
                await self._session()
            except LOST as error:
                if self._seen is None:
                    raise
                if not self._lost:
                    self._console.tell(f"{error}: looking again every {self._interval:g} s")
                self._lost = True
            await self._console.world.sleep(self._interval)

    async def _session(self) -> None:
        async with await self._console.agent(self._below) as agent:
            while True:
                self._show(listing((await agent.execute(self._line)).lines))
                self._lost = False
                await self._console.world.sleep(self._interval)

    def _show(self, rows: Sequence[Item]) -> None:
        if self.live is not None:
            self.live.update(as_table(rows), refresh=True)
        else:
            seen = self._seen or ()
            show_list([row for row in rows if row not in seen], self._console.style)
            sys.stdout.flush()
        self._seen = rows
