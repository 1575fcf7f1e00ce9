"""Kafka's own Java tools work with the embedded broker: topics, producer, consumer, groups, settings, rights."""

from __future__ import annotations

from pathlib import Path

from servers.embedded import ADMIN, PASSWORD, StartEmbedded
from servers.kafka_jars import (
    ACLS,
    CONFIGS,
    CONSOLE_CONSUMER,
    CONSOLE_PRODUCER,
    GROUPS,
    TOPICS,
    Jars,
    client_properties,
)

TOPIC = "java.flows.unix.ar"


def test_javas_tools_with_login(start_embedded: StartEmbedded, kafka_jars: Jars, tmp_path: Path) -> None:
    broker = start_embedded()
    config = str(client_properties(tmp_path / "admin.properties", ADMIN, PASSWORD))
    server = ("--bootstrap-server", broker.bootstrap())
    admin = (*server, "--command-config", config)
    run = kafka_jars.run
    run(TOPICS, *admin, "--create", "--topic", TOPIC, "--partitions", "2", "--config", "retention.ms=3600000")
    described = run(TOPICS, *admin, "--describe", "--topic", TOPIC).stdout
    assert "PartitionCount: 2" in described
    assert "retention.ms=3600000" in described
    run(
        CONFIGS,
        *admin,
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        TOPIC,
        "--add-config",
        "retention.ms=7200000",
    )
    settings = run(CONFIGS, *admin, "--describe", "--entity-type", "topics", "--entity-name", TOPIC).stdout
    assert "retention.ms=7200000" in settings
    run(CONFIGS, *admin, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=java]", "--entity-type", "users",
        "--entity-name", "java")  # fmt: skip
    for right in (
        ("--topic", TOPIC, "--producer"),
        ("--topic", TOPIC, "--consumer", "--group", "java-group"),
    ):
        run(ACLS, *admin, "--add", "--allow-principal", "User:java", *right)
    assert "User:java" in run(ACLS, *admin, "--list", "--topic", TOPIC).stdout
    user = str(client_properties(tmp_path / "java.properties", "java", "java", {"acks": "all"}))
    lines = [f"line {number}" for number in range(200)]
    run(CONSOLE_PRODUCER, *server, "--topic", TOPIC, "--command-config", user, stdin="\n".join(lines) + "\n")
    read = run(
        *(
            CONSOLE_CONSUMER,
            *server,
            "--topic",
            TOPIC,
            "--group",
            "java-group",
            "--from-beginning",
            "--max-messages",
            "200",
        ),
        *("--command-config", user, "--timeout-ms", "20000"),
    ).stdout
    assert sorted(read.split("\n")[:-1]) == sorted(lines)
    group = run(GROUPS, *admin, "--describe", "--group", "java-group").stdout
    assert TOPIC in group
    assert "java-group" in run(GROUPS, *admin, "--list").stdout
    refused = run(
        *(
            CONSOLE_CONSUMER,
            *server,
            "--topic",
            TOPIC,
            "--group",
            "other",
            "--max-messages",
            "1",
            "--timeout-ms",
            "5000",
        ),
        *("--command-config", user),
        check=False,
    )
    assert "GroupAuthorizationException" in refused.stderr
