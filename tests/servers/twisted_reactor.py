"""The global reactor in a thread of its own, for tests that talk over real sockets.

    def test_something(in_reactor):
        session = in_reactor(connect, reactor, "127.0.0.1", port)

`in_reactor(function, *arguments, timeout=30)` calls a function or coroutine function in the reactor's thread and gives its
result.  `listen` serves a factory on a free port of 127.0.0.1 until the test ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.process import reapAllProcesses
from twisted.internet.task import LoopingCall

TIMEOUT = 30.0
InReactor = Callable[..., Any]
Listen = Callable[..., int]


@pytest.fixture(scope="session")
def reactor_thread() -> Generator[Any, None, None]:
    """The running reactor.  (It can run once in a process, so it runs for the whole session.)"""
    from twisted.internet import reactor as running

    reactor: Any = running
    started = threading.Event()
    reactor.callWhenRunning(started.set)
    # no signal reaches this thread: the end of a child is looked for
    reactor.callWhenRunning(LoopingCall(reapAllProcesses).start, 0.05)
    thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    assert started.wait(10)
    yield reactor
    reactor.callFromThread(reactor.stop)
    thread.join(10)


@pytest.fixture
def in_reactor(reactor_thread: Any) -> InReactor:
    def call(function: Callable[..., Any], *arguments: Any, timeout: float = TIMEOUT, **named: Any) -> Any:
        done = threading.Event()
        outcome: list[Any] = []

        def begin() -> None:
            result = function(*arguments, **named)
            waiting: Deferred[Any] = (
                ensureDeferred(result) if hasattr(result, "send") else maybeDeferred(lambda: result)
            )
            waiting.addTimeout(timeout, reactor_thread)
            waiting.addBoth(end)

        def end(result: Any) -> None:
            outcome.append(result)
            done.set()

        def guarded() -> None:
            maybeDeferred(begin).addErrback(end)

        reactor_thread.callFromThread(guarded)
        assert done.wait(timeout + 10), "the reactor hangs"
        result = outcome[0]
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    return call


@pytest.fixture
def listen(reactor_thread: Any, in_reactor: InReactor) -> Generator[Listen, None, None]:
    ports: list[Any] = []

    def serve(factory: Any) -> int:
        port = in_reactor(reactor_thread.listenTCP, 0, factory, 50, "127.0.0.1")
        ports.append(port)
        return int(port.getHost().port)

    yield serve
    for port in ports:
        in_reactor(port.stopListening)
