"""The conversation with the supervisor: orders in, each answered; reports out, without ever waiting for a reader."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.message import DecodeError

from eson.processors.child.carrier import Carrier
from eson.processors.child.remaking import check_condition
from eson.processors.child.window import Windows
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.framing import FrameError, FrameReader, frame
from eson.processors.core.messages import VERSION, OrderError, read_create, read_reach

MOST_UNSENT = 1 << 20
_READ = 64 << 10


class Outlet:
    """Writes reports to a pipe.  While nobody reads, progress is left out; everything else is kept."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._unsent = bytearray()
        self._writing = False

    def tell(self, report: pb.Report) -> None:
        if len(self._unsent) > MOST_UNSENT and report.HasField("progress"):
            return
        self._unsent += frame(report.SerializeToString())
        self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: os.write(self._fd, self._unsent)]
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                loop.add_writer(self._fd, self._flush)
            return
        except BrokenPipeError:
            self._unsent.clear()
        if self._writing:
            self._writing = False
            loop.remove_writer(self._fd)


class Conversation:
    """Reads orders from `inlet` until the supervisor closes it."""

    def __init__(self, inlet: int, outlet: int) -> None:
        self._inlet = inlet
        self._outlet = Outlet(outlet)
        self._frames = FrameReader()
        self._carriers: dict[str, Carrier] = {}
        self._windows = Windows()
        self._greeted = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Returns at the end of the conversation, when every processor has ended."""
        loop = asyncio.get_running_loop()
        os.set_blocking(self._inlet, False)
        loop.add_reader(self._inlet, self._readable)
        try:
            await self._ended
        finally:
            loop.remove_reader(self._inlet)
            await asyncio.gather(*(one.end(False) for one in self._carriers.values()))

    def _readable(self) -> None:
        try:
            octets = os.read(self._inlet, _READ)
            payloads = self._frames.feed(octets)
        except BlockingIOError:
            return
        except (FrameError, OSError):
            octets, payloads = b"", []
        for payload in payloads:
            self._order(payload)
        if not octets:
            self.end()

    def _order(self, payload: bytes) -> None:
        try:
            order = pb.Order.FromString(payload)
        except DecodeError:
            self.end()
            return
        try:
            work = self._follow(order)
        except OrderError as error:
            self._answer(order.id, str(error))
            return
        if work is None:
            self._answer(order.id)
            return
        task = asyncio.get_running_loop().create_task(self._later(order.id, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _follow(self, order: pb.Order) -> Coroutine[Any, Any, None] | None:
        """Does what is done at once and returns what takes longer.  Raises `OrderError`."""
        kind = order.WhichOneof("order") or ""
        if kind == "hello":
            if order.hello.version != VERSION:
                raise OrderError(f"version {order.hello.version} is not known, {VERSION} is")
            self._greeted = True
            return None
        if not self._greeted:
            raise OrderError("hello comes first")
        follow: dict[str, Callable[[], Coroutine[Any, Any, None] | None]] = {
            "create": lambda: self._create(order.create),
            "update": lambda: self._update(order.update.create),
            "pause": lambda: self._named(order.pause).pause(),
            "resume": lambda: self._named(order.resume).resume(),
            "destroy": lambda: self._remove(order.destroy, True),
            "stop": lambda: self._remove(order.stop, False),
        }
        if kind not in follow:
            raise OrderError("an order that is not known here")
        return follow[kind]()

    def _create(self, message: pb.Create) -> None:
        order, reach = read_create(message), read_reach(message)
        if order.id in self._carriers:
            self._carriers[order.id].update(order, reach)
            return
        check_condition(order)
        self._carriers[order.id] = Carrier(
            order, message.journal, reach, message.paused, self._outlet.tell, self._windows
        )

    def _update(self, message: pb.Create) -> None:
        order, reach = read_create(message), read_reach(message)
        self._named(pb.Named(processor=order.id)).update(order, reach)

    def _named(self, message: pb.Named) -> Carrier:
        carrier = self._carriers.get(message.processor)
        if carrier is None:
            raise OrderError(f"no processor {message.processor[:64]} here")
        return carrier

    async def _remove(self, message: pb.Named, remove_journal: bool) -> None:
        carrier = self._carriers.pop(message.processor, None)
        if carrier is not None:
            await carrier.end(remove_journal)

    async def _later(self, id: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OrderError as error:
            self._answer(id, str(error))
        else:
            self._answer(id)

    def _answer(self, id: int, error: str = "") -> None:
        self._outlet.tell(pb.Report(answer=pb.Answer(id=id, error=error)))

    def end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
