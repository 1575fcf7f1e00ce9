"""REPLICATE, COLLECT, DISTRIBUTE and SIGNAL by a real participant, `fnua` and real processors: what arrives and is shown.

Whoever is killed meanwhile: everything arrives exactly once, and what was paused or stopped stays so.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import TopicPartition
from servers.comparing import Expected, Found
from servers.fnua import Fnua
from servers.kafka_topics import Topics
from servers.participant import Participant, Wire, eventually

from eson.processors.port import ProcessorOrder

TICKS = "type = 'tick'"
FIRST_KEYS = ["state", "pid", "since", "restarts", "lag", "rate", "last-event"]
BETWEEN = 0.02
"""Seconds between twenty events of a WRITE that goes on: about 1000 a second."""
Event = dict[str, Any]
Lane = tuple[str, int]
"""(flow, partition)."""


def event(number: int) -> str:
    return json.dumps(
        {
            "source": "/clock",
            "type": "tick" if number % 3 else "tock",
            "id": str(number),
            "esonkey": f"key-{number % 11}",
            "data": {"number": number, "text": "é" * (number % 40)},
        }
    )


def write(wire: Wire, flow: str, first: int, count: int) -> None:
    wire.send(f"WRITE {flow}")
    assert wire.line().startswith("354 ")
    wire.send(*(event(number) for number in range(first, first + count)), ".")
    assert wire.line() == f"220 OK {count}\r\n"


def read(wire: Wire, flow: str) -> list[Event]:
    first, *events, last = wire.reply(f"READ {flow}")
    assert (first, last) == ("220 DATA", "220 OK")
    return [json.loads(one) for one in events]


def described(wire: Wire, id: str) -> list[tuple[str, str]]:
    """DESCRIBE PROCESSOR in TEXT, as (key, value) in order."""
    first, *lines, last = wire.reply(f"DESCRIBE PROCESSOR {id}")
    assert (first, last) == ("220 DATA", "220 OK")
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def shown(wire: Wire, id: str) -> dict[str, str]:
    return dict(described(wire, id))


class Place:
    """A participant that runs, with all that a test asks it by; `again` after it was started anew."""

    def __init__(self, unix: Participant) -> None:
        self.unix = unix
        self.again()

    def again(self) -> None:
        self.fnua = Fnua(self.unix)
        self.wire = Wire(self.unix.address("fnap")).login()
        self.topics = Topics("{}:{}".format(*self.unix.address("local")))
        self._consumer = self.topics.consumer()

    def flow(self, name: str, *settings: str) -> str:
        whole = f"{name}.flows.unix.ar"
        assert self.wire.reply(" ".join([f"CREATE FLOW {whole}", *settings])) == [f"220 OK {whole}"]
        return whole

    def made(self, *words: str) -> str:
        """The id that `fnua` prints of a new processor."""
        id = self.fnua.run(*words).strip()
        assert re.fullmatch(r"p-[a-z0-9]{7}", id), f"{id}:\n{self.unix.tail()}"
        return id

    def count(self, flow: str) -> int:
        """Events in all its partitions."""
        partitions = self._consumer.list_topics(flow, timeout=30).topics[flow].partitions
        ends = [self._consumer.get_watermark_offsets(TopicPartition(flow, one), 30) for one in partitions]
        return sum(end for _, end in ends)

    def holds(self, flow: str, count: int) -> None:
        """Waits until the flow has so many events."""
        eventually(
            lambda: self.count(flow) >= count,
            30,
            lambda: f"{flow} has {self.count(flow)}, not {count}:\n{self.unix.tail()}",
        )
        assert self.count(flow) == count

    def rests(self, id: str, state: str) -> None:
        """Without a process: no other than its journal is left of it."""
        found = shown(self.wire, id)
        assert (found["state"], "pid" in found) == (state, False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The tests share it; each uses flows of its own."""
    with participant(tmp_path_factory.mktemp("verbs")) as unix:
        yield Place(unix.start())


def participant(root: Path) -> Participant:
    unix = Participant("unix.ar", root)
    del unix.settings["brokers"][0]["advertise"]  # so that clients reach the broker
    return unix


