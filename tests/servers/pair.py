"""Two participants that know each other, on ports that stay the same over restarts, and what each of them holds.

with Pair(tmp_path) as pair:                  # unix.ar provides, emiliano.ar subscribes; both run
    with pair.provider.session() as wire: …   # FNAP as test@unix.ar, an operator
    differences(pair)                         # what is half made, [] when there is nothing
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dns.exception
import dns.message
import dns.query
import dns.rcode
import psutil
from servers.participant import BETWEEN, Participant, Wire, find_each_other, free_ports

from eson.brokers.embedded.log.journal import parse
from eson.brokers.embedded.server.rights import Acl

BROKER, PROCESSOR = "eson.brokers.embedded", "eson.processors"
PASSWORD = "a password of the tests"


class Member(Participant):
    """One of the two.  Its user is test@domain; its broker speaks TLS too."""

    def __init__(self, domain: str, root: Path) -> None:
        super().__init__(domain, root, draft=False)
        fnap, fnaps, clear, tls = free_ports(4)
        user = {"name": "test", "password": PASSWORD, "home": self.namespace, "operator": True}
        self.settings["fnap"] = {"listen": [f"127.0.0.1:{fnap}"], "listen_tls": [f"127.0.0.1:{fnaps}"]}
        self.settings["identity"] = {"accounts": [user]}
        self.settings["brokers"][0] |= {"listen": [f"127.0.0.1:{clear}"], "listen_tls": [f"127.0.0.1:{tls}"]}
        self.settings["limits"] = {"connections": {"per_address": 1000, "per_user": 100}}

    @property
    def namespace(self) -> str:
        return f"flows.{self.domain}"

    def session(self, seconds: float = 60.0) -> Wire:
        """A session of its user."""
        return Wire(self.address("fnap"), seconds).login("test", PASSWORD)

    def tls_session(self) -> Wire:
        """The same inside TLS, for GET CREDENTIAL."""
        return self.tls_wire().login("test", PASSWORD)

    def tls_wire(self) -> Wire:
        """A connection inside TLS on which nobody has logged in."""
        return _TlsWire(self.address("fnaps"), self.ca, f"fnaa.{self.domain}")

    def ask(self, command: str) -> list[str]:
        """One command in a session of its own."""
        with self.session() as wire:
            return wire.reply(command)

    def insist(self, command: str, seconds: float = 30.0) -> list[str]:
        """The same, repeated while the answer is to try later."""
        end = time.monotonic() + seconds
        with self.session() as wire:
            assert wire.reply("FORMAT JSON") == ["220 OK"]
            while True:
                reply = wire.reply(command)
                if not reply[-1].startswith("45") or time.monotonic() > end:
                    return reply
                time.sleep(0.1)

    def items(self, command: str) -> list[dict[str, Any]]:
        """What a body lists."""
        lines = self.insist(command)
        assert lines[-1] == "220 OK", lines
        return [json.loads(line) for line in lines[1:-1]]

    def child(self, module: str) -> list[psutil.Process]:
        """Its children that run that module now, oldest first."""
        found = []
        for one in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if module in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
        return sorted(found, key=lambda one: one.pid)

    def rows(self, query: str, *arguments: object) -> list[Any]:
        """What its store says."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.state}/store.sqlite?mode=ro", uri=True)
        ) as store:
            return store.execute(query, arguments).fetchall()

    def column(self, query: str, *arguments: object) -> list[str]:
        return [str(row[0]) for row in self.rows(query, *arguments)]

    def broker(self, name: str = "local") -> Catalogue:
        """What an embedded broker of it remembers, from the disk."""
        return Catalogue.read(self.state / "brokers" / name)

    def in_dns(self, name: str) -> bool:
        """Whether its name server knows the flow."""
        host, port = self.address("names")
        answer = dns.query.udp(dns.message.make_query(name, "PTR"), host, 2.0, port)
        assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN), answer
        return bool(answer.answer)


class _TlsWire(Wire):
    def __init__(self, address: tuple[str, int], ca: Path, name: str) -> None:
        super().__init__(address)
        self._socket = ssl.create_default_context(cafile=str(ca)).wrap_socket(
            self._socket, server_hostname=name
        )


@dataclass
class Catalogue:
    """Topics (name → id), users and rules of an embedded broker, and the folders of its log."""

    topics: dict[str, str] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    acls: set[Acl] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, data: Path) -> Self:
        found = cls()
        for entry in parse((data / "catalogue").read_bytes())[0]:
            for kind, fields in entry.items():
                found._apply(kind, fields)
        log = data / "log"
        found.folders = {one.name for one in log.iterdir()} if log.exists() else set()
        return found

    def _apply(self, kind: str, fields: Any) -> None:
        if kind == "topic":
            self.topics[fields[0]] = fields[1]
        elif kind == "gone":
            self.topics.pop(fields, None)
        elif kind == "acl":
            self.acls.add(Acl(*fields))
        elif kind == "no-acl":
            self.acls.discard(Acl(*fields))
        elif kind == "user":
            self.users.add(fields[0])
        elif kind == "no-user":
            self.users.discard(fields)

    def readers(self) -> set[str]:
        """Users that some rule allows something."""
        return {acl.principal.removeprefix("User:") for acl in self.acls}


