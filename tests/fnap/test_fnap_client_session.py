"""The client's half of a session, without sockets: what it believes, and what it does not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson.errors import TooLarge, Usage
from eson.fnap.core import client_events as e
from eson.fnap.core import commands as c
from eson.fnap.core.client import ClientSession
from eson.fnap.core.lines import LineBuffer, LineFault
from eson.fnap.core.masking import masked
from eson.fnap.core.states import CLIENT, ClientInput, ClientState, IllegalMove
from eson.identity.mechanisms.anonymous import AnonymousClient
from eson.identity.mechanisms.plain import PlainClient
from eson.identity.mechanisms.scram import ScramClient

GREETING = b"220 fnaa.unix.ar FNAA\r\n"
EHLO = b"250-fnaa.unix.ar\r\n250-STARTTLS\r\n250-AUTH SCRAM-SHA-256 PLAIN\r\n250-LINE 100\r\n250 SIZE 50\r\n"
READ = c.Read("a.b")


class Peer:
    """Feeds a session what a server says, in pieces."""

    def __init__(self, session: ClientSession | None = None, piece: int = 0, **limits: int) -> None:
        self.session = session or ClientSession(e.ClientLimits(**limits))
        self.lines = LineBuffer()
        self.piece = piece
        self.session.connected()

    def says(self, octets: bytes) -> list[e.Event]:
        events: list[e.Event] = []
        step = self.piece or max(len(octets), 1)
        for start in range(0, len(octets), step):
            self.lines.feed(octets[start : start + step])
            while self.session.state is not ClientState.CLOSED:
                session = self.session
                line = (self.lines.next_loose_line if session.loose else self.lines.next_line)(session.limit)
                if line is None:
                    break
                events += session.line(line)
        return events


def greeted(ehlo: bytes = EHLO, **options: Any) -> Peer:
    peer = Peer(**options)
    peer.says(GREETING)
    peer.session.ehlo("me")
    peer.says(ehlo)
    return peer


def logged_in(ehlo: bytes = EHLO, **options: Any) -> Peer:
    peer = greeted(ehlo, **options)
    peer.session.authenticate(PlainClient("test", "test"))
    events = peer.says(b"220 Authenticated\r\n" if peer.session.knows_ehlo else b"220 OK\r\n")
    if isinstance(events[0], e.Challenged):
        peer.session.respond(b"\0test\0test")
        events = peer.says(b"220 Authenticated\r\n")
    assert events == [e.LoggedIn()]
    return peer


def broken(events: Sequence[e.Event]) -> bool:
    return bool(events) and isinstance(events[-1], e.Broken)


@pytest.mark.parametrize("piece", [0, 1, 3])
def test_the_drafts_session(piece: int) -> None:
    """The published session, with EHLO before it, whole and octet by octet."""
    peer = Peer(piece=piece)
    assert peer.says(GREETING) == [e.Greeted("fnaa.unix.ar")]
    assert peer.session.ehlo("me") == b"EHLO me\r\n"
    assert peer.says(EHLO) == [e.Hello(("STARTTLS", "AUTH SCRAM-SHA-256 PLAIN", "LINE 100", "SIZE 50"))]
    assert peer.session.word("AUTH") == "SCRAM-SHA-256 PLAIN"
    assert peer.session.word("STARTTLS") == ""
    assert peer.session.word("TOKEN") is None
    assert (
        peer.session.authenticate(PlainClient("test", "test")) == b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n"
    )
    assert peer.says(b"220 Authenticated\r\n") == [e.LoggedIn()]
    assert peer.session.command(c.CreateFlow("time.flows.unix.ar")) == b"CREATE FLOW time.flows.unix.ar\r\n"
    assert peer.says(b"220 OK time.flows.unix.ar\r\n") == [e.Answered(e.Reply(220, "OK time.flows.unix.ar"))]
    peer.session.command("describe flow time.flows.unix.ar")
    assert peer.says(b"220 DATA\r\nflow=time.flows.unix.ar\r\ntype=kafka\r\n220 OK\r\n") == [
        e.Answered(e.Reply(220, "OK", ("flow=time.flows.unix.ar", "type=kafka")), had_body=True)
    ]
    peer.session.command(c.Subscribe("a.b"))
    assert peer.says(b"202 Pending x.a.b\r\n") == [e.Answered(e.Reply(202, "Pending x.a.b"))]
    assert peer.session.quit() == b"QUIT\r\n"
    assert peer.says(b"220 Bye\r\n") == [e.Answered(e.Reply(220, "Bye"))]
    assert peer.session.state is ClientState.CLOSED


def test_a_server_that_knows_no_ehlo() -> None:
    """The published proof of concept: 404, challenge `220 OK `, trailing spaces, bare LF inside bodies."""
    peer = greeted(b"404 what?\r\n")
    assert not peer.session.knows_ehlo
    assert peer.session.authenticate(PlainClient("test", "test")) == b"AUTHENTICATE PLAIN\r\n"
    assert peer.says(b"220 OK\r\n") == [e.Challenged(b"")]
    assert peer.session.respond(b"\0test\0test") == b"AHRlc3QAdGVzdA==\r\n"
    assert peer.says(b"220 Authenticated\r\n") == [e.LoggedIn()]
    peer.session.command(c.Describe("FLOW", "a.b"))
    assert peer.says(b"220 DATA \r\nflow=a.b\ntype=kafka\ntopic=a.b\r\n220 OK \r\n") == [
        e.Answered(e.Reply(220, "OK", ("flow=a.b", "type=kafka", "topic=a.b")), had_body=True)
    ]
    peer.session.command("NOOP")
    assert broken(peer.says(b"220 OK\n"))


@pytest.mark.parametrize("line", [b"220 DATA \r\n", b"220 OK \r\n", b"220 DATA\r\nflow=a.b\n"])
def test_who_knows_ehlo_knows_how_lines_end(line: bytes) -> None:
    """What is tolerated of a simple server is a lie of one that is none."""
    peer = logged_in()
    peer.session.command(READ)
    assert broken(peer.says(line))


@pytest.mark.parametrize(
    "greeting",
    [b"220 Authenticated\r\n", b"220 OK\r\n", b"220 fnaa.unix.ar ESMTP\r\n", b"* PREAUTH\r\n", b"220-x FNAA\r\n", b"220 x FNAA\n",
     b"334 \r\n", b"\r\n", b"202 Pending\r\n", b"220 a b FNAA\r\n", b"x" * 70_000, b"220 \xff FNAA\r\n"],
)  # fmt: skip
def test_odd_greetings_end_the_session(greeting: bytes) -> None:
    """An authenticated or odd greeting is nothing to go on with."""
    peer = Peer()
    assert broken(peer.says(greeting))
    assert peer.says(GREETING) == []


def test_a_greeting_may_be_a_refusal() -> None:
    """421 and 5yz instead of a greeting."""
    assert Peer().says(b"421 Too many\r\n") == [e.ServerCloses(e.Reply(421, "Too many"))]
    assert Peer().says(b"554 No\r\n") == [e.ServerCloses(e.Reply(554, "No"))]


@pytest.mark.parametrize(
    "answer",
    [b"250-x\r\n220 OK\r\n", b"250-x\r\n500 no\r\n", b"220 OK\r\n", b"334 \r\n", b"250x\r\n", b"250-\x01\r\n", b"250-x\r\n" * 200,
     b"250\r\n", b"999 x\r\n"],
)  # fmt: skip
def test_odd_answers_to_ehlo_end_the_session(answer: bytes) -> None:
    """Lists that change their mind, do not end, or are none."""
    assert broken(greeted(b"").says(answer))


@pytest.mark.parametrize(
    "answer", [b"502 no\r\n", b"454 no\r\n", b"354 go\r\n", b"250 x\r\n", b"220", b"* OK\r\n", b"334 \r\n"]
)
def test_a_refused_starttls_ends_the_session(answer: bytes) -> None:
    """No fallback to clear text, whatever the excuse."""
    peer = greeted()
    assert peer.session.starttls() == b"STARTTLS\r\n"
    events = peer.says(answer + b"\r\n" if answer == b"220" else answer)
    assert events == [e.BeginTls()] if answer == b"220" else broken(events)


def test_tls_makes_all_state_new() -> None:
    """What was said in clear is forgotten; what came behind the answer to STARTTLS ends the session."""
    peer = greeted()
    peer.session.starttls()
    assert peer.says(b"220 Ready to start TLS\r\n") == [e.BeginTls()]
    assert peer.session.tls_started(nothing_buffered=True) == ()
    assert peer.session.tls
    assert peer.session.word("STARTTLS") is None
    peer.session.ehlo("me")
    peer.says(b"250-x\r\n250 AUTH PLAIN\r\n")
    assert peer.session.word("AUTH") == "PLAIN"
    with pytest.raises(IllegalMove):
        peer.session.tls_started(nothing_buffered=True)
    other = greeted()
    other.session.starttls()
    other.says(b"220 Ready to start TLS\r\n")
    assert broken(other.session.tls_started(nothing_buffered=False))
    assert other.session.state is ClientState.CLOSED


def test_a_server_that_proves_nothing_is_not_believed() -> None:
    """`220 Authenticated` before SCRAM's proof, or before anything was answered."""
    peer = greeted()
    peer.session.authenticate(ScramClient("test", "test"))
    assert broken(peer.says(b"220 Authenticated\r\n"))
    simple = greeted(b"404 no\r\n")
    simple.session.authenticate(PlainClient("test", "test"))
    assert broken(simple.says(b"220 Authenticated\r\n"))
    for answer in (b"334 !!!\r\n", b"220 OK\r\n", b"202 Pending\r\n", b"220 DATA\r\n", b"250 x\r\n", b"\r\n"):
        odd = greeted()
        odd.session.authenticate(ScramClient("test", "test"))
        assert broken(odd.says(answer)), answer


