"""Limits of rate from the command to the queue: set, kept while catching up, over a restart, and lifted, by whoever may."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from servers.pair import PASSWORD, PROCESSOR, Member, Pair
from servers.participant import BIN, eventually

F, G = "time.flows.unix.ar", "time.flows.emiliano.ar"
SHARED = "shared.flows.unix.ar"
OCTETS = 500
"""Of each event's value."""
BATCH = 20
"""Events in each batch of the source."""
LOOKED_AT = 4.0
"""Seconds for which a limited flow is watched."""
LEAST = 0.6
"""Part of its limit that a flow with a backlog gets at least."""
FAST = 5
"""So many times its limit a flow that has none any more carries at least."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair, None, None]:
    with Pair(tmp_path_factory.mktemp("limits")) as both:
        yield both
        for one in both.both:
            assert "Traceback" not in one.log(), one.log()


class Queue:
    """A queue of a participant as its own user sees it at the broker."""

    def __init__(self, member: Member, flow: str) -> None:
        with member.tls_session() as wire:
            assert wire.reply("FORMAT JSON") == ["220 OK"]
            given = json.loads(wire.reply(f"GET CREDENTIAL {flow}")[1])
        self._settings: dict[str, Any] = {
            "bootstrap.servers": member.settings["brokers"][0]["listen"][0],
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": given["mechanism"],
            "sasl.username": given["username"],
            "sasl.password": given["password"],
            "log_level": 0,
        }
        self._flow, self._group = flow, given["group"]

    def write(self, first: int, count: int) -> None:
        """Numbers in batches of `BATCH`."""
        producer = Producer(
            {**self._settings, "enable.idempotence": True, "batch.num.messages": BATCH, "linger.ms": 20}
        )
        for number in range(first, first + count):
            producer.produce(self._flow, str(number).zfill(OCTETS).encode(), partition=0)
        assert producer.flush(60) == 0

    def _consumer(self) -> Consumer:
        return Consumer({**self._settings, "group.id": self._group, "enable.auto.commit": False})

    def watch(self, seconds: float) -> list[tuple[float, int]]:
        """(moment, events that are there), looked at all the time."""
        consumer, seen = self._consumer(), []
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                count = consumer.get_watermark_offsets(TopicPartition(self._flow, 0), timeout=10)[1]
                seen.append((time.monotonic(), count))
                time.sleep(0.02)
        finally:
            consumer.close()
        return seen

    def count(self) -> int:
        return self.watch(0.001)[-1][1]

    def numbers(self, count: int) -> list[int]:
        """The first so many events."""
        consumer = self._consumer()
        consumer.assign([TopicPartition(self._flow, 0, 0)])
        found: list[int] = []
        end = time.monotonic() + 30
        try:
            while len(found) < count and time.monotonic() < end:
                found += [int(one.value() or b"") for one in consumer.consume(1000, 0.2) if not one.error()]
        finally:
            consumer.close()
        return found


def keeps(seen: list[tuple[float, int]], limit: float, burst: float) -> None:
    """No more than `limit` a second, and what may be there at once; it is used, too."""
    (began, before), (ended, after) = seen[0], seen[-1]
    for at, count in seen:
        assert count - before <= limit * (at - began) + burst, (at - began, count - before, limit)
    assert after - before >= LEAST * limit * (ended - began), (ended - began, after - before, limit)


def goes_fast(queue: Queue, before: int, count: int, limit: float) -> None:
    """What lacked `before` the limit was lifted arrives much sooner than the limit would have it."""
    seconds = (count - before) / limit / FAST
    assert seconds > 1.0, "too little is left to tell the two apart"
    eventually(lambda: queue.count() == count, seconds, lambda: f"{queue.count()} of {count}")


def fnua(member: Member, *words: str) -> str:
    """What it prints."""
    file = member.write_user_agent()
    profile = yaml.safe_load(file.read_text())
    profile["agents"][0] |= {"username": "test", "password": PASSWORD}
    file.write_text(yaml.safe_dump(profile))
    done = subprocess.run(
        [BIN / "fnua", "-c", file, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def processors(member: Member) -> list[int]:
    return [one.pid for one in member.child(PROCESSOR)]


def test_a_local_flow_and_a_copy_are_filled_no_faster_than_they_may(pair: Pair) -> None:
    """First the subscriber's limit, in events, then the provider's, in octets: each while there is a backlog."""
    provider, subscriber = pair.both
    assert provider.ask(f"CREATE FLOW {F} visibility=public") == [f"220 OK {F}"]
    source = Queue(provider, F)
    source.write(0, 6000)
    limit = 200
    assert subscriber.ask(f"CREATE FLOW {G} limit={limit}/s") == [f"220 OK {G}"]
    reply = subscriber.ask(f"SUBSCRIBE {F} LOCAL {G} FROM BEGINNING")
    assert reply[-1] == "220 OK", reply
    copy = reply[1].split()[-1]
    local = Queue(subscriber, G)
    # a bucket that was full, and the batch with which it was emptied
    keeps(local.watch(LOOKED_AT), limit, limit + BATCH)
    carrying = processors(provider), processors(subscriber)
    assert "limit" in fnua(subscriber, "describe", "flow", G)
    before = local.count()
    fnua(subscriber, "update", "flow", G, "limit=none")
    goes_fast(local, before, 6000, limit)
    # the provider's, also for what its agent starts again
    assert provider.ask(f"UPDATE FLOW {copy} limit={limit * OCTETS}B/s") == [f"220 OK {copy}"]
    source.write(6000, 6000)
    keeps(local.watch(LOOKED_AT), limit, limit + 2 * BATCH)
    assert (processors(provider), processors(subscriber)) == carrying, "nothing was started anew"
    provider.kill()
    provider.start()
    stood = local.count()
    eventually(lambda: local.count() > stood, 30, lambda: provider.tail())
    keeps(local.watch(LOOKED_AT), limit, limit + 2 * BATCH)
    (described,) = provider.items(f"DESCRIBE FLOW {copy}")
    assert described["limit"] == f"{limit * OCTETS}B/s"
    before = local.count()
    assert provider.ask(f"UPDATE FLOW {copy} limit=none") == [f"220 OK {copy}"]
    goes_fast(local, before, 12_000, limit)
    assert local.numbers(12_000) == list(range(12_000)), "each once, in order"


def test_a_copy_with_a_limit_holds_up_no_other_that_shares_its_read(pair: Pair) -> None:
    provider = pair.provider
    assert provider.ask(f"CREATE FLOW {SHARED}") == [f"220 OK {SHARED}"]
    slow, quick = (provider.ask(f"SUBSCRIBE {SHARED} AS {token}")[1] for token in ("slow", "quick"))
    pids = [provider.items(f"DESCRIBE PROCESSOR {copy}")[0]["pid"] for copy in (slow, quick)]
    assert len(set(pids)) == 1, "they share a process"
    limit = 100
    assert provider.ask(f"UPDATE FLOW {slow} limit={limit}/s,{limit * 10 * OCTETS}B/s") == [f"220 OK {slow}"]
    source, behind, ahead = (Queue(provider, name) for name in (SHARED, slow, quick))
    source.write(0, 4000)
    goes_fast(ahead, 0, 4000, limit)
    keeps(behind.watch(LOOKED_AT), limit, limit + BATCH)
    source.write(4000, 1000)
    eventually(lambda: ahead.count() == 5000, 3.0, lambda: f"{ahead.count()}")
    before = behind.count()
    assert provider.ask(f"UPDATE FLOW {slow} limit=none") == [f"220 OK {slow}"]
    goes_fast(behind, before, 5000, limit)
    for queue in (behind, ahead):
        assert queue.numbers(5000) == list(range(5000))


def test_pausing_again_and_again_gains_nothing(pair: Pair) -> None:
    """At the provider's agent the subscription's own principal may do that."""
    provider, limit, rounds = pair.provider, 20, 15
    flow = "patient.flows.unix.ar"
    assert provider.ask(f"CREATE FLOW {flow}") == [f"220 OK {flow}"]
    copy = provider.ask(f"SUBSCRIBE {flow}")[1]
    assert provider.ask(f"UPDATE FLOW {copy} limit={limit}/s") == [f"220 OK {copy}"]
    source, filled = Queue(provider, flow), Queue(provider, copy)
    source.write(0, 2000)
    eventually(lambda: filled.count() > 0)
    began, before = time.monotonic(), filled.count()

    def running() -> bool:
        return "state=running" in wire.reply(f"DESCRIBE PROCESSOR {copy}")

    with provider.session() as wire:
        for _ in range(rounds):
            assert wire.reply(f"PAUSE SUBSCRIPTION {copy}") == ["220 OK"]
            assert wire.reply(f"RESUME SUBSCRIPTION {copy}") == ["220 OK"]
            eventually(running)
            time.sleep(0.1)  # in which a batch would be sent
    grew = filled.count() - before
    seconds = time.monotonic() - began
    assert grew <= limit * seconds + BATCH, (grew, seconds)
    assert limit * seconds + BATCH < rounds * BATCH, "it took too long to tell"
