"""A TCP proxy that delays: `python -m bench.delay TARGET_PORT MILLISECONDS` prints its port, and ends with stdin.

What comes in from either side goes out `MILLISECONDS` later.  Nothing bounds what is on its way: as on a link whose windows
are large enough.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bench import ROOT


@contextmanager
def delaying(target: int, milliseconds: int) -> Iterator[int]:
    """The proxy in a process of its own; its port.  Nobody needs to listen on `target` yet."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.delay", str(target), str(milliseconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


class _Side(asyncio.Protocol):
    """One side of a connection; `other` gets what arrives here, later."""

    def __init__(self, delay: float) -> None:
        self._delay, self._loop = delay, asyncio.get_running_loop()
        self._late: deque[tuple[float, bytes]] = deque()
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._put(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._put(b"")

    def _put(self, data: bytes) -> None:
        self._late.append((self._loop.time() + self._delay, data))
        if len(self._late) == 1:
            self._loop.call_at(self._late[0][0], self._pass_on)

    def _pass_on(self) -> None:
        now = self._loop.time()
        while self._late and self._late[0][0] <= now + 0.0005:
            _, data = self._late.popleft()
            if self.other is not None and self.other.transport is not None:
                if data:
                    self.other.transport.write(data)
                else:
                    self.other.transport.close()
        if self._late:
            self._loop.call_at(self._late[0][0], self._pass_on)


async def _serve(target: int, delay: float) -> None:
    loop = asyncio.get_running_loop()

    class Front(_Side):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            dial = loop.create_task(self._dial())
            self._dialling = dial

        async def _dial(self) -> None:
            _, back = await loop.create_connection(lambda: _Side(delay), "127.0.0.1", target)
            self.other, back.other = back, self

    server = await loop.create_server(lambda: Front(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]) / 1000))
