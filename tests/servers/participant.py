"""Participants of the tests: real `twistd eson` children on free ports of loopback.

    with Participant("unix.ar", tmp_path) as unix:      # eson init --draft, any free ports
        unix.settings["log"] = {"level": "debug"}       # what goes into eson.yaml, before `start`
        unix.start()                                    # returns when it is ready
        unix.address("fnap")                            # ("127.0.0.1", 41503), as listeners.json says

Two that shall find each other need ports that are known beforehand: `free_ports`, `find_each_other`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import yaml

BIN = Path(sys.executable).parent
READY_SECONDS = 30.0
END_SECONDS = 30.0
BETWEEN = "between the two"
"""With which agents log in to each other."""


class Participant:
    """One participant in a directory of its own, below `root`."""

    def __init__(self, domain: str, root: Path, draft: bool = True) -> None:
        self.domain = domain
        self.directory = root / domain
        self.process: subprocess.Popen[bytes] | None = None
        self.ca = self.state / "keys" / "ca.pem"
        """What clients must trust."""
        self._family: list[psutil.Process] = []
        self.environment: dict[str, str] = {}
        """What it is started with beside our own."""
        self.told = run_eson(
            "init", domain, "--dir", str(self.directory), *(["--draft"] if draft else [])
        ).stdout
        self.settings: dict[str, Any] = yaml.safe_load(self.file.read_text())
        listen = {"listen": ["127.0.0.1:0"]}
        self.settings["fnap"] = {**listen, "listen_tls": ["127.0.0.1:0"]}
        self.settings["names"].update(listen)
        self.settings["brokers"][0].update(listen)
        self.settings["web"] = {"metrics": ["127.0.0.1:0"]}

    # files

    @property
    def file(self) -> Path:
        return self.directory / "eson.yaml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def log_file(self) -> Path:
        return self.directory / "log"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def write(self) -> None:
        """`eson.yaml` from `settings`, and `fnua.yaml` once the ports are known."""
        self.file.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def write_user_agent(self) -> Path:
        """`fnua.yaml` with the addresses of now."""
        path = self.directory / "fnua.yaml"
        profile = yaml.safe_load(path.read_text())
        profile["agents"][0]["address"] = "{}:{}".format(*self.address("fnaps"))
        profile["nameserver"] = "{}:{}".format(*self.address("names"))
        path.write_text(yaml.safe_dump(profile, sort_keys=False))
        return path

    # life

    def start(self, *twistd: str, wait: bool = True) -> Self:
        """Starts it; returns when it is ready, unless told not to wait."""
        self.write()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "twistd", "-n", "--pidfile=", *twistd, "eson", "--config", self.file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        process = self.running()

        def ready() -> bool:
            assert process.poll() is None, (
                f"{self.domain} ended with status {process.returncode}:\n{self.tail()}"
            )
            return self.listeners().get("pid") == process.pid

        eventually(ready, READY_SECONDS, lambda: f"{self.domain} is not ready:\n{self.tail()}")
        self.children()

    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self.domain} was not started"
        return self.process

    def listeners(self) -> dict[str, Any]:
        """What `listeners.json` says, {} while there is none."""
        try:
            found: dict[str, Any] = json.loads((self.state / "listeners.json").read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def address(self, kind: str) -> tuple[str, int]:
        """Of `fnap`, `fnaps`, `names`, `metrics`, or of a broker by its name."""
        listeners = self.listeners()
        host, port = listeners.get(kind) or listeners["brokers"][kind]
        return host, port

    def children(self) -> list[psutil.Process]:
        """The processes below it now; `no_orphans` asks about all that were ever seen."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.running().pid).children(recursive=True)
            self._family += [one for one in found if one not in self._family]
            return found
        return []

    def no_orphans(self, seconds: float = 5.0) -> None:
        """All children that were seen are gone in that time."""
        eventually(
            lambda: not any(_alive(one) for one in self._family),
            seconds,
            lambda: f"still there: {[one for one in self._family if _alive(one)]}",
        )

    def signal(self, number: signal.Signals) -> None:
        self.children()
        self.running().send_signal(number)

    def stop(self) -> None:
        """Asks it to end, which it does in good order: twistd then ends by the signal that it was sent."""
        self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == -signal.SIGTERM, f"{self.domain} ended with status {status}:\n{self.tail()}"
        assert "eson: stopped" in self.log()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        try:
            return self.running().wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.domain} does not end:\n{self.tail()}") from None

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None and self.process is not None:
            error.add_note(f"log of {self.domain}:\n{self.tail()}")
        if self.process is not None and self.process.poll() is None:
            self.children()
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for one in self._family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_eson(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """`eson` in a child; fails the test if it fails."""
    done = subprocess.run(
        [BIN / "eson", *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def eventually(
    true: Callable[[], object], seconds: float = 10.0, why: Callable[[], str] = lambda: "it did not happen"
) -> None:
    """Looks often until it is true; fails when the time is over."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, neither TCP nor UDP.

    They lie below those that outgoing connections get, so that they stay free while their owner starts again.
    """
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            port = random.randrange(10_000, 32_000)
            tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
            held += [tcp, udp]
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                ports.append(port)
    finally:
        for one in held:
            one.close()
    return ports


def find_each_other(*participants: Participant, between: str = BETWEEN) -> None:
    """Gives each a fixed port for its names, and every other one's account, certificate and domain."""
    ports = free_ports(len(participants))
    for one, port in zip(participants, ports, strict=True):
        one.settings["names"]["listen"] = [f"127.0.0.1:{port}"]
        one.settings["allow_private"] = ["127.0.0.0/8"]
        others = [(other, at) for other, at in zip(participants, ports, strict=True) if other is not one]
        one.settings["names"]["resolve"] = {other.domain: f"127.0.0.1:{at}" for other, at in others}
        one.settings["identity"]["accounts"] += [
            {"name": other.domain, "password": between, "participant": other.domain} for other, _ in others
        ]
        one.settings["remotes"] = [
            {
                "agent": f"fnaa.{other.domain}",
                "trust": str(other.ca),
                "mechanism": "SCRAM-SHA-256",
                "username": one.domain,
                "password": between,
                "as": "user",
            }
            for other, _ in others
        ]


class Wire:
    """A connection on which a test types, as people do in telnet."""

    def __init__(self, address: tuple[str, int], seconds: float = 30.0) -> None:
        self._socket = socket.create_connection(address, seconds)
        self._buffer = b""

    def send(self, *lines: str) -> None:
        self._socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def raw(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def line(self) -> str:
        """The next line with its end; "" when the server closed."""
        while b"\n" not in self._buffer:
            more = self._socket.recv(65536)
            if not more:
                rest, self._buffer = self._buffer, b""
                return rest.decode()
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return (line + b"\n").decode()

    def body(self) -> Iterator[str]:
        """Lines up to the one that begins with three digits and a space, that one included, without their ends."""
        while True:
            line = self.line().removesuffix("\r\n")
            yield line
            if not line or (line[:3].isdigit() and line[3:4] == " " and line != "220 DATA"):
                return

    def reply(self, command: str) -> list[str]:
        self.send(command)
        return list(self.body())

    def login(self, name: str = "test", password: str = "test") -> Self:
        """By PLAIN, as the draft does."""
        import base64

        message = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
        assert self.line().endswith(" FNAA\r\n")
        assert self.reply("AUTHENTICATE PLAIN") == ["220 OK"]
        reply = self.reply(message)
        assert reply == ["220 Authenticated"], reply
        return self

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
