"""The two participants of the demo: their files, their processes, and the end of both."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from eson.admin.demo.programs import program
from eson.errors import EsonError
from eson.identity.certificates import KeyPair, make_ca, make_certificate

READY_WITHIN = 30.0
_END_WITHIN = 10.0
_PR_SET_PDEATHSIG = 1
_SERVICES = ("fnap", "fnaps", "names", "broker", "brokers")


class StageError(EsonError):
    """A participant did not start or ended too early; the text shows the end of its log.  Retry: after mending that."""


@dataclass
class Participant:
    """One organisation: its domain, the one user, and where its servers listen (ports on 127.0.0.1)."""

    domain: str
    user: str
    directory: Path
    ports: Mapping[str, int]
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def agent(self) -> str:
        return f"fnaa.{self.domain}"

    @property
    def namespace(self) -> str:
        return f"flows.{self.domain}"

    @property
    def flow(self) -> str:
        return f"time.{self.namespace}"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def listeners(self) -> Path:
        return self.directory / "state" / "listeners.json"


class Stage:
    """Both participants, in a directory of their own that is removed in the end; with `kept` they outlive this process."""

    def __init__(self, directory: Path | None = None, kept: bool = False) -> None:
        self._kept = kept
        self.directory = directory or Path(tempfile.mkdtemp(prefix="eson-demo-"))
        ports = _free_ports(2 * len(_SERVICES))
        half = len(_SERVICES)
        self.provider = self._participant("unix.ar", "unix", ports[:half])
        self.subscriber = self._participant("emiliano.ar", "emiliano", ports[half:])
        # what one agent proves to the other; SCRAM, so it is never sent
        self._between = secrets.token_urlsafe(24)

    @property
    def both(self) -> tuple[Participant, Participant]:
        return self.provider, self.subscriber

    def _participant(self, domain: str, user: str, ports: list[int]) -> Participant:
        return Participant(domain, user, self.directory / domain, dict(zip(_SERVICES, ports, strict=True)))

    def write(self) -> None:
        """Keys, secrets and `eson.yaml` of both."""
        for one in self.both:
            one.directory.mkdir(parents=True)
            ca = make_ca(f"{one.domain} demo CA")
            _write(one.ca, ca.certificate)
            pair: KeyPair = make_certificate(ca, [one.agent, one.domain], ["127.0.0.1"])
            _write(one.directory / "agent.pem", pair.certificate)
            _write(one.directory / "agent.key", pair.key)
            _write(one.directory / "user.password", one.password)
            _write(one.directory / "peer.password", self._between)
        for one, other in (self.both, self.both[::-1]):
            settings = yaml.safe_dump(self._settings(one, other), sort_keys=False)
            _write(one.directory / "eson.yaml", settings)
            _write(one.directory / "fnua.yaml", yaml.safe_dump(_user_agent(one), sort_keys=False))

    def _settings(self, one: Participant, other: Participant) -> dict[str, Any]:
        def at(service: str) -> list[str]:
            return [f"127.0.0.1:{one.ports[service]}"]

        return {
            "participant": one.domain,
            "agent": one.agent,
            "state": "state",
            "address": ["127.0.0.1"],
            "fnap": {
                "listen": at("fnap"),
                "listen_tls": at("fnaps"),
                "certificate": "agent.pem",
                "key": "agent.key",
            },
            "identity": {
                "accounts": [
                    {"name": one.user, "password_file": "user.password", "home": one.namespace},
                    {"name": other.domain, "password_file": "peer.password", "participant": other.domain},
                ]
            },
            "names": {
                "listen": at("names"),
                "zones": [{"name": one.domain, "hosts": {"fnaa": "127.0.0.1"}}],
                "resolve": {other.domain: f"127.0.0.1:{other.ports['names']}"},
            },
            "brokers": [
                {"name": "local", "type": "embedded", "listen": at("broker"), "listen_tls": at("brokers")}
            ],
            "namespaces": [
                {"name": one.namespace, "visibility": "public", "administrators": [f"user:{one.user}"]}
            ],
            "remotes": [
                {
                    "agent": other.agent,
                    "tls": "implicit",
                    "trust": str(other.ca),
                    "mechanism": "SCRAM-SHA-256",
                    "username": one.domain,
                    "password_file": "peer.password",
                    "as": "user",
                }
            ],
            "allow_private": ["127.0.0.0/8"],
            "web": {"metrics": None},
        }

    def start(self, one: Participant) -> None:
        """Starts the participant's `twistd eson`; unless the stage is kept it ends with us, however we end."""
        libc, parent = ctypes.CDLL(None), os.getpid()

        def end_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        with (one.directory / "eson.log").open("ab") as log:
            one.process = subprocess.Popen(
                [_twistd(), "-n", "--pidfile=", "eson", "--config", str(one.directory / "eson.yaml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=one.directory,
                start_new_session=True,
                preexec_fn=None if self._kept else end_with_parent,
            )

    async def ready(self, one: Participant, pause: Callable[[float], Awaitable[None]]) -> Mapping[str, Any]:
        """Waits for `listeners.json`.  Raises `StageError`."""
        waited = 0.0
        while waited < READY_WITHIN:
            if one.process is None or one.process.poll() is not None:
                raise StageError(f"{one.agent} ended before it was ready:\n{_tail(one)}")
            try:
                return dict(json.loads(one.listeners.read_bytes()))
            except FileNotFoundError:
                await pause(0.05)
                waited += 0.05
        raise StageError(f"{one.agent} was not ready within {READY_WITHIN:.0f} s:\n{_tail(one)}")

    def stop(self) -> None:
        """Ends both, politely first, and waits for them."""
        running = [one.process for one in self.both if one.process is not None and one.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(_END_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def _user_agent(one: Participant) -> dict[str, Any]:
    """`fnua.yaml` of the participant's user."""
    agent = {
        "name": one.domain,
        "fqdn": one.agent,
        "username": one.user,
        "password": one.password,
        "address": f"127.0.0.1:{one.ports['fnaps']}",
        "tls": "implicit",
        "trust": "ca.pem",
    }
    return {
        "agents": [agent],
        "namespaces": [{"name": one.namespace, "agent": one.domain}],
        "default": one.domain,
        "nameserver": f"127.0.0.1:{one.ports['names']}",
    }


def _twistd() -> str:
    """The `twistd` of this installation."""
    found = program("twistd")
    if found is None:
        raise StageError(
            "twistd is not installed beside this Python: install ESON with pip into a virtual environment"
        )
    return str(found)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, TCP and UDP."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            tcp = socket.socket()
            held.append(tcp)
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            udp = socket.socket(type=socket.SOCK_DGRAM)
            held.append(udp)
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for one in held:
            one.close()
    return ports


def _write(path: Path, text: str) -> None:
    """A file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _tail(one: Participant) -> str:
    try:
        lines = (one.directory / "eson.log").read_text(errors="replace").splitlines()
    except OSError:
        return "(it has no log)"
    return "\n".join(f"  {line}" for line in lines[-15:])