class Pair:
    """Both, started; ended with the context."""

    def __init__(self, root: Path) -> None:
        self.provider = Member("unix.ar", root)
        self.subscriber = Member("emiliano.ar", root)
        find_each_other(self.provider, self.subscriber)

    @property
    def both(self) -> tuple[Member, Member]:
        return self.provider, self.subscriber

    def start(self) -> Self:
        for one in self.both:
            one.start(wait=False)
        for one in self.both:
            one.wait_until_ready()
        return self

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        for one in self.both:
            self._stack.enter_context(one)
        try:
            return self.start()
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def subscribers_wire(pair: Pair) -> Wire:
    """A connection inside TLS to the provider, logged in as the subscriber's agent is for test@emiliano.ar."""
    message = base64.b64encode(f"test@emiliano.ar\0emiliano.ar\0{BETWEEN}".encode()).decode()
    wire = pair.provider.tls_wire()
    assert wire.line().endswith(" FNAA\r\n")
    assert wire.reply(f"AUTHENTICATE PLAIN {message}") == ["220 Authenticated"]
    assert wire.reply("FORMAT JSON") == ["220 OK"]
    return wire


def credential(pair: Pair, copy: str) -> dict[str, Any]:
    """What the subscriber's agent is given when it asks for test@emiliano.ar."""
    with subscribers_wire(pair) as wire:
        reply = wire.reply(f"GET CREDENTIAL {copy}")
    assert reply[-1] == "220 OK", reply
    found: dict[str, Any] = json.loads(reply[1])
    return found


def differences(pair: Pair) -> list[str]:
    """What the two sides hold that does not fit together: first of each side in itself, then between them."""
    try:
        return [*_side(pair.provider), *_side(pair.subscriber), *_between(pair)]
    except (OSError, sqlite3.Error, dns.exception.DNSException) as error:
        return [f"cannot look: {error!r}"]


def live(member: Member, side: str) -> list[str]:
    """Copies of its live subscriptions, seen from that side."""
    return member.column(
        "select copy from subscriptions where side = ? and state != 'ended' order by id", side
    )


def _side(one: Member) -> Iterator[str]:
    who = one.domain
    for left in one.rows("select kind, object from intentions"):
        yield f"{who}: intention {left}"
    for row in one.rows("select side, id, state, copy from subscriptions where state != 'ended'"):
        if row[2] != "active":
            yield f"{who}: subscription {row}"
    broker = one.broker()
    flows = dict(one.rows("select name, topic from flows"))
    copies = set(one.column("select name from flows where copy_of != ''"))
    provided, received = live(one, "provider"), live(one, "subscriber")
    yield from _same(f"{who}: topics and flows", set(broker.topics), set(flows.values()))
    yield from _more(f"{who}: folders of no topic", broker.folders - set(broker.topics.values()))
    yield from _same(f"{who}: copies and subscriptions", copies, set(provided))
    credentials = set(one.column("select name from credentials where side = 'provider'"))
    yield from _same(f"{who}: users and credentials", broker.users, credentials)
    yield from _same(f"{who}: rules and credentials", broker.readers(), credentials)
    yield from _more(f"{who}: credentials of no flow", credentials - set(flows))
    kept = set(one.column("select name from credentials where side = 'subscriber'"))
    yield from _same(f"{who}: credentials and subscriptions", kept, set(received))
    yield from _processors(one, {*provided, *received})
    yield from _names(one, set(flows))


def _processors(one: Member, wanted: set[str]) -> Iterator[str]:
    journals = {path.name.removesuffix(".journal") for path in (one.state / "processors").iterdir()}
    yield from _same(f"{one.domain}: journals and subscriptions", journals, wanted)
    running = len(one.child(PROCESSOR))
    if running != len(wanted):
        yield f"{one.domain}: {running} processors run for {len(wanted)} subscriptions"
    if len(one.child(BROKER)) != 1:
        yield f"{one.domain}: not one broker runs"


def _names(one: Member, flows: set[str]) -> Iterator[str]:
    known = flows | set(one.column("select copy from subscriptions where side = 'provider'"))
    for name in sorted(known):
        if one.in_dns(name) != (name in flows):
            yield f"{one.domain}: {name} is {'not ' if name in flows else ''}in DNS"


def _between(pair: Pair) -> Iterator[str]:
    copies = live(pair.provider, "provider")
    yield from _same("copies there and here", set(copies), set(live(pair.subscriber, "subscriber")))
    for copy, token in pair.subscriber.rows("select copy, token from calls"):
        # one whose request never arrived is kept for some minutes: it may still be on its way
        made = pair.provider.column("select copy from subscriptions where token = ?", token)
        if copy or made:
            yield f"a call about {copy or made} is not made"


def _same(what: str, one: set[str], other: set[str]) -> Iterator[str]:
    if one != other:
        yield f"{what}: only there {sorted(one - other)}, only here {sorted(other - one)}"


def _more(what: str, more: set[str]) -> Iterator[str]:
    if more:
        yield f"{what}: {sorted(more)}"
