"""The acts of the demo, in the order of the draft's use cases 1 to 4, then the main job and the end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from eson.admin.demo.credential import read_one
from eson.admin.demo.events import Digest, as_written
from eson.admin.demo.looking_up import dig
from eson.admin.demo.narrator import Carriage, Narrator
from eson.admin.demo.stage import Participant, Stage
from eson.client.bodies import description, listing, subscribed, text, texts
from eson.errors import EsonError, Unreachable
from eson.fnap.core import commands as c
from eson.fnap.net.client import Session, connect
from eson.identity.tls import ClientTls
from eson.model.positions import Beginning

ARRIVED_WITHIN = 60.0
_PAUSE = 0.05


_NOISE = ("250", "334", "EHLO", "***", "354", "{")


def tells(line: str) -> bool:
    """Whether a line of the dialogue says something to who looks on: SCRAM's last response is empty."""
    return bool(line) and not line.startswith(_NOISE)


class DemoFailed(EsonError):
    """Something did not happen that the demo promises; the text says what.  Retry: after finding out why."""


class Play:
    def __init__(self, reactor: Any, stage: Stage, narrator: Narrator, events: list[dict[str, Any]]) -> None:
        self._reactor = reactor
        self._stage = stage
        self._narrator = narrator
        self._events = events
        self._quiet = False
        self.copy = ""
        self.facts: list[tuple[str, str]] = []

    async def pause(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    async def begin(self) -> None:
        """Starts both participants, each a `twistd eson` with a broker and a name server of its own."""
        tell, stage = self._narrator, self._stage
        tell.opening()
        tell.act("Two participants start, each with its own keys, broker and name server")
        stage.write()
        started = time.monotonic()
        for one in stage.both:
            stage.start(one)
        for one in stage.both:
            await stage.ready(one, self.pause)
            tell.good(f"{one.agent} is ready: twistd eson, pid {one.process.pid if one.process else '?'}")
        self.facts.append(("both ready after", f"{time.monotonic() - started:.1f} s"))

    # use cases 1 to 4

    async def share(self) -> Session:
        """Use cases 1 to 3 at the provider: log in, create a public flow, describe it, find it in DNS."""
        tell, provider = self._narrator, self._stage.provider
        tell.act(f"1  {provider.user}@{provider.domain} logs in and creates a public flow")
        session = await self._session(provider)
        await session.execute(c.CreateFlow(provider.flow, (("visibility", "public"),)))
        tell.act("2  The whole world finds it in DNS")
        await self._look_up(provider, provider.flow, "PTR")
        await self._look_up(provider, f"_flow._tcp.{provider.flow}", "SRV")
        await self._look_up(provider, f"_queue._flow._tcp.{provider.flow}", "SRV")
        tell.act("3  and asks its agent what it is")
        await session.execute(c.Describe("FLOW", provider.flow))
        return session

    async def subscribe(self) -> Session:
        """Use case 4: from the other side, by the name alone."""
        tell, provider, subscriber = self._narrator, self._stage.provider, self._stage.subscriber
        tell.act(f"4  {subscriber.user}@{subscriber.domain} subscribes to it, at her own agent")
        session = await self._session(subscriber)
        started = time.monotonic()
        command = c.Subscribe(provider.flow, subscriber.flow, subscriber.flow)
        reply = await session.execute(command)
        took = time.monotonic() - started
        _, self.copy = subscribed(reply.lines)
        tell.good(f"{provider.domain} made {self.copy} for her alone; two processors carry every event")
        self.facts.append(("SUBSCRIBE, discovery to the first byte", f"{took:.2f} s"))
        return session

    async def _look_up(self, one: Participant, name: str, kind: str) -> str:
        looked = await deferToThread(dig, one.ports["names"], name, kind)
        self._narrator.say(f"$ {looked.command}")
        self._narrator.block(list(looked.lines) or [f";; status: {looked.status}"])
        return looked.status

    async def _session(self, one: Participant, show: bool = True) -> Session:
        tls = ClientTls(one.agent, trust=str(one.ca))
        dialogue = self._dialogue(one) if show else None
        session = await connect(
            self._reactor, "127.0.0.1", one.ports["fnaps"], tls="implicit", tls_options=tls, dialogue=dialogue
        )
        await session.login(one.user, one.password)
        return session

    def _dialogue(self, one: Participant) -> Callable[[str, str], None]:
        """Greeting and login are only shown with -v; events never, there are too many."""

        def show(direction: str, line: str) -> None:
            if not self._quiet:
                self._narrator.wire(one.domain, direction, line, tells(line))

        return show

    # the main job

    async def carry(self, writer: Session, reader: Session) -> None:
        """All events are written at one side and arrive at the other; in the middle the processor is killed."""
        tell, subscriber = self._narrator, self._stage.subscriber
        total = len(self._events)
        tell.act(f"5  {total:,} events are written at one side and arrive at the other")
        tell.event("one of them as it leaves", self._events[0])
        follower = await self._session(subscriber, show=False)
        arrived = Digest()
        first: list[bytes] = []
        command = c.Read(subscriber.flow, Beginning(), follow=True)
        following: Deferred[int] = succeed(0)
        done: Deferred[None] = Deferred()
        self._quiet = True
        started = time.monotonic()
        try:
            with tell.carrying(total) as carriage:

                def take(lines: list[bytes]) -> None:
                    first.extend(lines[: 1 - len(first)])
                    arrived.add(lines)
                    carriage.moved(arrived=arrived.count)
                    if arrived.count >= total and not done.called:
                        done.callback(None)

                following = Deferred.fromCoroutine(follower.read(command, take))
                written = await writer.write(self._stage.provider.flow, self._source(carriage, reader))
                await self._all_arrived(done, following, carriage)
                took = time.monotonic() - started
        except BaseException:
            following.addErrback(lambda _: None)  # this failure is the one to tell
            raise
        finally:
            self._quiet = False
        follower.stop_follow()
        await following
        await follower.quit()
        tell.event("the same one as it arrived", json.loads(first[0]))
        self.facts.append(("events written, arrived", f"{written:,}, {arrived.count:,} in {took:.1f} s"))
        await self._compare(writer, reader)

    async def _all_arrived(self, done: Deferred[None], following: Deferred[int], carriage: Carriage) -> None:
        deadline = time.monotonic() + ARRIVED_WITHIN
        while not done.called:
            if following.called:
                await following
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"only {carriage.arrived} of {carriage.written} events arrived within {ARRIVED_WITHIN:.0f} s"
                )
            await self.pause(_PAUSE)

    async def _source(self, carriage: Carriage, reader: Session) -> AsyncIterator[dict[str, Any]]:
        middle = len(self._events) // 2
        for number, event in enumerate(self._events):
            if number == middle:
                await self._kill(carriage, reader)
            yield event
            if number % 250 == 249 or number + 1 == carriage.total:
                carriage.moved(written=number + 1)
                await self.pause(0)

    async def _kill(self, carriage: Carriage, reader: Session) -> None:
        """SIGKILL to the subscriber's processor, half way; the writer goes on at once."""
        waited = 0.0
        while carriage.arrived < carriage.written // 2 and waited < 10:
            await self.pause(_PAUSE)
            waited += _PAUSE
        old = await self._pid(reader)
        if old is None:
            raise DemoFailed("the processor that should be killed does not run")
        os.kill(old, signal.SIGKILL)
        self._narrator.say(f"kill -9 {old}: the processor is dead, the writer goes on")
        Deferred.fromCoroutine(self._back(reader, old))

    async def _back(self, reader: Session, old: int) -> None:
        with suppress(Unreachable):  # who uses the session next says that it is lost
            await self._new_pid(reader, old)

    async def _new_pid(self, reader: Session, old: int) -> None:
        started = time.monotonic()
        while time.monotonic() - started < 15:
            new = await self._pid(reader)
            if new not in (None, old):
                took = time.monotonic() - started
                self._narrator.good(f"it is back by itself after {took:.1f} s, pid {new}")
                self.facts.append(("processor killed, back after", f"{took:.1f} s"))
                return
            await self.pause(_PAUSE)

    async def _pid(self, session: Session) -> int | None:
        reply = await session.execute(c.GetItems("PROCESSORS"))
        for item in listing(reply.lines):
            if text(item, "processor") == self.copy and text(item, "pid").isdigit():
                return int(text(item, "pid"))
        return None

    async def _compare(self, writer: Session, reader: Session) -> None:
        """Both flows are read from their beginning: the same events in the same order, or the demo fails."""
        here, there = Digest(), Digest()
        self._quiet = True
        await writer.read(c.Read(self._stage.provider.flow, Beginning()), here.add)
        await reader.read(c.Read(self._stage.subscriber.flow, Beginning()), there.add)
        self._quiet = False
        for one, digest in zip(self._stage.both, (here, there), strict=True):
            self._narrator.say(f"{one.flow:<26} {digest.count:>7,} events  sha256 {digest}")
        wanted = Digest()
        wanted.add(json.dumps(as_written(event)).encode() for event in self._events)
        if here != there or here.count != wanted.count:
            raise DemoFailed("the two flows differ: events were lost, repeated or changed")
        self._narrator.good("equal: nothing lost, nothing twice, all in order")
        self.facts.append(("digest of both sides", f"{str(here)[:16]}…, equal"))

    # the end

    async def part(self, reader: Session) -> None:
        """UNSUBSCRIBE: the copy's credential is refused, its name is gone; the flow and its events stay."""
        tell, provider = self._narrator, self._stage.provider
        tell.act("6  She unsubscribes: the copy, its name and its credential are gone")
        credential = await self._credential()
        offset = await deferToThread(read_one, credential, provider.ports["brokers"], provider.ca)
        tell.good(f"before: the copy's credential opens it (any Kafka client; it read offset {offset})")
        await reader.execute(c.Unsubscribe(self.copy))
        refused = await deferToThread(read_one, credential, provider.ports["brokers"], provider.ca)
        if refused is not None:
            raise DemoFailed("the credential of the copy still works after UNSUBSCRIBE")
        tell.good("after: the same credential is refused")
        if await self._look_up(provider, self.copy, "PTR") != "NXDOMAIN":
            raise DemoFailed(f"{self.copy} is still in DNS after UNSUBSCRIBE")
        self.facts.append(("after UNSUBSCRIBE", "credential refused, name gone"))

    async def _credential(self) -> dict[str, str]:
        """The copy's credential, asked for as the subscriber's agent asks: a new password replaces the old one."""
        provider, subscriber = self._stage.both
        tls = ClientTls(provider.agent, trust=str(provider.ca))
        session = await connect(
            self._reactor, "127.0.0.1", provider.ports["fnaps"], tls="implicit", tls_options=tls
        )
        secret = (subscriber.directory / "peer.password").read_text()
        await session.login(subscriber.domain, secret, authorisation=f"{subscriber.user}@{subscriber.domain}")
        reply = await session.execute(c.GetCredential(self.copy))
        await session.quit()
        item = description(reply.lines)
        return {key: (texts(item, key) or [""])[0] for key in item}
