"""What the agent's own work costs: CREATE FLOW, SUBSCRIBE, and a subscription while it is idle and while it is busy.

A whole participant on the defaults of `eson init --draft`: embedded broker (synced), embedded name server, SQLite
(synced).  There is no peer that does the same; the figures stand beside their targets.
"""

from __future__ import annotations

import itertools
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import Effort, Row  # first: it finds the servers of the tests

# isort: split
import psutil
from confluent_kafka import Producer
from servers.participant import Participant

from bench.fnap_sessions import Scram, ask, connect, line
from bench.processes import MB, cpu, private

TOGETHER = 8
"""Sessions that ask at once."""
QUIET = 10.0
EVENTS = 100


@dataclass(frozen=True)
class Crowd:
    """So many subscriptions, in turn to so many flows.  Copies of one flow share processes, 20 in each."""

    name: str
    subscriptions: int
    flows: int
    per_process: int = 1

    def flow(self, number: int) -> str:
        return f"source{number % self.flows}.flows.unix.ar"


QUICKLY = (Crowd("1 subscription", 1, 1), Crowd("3 subscriptions to as many flows", 3, 3))
CROWDS = (
    Crowd("1 subscription", 1, 1),
    Crowd("100 subscriptions to as many flows, a process each", 100, 100),
    Crowd("100 subscriptions to as many flows, 20 a process", 100, 100, 20),
    Crowd("100 subscriptions to one flow", 100, 1),
    Crowd("1,000 subscriptions to as many flows, 50 a process", 1000, 1000, 50),
)


