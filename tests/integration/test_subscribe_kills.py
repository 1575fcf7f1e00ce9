"""Whatever dies during SUBSCRIBE or UNSUBSCRIBE, at either side: in the end nothing is half made, and no event is lost.

ESON_SUBSCRIBE_KILLS says how many rounds (`make kill-test`: 100), ESON_SEED repeats a run.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from servers.pair import BROKER, PROCESSOR, Member, Pair, differences, live
from servers.participant import eventually
from servers.producing import SteadyProducer

ROUNDS = int(os.environ.get("ESON_SUBSCRIBE_KILLS", "8"))
SEED = int(os.environ.get("ESON_SEED", "0")) or random.randrange(1, 1 << 32)
FLOW, PARTITIONS = "time.flows.unix.ar", 2
ORPHANS_GONE = 2.0
SETTLED = 90.0
"""Seconds until both sides agree: a call that failed is repeated after ten seconds, then after twenty."""
SUBSCRIBING, UNSUBSCRIBING = 4.0, 1.0
"""Seconds that each takes, about: kills come at any point of them."""


@dataclass
class Command:
    """One command to the subscriber's agent, in a thread: its reply, [] if the session ended before."""

    member: Member
    text: str
    reply: list[str] = field(default_factory=list)

    def start(self) -> Command:
        wire = self.member.session()

        def run() -> None:
            with wire, suppress(OSError):
                self.reply = [line for line in wire.reply(self.text) if line]

        self._thread = threading.Thread(target=run)
        self._thread.start()
        return self

    def wait(self) -> list[str]:
        self._thread.join(90)
        assert not self._thread.is_alive(), f"{self.text} is not answered"
        return self.reply

    @property
    def running(self) -> bool:
        return self._thread.is_alive()


@dataclass(frozen=True)
class Kill:
    """Who dies when: `victim` at `side` gets `number`, `after` that part of the command's usual time."""

    side: int
    victim: str
    number: signal.Signals
    after: float

    def __str__(self) -> str:
        return f"{self.number.name} to {('provider', 'subscriber')[self.side]}'s {self.victim} at {self.after:.2f}"

    def strike(self, pair: Pair, command: Command, usual: float) -> None:
        """Kills, and starts an agent that died again; children are started by their agent."""
        member = pair.both[self.side]
        began = time.monotonic()
        if self.victim == "processor":
            # there is none before it is started
            while command.running and not member.child(PROCESSOR):
                time.sleep(0.01)
            time.sleep(self.after * usual / 4)
        else:
            time.sleep(max(0.0, self.after * usual - (time.monotonic() - began)))
        if self.victim == "agent":
            self._end_agent(member)
            return
        for one in member.child(BROKER if self.victim == "broker" else PROCESSOR):
            with suppress(psutil.NoSuchProcess):
                one.send_signal(self.number)

    def _end_agent(self, member: Member) -> None:
        member.signal(self.number)
        member.wait()
        member.no_orphans(ORPHANS_GONE)
        member.start()


def kills(chance: random.Random) -> Iterator[Kill]:
    """Every victim at either side by either signal, in an order that the seed decides, for ever."""
    every = list(
        itertools.product((0, 1), ("agent", "broker", "processor"), (signal.SIGTERM, signal.SIGKILL))
    )
    while True:
        chance.shuffle(every)
        for side, victim, number in every:
            yield Kill(side, victim, number, chance.uniform(0, 1.2))