def test_a_login_may_fail_and_be_tried_again() -> None:
    """535 leaves the session open; `=` stands for an empty initial response."""
    peer = greeted()
    peer.session.authenticate(PlainClient("test", "x"))
    assert peer.says(b"535 Authentication failed\r\n") == [e.Answered(e.Reply(535, "Authentication failed"))]
    assert peer.session.authenticate(AnonymousClient()) == b"AUTHENTICATE ANONYMOUS =\r\n"
    assert peer.says(b"220 Authenticated\r\n") == [e.LoggedIn()]


@pytest.mark.parametrize("state", ["greeted", "logged in", "in a handshake", "answering"])
@pytest.mark.parametrize(
    "line", [b"220 OK\r\n", b"220 Authenticated\r\n", b"334 \r\n", b"500 x\r\n", b"x\r\n"]
)
def test_who_speaks_out_of_turn_is_not_listened_to(state: str, line: bytes) -> None:
    """A reply to nothing would be taken for the reply to the next command."""
    peer = logged_in() if state == "logged in" else greeted()
    if state == "in a handshake":
        peer.session.starttls()
        peer.says(b"220 Ready\r\n")
    elif state == "answering":
        peer.session.authenticate(ScramClient("test", "test"))
        peer.says(b"334 AAAA\r\n")
    assert broken(peer.says(line))
    assert peer.says(b"220 OK\r\n") == []


