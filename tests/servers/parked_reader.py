"""Kafka clients of subscribers: how a credential makes one, and one whose Fetch is parked for up to a minute."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition

_LOOKS = 3
_EVERY_MS = 50


def client_settings(given: Mapping[str, Any], servers: str = "") -> dict[str, Any]:
    """How librdkafka reaches a copy or flow by what GET CREDENTIAL gave; `servers`, where names of the test lead nowhere."""
    assert (given["type"], given["security"], given["mechanism"]) == ("kafka", "sasl_ssl", "SCRAM-SHA-256")
    pem = f"-----BEGIN CERTIFICATE-----\n{given['trust']}\n-----END CERTIFICATE-----\n"
    return {
        "bootstrap.servers": servers or ",".join(given["server"]),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": given["mechanism"],
        "sasl.username": given["username"],
        "sasl.password": given["password"],
        "ssl.ca.pem": pem,
        "group.id": given["group"],
        "log_level": 0,
    }


class ParkedReader(threading.Thread):
    """Reads one partition from its beginning; `login` is how the broker is reached, as librdkafka's settings.

    `values` is what came; `broken` when (`time.monotonic`) an error came first, a connection that ended for example.
    """

    def __init__(self, login: Mapping[str, Any], topic: str) -> None:
        super().__init__(daemon=True)
        self.values: list[bytes | None] = []
        self.broken: float | None = None
        self._waited = 0
        self._ending = threading.Event()
        self._consumer = Consumer(
            {
                "group.id": "unused",
                **login,
                "fetch.wait.max.ms": 60_000,
                "socket.timeout.ms": 70_000,
                "enable.auto.commit": False,
                "error_cb": self._error,
                "stats_cb": self._looked,
                "statistics.interval.ms": _EVERY_MS,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    @property
    def parked(self) -> bool:
        """Whether a request has waited for its answer for some time: nothing but a Fetch does."""
        return self._waited >= _LOOKS

    def _error(self, _error: object) -> None:
        self.broken = self.broken or time.monotonic()

    def _looked(self, statistics: str) -> None:
        brokers = json.loads(statistics)["brokers"].values()
        waits = any(one["waitresp_cnt"] for one in brokers)
        self._waited = self._waited + 1 if waits else 0

    def run(self) -> None:
        while not self._ending.is_set():
            message = self._consumer.poll(0.05)
            if message is not None and message.error() is None:
                self.values.append(message.value())
                self._waited = 0
        self._consumer.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self.join(10)
