"""The port to the name service: one suite for the embedded one and for the twin that the agent's tests use."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from eson.agent.memory import MemoryNames
from eson.errors import BackendFailed, NotHosted
from eson.model.servers import Server
from eson.names.core.authority import Settings
from eson.names.core.records import Agent
from eson.names.embedded import EmbeddedNames
from eson.names.port import FlowNames, Names

F = "time.flows.unix.ar"
FLOW = FlowNames(F, "flows.unix.ar", "kafka", (Server("kf1.unix.ar", 9092),), False, F)


def run(steps: Coroutine[Any, Any, None]) -> None:
    """To the end of a coroutine that never waits."""
    with pytest.raises(StopIteration):
        steps.send(None)


def embedded() -> EmbeddedNames:
    return EmbeddedNames(Settings("unix.ar", Agent("fnaa.unix.ar", 61001, True)), lambda: 1000.0)


@pytest.fixture(params=[embedded, MemoryNames])
def names(request: pytest.FixtureRequest) -> Names:
    made: Names = request.param()
    return made


def test_what_is_published_is_there_until_it_is_withdrawn(names: Names) -> None:
    run(names.publish_namespace("flows.unix.ar"))
    assert (list(names.zones()), list(names.published())) == (["flows.unix.ar"], [])
    run(names.publish_flow(FLOW))
    run(names.publish_flow(replace(FLOW, flow="a.flows.unix.ar")))
    assert list(names.published()) == ["a.flows.unix.ar", F]
    run(names.withdraw_flow(F))
    run(names.withdraw_flow("a.flows.unix.ar"))
    run(names.withdraw_namespace("flows.unix.ar"))
    assert (list(names.zones()), list(names.published())) == ([], [])


def test_everything_may_be_repeated(names: Names) -> None:
    for _ in range(2):
        run(names.publish_namespace("flows.unix.ar"))
        run(names.publish_flow(FLOW))
    serial = names.serial("flows.unix.ar")
    run(names.publish_flow(FLOW))
    run(names.publish_namespace("flows.unix.ar"))
    assert names.serial("flows.unix.ar") == serial
    for _ in range(2):
        run(names.withdraw_flow(F))
        run(names.withdraw_namespace("flows.unix.ar"))


def test_the_serial_of_a_foreign_zone_is_refused() -> None:
    with pytest.raises(NotHosted):
        embedded().serial("emiliano.ar")


def test_the_serial_rises_with_a_change() -> None:
    names = embedded()
    run(names.publish_flow(FLOW))
    before = names.serial("flows.unix.ar")
    run(names.withdraw_flow(F))
    assert names.serial("flows.unix.ar") == before + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"servers": (Server("a" * 64, 1),)},
        {"servers": (Server("", 1),)},
        {"queue": "q" * 256},
        {"servers": (Server("a.ar", 70000),)},
    ],
)
def test_what_records_cannot_hold_is_refused_and_leaves_nothing(changes: dict[str, Any]) -> None:
    names = embedded()
    with pytest.raises(BackendFailed) as caught:
        run(names.publish_flow(replace(FLOW, **changes)))
    assert caught.value.text.startswith(f"DNS cannot say where {F} is: ")
    assert names.published() == []
