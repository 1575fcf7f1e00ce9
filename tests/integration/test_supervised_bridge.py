"""The supervisor with real processes: what dies comes back, what hangs is ended, and all end with their supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.embedded import Embedded
from servers.kafka_topics import Topics, bridge

from eson.processors.core.messages import create_message
from eson.processors.launcher import SpawnLauncher
from eson.processors.port import ProcessorStatus
from eson.processors.supervisor import Supervisor

Call = Callable[..., Any]


@pytest.fixture
def topics(open_embedded: Embedded) -> Topics:
    return Topics(open_embedded.bootstrap())


@pytest.fixture
def supervisor(reactor_thread: Any, in_reactor: Call, tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(reactor_thread, SpawnLauncher(reactor_thread), tmp_path / "journals", silence=12.0)
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


def wait(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_arrived(topics: Topics, copy: str, count: int, seconds: float = 30) -> None:
    wait(lambda: sum(topics.ends(copy).values()) == count, seconds)


def test_a_killed_process_forwards_again_within_a_second_or_two(
    topics: Topics, supervisor: Supervisor, in_reactor: Call
) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = bridge(topics.end(source), topics.end(copy))
    in_reactor(supervisor.create, order)
    delays = []
    for turn in range(4):
        topics.fill(source, 100, turn)
        wait_arrived(topics, copy, 200 * turn + 100)
        status = supervisor.status(order.id)
        assert status is not None
        assert status.pid is not None
        os.kill(status.pid, signal.SIGKILL)
        began = time.monotonic()
        topics.fill(source, 100, 100 + turn)
        wait_arrived(topics, copy, 200 * turn + 200)
        delays.append(time.monotonic() - began)
    assert min(delays) < 2.5, delays
    assert topics.digest(copy) == topics.digest(source)
    status = supervisor.status(order.id)
    assert status is not None
    assert status.restarts == 4


def test_a_hung_process_is_ended_and_comes_back(
    topics: Topics, supervisor: Supervisor, in_reactor: Call
) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = bridge(topics.end(source), topics.end(copy))
    in_reactor(supervisor.create, order)
    heard: list[ProcessorStatus] = []
    in_reactor(supervisor.listen, heard.append)
    status = supervisor.status(order.id)
    assert status is not None
    os.kill(status.pid or 0, signal.SIGSTOP)
    topics.fill(source, 100)
    wait_arrived(topics, copy, 100, 40)
    assert "silent for 12 s" in heard[0].last_error
    assert topics.digest(copy) == topics.digest(source)


def test_stopped_it_keeps_its_position_and_destroyed_it_does_not(
    topics: Topics, supervisor: Supervisor, in_reactor: Call, tmp_path: Path
) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = bridge(topics.end(source), topics.end(copy))
    in_reactor(supervisor.create, order)
    topics.fill(source, 100)
    wait_arrived(topics, copy, 100)
    in_reactor(supervisor.stop_processor, order.id)
    assert supervisor.status(order.id) is None
    topics.fill(source, 100, 1)
    in_reactor(supervisor.create, order)
    wait_arrived(topics, copy, 200)
    assert topics.digest(copy) == topics.digest(source)
    assert len(list((tmp_path / "journals").iterdir())) == 1
    in_reactor(supervisor.destroy, order.id)
    assert list((tmp_path / "journals").iterdir()) == []


PARENT = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from eson.processors.core import processor_pb2 as pb
from eson.processors.core.messages import read_create
from eson.processors.launcher import SpawnLauncher
from eson.processors.supervisor import Supervisor

order = read_create(pb.Create.FromString(bytes.fromhex(sys.argv[1])))
supervisor = Supervisor(reactor, SpawnLauncher(reactor), Path(sys.argv[2]))

async def go():
    await supervisor.start()
    await supervisor.create(order)
    print(supervisor.status(order.id).pid, flush=True)

Deferred.fromCoroutine(go())
reactor.run()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_orphan_outlives_its_supervisor(topics: Topics, tmp_path: Path, how: signal.Signals) -> None:
    source, copy = topics.create("source"), topics.create("copy")
    order = create_message(bridge(topics.end(source), topics.end(copy)), "x").SerializeToString().hex()
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), order, str(tmp_path / "journals")],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    words = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert b"eson.processors" in words
    parent.send_signal(how)
    parent.wait(20)
    wait(
        lambda: not Path(f"/proc/{pid}").exists() or "(zombie)" in Path(f"/proc/{pid}/status").read_text(), 2
    )
    parent.stdout.close()