def test_a_server_may_close_at_any_time() -> None:
    """421 is heard in every state."""
    for peer in (greeted(), logged_in()):
        assert peer.says(b"421 Idle too long\r\n") == [e.ServerCloses(e.Reply(421, "Idle too long"))]
    peer = logged_in()
    peer.session.command("GET FLOWS")
    assert peer.says(b"220 DATA\r\nflow=a.b\r\n421 going down\r\n") == [
        e.ServerCloses(e.Reply(421, "going down"))
    ]


def test_bodies_end_at_the_first_code() -> None:
    """`220 OK` means whole; 4yz and 5yz mean that lines are missing; other codes are odd."""
    peer = logged_in()
    peer.session.command("GET FLOWS")
    assert peer.says(b"220 DATA\r\nflow=a.b\r\n2200 is no code\r\n451 lost\r\n") == [
        e.Answered(e.Reply(451, "lost", ("flow=a.b", "2200 is no code")), had_body=True)
    ]
    for end in (b"220 OK x\r\n", b"202 Pending\r\n", b"354 go\r\n", b"334 x\r\n", b"999 x\r\n"):
        odd = logged_in()
        odd.session.command("GET FLOWS")
        assert broken(odd.says(b"220 DATA\r\n" + end)), end


def test_a_reply_has_an_end() -> None:
    """Lines, octets and the length of a line are bounded, and so is the number of lines that were asked for."""
    for limits, line in (
        ({"body_lines": 10}, b"a=b\r\n"),
        ({"body": 20}, b"a=b\r\n"),
        ({"line": 50}, b"x" * 51 + b"\r\n"),
    ):
        peer = logged_in(b"250-x\r\n250 AUTH PLAIN\r\n", **limits)
        peer.session.command("GET FLOWS")
        assert broken(peer.says(b"220 DATA\r\n" + line * 11)), limits
    peer = logged_in()
    peer.session.command(c.Read("a.b", limit=2), stream=True)
    assert peer.says(b"220 DATA\r\n{}\r\n{}\r\n") == [e.BodyBegan(), e.BodyLine(b"{}"), e.BodyLine(b"{}")]
    assert broken(peer.says(b"{}\r\n"))
    endless = logged_in()
    endless.session.command("GET FLOWS")
    endless.says(b"220 DATA\r\n")
    for _ in range(7):
        assert endless.session.state is ClientState.IN_BODY
        endless.says(b"x" * 10_000)
    assert endless.session.state is ClientState.CLOSED


