"""A copy read with its credential by a plain Kafka client, as any program would."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

TIMEOUT_MS = 5000


def read_one(credential: Mapping[str, str], port: int, ca: Path) -> int | None:
    """The offset of the first record that the credential can read; None if it is refused.  Blocks.

    The broker is reached by its address, because its name is only known to the demo's own name server.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    topic = credential["copy"]
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=[f"127.0.0.1:{port}"],
            security_protocol=credential["security"].upper(),
            sasl_mechanism=credential["mechanism"],
            sasl_plain_username=credential["username"],
            sasl_plain_password=credential["password"],
            ssl_cafile=str(ca),
            group_id=credential["group"],
            enable_auto_commit=False,
            consumer_timeout_ms=TIMEOUT_MS,
            bootstrap_timeout_ms=TIMEOUT_MS,
            request_timeout_ms=TIMEOUT_MS,
        )
    except KafkaError:
        return None
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        for record in consumer:
            return int(record.offset)
        return None
    except KafkaError:
        return None
    finally:
        consumer.close(autocommit=False)
