"""What sessions cost: commands a second on one core, logins, memory of idle sessions; beside aiosmtpd, in one run.

The server is a whole participant (`twistd eson` on its defaults, embedded broker and all), its process on one core and
the clients on the other.  aiosmtpd answers NOOP with its stock `SMTP` class; it has no SCRAM, and its idle session has
said EHLO, while ours is logged in.  Memory is what the process grew by (PSS), divided by the sessions.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from servers.certificates import Authority
from servers.participant import Participant

from bench import Effort, Row
from bench.crowd import crowd, many_sessions
from bench.fnap_sessions import Scram, ask, connect, line, one_at_a_time, pipelined
from bench.processes import apart, cpu, proportional
from bench.smtp_peer import running_smtp

NOOP, OK = b"NOOP\r\n", b"220 OK\r\n"
PEER = "aiosmtpd"
ROUNDS = 2
ADDRESSES = 25


def run(effort: Effort = Effort.USUAL) -> Iterator[Row]:
    """About a minute and a half; with `LONG` also a crowd of 20,000 sessions, some minutes."""
    quick = effort is Effort.QUICK
    seconds, sessions, logins = (0.3, 100, 100) if quick else (3.0, 2000, 3000)
    scram = Scram("test", "test")
    with tempfile.TemporaryDirectory() as folder:
        # each in a process of its own: what one leaves behind would be room for the other
        with many_sessions(Path(folder) / "plain") as unix:
            yield _idle(unix, scram, sessions)
            yield from _commands(unix, scram, seconds)
            yield from _logins(unix, scram, logins)
        with many_sessions(Path(folder) / "tls") as unix:
            yield _idle_tls(Path(folder), unix, scram, sessions)
    if effort is Effort.LONG:
        yield from crowd(scram)


def _commands(unix: Participant, scram: Scram, seconds: float) -> Iterator[Row]:
    ours, theirs = {}, {}
    for way in (pipelined, one_at_a_time):
        with running_smtp() as (port, peer):
            for _ in range(ROUNDS):
                with connect(unix.address("fnap")) as session:
                    scram.login([session])
                    _better(ours, way, _rates(unix.running().pid, way, session, OK, seconds))
                with connect(("127.0.0.1", port)) as session:
                    assert ask(session, b"HELO me\r\n").startswith(b"250 ")
                    _better(theirs, way, _rates(peer, way, session, b"250 OK\r\n", seconds))
    rows = ((pipelined, "NOOP, pipelined", 150e3), (one_at_a_time, "NOOP, one at a time", 14e3))
    for way, what, bound in rows:
        yield Row(what, "1/s", ours[way][0], PEER, theirs[way][0], bound=bound)
        yield Row(what, "1/CPU-s", ours[way][1], PEER, theirs[way][1])


_Way = Callable[[socket.socket, bytes, bytes, float], tuple[int, float]]


def _rates(pid: int, way: _Way, session: socket.socket, reply: bytes, seconds: float) -> tuple[float, float]:
    """Commands per second, and per second of the server's CPU."""
    with apart(pid):
        before = cpu(pid)
        count, took = way(session, NOOP, reply, seconds)
        return count / took, count / (cpu(pid) - before)


def _better(found: dict[_Way, tuple[float, float]], way: _Way, rates: tuple[float, float]) -> None:
    """The undisturbed round counts: others work on the machine too."""
    found[way] = max(found.get(way, (0.0, 0.0)), rates)


def _logins(unix: Participant, scram: Scram, count: int) -> Iterator[Row]:
    """From 25 addresses: the agent evaluates at most 10 logins of one at once, and 30 of an account from new ones."""
    pid, rates = unix.running().pid, []

    def sessions(count: int) -> list[socket.socket]:
        return [connect(unix.address("fnap"), source=f"127.0.1.{1 + n % ADDRESSES}") for n in range(count)]

    known = sessions(ADDRESSES)
    scram.login(known)
    for _ in range(ROUNDS):
        opened = sessions(count)
        with apart(pid):
            before, began = cpu(pid), time.monotonic()
            scram.login(opened, ADDRESSES * 8)
            rates.append((count / (time.monotonic() - began), count / (cpu(pid) - before)))
        _close(opened)
    _close(known)
    note = f"no peer speaks SCRAM; {scram.iterations:,} iterations, which are the client's work"
    rate, per_cpu = max(rates)
    yield Row("SCRAM-SHA-256 logins on open connections", "1/s", rate, bound=1200, note=note)
    yield Row("SCRAM-SHA-256 logins", "1/CPU-s", per_cpu)


def _idle(unix: Participant, scram: Scram, count: int) -> Row:
    ours = _grown(unix.running().pid, lambda: connect(unix.address("fnap")), count, scram.login)
    with running_smtp() as (port, peer):
        theirs = _grown(peer, lambda: connect(("127.0.0.1", port)), count, _greet)
    return Row(f"idle session of {count:,}, plain", "kB", ours, PEER, theirs, less=True, bound=6)


def _idle_tls(folder: Path, unix: Participant, scram: Scram, count: int) -> Row:
    address = unix.address("fnaps")
    trust = ssl.create_default_context(cafile=str(unix.ca))
    ours = _grown(unix.running().pid, lambda: connect(address, trust, "fnaa.unix.ar"), count, scram.login)
    authority = Authority(folder)
    known = ssl.create_default_context(cafile=str(authority.certificate))
    with running_smtp(*authority.issue("peer")) as (port, peer):
        theirs = _grown(peer, lambda: connect(("127.0.0.1", port), known, "peer"), count, _greet)
    return Row(f"idle session of {count:,}, TLS 1.3", "kB", ours, PEER, theirs, less=True, bound=36)


def _grown(
    pid: int, session: Callable[[], socket.socket], count: int, begin: Callable[[list[socket.socket]], None]
) -> float:
    """kB by which the process grows with each session; what the first ones load does not count."""
    first = [session() for _ in range(20)]
    begin(first)
    before = proportional(pid)
    more = [session() for _ in range(count)]
    begin(more)
    time.sleep(0.5)  # what is freed a moment later is not the sessions'
    grown = (proportional(pid) - before) / count / 1024
    _close(first + more)
    return grown


def _greet(sessions: list[socket.socket]) -> None:
    for session in sessions:
        session.sendall(b"EHLO me\r\n")
        while not line(session).rpartition(b"\r\n250 ")[2].endswith(b"\r\n"):
            pass


def _close(sessions: list[socket.socket]) -> None:
    for session in sessions:
        session.close()