def test_reading_and_following() -> None:
    """Lines come one by one; the line that stops FOLLOW is sent once, and only then."""
    peer = logged_in()
    assert peer.session.stop_follow() == b""
    peer.session.command(c.Read("a.b", follow=True), stream=True)
    assert peer.says(b"220 DATA\r\n{}\r\n") == [e.BodyBegan(), e.BodyLine(b"{}")]
    assert peer.session.stop_follow() == b"NOOP\r\n"
    assert peer.session.stop_follow() == b""
    assert peer.says(b"{}\r\n220 OK\r\n") == [
        e.BodyLine(b"{}"),
        e.Answered(e.Reply(220, "OK"), had_body=True),
    ]
    peer.session.command(c.Read("a.b", follow=True), stream=True)
    peer.says(b"220 DATA\r\n")
    peer.session.stop_follow()
    events = peer.says(b"451 lost\r\n")
    assert events[0] == e.Answered(e.Reply(451, "lost"), had_body=True)
    assert broken(events)
    early = logged_in()
    early.session.command(c.Read("a.b", follow=True), stream=True)
    assert early.session.stop_follow() == b"NOOP\r\n"
    events = early.says(b"550 No such flow: a.b\r\n")
    assert events[0] == e.Answered(e.Reply(550, "No such flow: a.b"))
    assert broken(events)
    bounded = logged_in()
    bounded.session.command(READ, stream=True)
    assert bounded.session.stop_follow() == b""


def test_writing() -> None:
    """354 is only believed of a WRITE; events are single JSON objects within the server's limits."""
    peer = logged_in()
    with pytest.raises(IllegalMove):
        peer.session.event(b"{}")
    assert peer.session.command(c.Write("a.b")) == b"WRITE a.b\r\n"
    assert peer.says(b"354 Send events, end with .\r\n") == [e.GoAhead()]
    assert peer.session.event(b'{"id":"1"}') == b'{"id":"1"}\r\n'
    for bad in (b".", b"", b"[]", b"{}\r\n.", b"{\n}"):
        with pytest.raises(Usage):
            peer.session.event(bad)
    with pytest.raises(TooLarge):
        peer.session.event(b"{" + b" " * 50)
    assert peer.session.finish() == b".\r\n"
    assert peer.says(b"220 OK 1\r\n") == [e.Answered(e.Reply(220, "OK 1"))]
    other = logged_in()
    other.session.command("NOOP")
    assert broken(other.says(b"354 go\r\n"))


@pytest.mark.parametrize(
    "line",
    [
        "QUIT",
        "starttls",
        "AUTHENTICATE PLAIN x",
        "EHLO x",
        " WRITE a.b",
        "NOOP\r\nQUIT",
        "NOOP\n",
        "a\0",
        "\ud800",
    ],
)
def test_what_is_not_sent_as_a_line(line: str) -> None:
    """Two lines in one, and what has a method of its own."""
    peer = logged_in()
    with pytest.raises(Usage):
        peer.session.command(line)
    with pytest.raises(TooLarge):
        peer.session.command("NOOP" + " " * 100)
    peer.session.command("NOOP")


