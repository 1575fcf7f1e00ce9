"""A processor's process: `python -m eson.processors`, started by a supervisor, orders on descriptor 0, reports on 1.

It ends when its supervisor closes descriptor 0, and with its supervisor, however that ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys

from eson.processors.child.sparing import leave_clients_out

_PR_SET_PDEATHSIG = 1


def main() -> int:
    if sys.stdin is None or os.isatty(0):
        print("eson.processors is started by an agent and speaks on descriptors 0 and 1", file=sys.stderr)
        return 2
    end_with_parent()
    inlet, outlet = move_away()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_clients_out()
    import eson.processors.child.conversation  # noqa: F401  before what is imported is frozen

    # the hot path makes no cycles: collecting often only costs
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    asyncio.run(_talk(inlet, outlet))
    return 0


async def _talk(inlet: int, outlet: int) -> None:
    from eson.processors.child.conversation import Conversation

    conversation = Conversation(inlet, outlet)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, conversation.end)
    await conversation.run()


def move_away() -> tuple[int, int]:
    """Descriptors 0 and 1 for the conversation alone: a stray read or print gets nothing of it."""
    inlet, outlet = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return inlet, outlet


def end_with_parent() -> None:
    """Has the kernel end us when the process that started us ends; it may have ended already."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