class Rounds:
    """One pair of participants that live through all rounds, with a writer that never rests."""

    def __init__(self, pair: Pair, chance: random.Random) -> None:
        self.pair, self.chance = pair, chance
        self.carried = 0

    def settle(self) -> None:
        """Both sides agree, in themselves and with each other."""
        found: list[str] = []

        def agree() -> bool:
            found[:] = differences(self.pair)
            return not found

        eventually(agree, SETTLED, lambda: "; ".join(found))

    def subscribe(self, local: str, kill: Kill) -> str:
        """The copy, or "" where the subscription was given up."""
        command = Command(self.pair.subscriber, f"SUBSCRIBE {FLOW} LOCAL {local}").start()
        kill.strike(self.pair, command, SUBSCRIBING)
        reply = command.wait()
        self.settle()
        copies = live(self.pair.subscriber, "subscriber")
        code = reply[-1][:3] if reply else ""
        if code == "220":
            assert [reply[1].split()[-1]] == copies, f"it was told of {reply[1]}, there is {copies}"
        elif code == "202":
            assert copies in ([], [reply[-1].split()[-1]])
        elif code and code != "421":  # that is: the session ends, whatever became of the command
            assert code[0] in "45", reply
            assert copies == [], f"it was told {reply}, there is {copies}"
        assert len(copies) <= 1, copies
        return copies[0] if copies else ""

    def unsubscribe(self, copy: str, kill: Kill) -> None:
        command = Command(self.pair.subscriber, f"UNSUBSCRIBE {copy}").start()
        kill.strike(self.pair, command, UNSUBSCRIBING)
        reply = command.wait()
        self.settle()
        if live(self.pair.subscriber, "subscriber"):
            # it did not happen at all, and whoever asked was not told that it had
            assert reply != ["220 OK"], "it was told that it had ended"
            assert self.pair.subscriber.insist(f"UNSUBSCRIBE {copy}") == ["220 OK"]
            self.settle()
            assert not live(self.pair.subscriber, "subscriber")

    def compare(self, copy: str, local: str, whole: bool) -> None:
        """All of F from the start of the subscription is in G, in order and once: as far as F goes now if `whole`."""
        start = json.loads(
            self.pair.provider.column("select start from subscriptions where copy = ? ", copy)[0]
        )
        position = ",".join(f"{partition}:{offset}" for partition, offset in start)
        there = records(self.pair.provider, FLOW, position)
        here: dict[int, list[str]] = {}

        def arrived() -> bool:
            here.update(records(self.pair.subscriber, local, "BEGINNING"))
            return not whole or all(len(here.get(one, ())) >= len(there[one]) for one in there)

        eventually(
            arrived, 30, lambda: f"{sizes(here)} of {sizes(there)} arrived; {self.pair.subscriber.tail()}"
        )
        for partition, found in here.items():
            wanted = there.get(partition, [])
            number = min(len(found), len(wanted))
            at = next((n for n in range(number) if found[n] != wanted[n]), None)
            assert at is None, (
                f"partition {partition}, record {at}: {found[at : at + 3]} for {wanted[at : at + 3]}"
            )
            assert whole or len(found) <= len(wanted), "more arrived than was sent"
            assert digest(found[:number]) == digest(wanted[:number])
            self.carried += number

    def round(self, number: int, at_start: Kill, at_end: Kill) -> None:
        local = f"g{number}.flows.emiliano.ar"
        copy = self.subscribe(local, at_start)
        if copy:
            self.compare(copy, local, whole=True)
            self.unsubscribe(copy, at_end)
            self.compare(copy, local, whole=False)
        reply = self.pair.subscriber.insist(f"DELETE FLOW {local}")
        assert reply[0].startswith("220 OK") or not copy, reply
        self.settle()


def records(member: Member, flow: str, position: str) -> dict[int, list[str]]:
    """What each partition holds from there on."""
    found: dict[int, list[str]] = {}
    for one in member.items(f"READ {flow} FROM {position}"):
        found.setdefault(one["esonpartition"], []).append(one["data_base64"])
    return found


def hold_each_once(provider: Member, producer: SteadyProducer) -> None:
    """F holds what was acknowledged, once and in order; so what was compared with F was compared with that."""
    written = records(provider, FLOW, "BEGINNING")
    for partition, values in written.items():
        confirmed = sorted(one[1:] for one in producer.confirmed if one[0] == partition)
        numbers = [number for _, number in confirmed]
        assert numbers == sorted(set(numbers))
        assert [base64.b64encode(b"%d" % number).decode() for number in numbers] == values


def sizes(records_of: dict[int, list[str]]) -> dict[int, int]:
    return {partition: len(found) for partition, found in sorted(records_of.items())}


def digest(values: list[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


@pytest.mark.timeout(60 + 60 * ROUNDS)
def test_kills_at_any_point_leave_nothing_half_made(tmp_path: Path) -> None:
    """Agents, brokers and processors of both sides, by SIGTERM and SIGKILL, with a writer that never rests."""
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with Pair(tmp_path) as pair:
        made = pair.provider.ask(f"CREATE FLOW {FLOW} visibility=public partitions={PARTITIONS}")
        assert made == [f"220 OK {FLOW}"]
        rounds, deaths = Rounds(pair, chance), kills(chance)
        with SteadyProducer(pair.provider, FLOW, PARTITIONS) as producer:
            for number in range(ROUNDS):
                at_start, at_end = next(deaths), next(deaths)
                began = time.monotonic()
                try:
                    rounds.round(number, at_start, at_end)
                except BaseException as error:
                    error.add_note(
                        f"round {number} of seed {SEED}: {at_start}, then {at_end}; logs in {tmp_path}"
                    )
                    raise
                print(f"{number}: {at_start}, then {at_end}: {time.monotonic() - began:.1f} s")
        assert producer.failed == []
        hold_each_once(pair.provider, producer)
        rounds.settle()
    print(f"{len(producer.confirmed)} events confirmed, {rounds.carried} compared")
    for one in pair.both:
        assert "Traceback" not in one.log(), one.log()
