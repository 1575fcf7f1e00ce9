"""Queries per second of the embedded name server beside BIND 9: the same zone, the same queries, in turn.

2,000 flows; 50,000 random queries for their PTR, SRV and TXT, 9 % of them for names that do not exist; dnsperf with 100
outstanding.  The server has one core (BIND: one worker thread), dnsperf the other.  Of the rounds the best counts: the
others were disturbed.  CPU is the server's own user and system time, the fair measure where cores are shared.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import Effort, Row
from eson.model.servers import Server
from eson.names.core.authority import Authority, Settings
from eson.names.core.records import Agent
from eson.names.core.zonefile import zone_text
from eson.names.port import FlowNames
from tests.servers.bind import program, running_bind

FLOWS = 2000
QUERIES = 50_000
MISSING = 0.09
SECONDS = 4
ROUNDS = 2
BOUNDS = {"udp": 100e3, "tcp": 50e3}
KINDS = (
    ("", "PTR"),
    ("_flow._tcp.", "SRV"),
    ("_flow._tcp.", "TXT"),
    ("_queue._flow._tcp.", "SRV"),
    ("_queue._flow._tcp.", "TXT"),
)
SETTINGS = Settings(
    "unix.ar", Agent("fnaa.unix.ar", 61001, True), ("127.0.0.1",), {"unix.ar": {"kf1": ("127.0.0.1",)}}
)


@dataclass(frozen=True)
class Measure:
    """One run of dnsperf: queries per second, and per second of the server's CPU."""

    rate: float
    per_cpu: float


def flows() -> Iterator[FlowNames]:
    for number in range(FLOWS):
        name = f"f{number}.flows.unix.ar"
        yield FlowNames(name, "flows.unix.ar", "kafka", (Server("kf1.unix.ar", 9092),), True, name)


def run(effort: Effort = Effort.USUAL) -> list[Row]:
    """Rows for UDP and TCP: queries per second, and per CPU-second.  Takes about a minute."""
    seconds, rounds = (1, 1) if effort is Effort.QUICK else (SECONDS, ROUNDS)
    best: dict[tuple[str, str], Measure] = {}
    with tempfile.TemporaryDirectory() as folder:
        queries = Path(folder) / "queries"
        queries.write_text("".join(_queries()))
        authority = Authority(SETTINGS, time.time)
        for flow in flows():
            authority.put_flow(flow)
        with (
            running_bind(Path(folder), {"unix.ar": zone_text(authority.zone("unix.ar"))}) as bind,
            _ours() as (ours, pid),
        ):
            servers = {"eson": (ours, pid), "bind": (bind, _listener(bind))}
            for process in (pid, servers["bind"][1]):
                os.sched_setaffinity(process, {min(os.sched_getaffinity(0))})
            for _ in range(rounds):
                for mode in ("udp", "tcp"):
                    for name, (port, process) in servers.items():
                        found = _dnsperf(port, process, mode, queries, seconds)
                        known = best.get((mode, name), Measure(0, 0))
                        best[mode, name] = Measure(
                            max(known.rate, found.rate), max(known.per_cpu, found.per_cpu)
                        )
            memory = {name: _resident(process) for name, (_, process) in servers.items()}
    rows = []
    for mode in ("udp", "tcp"):
        ours_best, theirs = best[mode, "eson"], best[mode, "bind"]
        rows.append(Row(f"{mode} queries", "1/s", ours_best.rate, "BIND 9", theirs.rate, bound=BOUNDS[mode]))
        rows.append(Row(f"{mode} queries", "1/CPU-s", ours_best.per_cpu, "BIND 9", theirs.per_cpu))
    rows.append(Row("memory", "MB resident", memory["eson"], "BIND 9", memory["bind"], less=True))
    return rows


def _queries() -> Iterator[str]:
    draw = random.Random(1)
    for _ in range(QUERIES):
        prefix, kind = draw.choice(KINDS)
        label = "x" if draw.random() < MISSING else "f"
        yield f"{prefix}{label}{draw.randrange(FLOWS)}.flows.unix.ar {kind}\n"


def _dnsperf(port: int, pid: int, mode: str, queries: Path, seconds: int) -> Measure:
    dnsperf = program("dnsperf")
    assert dnsperf, "dnsperf is not installed: scripts/install-test-servers installs it"
    command = [
        dnsperf,
        "-s",
        "127.0.0.1",
        "-p",
        str(port),
        "-d",
        str(queries),
        "-l",
        str(seconds),
        "-c",
        "1",
        "-T",
        "1",
        "-q",
        "100",
        "-m",
        mode,
    ]
    core = {max(os.sched_getaffinity(0))}
    before = _cpu(pid)
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, core)
    ).stdout
    spent = _cpu(pid) - before
    rate = re.search(r"Queries per second:\s+([\d.]+)", text)
    done = re.search(r"Queries completed:\s+(\d+)", text)
    assert rate, text
    assert done, text
    return Measure(float(rate[1]), int(done[1]) / spent)


@contextmanager
def _ours() -> Iterator[tuple[int, int]]:
    """Our server in a process of its own; gives its port and process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.names", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait(10)


def serve() -> None:
    """Serves the zone on a free port, prints it, and ends with stdin."""
    from twisted.internet import reactor as running
    from twisted.internet.protocol import Protocol
    from twisted.internet.stdio import StandardIO

    from eson.names.embedded import EmbeddedNames
    from eson.names.net.server import NameServer

    names = EmbeddedNames(replace(SETTINGS))
    for flow in flows():
        coroutine = names.publish_flow(flow)
        try:
            coroutine.send(None)
        except StopIteration:
            continue
    reactor: object = running
    service = NameServer(reactor, names.respond, [("127.0.0.1", 0)])
    service.startService()
    print(service.addresses[0][1], flush=True)

    class End(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            running.stop()  # type: ignore[attr-defined]

    StandardIO(End())
    running.run()  # type: ignore[attr-defined]


def _listener(port: int) -> int:
    """The process of ours that listens on a TCP port."""
    wanted = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == wanted and words[3] == "0A":
            link = f"socket:[{words[9]}]"
            for entry in Path("/proc").glob("[0-9]*/fd/*"):
                try:
                    if os.readlink(entry) == link:
                        return int(entry.parts[2])
                except OSError:
                    continue
    raise AssertionError(f"nobody listens on port {port}")


def _cpu(pid: int) -> float:
    """User and system time of all threads of a process, in seconds: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__" and sys.argv[1:] == ["serve"]:
    serve()
