"""`--watch` while the agent comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from eson.cli.running import Interrupted
from eson.cli.watching import watch
from eson.errors import AgentUnreachable, Unreachable

LOST = Unreachable("The connection was lost")


class Console:
    """One whose agents answer as written: rows, or why there are none; one answer more is the user's Ctrl-C."""

    style = "json"

    def __init__(self, *sessions: Sequence[list[str] | Exception]) -> None:
        self.world = self
        self.told: list[str] = []
        self._sessions = iter(sessions)

    async def agent(self, below: str) -> Any:
        answers = next(self._sessions, None)
        if answers is None:
            raise Interrupted
        return Agent(answers)

    async def sleep(self, seconds: float) -> None:
        assert seconds == 2.0

    def tell(self, text: str) -> None:
        self.told.append(text)


class Agent:
    def __init__(self, answers: Sequence[list[str] | Exception]) -> None:
        self._answers = iter(answers)

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def execute(self, line: str) -> Any:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(lines=answer)


def watched(console: Any) -> None:
    asyncio.run(watch(console, "GET SUBSCRIPTIONS", "", 2.0))


def test_it_goes_on_when_the_agent_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    away = AgentUnreachable("fnaa.unix.ar")
    console = Console(
        [['{"lag": 2}'], LOST], [away], [away], [['{"lag": 2}'], ['{"lag": 0}'], LOST], [['{"lag": 0}'], LOST]
    )
    with pytest.raises(Interrupted):
        watched(console)
    assert capsys.readouterr().out == '{"lag": 2}\n{"lag": 0}\n'
    # once each time that it was lost
    assert console.told == ["The connection was lost: looking again every 2 s"] * 3


def test_an_agent_that_was_never_there_ends_it() -> None:
    console = Console([LOST], [['{"lag": 2}']])
    with pytest.raises(Unreachable):
        watched(console)
    assert console.told == []
