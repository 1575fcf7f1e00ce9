"""The Kafka adapter keeps the contract of brokers at a real Apache Kafka, and users are let in and shut out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from brokers.contract.broker_contract import BrokerContract, Call
from servers.kafka import ADMIN, PASSWORD, Kafka

from eson.brokers.kafka.broker import KafkaBroker
from eson.brokers.port import Access, Broker
from eson.model.servers import Server


def access(kafka: Kafka, username: str = ADMIN, password: str = PASSWORD) -> Access:
    servers = (Server("127.0.0.1", kafka.port("SASL")),)
    return Access(servers, "sasl_plaintext", "SCRAM-SHA-256", username, password)


@pytest.fixture
def call(in_reactor: Call) -> Call:
    return in_reactor


@pytest.fixture
def broker(kafka: Kafka, reactor_thread: Any, in_reactor: Call) -> Iterator[Broker]:
    made = KafkaBroker(reactor_thread, "main", access(kafka))
    in_reactor(made.start)
    yield made
    in_reactor(made.stop)


class TestKafkaBroker(BrokerContract):
    pass
