"""A crowd: 20,000 idle TLS sessions from 400 addresses of loopback, and how quick the server stays meanwhile."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers.participant import Participant

from bench import ROOT, Row
from bench.fnap_sessions import Scram, ask, connect
from bench.processes import MB, cpu, proportional

SESSIONS, ADDRESSES, HOLDERS = 20_000, 400, 4
TRIES, EVERY = 2000, 0.005
OTHERS = 200
"""Descriptors that a participant needs beside those of sessions, at most."""

# the sessions are held by processes of their own, so that the clock of the tries is not theirs
HOLDER = """
import ssl, sys
from bench.fnap_sessions import connect
host, port, trust, first, addresses, each = sys.argv[1:]
tls = ssl.create_default_context(cafile=trust)
held = []
for number in range(int(first), int(first) + int(addresses)):
    source = f"127.0.{1 + number // 200}.{1 + number % 200}"
    held += [connect((host, int(port)), tls, "fnaa.unix.ar", source) for _ in range(int(each))]
print(len(held), flush=True)
sys.stdin.read()
"""


@contextmanager
def many_sessions(folder: Path) -> Iterator[Participant]:
    """A participant on the defaults of `eson init --draft`, but for the limits of sessions."""
    folder.mkdir()
    with Participant("unix.ar", folder) as unix:
        many = {"total": 100_000, "per_address": 100_000, "per_user": 100_000}
        unix.settings["limits"] = {"connections": many, "login": "10m"}
        unix.start()
        yield unix


def crowd(scram: Scram) -> Iterator[Row]:
    """Memory of the server's process with the crowd, and how long a NOOP takes meanwhile."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the participant inherits it
    room = SESSIONS if most == resource.RLIM_INFINITY else min(SESSIONS, most - OTHERS)
    sessions = room // ADDRESSES * ADDRESSES
    with tempfile.TemporaryDirectory() as folder, many_sessions(Path(folder) / "crowd") as unix:
        yield from _crowd(unix, scram, sessions)


def _crowd(unix: Participant, scram: Scram, sessions: int) -> Iterator[Row]:
    pid = unix.running().pid
    host, port = unix.address("fnaps")
    each, per_holder = sessions // ADDRESSES, ADDRESSES // HOLDERS
    with ExitStack() as stack:
        began, held = time.monotonic(), 0
        for number in range(HOLDERS):
            words = (host, str(port), str(unix.ca), str(number * per_holder), str(per_holder), str(each))
            holder = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
            )
            assert holder.stdout is not None
            held += int(holder.stdout.readline())
        took = time.monotonic() - began
        assert held == sessions, held
        grown = proportional(pid) / MB
        what = f"{held:,} idle TLS sessions from {ADDRESSES} addresses"
        yield Row(f"{what}: the whole process", "MB", grown, less=True, bound=800)
        before = cpu(pid), time.monotonic()
        slow = sorted(_tries(unix, scram))
        spent = (cpu(pid) - before[0]) / (time.monotonic() - before[1])
        yield Row("  p99 of a NOOP meanwhile", "ms", slow[len(slow) * 99 // 100] * 1e3, less=True, bound=20)
        yield Row("  CPU meanwhile", "cores", spent, less=True)
        yield Row("  TLS handshakes", "1/s", held / took, note="client and server share the machine")


def _tries(unix: Participant, scram: Scram) -> Iterator[float]:
    """Seconds that each NOOP takes, at a steady rate."""
    with connect(unix.address("fnap")) as session:
        scram.login([session])
        due = time.monotonic()
        for _ in range(TRIES):
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            assert ask(session, b"NOOP\r\n") == b"220 OK\r\n"
            yield time.monotonic() - began
            due += EVERY