def test_no_credential_is_shown() -> None:
    """Responses, challenges and passwords are `***` in the dialogue."""
    said: list[tuple[str, str]] = []
    peer = Peer(ClientSession(dialogue=lambda *line: said.append(line)))
    peer.says(GREETING)
    peer.session.ehlo("")
    peer.says(EHLO)
    mechanism = ScramClient("test", "secret")
    peer.session.authenticate(mechanism)
    peer.says(b"334 " + base64.b64encode(b"r=x,s=AAAA,i=4096") + b"\r\n")
    peer.session.respond(b"c=biws")
    peer.says(b"535 Authentication failed\r\n")
    simple = PlainClient("test", "secret")
    peer.session.authenticate(simple)
    peer.says(b"220 Authenticated\r\n")
    peer.session.command(c.GetCredential("a.b"))
    peer.says(
        b'220 DATA\r\nusername=a.b\r\npassword=secret\r\npassword="se cr\\"et"\r\n{"password": "se\\"cret"}\r\n220 OK\r\n'
    )
    assert ("C", "AUTHENTICATE SCRAM-SHA-256 ***") in said
    assert ("S", "334 ***") in said
    assert ("S", "password=***") in said
    assert ("S", '{"password": "***"}') in said
    shown = "\n".join(line for _, line in said)
    for secret in (
        "secret",
        "se cr",
        'cr"',
        base64.b64encode(mechanism.initial() or b"").decode(),
        "AAAA",
        "AHRl",
    ):
        assert secret not in shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [("PASSWORD=x y=1", "PASSWORD=*** y=1"), ("x=1 password=a", "x=1 password=***"), ("passwords=a", "passwords=a"),
     ('{"a":1,"Password":"b","c":2}', '{"a":1,"Password":"***","c":2}')],
)  # fmt: skip
def test_values_of_passwords_are_masked(line: str, shown: str) -> None:
    """In TEXT and JSON, in any case, and nothing else."""
    assert masked(line) == shown


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"220 OK\r\n", b"220 DATA\r\n", b"334 AAAA\r\n", b"421 x\r\n", b"500 x\r\n", b"250 x\r\n", b"220 Authenticated\r\n",
                         b"\r\n", b"\n", b"354 go\r\n", b"{}\r\n", GREETING])
        | st.binary(max_size=20),
        max_size=8,
    ),
    st.sampled_from(["", "greeted", "ehlo", "tls", "sasl", "logged in", "command", "read", "write", "quit"]),
    st.integers(0, 3),
)  # fmt: skip
def test_no_server_upsets_the_session(says: list[bytes], when: str, piece: int) -> None:
    """Whatever a server says, and whenever: events or the end, never an exception, never a state that is not in the table."""
    peer = {"": Peer, "greeted": greeted}.get(
        when, logged_in if when in ("logged in", "command", "read", "write", "quit") else greeted
    )()
    session = peer.session
    peer.piece = piece
    if when == "ehlo":
        session.ehlo("")
    elif when == "tls":
        session.starttls()
    elif when == "sasl":
        session.authenticate(PlainClient("a", "b"))
    elif when in ("command", "read", "write"):
        session.command(
            {"command": "NOOP", "read": READ, "write": c.Write("a.b")}[when], stream=when == "read"
        )
    elif when == "quit":
        session.quit()
    for octets in says:
        peer.says(octets)
    assert (session.state, ClientInput.CLOSE) in CLIENT


def test_lines_of_a_simple_server_are_bounded_too() -> None:
    """A loose line is as short as any other."""
    buffer = LineBuffer()
    buffer.feed(b"x" * 11 + b"\r\nabc\n")
    assert buffer.next_loose_line(10) is LineFault.TOO_LONG
    assert buffer.next_loose_line(10) == b"abc"
    assert buffer.next_loose_line(10) is None
    buffer.feed(b"x" * 12)
    assert buffer.next_loose_line(10) is LineFault.TOO_LONG
