"""A TCP link that a test makes bad: delay, a narrow pipe, silence, cuts, resets, a link that is open on one side only.

    with Proxy() as link:                      # listens at once, so that a broker can advertise link.port
        link.target = ("127.0.0.1", port)
        link.delay = 0.3                       # from now on
        link.reset()                           # all connections of this moment, with RST

It runs in a thread of its own; everything may be set and called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from servers.in_thread import InThread

_CHUNK = 65536
_TICK = 0.02
_LINGER_RESETS = struct.pack("ii", 1, 0)


class Proxy(InThread):
    """`delay` in seconds each way; `bandwidth` in octets a second each way, None without limit; `silent`: nothing passes
    and nothing is said; `cut_after` ends each connection, whose first octets these are, by RST; `refuses`: so does each
    that is made.  `carried` counts octets that passed, `made` connections.
    """

    def __init__(self, target: tuple[str, int] | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.bandwidth: int | None = None
        self.silent = False
        self.refuses = False
        self.cut_after: int | None = None
        self.carried = self.made = 0
        self._links: set[_Link] = set()
        super().__init__()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `close`, and nobody asks for the result
                await link.run()
        finally:
            self._links.discard(link)

    def reset(self) -> None:
        """Ends every connection on both sides by RST."""
        self._each("reset")

    def half_open(self) -> None:
        """The broker's side of every connection ends; the other side is never told, as by a router that forgot."""
        self._each("forget_broker")

    def _each(self, what: str) -> None:
        async def go() -> None:
            for link in list(self._links):
                getattr(link, what)()

        self.do(go())

    def heal(self) -> None:
        """A good link again; what was silent goes on."""
        self.delay, self.bandwidth, self.silent = 0.0, None, False
        self.refuses, self.cut_after = False, None


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._broker: asyncio.StreamWriter | None = None
        self._forgotten = False
        self._passed = 0

    async def run(self) -> None:
        proxy = self._proxy
        if proxy.refuses or proxy.target is None:
            self.reset()
            return
        try:
            reader, self._broker = await asyncio.open_connection(*proxy.target)
        except OSError:
            self.reset()
            return
        pumps = [
            asyncio.ensure_future(self._pump(self._reader, self._broker)),
            asyncio.ensure_future(self._pump(reader, self._writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._forgotten:
                await pumps[0]  # until the side that was not told gives up by itself
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for writer in (self._broker, self._writer):
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What comes waits in `way` until its time; the queue's bound keeps a fast side from filling memory."""
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        passing = asyncio.ensure_future(self._pass(way, writer))
        now = asyncio.get_running_loop().time
        try:
            with contextlib.suppress(OSError):
                while octets := await reader.read(_CHUNK):
                    if not self._forgotten:
                        await way.put((now() + self._proxy.delay, octets))
            while not way.empty() and not passing.done() and not self._forgotten:
                await asyncio.sleep(_TICK)
        finally:
            passing.cancel()

    async def _pass(self, way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        proxy, now = self._proxy, asyncio.get_running_loop().time
        while True:
            due, octets = await way.get()
            await asyncio.sleep(max(0.0, due - now()))
            while octets:
                while proxy.silent or self._forgotten:
                    await asyncio.sleep(_TICK)
                some = octets
                if proxy.bandwidth is not None:
                    some = octets[: max(1, int(proxy.bandwidth * _TICK))]
                    await asyncio.sleep(len(some) / proxy.bandwidth)
                if proxy.cut_after is not None and self._passed + len(some) > proxy.cut_after:
                    writer.write(some[: max(0, proxy.cut_after - self._passed)])
                    self.reset()
                    return
                octets = octets[len(some) :]
                self._passed += len(some)
                proxy.carried += len(some)
                with contextlib.suppress(OSError):
                    writer.write(some)
                    await writer.drain()

    def reset(self) -> None:
        self._forgotten = False
        for writer in (self._broker, self._writer):
            if writer is not None:
                _abort(writer)

    def forget_broker(self) -> None:
        self._forgotten = True
        if self._broker is not None:
            _abort(self._broker)


def _abort(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESETS)
    writer.transport.abort()
