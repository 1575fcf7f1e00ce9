"""The two halves of a session joined in memory: what one says, the other understands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from abnf import ParseError
from fnap.test_fnap_abnf import Fnap
from fnap.test_fnap_server_session import Shell
from fnap.test_fnap_server_session import make_policy as server_policy

from eson.errors import NoSuch
from eson.fnap.core import client_events as e
from eson.fnap.core import commands as c
from eson.fnap.core.client import ClientSession
from eson.fnap.core.lines import LineBuffer
from eson.fnap.core.replies import Description, Listing, Ok, Pending, Subscribed
from eson.fnap.core.server import ServerSession
from eson.identity.mechanisms import ClientMechanism
from eson.identity.mechanisms.anonymous import AnonymousClient
from eson.identity.mechanisms.plain import PlainClient
from eson.identity.mechanisms.scram import ScramClient


class Pair:
    """A client and a server; octets travel in pieces of `piece`, and all that the server says is kept."""

    def __init__(
        self, answers: list[Any] | None = None, piece: int = 0, events: list[bytes] | None = None
    ) -> None:
        self.server = Shell(ServerSession(server_policy(), clear_is_safe=True), answers or [], events or [])
        self.client = ClientSession()
        self.lines = LineBuffer()
        self.piece = piece
        self.said = b""
        self.client.connected()

    def sends(self, octets: bytes) -> list[e.Event]:
        for start in range(0, len(octets), self.piece or max(len(octets), 1)):
            self.server.feed(octets[start : start + (self.piece or len(octets))])
        return self.hears()

    def hears(self) -> list[e.Event]:
        said = self.server.said()
        self.said += said
        events: list[e.Event] = []
        for start in range(0, len(said), self.piece or max(len(said), 1)):
            self.lines.feed(said[start : start + (self.piece or len(said))])
            while (line := self.lines.next_line(self.client.limit)) is not None:
                events += self.client.line(line)
        return events

    def logs_in(self, mechanism: ClientMechanism) -> list[e.Event]:
        self.hears()
        self.sends(self.client.ehlo("me"))
        events = self.sends(self.client.authenticate(mechanism))
        while isinstance(events[-1], e.Challenged):
            events = self.sends(self.client.respond(mechanism.answer(events[-1].challenge)))
        return events


@pytest.mark.parametrize("piece", [0, 1, 7])
@pytest.mark.parametrize(
    "mechanism", [PlainClient("test", "test"), ScramClient("test", "test", "", "abc"), AnonymousClient()]
)
def test_every_mechanism_logs_in(piece: int, mechanism: ClientMechanism) -> None:
    """The two halves agree on every mechanism."""
    if isinstance(mechanism, ScramClient):
        mechanism = ScramClient("test", "test")
    pair = Pair(piece=piece)
    assert pair.logs_in(mechanism) == [e.LoggedIn()]
    assert pair.client.word("AUTH") == "PLAIN SCRAM-SHA-256 ANONYMOUS"


ANSWERS: list[tuple[Any, list[str], str]] = [
    (Ok("time.flows.unix.ar"), [], "OK time.flows.unix.ar"),
    (Ok(), [], "OK"),
    (Pending("x.a.b"), [], "Pending x.a.b"),
    (Subscribed("x.a.b"), ["x.a.b"], "OK"),
    (Subscribed("x.a.b", "l.m"), ["l.m SUBSCRIBED TO x.a.b"], "OK"),
    (Listing([]), [], "OK"),
    (Listing([{"flow": "a.b"}, {"flow": "c.d"}]), ["flow=a.b", "flow=c.d"], "OK"),
    (Description({"flow": "a.b", "server": ["x:1", "y:2"]}), ["flow=a.b", "server=x:1", "server=y:2"], "OK"),
    (NoSuch("flow", "a.b"), [], "No such flow: a.b"),
    (
        ZeroDivisionError("220 OK"),
        [],
        "The agent failed; its operator finds the reason in the log. Try again later",
    ),
]


@pytest.mark.parametrize("piece", [0, 1])
def test_every_outcome_arrives(piece: int) -> None:
    """Each kind of outcome and error, as the client sees it; everything said is of the grammar."""
    pair = Pair([answer for answer, _, _ in ANSWERS], piece)
    pair.logs_in(PlainClient("test", "test"))
    for _, lines, text in ANSWERS:
        (event,) = pair.sends(pair.client.command(c.Describe("FLOW", "a.b")))
        assert isinstance(event, e.Answered)
        assert (list(event.reply.lines), event.reply.text) == (lines, text)
    assert all_replies_are_of_the_grammar(pair.said)


@pytest.mark.parametrize("piece", [0, 5])
def test_reading_and_writing(piece: int) -> None:
    """Bounded and followed READ, WRITE with good and bad events."""
    pair = Pair(piece=piece, events=[b'{"id":"1"}\r\n', b'{"id":"220 OK"}\r\n'])
    pair.logs_in(PlainClient("test", "test"))
    lines = [e.BodyLine(b'{"id":"1"}'), e.BodyLine(b'{"id":"220 OK"}')]
    end = e.Answered(e.Reply(220, "OK"), had_body=True)
    assert pair.sends(pair.client.command(c.Read("a.b"), stream=True)) == [e.BodyBegan(), *lines, end]
    assert pair.sends(pair.client.command(c.Read("a.b", follow=True), stream=True)) == [e.BodyBegan(), *lines]
    assert pair.sends(pair.client.stop_follow()) == [end]
    assert pair.sends(pair.client.command(c.Write("a.b"))) == [e.GoAhead()]
    events = b"".join(pair.client.event(json.dumps({"id": str(n)}).encode()) for n in range(3))
    assert pair.sends(events) == []
    assert pair.sends(pair.client.finish()) == [e.Answered(e.Reply(220, "OK 3"))]
    pair.sends(pair.client.command(c.Write("a.b")))
    assert pair.sends(pair.client.event(b"{}") + pair.client.finish()) == [
        e.Answered(e.Reply(501, "Line 1: no id; 0 written"))
    ]
    assert pair.sends(pair.client.quit()) == [e.Answered(e.Reply(220, "Bye"))]


def test_starttls_on_both_sides() -> None:
    """The halves come through STARTTLS together and begin anew."""
    pair = Pair()
    pair.hears()
    pair.sends(pair.client.ehlo("me"))
    assert pair.client.word("STARTTLS") == ""
    assert pair.sends(pair.client.starttls()) == [e.BeginTls()]
    assert pair.client.tls_started(nothing_buffered=True) == ()
    assert pair.server.session.tls
    assert pair.logs_in(ScramClient("test", "test")) == [e.LoggedIn()]
    assert pair.client.word("STARTTLS") is None


def all_replies_are_of_the_grammar(said: bytes) -> bool:
    """Whether what a server said is a greeting, an answer to EHLO, and replies."""
    text = said.decode()
    greeting, _, text = text.partition("\r\n")
    Fnap("greeting").parse_all(greeting + "\r\n")
    while text:
        for rule in ("ehlo-reply", "reply", "challenge"):
            try:
                _, end = Fnap(rule).parse(text, 0)
            except ParseError:
                continue
            text = text[end:]
            break
        else:
            raise AssertionError(text[:100])
    return True
