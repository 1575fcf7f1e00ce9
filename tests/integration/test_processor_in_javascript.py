"""A processor that was written in another language, from the documentation alone, under our supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eson.brokers.port import Access
from eson.model.servers import Server
from eson.processors.launcher import SpawnLauncher
from eson.processors.port import ProcessorEnd, ProcessorOrder
from eson.processors.supervisor import Supervisor

SCRIPT = Path(__file__).parents[1] / "servers" / "processor.js"


@pytest.fixture
def supervisor(reactor_thread: Any, in_reactor: Callable[..., Any], tmp_path: Path) -> Iterator[Supervisor]:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("node is not installed: scripts/install-test-servers installs it")
    made = Supervisor(
        reactor_thread, SpawnLauncher(reactor_thread, (node, str(SCRIPT))), tmp_path / "journals"
    )
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


def wait_lines(path: Path, count: int) -> None:
    end = time.monotonic() + 20
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_carries_pauses_dies_and_goes_on(
    supervisor: Supervisor, in_reactor: Callable[..., Any], tmp_path: Path
) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    access = Access((Server("localhost", 9092),))
    order = ProcessorOrder(
        "p-node123",
        "bridge",
        (ProcessorEnd(access, str(source), "source"),),
        (ProcessorEnd(access, str(copy), "copy"),),
    )
    source.write_text("one\ntwo\n")
    in_reactor(supervisor.create, order)
    wait_lines(copy, 2)
    in_reactor(supervisor.pause, order.id)
    status = supervisor.status(order.id)
    assert status is not None
    assert status.state == "paused"
    with source.open("a") as file:
        file.write("three\n")
    time.sleep(0.3)  # several times its interval
    assert copy.read_text() == "one\ntwo\n"
    in_reactor(supervisor.resume, order.id)
    wait_lines(copy, 3)
    os.kill(status.pid or 0, signal.SIGKILL)
    with source.open("a") as file:
        file.write("four\n")
    wait_lines(copy, 4)
    assert copy.read_text() == source.read_text()
    in_reactor(supervisor.destroy, order.id)
    assert list((tmp_path / "journals").iterdir()) == []
    assert supervisor.status(order.id) is None
