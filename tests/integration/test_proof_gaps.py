"""What a flow lost while a subscription was paused is told everywhere: audit log, DESCRIBE, metrics; then it goes on."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from servers.embedded import StartEmbedded
from servers.kafka_topics import Topics
from servers.pair import Member
from servers.participant import eventually

FLOW = "time.flows.unix.ar"


def test_a_gap_is_told_and_the_rest_is_carried(tmp_path: Path, start_embedded: StartEmbedded) -> None:
    broker = start_embedded(login=False)
    topics = Topics(broker.bootstrap())
    with Member("unix.ar", tmp_path) as member:
        member.settings["names"]["listen"] = ["127.0.0.1:0"]
        member.settings["brokers"] = [{"name": "main", "type": "kafka", "servers": [broker.bootstrap()]}]
        member.start()
        assert member.ask(f"CREATE FLOW {FLOW} partitions=1") == [f"220 OK {FLOW}"]
        copy = member.ask(f"SUBSCRIBE {FLOW}")[1]
        topics.fill(FLOW, 100, partitions=1)
        eventually(lambda: topics.ends(copy) == {0: 100}, 10, member.tail)
        assert member.ask(f"PAUSE SUBSCRIPTION {copy}") == ["220 OK"]
        topics.fill(FLOW, 200, 1, partitions=1)
        topics.drop_before(FLOW, {0: 250})
        assert member.ask(f"RESUME SUBSCRIPTION {copy}") == ["220 OK"]
        eventually(lambda: topics.ends(copy) == {0: 150}, 30, member.tail)
        assert topics.read(copy)[0][100:] == topics.read(FLOW)[0]

        def described() -> bool:
            (item,) = member.items(f"DESCRIBE PROCESSOR {copy}")
            return item.get("gap") == ["0:100-249"]

        eventually(described, 15, member.tail)
        eventually(lambda: audited(member) == [(copy, "partition 0: offsets 100 to 249")], 15, member.tail)
        host, port = member.address("metrics")
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        (line,) = (one for one in lines if one.startswith("eson_processor_missing_records_total{"))
        assert float(line.split()[-1]) == 150.0

        member.stop()
        member.start()
        eventually(described, 30, member.tail)
        assert len(audited(member)) == 1, "once, also when it is told again"


def audited(member: Member) -> list[tuple[str, str]]:
    return [tuple(row) for row in member.rows("select object, detail from audit where act = 'miss events'")]