def lanes(
    flow: str, events: Sequence[Event], begin: Mapping[int, int] | None = None
) -> dict[Lane, list[Event]]:
    """What READ shows by partition, without the offsets, which differ from flow to flow."""
    found: dict[Lane, list[Event]] = defaultdict(list)
    for one in events:
        partition, offset = one["esonpartition"], one["esonoffset"]
        if begin is None or offset >= begin[partition]:
            found[flow, partition].append({k: v for k, v in one.items() if k != "esonoffset"})
    return found


def signals(id: str, flow: str, events: Sequence[Event], begin: Mapping[int, int]) -> list[Event]:
    """The new events for those that are ticks."""
    return [
        {
            **{key: value for key, value in one.items() if key != "esonoffset"},
            "id": f"{id}-{one['esonpartition']}-{one['esonoffset']}",
            "source": f"flow://{flow}",
            "esoncauseid": one["id"],
            "esoncausesource": one["source"],
        }
        for one in events
        if one["type"] == "tick" and one["esonoffset"] >= begin[one["esonpartition"]]
    ]


def test_each_verb_carries_what_is_written_from_its_answer_on(place: Place) -> None:
    wire, fnua, topics = place.wire, place.fnua, place.topics
    a, b = place.flow("a", "partitions=2"), place.flow("b", "mode=structured")
    names = ("bridged", "collected", "one", "two", "here", "there")
    bridged, collected, one, two, here, there = (f"{name}.flows.unix.ar" for name in names)
    write(wire, a, 0, 20)
    write(wire, b, 0, 20)
    begin = {flow: topics.ends(flow) for flow in (a, b)}

    bridge = place.made("replicate", a, "to", bridged)
    collector = place.made("collect", a, b, "to", collected)
    distributor = place.made("distribute", a, "to", one, two)
    signal = place.made("signal", a, b, "to", here, there, "--when", TICKS)
    assert fnua.run("write", a, text="\n".join(event(number) for number in range(20, 320))) == ""
    write(wire, b, 20, 100)

    events = {flow: read(wire, flow) for flow in (a, b)}
    carried = lanes(a, events[a], begin[a])
    assert sorted(carried) == [(a, 0), (a, 1)]
    for copy in (bridged, one, two):
        place.holds(copy, 300)
        assert lanes(a, read(wire, copy)) == carried

    place.holds(collected, 400)
    got: dict[tuple[bytes, int], list[Any]] = defaultdict(list)
    for partition, messages in topics.messages(collected).items():
        for key, value, headers, time, _ in messages:
            assert headers[-1][0] == "eson-source"
            got[headers[-1][1], partition].append((key, value, headers[:-1], time))
    assert got == {
        (f"flow://{flow}".encode(), partition): [
            message[:4] for message in messages[begin[flow][partition] :]
        ]
        for flow in (a, b)
        for partition, messages in topics.messages(flow).items()
    }

    wanted = [one for flow in (a, b) for one in signals(signal, flow, events[flow], begin[flow])]
    for copy in (here, there):
        place.holds(copy, len(wanted))
        by_source: dict[Lane, list[Event]] = defaultdict(list)
        for one_more in wanted:
            by_source[one_more["source"], one_more["esonpartition"]].append(one_more)
        found: dict[Lane, list[Event]] = defaultdict(list)
        for (_, partition), made in lanes(copy, read(wire, copy)).items():
            for one_more in made:
                found[one_more["source"], partition].append(one_more)
        assert found == by_source

    whole = {
        bridge: ("bridge", [a], [bridged]),
        collector: ("collector", [a, b], [collected]),
        distributor: ("distributor", [a], [one, two]),
        signal: ("signal", [a, b], [here, there]),
    }
    listed = {row["processor"]: row for row in fnua.rows("get", "processors")}
    subscribed = {row["subscription"]: row for row in fnua.rows("get", "subscriptions")}
    pids = {child.pid for child in place.unix.children()}
    for id, (kind, sources, destinations) in whole.items():
        eventually(lambda id=id: shown(wire, id).get("lag") == "0", 15)  # type: ignore[misc]
        pairs = described(wire, id)
        ends = [("source", flow) for flow in sources] + [("destination", flow) for flow in destinations]
        assert pairs[: 2 + len(ends)] == [("processor", id), ("kind", kind), *ends]
        assert [key for key, _ in pairs[2 + len(ends) :]] == FIRST_KEYS
        values = dict(pairs)
        assert (values["state"], values["restarts"]) == ("running", "0")
        assert int(values["pid"]) in pids
        newest = max(time for flow in sources for of in topics.messages(flow).values() for *_, time, _ in of)
        assert datetime.fromisoformat(values["last-event"]).timestamp() == newest / 1000
        assert list(listed[id]) == ["processor", "kind", *FIRST_KEYS]
        assert (listed[id]["kind"], listed[id]["pid"]) == (kind, int(values["pid"]))
        row = subscribed[id]
        assert (row["flow"], row["local"], row["state"]) == (
            ",".join(sources),
            ",".join(destinations),
            "active",
        )
        assert row["principal"] == row["actor"] == "user:test"
    assert set(whole) <= set(listed)


