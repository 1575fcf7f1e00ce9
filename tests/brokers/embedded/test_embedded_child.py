"""The parent's side of the embedded broker, with processes that are none."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from eson.brokers.embedded.child import EmbeddedChild
from eson.brokers.embedded.log_lines import dump
from eson.brokers.embedded.settings import Bound, Settings

SETTINGS = Settings(
    "data", (("127.0.0.1", 0),), admin_password="secret of the test", internal=("127.0.0.1", 0)
)


class Process:
    """A child as its protocol sees it."""

    def __init__(self, protocol: Any, arguments: list[str], environment: dict[str, str]) -> None:
        self.protocol, self.arguments, self.environment = protocol, arguments, environment
        self.written, self.signals, self.pid = b"", [], 7  # type: tuple[bytes, list[str], int]
        protocol.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.written += data

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def listens(self, port: int) -> None:
        bound = Bound((("127.0.0.1", port),), (), ("127.0.0.1", port + 1))
        line = bound.line()
        self.protocol.childDataReceived(1, line[:5])
        self.protocol.childDataReceived(1, line[5:])

    def ends(self, status: int = 1) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(status) if status else ProcessDone(0)))


class Reactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []

    def spawnProcess(
        self, protocol: Any, executable: str, args: list[str], env: dict[str, str], childFDs: Any
    ) -> None:
        self.processes.append(Process(protocol, args, env))


def longest(low: float, high: float) -> float:
    return high


def test_settings_travel_over_a_pipe_and_nowhere_else() -> None:
    reactor = Reactor()
    EmbeddedChild(reactor, SETTINGS).start()
    (process,) = reactor.processes
    assert Settings.from_line(process.written) == SETTINGS
    assert not any(
        SETTINGS.admin_password in text for text in (*process.arguments, *process.environment.values())
    )
    assert SETTINGS.admin_password not in repr(SETTINGS)


def test_ready_says_where_it_listens() -> None:
    reactor = Reactor()
    heard: list[Bound] = []
    child = EmbeddedChild(reactor, SETTINGS, heard.append)
    ready: list[Bound] = []
    child.ready.addCallback(ready.append)
    child.start()
    assert ready == []
    reactor.processes[0].listens(4000)
    assert ready == heard == [Bound((("127.0.0.1", 4000),), (), ("127.0.0.1", 4001))]


def test_the_log_says_in_words_where_it_listens() -> None:
    told: list[Any] = []
    child = EmbeddedChild(Reactor(), SETTINGS)
    child.log = Logger("test", observer=told.append)  # type: ignore[arg-type, misc]
    child.listens(Bound((("127.0.0.1", 9092),), (("::1", 9093),), ("127.0.0.1", 4001)))
    assert [formatEvent(event) for event in told] == [
        f"broker {child.name} listens on 127.0.0.1 port 9092, ::1 port 9093 with TLS, "
        "127.0.0.1 port 4001 for the agent itself"
    ]


def test_a_child_that_died_comes_again_on_its_port() -> None:
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS, jitter=longest)
    child.start()
    reactor.processes[0].listens(4000)
    reactor.processes[0].ends()
    assert len(reactor.processes) == 1
    reactor.advance(0.1)
    again = Settings.from_line(reactor.processes[1].written)
    assert again.listen == (("127.0.0.1", 4000),)
    assert again.internal == ("127.0.0.1", 4001)


def test_delays_grow_to_half_a_minute_and_begin_anew_after_health() -> None:
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS, jitter=longest)
    child.start()
    delays = []
    for _ in range(12):
        reactor.processes[-1].ends()
        (call,) = reactor.getDelayedCalls()
        delays.append(round(call.getTime() - reactor.seconds(), 3))
        reactor.advance(delays[-1])
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 30.0
    reactor.advance(60)
    reactor.processes[-1].ends()
    (call,) = reactor.getDelayedCalls()
    assert round(call.getTime() - reactor.seconds(), 3) == 0.1


def test_stopping_asks_and_then_insists() -> None:
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS)
    child.start()
    ended: list[None] = []
    child.stop().addCallback(ended.append)
    child.stop().addCallback(ended.append)
    (process,) = reactor.processes
    assert process.signals == ["TERM"]
    reactor.advance(10)
    assert process.signals == ["TERM", "KILL"]
    assert ended == []
    process.ends()
    assert ended == [None, None]
    assert reactor.getDelayedCalls() == []


def test_stopping_while_nothing_runs() -> None:
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS)
    child.start()
    reactor.processes[0].ends()
    ended: list[None] = []
    child.stop().addCallback(ended.append)
    assert ended == [None]
    reactor.advance(60)
    assert len(reactor.processes) == 1
    child.start()
    assert len(reactor.processes) == 1


def test_what_is_no_message_is_logged_and_does_not_matter() -> None:
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS)
    child.start()
    for line in (b"hello\n", b"{}\n", json.dumps({"ready": 5}).encode() + b"\n"):
        reactor.processes[0].protocol.childDataReceived(1, line)
    reactor.processes[0].listens(4000)
    assert child.bound is not None


def test_what_the_child_logs_keeps_its_level_and_has_one_time() -> None:
    heard: list[Any] = []
    log = Logger("eson.brokers.embedded.server", observer=lambda event: heard.append(event))  # type: ignore[arg-type]
    log.error("the disk is full\nand stays so {more}", more="ü")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.failure("a request")
    heard.append({"log_namespace": "log_legacy", "log_level": LogLevel.info, "log_format": "a port opens"})
    lines = (
        b"".join((dump(event) or "").encode() for event in heard)
        + b'{"level": "loud", "text": ""}\nFatal Python error\n'
    )
    reactor = Reactor()
    child = EmbeddedChild(reactor, SETTINGS)
    told: list[Any] = []
    child.log = Logger("test", observer=told.append)  # type: ignore[arg-type, misc]
    child.start()
    for octet in lines:
        reactor.processes[0].protocol.childDataReceived(2, bytes([octet]))
    assert [event["log_level"] for event in told] == [
        LogLevel.error,
        LogLevel.critical,
        LogLevel.debug,
        LogLevel.warn,
        LogLevel.warn,
    ]
    first, failure, _, _, last = (formatEvent(event) for event in told)
    assert first == "broker local: the disk is full\nand stays so ü".replace("local", child.name)
    assert failure.startswith(f"broker {child.name}: a request\nTraceback")
    assert last == f"broker {child.name}: Fatal Python error"
