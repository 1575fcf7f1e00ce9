"""A processor's process under the hand of a test: orders out, reports in, kills at any moment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from eson.processors.core import processor_pb2 as pb
from eson.processors.core.framing import FrameReader, frame
from eson.processors.core.messages import VERSION, create_message
from eson.processors.port import ProcessorOrder


class ProcessorChild:
    """`python -m eson.processors` (or another `command`) with `order` running in it, if one is given."""

    def __init__(
        self,
        order: ProcessorOrder | None = None,
        journal: Path | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "eson.processors"),
        message: pb.Create | None = None,
        environment: Mapping[str, str] = {},
    ) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, **environment})
        self.reports: list[pb.Report] = []
        self._heard = threading.Condition()
        self._next = 0
        threading.Thread(target=self._listen, daemon=True).start()
        self.send(hello=pb.Hello(version=VERSION))
        if message is not None:
            self.send(create=message)
        elif order is not None:
            self.send(create=create_message(order, str(journal)))

    @property
    def pid(self) -> int:
        return self.process.pid

    def private(self) -> int:
        """Its private memory (USS) in kilobytes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    def send(self, **order: object) -> int:
        self._next += 1
        message = pb.Order(id=self._next, **order)  # type: ignore[arg-type]
        assert self.process.stdin is not None
        self.process.stdin.write(frame(message.SerializeToString()))
        self.process.stdin.flush()
        return self._next

    def order(self, **order: object) -> str:
        """Sends an order and gives the answer's error, "" for success."""
        id = self.send(**order)
        answer = self.wait(lambda report: report.HasField("answer") and report.answer.id == id)
        return answer.answer.error

    def wait(self, wanted: Callable[[pb.Report], bool], timeout: float = 30.0) -> pb.Report:
        """The first report, of all so far and to come, that is `wanted`."""
        end, seen = time.monotonic() + timeout, 0
        with self._heard:
            while True:
                for report in self.reports[seen:]:
                    if wanted(report):
                        return report
                seen = len(self.reports)
                left = end - time.monotonic()
                if left <= 0 or not self._heard.wait(left):
                    raise TimeoutError(f"no such report; the last ones: {self.reports[-5:]}")

    def wait_ready(self, timeout: float = 30.0) -> pb.Ready:
        return self.wait(lambda report: report.HasField("ready"), timeout).ready

    def wait_records(self, count: int, timeout: float = 60.0) -> pb.Progress:
        return self.wait(lambda report: report.progress.records >= count, timeout).progress

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def end(self) -> int:
        """Closes its descriptor 0, as a supervisor that ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(20)
        self._close()
        return status

    def _close(self) -> None:
        self.process.wait(20)
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _listen(self) -> None:
        frames, stream = FrameReader(), self.process.stdout
        assert stream is not None
        while octets := stream.read1(65536):  # type: ignore[attr-defined]
            with self._heard:
                for payload in frames.feed(octets):
                    self.reports.append(pb.Report.FromString(payload))
                self._heard.notify_all()


@pytest.fixture
def children() -> Iterator[list[ProcessorChild]]:
    """Those that a test adds are killed at its end."""
    made: list[ProcessorChild] = []
    yield made
    for child in made:
        child.kill()