def test_they_are_paused_resumed_stopped_and_ended_like_subscriptions(place: Place) -> None:
    wire, fnua, unix = place.wire, place.fnua, place.unix
    source, copy, other = place.flow("lived"), "led.flows.unix.ar", "witness.flows.unix.ar"
    id = place.made("distribute", source, "to", copy, "second.flows.unix.ar")
    assert wire.reply(f"REPLICATE {source} {other}")[0].startswith("220 OK p-")
    write(wire, source, 0, 50)
    place.holds(copy, 50)

    fnua.run("pause", id)
    pid = int(shown(wire, id)["pid"])
    write(wire, source, 50, 50)
    place.holds(other, 100)  # time enough for the paused one as well
    assert place.count(copy) == 50
    paused = shown(wire, id)
    assert (paused["state"], int(paused["pid"])) == ("paused", pid)
    assert "lag" not in paused, "nobody looks how far behind it is"
    (row,) = [line for line in wire.reply("GET SUBSCRIPTIONS") if line.startswith(f"subscription={id} ")]
    assert " state=paused actor=user:test " in row
    assert wire.reply(f"RESUME SUBSCRIPTION {id}") == ["220 OK"]
    place.holds(copy, 100)
    assert int(shown(wire, id)["pid"]) == pid

    fnua.run("stop", id)
    assert not psutil.pid_exists(pid)
    stopped = shown(wire, id)
    assert (stopped["state"], "pid" in stopped) == ("stopped", False)
    assert datetime.fromisoformat(stopped["since"]) > datetime.fromisoformat(paused["since"])
    write(wire, source, 100, 50)
    place.holds(other, 150)
    assert place.count(copy) == 100
    assert wire.reply(f"PAUSE SUBSCRIPTION {id}")[0].startswith("554 ")
    fnua.run("resume", id)
    place.holds(copy, 150)

    pid = int(shown(wire, id)["pid"])
    journal = unix.state / "processors" / f"{id}.journal"
    assert journal.exists()
    fnua.run("unsubscribe", id)
    assert not psutil.pid_exists(pid)
    ended = described(wire, id)
    assert ("state", "ended") in ended
    assert ended[-1] == ("reason", "unsubscribed")
    for line in ("GET PROCESSORS", "GET SUBSCRIPTIONS"):
        assert id not in "".join(wire.reply(line))
    for line in (f"UNSUBSCRIBE {id}", f"RESUME SUBSCRIPTION {id}", f"STOP SUBSCRIPTION {id}"):
        assert wire.reply(line) == [f"550 No such subscription: {id}"]
    write(wire, source, 150, 10)
    place.holds(other, 160)
    assert lanes("", read(wire, copy)) == lanes("", read(wire, source)[:150]), "what was carried stays"
    assert not journal.exists()


@dataclass
class Streaming:
    """One WRITE that goes on until `end`, or until its agent is gone."""

    wire: Wire
    flow: str
    sent: int = 0
    reply: str = ""
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Streaming:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        with self.wire, suppress(OSError):
            self.wire.send(f"WRITE {self.flow}")
            self.reply = self.wire.line()
            while not self._over.wait(BETWEEN):
                self.wire.send(*(event(number) for number in range(self.sent, self.sent + 20)))
                self.sent += 20
            self.wire.send(".")
            self.reply = self.wire.line()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> str:
        self._over.set()
        self._thread.join(60)
        assert not self.running
        return self.reply


