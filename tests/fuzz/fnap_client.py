"""Target: what a client believes of an agent: greeting, EHLO, login, replies and their bodies.

Input: an octet for how far the session got, then what the server says.
"""

from __future__ import annotations

from contextlib import suppress

from fnap.test_fnap_client_session import GREETING, Peer, greeted, logged_in

from eson.client import bodies
from eson.errors import ProtocolViolation
from eson.fnap.core import client_events as e
from eson.fnap.core import commands as c
from eson.fnap.core.client import ClientSession
from eson.identity.mechanisms import MechanismError
from eson.identity.mechanisms.scram import ScramClient

BODY, LINES = 1 << 16, 200
STAGES = 7


def seeds() -> dict[str, bytes]:
    pairs = b'flow=time.flows.unix.ar type=kafka description="a \\"b\\""\r\nserver=kf1.unix.ar:9092\r\n'
    json = b'{"flow":"time.flows.unix.ar","server":["kf1.unix.ar:9092"],"partitions":4}\r\n'
    hello = b"250-fnaa.unix.ar\r\n250-AUTH SCRAM-SHA-256 PLAIN\r\n250-LINE 100\r\n250 SIZE 50\r\n"
    return {
        "greeting": b"\0" + GREETING,
        "busy": b"\x00421 Too many\r\n",
        "hello": b"\1" + hello,
        "no-hello": b"\1500 What\r\n",
        "old-hello": b"\1250 fnaa.unix.ar\r\n",
        "challenge": b"\2"
        + b"334 cj1hYmNkZWYscz1XMjJaYUowU05ZN3NvRXNVRWpiNmdRPT0saT00MDk2\r\n220 Authenticated\r\n",
        "refused": b"\2530 No\r\n",
        "pairs": b"\3220 DATA\r\n" + pairs + b"220 OK\r\n",
        "json": b"\3220 DATA\r\n" + json + b"220 OK\r\n",
        "ok": b"\3220 OK time.flows.unix.ar\r\n",
        "pending": b"\3202 Pending x.time.flows.unix.ar\r\n",
        "error": b"\3550 No such flow\r\n",
        "error-in-body": b"\3220 DATA\r\na=b\r\n550 No\r\n",
        "subscribed": b"\3220 DATA\r\nF.unix.ar SUBSCRIBED TO x.time.flows.unix.ar\r\n220 OK\r\n",
        "subscribed-json": b'\3220 DATA\r\n{"local":"a.b","copy":"x.time.flows.unix.ar"}\r\n220 OK\r\n',
        "read": b'\4220 DATA\r\n{"id":"1"}\r\n220 OK\r\n',
        "follow": b'\4220 DATA\r\n{"id":"1"}\r\n{"id":"2"}\r\n550 Gone\r\n',
        "write": b"\x05354 Go\r\n220 OK 3\r\n",
        "tls": b"\x06220 Go\r\nmore\r\n",
        "endless": b"\3220 DATA\r\n" + b"a=b\r\n" * 300,
        "deep": b"\3220 DATA\r\n" + b'{"a":' * 3000 + b"\r\n220 OK\r\n",
    }


def one_input(octets: bytes) -> None:
    if not octets:
        return
    peer = _at(octets[0] % STAGES)
    events = peer.says(octets[1:])
    for event in events:
        if isinstance(event, e.Challenged):
            _answer(event.challenge)
        elif isinstance(event, e.Answered):
            _believe(event.reply)
    assert sum(isinstance(event, e.Broken) for event in events) <= 1


def _at(stage: int) -> Peer:
    if stage == 0:
        return Peer(ClientSession(e.ClientLimits(body=BODY, body_lines=LINES)))
    if stage == 1:
        peer = Peer()
        peer.says(GREETING)
        peer.session.ehlo("me")
        return peer
    if stage in (2, 6):
        peer = greeted()
        if stage == 2:
            peer.session.authenticate(ScramClient("test", "test"))
        else:
            peer.session.starttls()
        return peer
    peer = logged_in(body=BODY, body_lines=LINES)
    if stage == 5:
        peer.session.command(c.Write("a.b"))
    else:
        peer.session.command("LIST FLOWS" if stage == 3 else "READ a.b FOLLOW", stream=stage == 4)
    return peer


def _answer(challenge: bytes) -> None:
    mechanism = ScramClient("test", "test", "", "abc")
    mechanism.initial()
    with suppress(MechanismError):
        mechanism.answer(challenge)
    assert not mechanism.finished()


def _believe(reply: e.Reply) -> None:
    assert sum(map(len, reply.lines)) <= BODY
    assert len(reply.lines) <= LINES
    for read in (bodies.listing, bodies.description, bodies.subscribed):
        with suppress(ProtocolViolation):
            read(reply.lines)
    bodies.pending_copy(reply.text)
