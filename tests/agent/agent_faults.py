"""Ports that fail, or end the agent, at one chosen step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from twisted.internet.task import Clock

from eson.agent.service import Agent
from eson.errors import AgentUnreachable, BackendFailed

Fault = Literal["fail before", "fail after", "crash before", "crash after"]
READS = frozenset(
    [
        "namespaces",
        "flow",
        "flows",
        "all_flows",
        "flow_directly_below",
        "count_flows",
        "count_visible",
        "subscription",
        "subscriptions",
        "subscription_by_token",
        "ended_before",
        "count_subscriptions",
        "count_pending",
        "credential",
        "intention",
        "intentions",
        "calls",
        "account",
        "accounts",
        "audit",
        "processor",
        "processors",
        "processors_ended_before",
        "servers",
        "describe_queue",
        "list_queues",
        "list_consumers",
        "first_offsets",
        "end_offsets",
        "offsets_at",
        "list_users",
        "describe_flow",
        "find_by_token",
        "connect",
        "connect_participant",
    ]
)


def is_possible(fault: Fault, name: str) -> bool:
    """Nothing comes after a question, and a store that fails has kept nothing."""
    port, _, method = name.partition(".")
    return fault.endswith("before") or not (method in READS or (port == "store" and fault == "fail after"))


class Crashed(BaseException):
    """The agent's process is gone: nothing of it may catch this."""


@dataclass
class Steps:
    """Counts the steps of one agent; at `at` the fault happens.  A crashed agent reaches nothing any more."""

    fault: Fault = "fail before"
    at: int | None = None
    counting: bool = False
    dead: bool = False
    happened: bool = False
    names: list[str] = field(default_factory=list)

    def begin(self, fault: Fault, at: int | None) -> None:
        self.fault, self.at, self.counting, self.happened = fault, at, True, False
        self.names.clear()

    def end(self) -> None:
        self.counting = False

    def wrap(self, name: str, port: Any) -> Any:
        return FaultyPort(self, name, port)

    async def step(self, name: str, do: Callable[[], Any]) -> Any:
        if self.dead:
            raise Crashed(name)
        if not self.counting:
            return await do()
        self.names.append(name)
        if len(self.names) - 1 != self.at:
            return await do()
        return await self._fault(name, do)

    async def _fault(self, name: str, do: Callable[[], Any]) -> Any:
        self.happened = True
        if self.fault.endswith("after"):
            await do()
        if self.fault.startswith("crash"):
            self.dead = True
            raise Crashed(name)
        raise (
            AgentUnreachable("flow")
            if name.startswith(("remotes.", "session."))
            else BackendFailed(f"{name} failed")
        )


class FaultyPort:
    """A port whose asynchronous methods are steps."""

    def __init__(self, steps: Steps, name: str, port: Any) -> None:
        self._steps = steps
        self._name = name
        self._port = port

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(value):
            if self._steps.dead and callable(value):
                raise Crashed(attribute)
            return value
        name = f"{self._name}.{attribute}"
        if attribute == "quit":  # never raises
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await self._steps.step(name, lambda: value(*args, **kwargs))
            if self._name == "remotes":
                return FaultyPort(self._steps, "session", result)
            return result

        return call


class MortalClock:
    """A scheduler that forgets what a crashed agent planned."""

    def __init__(self, clock: Clock, steps: Steps) -> None:
        self._clock = clock
        self._steps = steps
        self.seconds = clock.seconds

    def callLater(self, delay: float, what: Callable[..., Any], *args: Any) -> Any:
        def unless_dead() -> None:
            if not self._steps.dead:
                what(*args)

        return self._clock.callLater(delay, unless_dead)


class MortalAgent:
    """What others see of an agent that may crash: a connection that breaks."""

    def __init__(self, agent: Agent, steps: Steps) -> None:
        self._agent = agent
        self._steps = steps

    async def execute(self, caller: Any, command: Any) -> Any:
        if self._steps.dead:
            raise AgentUnreachable("flow")
        try:
            return await self._agent.execute(caller, command)
        except Crashed:
            raise AgentUnreachable("flow") from None