def test_everything_arrives_once_whoever_is_killed_meanwhile(tmp_path: Path) -> None:
    with participant(tmp_path) as unix:
        place = Place(unix.start())
        a, b = place.flow("a", "partitions=2"), place.flow("b")
        orders: list[ProcessorOrder] = []

        def make(kind: Any, line: str, sources: Sequence[str], names: Sequence[str]) -> str:
            flows = [f"{name}.flows.unix.ar" for name in names]
            (reply,) = place.wire.reply(line.format(" ".join(flows)))
            id = reply.removeprefix("220 OK ")
            ends = [tuple(place.topics.end(flow) for flow in of) for of in (sources, flows)]
            orders.append(ProcessorOrder(id, kind, *ends))
            return id

        make("bridge", f"REPLICATE {a} {{}}", [a], ["bridged"])
        make("collector", f"COLLECT {a} {b} TO {{}}", [a, b], ["collected"])
        make("distributor", f"DISTRIBUTE {a} TO {{}}", [a], ["one", "two"])
        make("signal", f'SIGNAL {a} {b} TO {{}} WHEN "{TICKS}"', [a, b], ["here", "there"])
        carriers = [order.id for order in orders]
        paused = make("bridge", f"REPLICATE {a} {{}}", [a], ["paused"])
        stopped = make("distributor", f"DISTRIBUTE {b} TO {{}}", [b], ["stopped", "too"])
        write(place.wire, b, 0, 100)
        for flow in ("collected", "stopped"):
            place.holds(f"{flow}.flows.unix.ar", 100)
        assert place.wire.reply(f"PAUSE SUBSCRIPTION {paused}") == ["220 OK"]
        assert place.wire.reply(f"STOP SUBSCRIPTION {stopped}") == ["220 OK"]

        def moving(least: int) -> None:
            """Waits until each destination of those that carry has got so many more events of `a`."""
            flows = [end.flow for order in orders[:4] for end in order.destinations]
            first = {flow: place.count(flow) for flow in flows}
            eventually(lambda: all(place.count(flow) >= first[flow] + least for flow in flows), 30, unix.tail)

        streaming = Streaming(Wire(unix.address("fnap")).login(), a).start()
        moving(100)
        assert streaming.running
        unix.kill()
        assert not streaming.end().startswith("220 "), "it was in the middle of its WRITE"
        unix.no_orphans(10)
        unix.start()
        place.again()

        place.rests(paused, "paused")
        place.rests(stopped, "stopped")
        (again,) = place.wire.reply(f"REPLICATE {a} bridged.flows.unix.ar")
        assert again.startswith(f"554 Conflict: {carriers[0]} "), (
            "who did not get its id would get each event twice"
        )
        streaming = Streaming(Wire(unix.address("fnap")).login(), a).start()
        moving(20)
        for id in carriers:
            psutil.Process(int(shown(place.wire, id)["pid"])).kill()
        moving(100)
        assert streaming.running
        assert streaming.end() == f"220 OK {streaming.sent}\r\n"
        write(place.wire, b, 100, 100)
        for id in carriers:
            assert shown(place.wire, id)["restarts"] == "1"

        expected = Expected(place.topics, [a, b])
        found = Found()
        for order in orders[:4]:
            expected.compare(order, found, 30)
        assert place.topics.ends("paused.flows.unix.ar") == {0: 0, 1: 0}
        assert place.count("stopped.flows.unix.ar") == 100
        for id in (paused, stopped):
            assert place.wire.reply(f"RESUME SUBSCRIPTION {id}") == ["220 OK"]
        for order in orders[4:]:
            expected.compare(order, found, 30)
        assert (found.lost, found.twice, found.strange) == (0, 0, 0)
        for id in (*carriers, paused, stopped):
            eventually(lambda id=id: shown(place.wire, id).get("lag") == "0", 15, unix.tail)  # type: ignore[misc]
        _, *rows, _ = place.wire.reply("GET SUBSCRIPTIONS")
        assert len(rows) == len(orders)
        assert all(" state=active " in row for row in rows)
