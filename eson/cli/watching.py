"""`--watch`: a list that is asked for again and again over one session."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console as Screen
from rich.live import Live

from eson.cli.console import Console
from eson.cli.output import as_table, show_list
from eson.client.bodies import Item, listing


async def watch(console: Console, line: str, below: str, interval: float) -> None:
    """On a terminal the list in its place; elsewhere each item when it is new or has changed.  Ends by Ctrl-C."""
    async with await console.agent(below) as agent:
        if sys.stdout.isatty() and console.style == "table":
            with Live(console=Screen(), auto_refresh=False, transient=False) as live:
                while True:
                    live.update(as_table(listing((await agent.execute(line)).lines)), refresh=True)
                    await console.world.sleep(interval)
        seen: Sequence[Item] = ()
        while True:
            rows = listing((await agent.execute(line)).lines)
            show_list([row for row in rows if row not in seen], console.style)
            sys.stdout.flush()
            seen = rows
            await console.world.sleep(interval)