def run(effort: Effort = Effort.USUAL) -> Iterator[Row]:
    """About three minutes; with `LONG`, which makes 100,000 flows, ten more."""
    many = {Effort.QUICK: 200, Effort.USUAL: 5_000, Effort.LONG: 100_000}[effort]
    with tempfile.TemporaryDirectory() as folder:
        yield from _flows(Path(folder), min(1000, many // 2), many, 20 if effort is Effort.QUICK else 300)
        crowds = QUICKLY if effort is Effort.QUICK else CROWDS
        for crowd in crowds:
            yield from _subscriptions(Path(folder), crowd)


@contextmanager
def _participant(folder: Path, **settings: Any) -> Iterator[Participant]:
    with tempfile.TemporaryDirectory(dir=folder) as own, Participant("unix.ar", Path(own)) as unix:
        connections = {"total": 1000, "per_address": 1000, "per_user": 1000}
        unix.settings["limits"] = {
            "connections": connections,
            "flows_per_account": 1_000_000,
            "subscriptions_per_participant": 10_000,
        }
        unix.settings.update(settings)
        # events are written by a client that does not ask our name server for the draft's kf1.unix.ar
        unix.settings["brokers"][0]["advertise"] = None
        yield unix.start()


@contextmanager
def _sessions(unix: Participant, count: int = TOGETHER) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sessions = [stack.enter_context(connect(unix.address("fnap"))) for _ in range(count)]
        for session in sessions:
            session.settimeout(120)
        Scram("test", "test").login(sessions)
        yield sessions


def _ask_all(sessions: Sequence[socket.socket], commands: Sequence[str], expected: bytes) -> list[float]:
    """All commands, over all sessions at once; the seconds that each took."""
    taken: list[float] = []
    failed: list[bytes] = []

    def work(session: socket.socket, mine: Sequence[str]) -> None:
        for command in mine:
            began = time.monotonic()
            reply = ask(session, command.encode() + b"\r\n")
            while reply.startswith(b"220 DATA") and not reply.endswith(b"220 OK\r\n"):
                reply += line(session)
            if not reply.startswith(expected):
                failed.append(reply)
                return
            taken.append(time.monotonic() - began)

    threads = [
        threading.Thread(target=work, args=(session, commands[number :: len(sessions)]), daemon=True)
        for number, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    return taken


# flows


def _flows(folder: Path, few: int, many: int, sample: int) -> Iterator[Row]:
    """Time per flow with `few` flows there and with `many`."""
    made = 0
    with _participant(folder) as unix, _sessions(unix) as sessions:

        def create(count: int, by: Sequence[socket.socket]) -> tuple[float, list[float]]:
            nonlocal made
            commands = [f"CREATE FLOW f{made + n}.flows.unix.ar" for n in range(count)]
            made += count
            began = time.monotonic()
            taken = _ask_all(by, commands, b"220 OK ")
            return count / (time.monotonic() - began), sorted(taken)

        create(few - made, sessions)
        _, alone = create(sample, sessions[:1])
        before = _costs(unix)
        rate, _ = create(3 * sample, sessions)
        spent = _costs(unix).minus(before)
        create(max(0, many - made), sessions)
        _, later = create(sample, sessions[:1])
    yield Row(f"CREATE FLOW, synced, {TOGETHER} sessions", "1/s", rate, bound=200)
    told = (("agent", spent.agent), ("broker", spent.broker))
    for who, seconds in told:
        yield Row(f"  CPU of the {who} for each", "ms", seconds / (3 * sample) * 1e3, less=True)
    yield Row("CREATE FLOW, synced, one session", "1/s", 1 / statistics.mean(alone))
    yield Row("  p50", "ms", _part(alone, 50), less=True)
    yield Row("  p99", "ms", _part(alone, 99), less=True)
    what = f"  p50 with {many:,} flows there"
    yield Row(what, "ms", _part(later, 50), f"eson, {few:,} flows", _part(alone, 50), less=True, times=0.8)


def _part(taken: Sequence[float], part: int) -> float:
    """A percentile of sorted seconds, in ms."""
    return taken[len(taken) * part // 100] * 1e3


# what a participant costs


@dataclass
class Costs:
    """CPU in seconds and private memory in MB: of the agent, the embedded broker, all processors."""

    agent: float
    broker: float
    processors: float
    memory: tuple[float, float, float]
    children: int

    def minus(self, before: Costs) -> Costs:
        """For as long as no processor came or went; memory stays that of now."""
        return Costs(
            self.agent - before.agent,
            self.broker - before.broker,
            self.processors - before.processors,
            self.memory,
            self.children,
        )


def _costs(unix: Participant) -> Costs:
    pid = unix.running().pid
    broker, processors = _children(unix)
    memory = (private(pid) / MB, private(broker) / MB, sum(private(one) for one in processors) / MB)
    return Costs(cpu(pid), cpu(broker), sum(map(cpu, processors)), memory, len(processors))


def _children(unix: Participant) -> tuple[int, list[int]]:
    """Process ids of the broker and of the processors."""
    found: dict[str, list[int]] = {"eson.brokers.embedded": [], "eson.processors": []}
    for child in psutil.Process(unix.running().pid).children():
        words = child.cmdline()
        for name in found:
            if name in words:
                found[name].append(child.pid)
    return found["eson.brokers.embedded"][0], found["eson.processors"]


# subscriptions


def _subscriptions(folder: Path, crowd: Crowd) -> Iterator[Row]:
    """What they cost while idle and while busy: EVENTS events a second in all, in turn into each flow."""
    count, processors = crowd.subscriptions, {"per_process": crowd.per_process}
    with _participant(folder, processors=processors) as unix, _sessions(unix, 4) as sessions:
        flows = [crowd.flow(number) for number in range(crowd.flows)]
        _ask_all(sessions, [f"CREATE FLOW {flow}" for flow in flows], b"220 OK ")
        bare = _costs(unix).memory
        commands = [f"SUBSCRIBE {crowd.flow(number)} AS t{number}" for number in range(count)]
        began = time.monotonic()
        taken = sorted(_ask_all(sessions, commands, b"220 DATA\r\n"))
        rate = count / (time.monotonic() - began)
        idle = _over(unix, QUIET)
        memory = _costs(unix).memory
        busy = _while_events_come(unix, flows)
        after = _costs(unix).memory
    yield Row(f"{crowd.name}: SUBSCRIBE p50, 4 sessions", "ms", _part(taken, 50), less=True)
    yield Row("  SUBSCRIBE p99", "ms", _part(taken, 99), less=True)
    yield Row("  rate of SUBSCRIBE", "1/s", rate)
    yield Row("  memory of each: processor", "MB", memory[2] / count, less=True)
    yield Row(
        "  memory of each: agent and broker", "MB", (sum(memory[:2]) - sum(bare[:2])) / count, less=True
    )
    yield Row("  memory of each while busy: processor", "MB", after[2] / count, less=True)
    yield Row("  CPU of all while idle", "% of a core", idle * 100, less=True)
    carried = EVENTS * count // crowd.flows
    what = f"  CPU of all at {EVENTS} events/s, {carried:,} carried"
    yield Row(what, "% of a core", busy * 100, less=True)


def _over(unix: Participant, seconds: float) -> float:
    """Cores that the participant and its children use."""
    before, began = _costs(unix), time.monotonic()
    time.sleep(seconds)
    spent = _costs(unix).minus(before)
    return (spent.agent + spent.broker + spent.processors) / (time.monotonic() - began)


def _while_events_come(unix: Participant, flows: Sequence[str]) -> float:
    """The same while events are written."""
    host, port = unix.address("local")
    producer = Producer({"bootstrap.servers": f"{host}:{port}", "linger.ms": 5, "log_level": 0})
    ended = threading.Event()

    def write() -> None:
        due, turns = time.monotonic(), itertools.cycle(flows)
        while not ended.wait(max(0.0, due - time.monotonic())):
            producer.produce(next(turns), b"x" * 200)
            producer.poll(0)
            due += 1 / EVENTS

    thread = threading.Thread(target=write)
    thread.start()
    try:
        time.sleep(1)
        return _over(unix, QUIET)
    finally:
        ended.set()
        thread.join()
        assert producer.flush(30) == 0
