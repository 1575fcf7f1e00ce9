"""The embedded broker as a child process of a test, as others see it: an address that speaks Kafka's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from eson.brokers.embedded.settings import Settings

ADMIN, PASSWORD = "admin", "a long secret of the tests"


@dataclass
class Embedded:
    """One broker; `kill` and `start` keep its data and its port."""

    directory: Path
    settings: Settings
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)
    seconds_to_ready: float = 0.0

    def start(self) -> None:
        began = time.monotonic()
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eson.brokers.embedded"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **self.environment},
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.settings.line())
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the broker does not start: {self.log[-2000:]}"
        self.bound = json.loads(line)["ready"]
        self.seconds_to_ready = time.monotonic() - began
        listen = tuple((host, port) for host, port in self.bound["listen"])
        listen_tls = tuple((host, port) for host, port in self.bound["listen_tls"])
        self.settings = replace(self.settings, listen=listen, listen_tls=listen_tls)

    def bootstrap(self, listener: str = "listen") -> str:
        return ",".join(f"{host}:{port}" for host, port in self.bound[listener])

    @property
    def log(self) -> str:
        return (self.directory / "output").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        self._end("kill")

    def stop(self) -> int:
        """An orderly end; the exit status."""
        return self._end("terminate")

    def _end(self, how: str) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        getattr(process, how)()
        try:
            status = process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
            raise
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def login(self, username: str = ADMIN, password: str = PASSWORD) -> dict[str, Any]:
        """Settings of librdkafka for a user of the listener with login."""
        return {
            "bootstrap.servers": self.bootstrap(),
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": username,
            "sasl.password": password,
        }


StartEmbedded = Callable[..., Embedded]


@pytest.fixture
def start_embedded(tmp_path: Path) -> Generator[StartEmbedded, None, None]:
    """Starts a broker of the test's own: `start_embedded(login=False, …)` with the fields of `Settings`.

    `environment` is added to its own.
    """
    started: list[Embedded] = []

    def start(environment: Mapping[str, str] = {}, **options: Any) -> Embedded:
        directory = tmp_path / f"embedded-{len(started)}"
        directory.mkdir()
        defaults: dict[str, Any] = {
            "data": str(directory / "data"),
            "listen": (("127.0.0.1", 0),),
            "admin_password": PASSWORD,
        }
        own = Embedded(directory, Settings(**(defaults | options)), environment=environment)
        started.append(own)
        own.start()
        return own

    yield start
    for one in started:
        one.kill()


@pytest.fixture(scope="session")
def open_embedded(tmp_path_factory: pytest.TempPathFactory) -> Generator[Embedded, None, None]:
    """One broker without login that tests share: use topics and groups of your own names."""
    directory = tmp_path_factory.mktemp("embedded")
    shared = Embedded(directory, Settings(str(directory / "data"), (("127.0.0.1", 0),), login=False))
    shared.start()
    yield shared
    shared.kill()
