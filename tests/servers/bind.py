"""BIND 9 as a child process, authoritative for given zones on a free loopback port, for comparison.

with running_bind(directory, {"unix.ar": zone_text}) as port:
    ...
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
TRIES = 5


class BindDied(Exception):
    """It ended before it was ready."""


def program(name: str) -> str | None:
    """The path of one of BIND's programs, also where /usr/sbin is not in the path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running_bind(directory: Path, zones: Mapping[str, str]) -> Generator[int, None, None]:
    """Serves the zone files (their text) until the end; gives the port, the same for UDP and TCP."""
    for tries in range(TRIES):
        port = _free_port()
        process = _start(directory, zones, port)
        try:
            _wait_until_ready(process)
            break
        except BindDied:
            if tries == TRIES - 1:
                raise
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _start(directory: Path, zones: Mapping[str, str], port: int) -> subprocess.Popen[str]:
    lines = [
        "options {",
        f'  directory "{directory}"; pid-file none; session-keyfile none; managed-keys-directory "{directory}";',
        f"  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};",
        "  recursion no; allow-transfer { none; }; notify no; minimal-responses no; minimal-any yes;",
        "  answer-cookie no; max-udp-size 1232; edns-udp-size 1232; tcp-clients 500;",
        "};",
        "controls { };",
        "logging { channel out { stderr; severity info; }; category default { out; }; };",
    ]
    for name, text in zones.items():
        (directory / f"{name}.zone").write_text(text)
        lines.append(f'zone "{name}" {{ type primary; file "{name}.zone"; }};')
    file = directory / "named.conf"
    file.write_text("\n".join(lines) + "\n")
    named = program("named")
    assert named, "named is not installed: scripts/install-test-servers installs it"
    return subprocess.Popen(
        [named, "-g", "-n", "1", "-c", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.rstrip().endswith(" running"):
            return
    process.wait(10)
    raise BindDied("".join(said[-10:]))


def _free_port() -> int:
    """A port that nobody has for TCP; drawn by the system, so that two tests seldom meet."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
