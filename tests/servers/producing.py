"""A producer that writes numbers to a flow all along, through whatever happens to its broker."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException, Message, Producer
from servers.pair import Member

BETWEEN = 0.005
"""Seconds between two records: 200 a second."""


class SteadyProducer:
    """librdkafka, idempotent; `confirmed` holds (partition, offset, value) of what was acknowledged."""

    def __init__(self, member: Member, flow: str, partitions: int) -> None:
        with member.tls_session() as wire:
            assert wire.reply("FORMAT JSON") == ["220 OK"]
            given = json.loads(wire.reply(f"GET CREDENTIAL {flow}")[1])
        host, port = member.settings["brokers"][0]["listen"][0].split(":")
        self._producer = Producer(
            {
                "bootstrap.servers": f"{host}:{port}",
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": given["mechanism"],
                "sasl.username": given["username"],
                "sasl.password": given["password"],
                "enable.idempotence": True,
                "message.timeout.ms": 120_000,
                "reconnect.backoff.max.ms": 200,
                "linger.ms": 1,
                "log_level": 2,
            }
        )
        self.flow, self._partitions = flow, partitions
        self.confirmed: list[tuple[int, int, int]] = []
        self.failed: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        while not self._end.wait(BETWEEN):
            self._producer.produce(
                self.flow, str(number).encode(), partition=number % self._partitions, callback=self._told
            )
            self._producer.poll(0)
            number += 1
        self._producer.flush(60)

    def _told(self, error: KafkaException | None, message: Message | Any) -> None:
        if error is not None:
            self.failed.append(str(error))
            return
        self.confirmed.append((message.partition(), message.offset(), int(message.value())))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(90)
