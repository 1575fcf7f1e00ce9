"""The embedded broker keeps the contract of brokers; it is reached as the agent reaches it, through the Kafka adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers.contract.broker_contract import BrokerContract, Call

from eson.brokers.embedded.broker import EmbeddedBroker
from eson.brokers.embedded.settings import Settings
from eson.brokers.port import Broker


@pytest.fixture
def call(in_reactor: Call) -> Call:
    return in_reactor


@pytest.fixture
def broker(reactor_thread: Any, in_reactor: Call, tmp_path: Path) -> Iterator[Broker]:
    made = EmbeddedBroker(reactor_thread, "local", Settings(str(tmp_path), (("127.0.0.1", 0),)), "127.0.0.1")
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


class TestEmbeddedBroker(BrokerContract):
    pass
