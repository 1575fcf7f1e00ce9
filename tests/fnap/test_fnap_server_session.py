"""The server's half of a session, without sockets: the draft's session to the byte, and what may go wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eson import errors
from eson.errors import EsonError, NoSuch, Usage, WriteStopped
from eson.fnap.core import commands as c
from eson.fnap.core import render
from eson.fnap.core import server as s
from eson.fnap.core.grammar import parse_command
from eson.fnap.core.lines import LineBuffer, LineFault
from eson.fnap.core.replies import Description, Listing, Ok, Pending, Subscribed
from eson.fnap.core.states import CLIENT, SERVER, IllegalMove, ServerState, Verdict, diagram, verdict
from eson.fnap.core.usage import USAGE
from eson.identity.mechanisms import AskPassword, AskVerifier
from eson.identity.mechanisms.anonymous import AnonymousServer
from eson.identity.mechanisms.plain import PlainServer
from eson.identity.mechanisms.scram import ScramClient, ScramServer
from eson.identity.verifier import make_verifier
from eson.model.principals import Caller, user

VERIFIER = make_verifier("test", 4096)
CALLER = Caller(user("test"), account="test", home="flows.unix.ar", mechanism="PLAIN")
MECHANISMS = {
    "PLAIN": PlainServer,
    "SCRAM-SHA-256": lambda: ScramServer(b"s" * 32),
    "ANONYMOUS": AnonymousServer,
}


def make_policy(**changes: Any) -> s.Policy:
    values = {
        "hostname": "fnaa.unix.ar",
        "mechanisms": tuple(MECHANISMS),
        "mechanism": lambda n: MECHANISMS[n](),
    }
    return s.Policy(**(values | changes))


class Shell:
    """Carries out actions at once, with a made-up agent behind; `sent` is what the client sees."""

    def __init__(
        self, session: s.ServerSession, answers: Sequence[Any] = (), events: Sequence[bytes] = ()
    ) -> None:
        self.session = session
        self.lines = LineBuffer()
        self.sent = b""
        self.actions: list[s.Action] = []
        self.closed = ""
        self.answers = list(answers)
        self.events = list(events)
        self.accepted: list[Any] = []
        self.do(session.connected())

    def feed(self, data: bytes) -> Shell:
        self.lines.feed(data)
        while not self.session.waits:
            line = self.lines.next_line(self.session.limit)
            if line is None:
                break
            self.do(self.session.fault(line) if isinstance(line, LineFault) else self.session.line(line))
        return self

    def do(self, actions: s.Actions) -> None:
        session = self.session
        for action in actions:
            if isinstance(action, bytes):
                self.sent += action
                continue
            self.actions.append(action)
            if isinstance(action, AskPassword):
                self.do(session.password_checked((action.username, action.password) == ("test", "test")))
            elif isinstance(action, AskVerifier):
                self.do(session.verifier_found(VERIFIER if action.username == "test" else None))
            elif isinstance(action, s.Authorise):
                self.do(session.authorised(None if action.authorisation == "root" else CALLER))
            elif isinstance(action, s.Execute):
                self.do(session.answered(self.answers.pop(0) if self.answers else Ok()))
            elif isinstance(action, s.OpenReader):
                self.do(session.reading(action.command.follow))
                self.sent += b"".join(self.events)
                if not action.command.follow:
                    self.do(session.read_ended())
            elif isinstance(action, s.StopReading):
                self.do(session.read_ended())
            elif isinstance(action, s.OpenWriter):
                self.accepted = []
                self.do(session.writing())
            elif isinstance(action, s.WriteEvent):
                if "id" in action.event:
                    self.accepted.append(action.event)
                else:
                    self.do(session.event_refused(Usage("no id")))
            elif isinstance(action, s.FinishWriting):
                self.do(session.written(len(self.accepted)))
            elif isinstance(action, s.BeginTls):
                self.do(session.tls_started(not len(self.lines)))
            elif isinstance(action, s.Close):
                self.closed = action.outcome

    def said(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


def shell(
    answers: Sequence[Any] = (), login: bool = True, events: Sequence[bytes] = (), **policy: Any
) -> Shell:
    found = Shell(s.ServerSession(make_policy(**policy), clear_is_safe=True), answers, events)
    if login:
        found.feed(b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n")
        assert found.said().endswith(b"220 Authenticated\r\n")
    return found


FLOW = {
    "flow": "time.flows.unix.ar",
    "type": "kafka",
    "topic": "time.flows.unix.ar",
    "server": ["kf1.unix.ar:9092"],
    "agent": "fnaa.unix.ar",
}


@pytest.mark.parametrize("piece", [1, 3, 10_000])
def test_the_drafts_session_to_the_byte(piece: int) -> None:
    """The session of the draft, fed whole, in pieces and octet by octet."""
    four = frozenset({"flow", "type", "topic", "server"})
    agent = shell(
        [Ok("time.flows.unix.ar"), Description(FLOW, four), Subscribed("ksdj898.time.flows.unix.ar")], False
    )
    typed = (
        b"AUTHENTICATE PLAIN\r\nAHRlc3QAdGVzdA==\r\nCREATE FLOW time.flows.unix.ar\r\n"
        b"DESCRIBE FLOW time.flows.unix.ar\r\nSUBSCRIBE time.flows.unix.ar LOCAL emiliano.ar-time.flows.unix.ar\r\n"
        b"QUIT\r\ntrailing octets\r\n"
    )
    for start in range(0, len(typed), piece):
        agent.feed(typed[start : start + piece])
    assert agent.said() == (
        b"220 fnaa.unix.ar FNAA\r\n220 OK\r\n220 Authenticated\r\n220 OK time.flows.unix.ar\r\n"
        b"220 DATA\r\nflow=time.flows.unix.ar\r\ntype=kafka\r\ntopic=time.flows.unix.ar\r\n"
        b"server=kf1.unix.ar:9092\r\n220 OK\r\n"
        b"220 DATA\r\nksdj898.time.flows.unix.ar\r\n220 OK\r\n220 Bye\r\n"
    )
    assert agent.closed == "quit"


SAMPLES = {
    "EHLO": b"EHLO x", "CAPABILITIES": b"CAPABILITIES", "STARTTLS": b"STARTTLS", "AUTHENTICATE": b"AUTHENTICATE PLAIN",
    "CREATE": b"CREATE FLOW a.b", "DESCRIBE": b"DESC FLOW a.b", "UPDATE": b"UPDATE FLOW a.b k=v",
    "DELETE": b"DELETE FLOW a.b FORCE", "GET": b"GET FL", "SUBSCRIBE": b"SUBSCRIBE a.b", "UNSUBSCRIBE": b"UNSUBSCRIBE a.b",
    "APPROVE": b"APPROVE SUBSCRIBER a.b", "DENY": b"DENY SUBSCRIBER a.b user:x", "REMOVE": b'REMOVE SUBSCRIBER a.b "why"',
    "PAUSE": b"PAUSE SUBSCRIPTION a.b", "RESUME": b"RESUME SUBSCRIPTION p-abc1234", "STOP": b"STOP SUBSCRIPTION a.b",
    "NOTIFY": b"NOTIFY a.b ended", "READ": b"READ a.b", "WRITE": b"WRITE a.b", "GRANT": b"GRANT read ON a.b TO anonymous",
    "REVOKE": b"REVOKE read ON a.b FROM anonymous", "REPLICATE": b"REPLICATE a.b c.d", "COLLECT": b"COLLECT a.b c.d",
    "DISTRIBUTE": b"DISTRIBUTE a.b c.d", "SIGNAL": b"SIGNAL a.b TO c.d", "FORMAT": b"FORMAT JSON", "WHOAMI": b"WHOAMI",
    "HELP": b"HELP READ", "NOOP": b"NOOP", "QUIT": b"QUIT",
}  # fmt: skip
NOT_220 = {"GRANT": b"502", "REVOKE": b"502", "EHLO": b"250", "WRITE": b"354"}


def in_state(state: ServerState) -> s.ServerSession:
    """A session that has been brought into a state by what leads there."""
    session = s.ServerSession(make_policy(), clear_is_safe=True)
    if state is ServerState.WAITING:
        return session
    session.connected()
    if state is ServerState.HANDSHAKE:
        session.line(b"STARTTLS")
    elif state in (ServerState.SASL, ServerState.VERIFYING):
        session.line(b"AUTHENTICATE PLAIN")
        if state is ServerState.VERIFYING:
            session.line(b"AHRlc3QAdGVzdA==")
    elif state is ServerState.CLOSED:
        session.close("test")
    elif state is not ServerState.ACCEPTING:
        session.line(b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==")
        session.password_checked(True)
        session.authorised(CALLER)
        if state is not ServerState.READY:
            session.line(
                b"WRITE a.b" if state in (ServerState.WRITING, ServerState.DROPPING) else b"READ a.b"
            )
        if state in (ServerState.READING, ServerState.FOLLOWING):
            session.reading(follow=state is ServerState.FOLLOWING)
        elif state in (ServerState.WRITING, ServerState.DROPPING):
            session.writing()
            if state is ServerState.DROPPING:
                session.line(b"no event")
    assert session.state is state
    return session


@pytest.mark.parametrize("state", ServerState)
@pytest.mark.parametrize("verb", USAGE)
def test_every_pair_of_state_and_command_is_decided(state: ServerState, verb: str) -> None:
    """Each verb in each state has a verdict, and the session does what the verdict says."""
    assert set(SAMPLES) == set(USAGE)
    session, said = in_state(state), verdict(state, verb)
    line = SAMPLES[verb]
    if said is Verdict.WAITS:
        assert session.waits or state is ServerState.WAITING
        with pytest.raises(IllegalMove):
            session.line(line)
        return
    assert session.waits == (said is Verdict.ABSORBED)
    actions = session.line(line)
    code = actions[0][:3] if actions and isinstance(actions[0], bytes) else b""
    if said is Verdict.LOGIN_FIRST:
        assert (code, session.state) == (b"530", ServerState.ACCEPTING)
    elif said is Verdict.NOT_NOW:
        assert (code, session.state) == (b"503", ServerState.READY)
    elif said is Verdict.ABSORBED:
        assert actions == ()
    elif said is Verdict.RUN:
        expected = NOT_220.get(verb, b"220")
        assert code == expected or isinstance(actions[0], s.Execute | s.OpenReader | s.OpenWriter)
    elif state is ServerState.SASL:
        # no line of a command is a PLAIN message, whether it is base64 or not
        assert code == b"535" or isinstance(actions[0], s.LoginFailed)
    elif state is ServerState.FOLLOWING:
        assert actions == (s.StopReading(),)
    else:
        assert actions == ()
        assert session.state is ServerState.DROPPING


@pytest.mark.parametrize("verb", USAGE)
def test_every_command_is_answered_on_the_wire(verb: str) -> None:
    """Before and after the login, with an agent that says yes to everything."""
    early, late = shell(login=False), shell()
    early.said()
    code = early.feed(SAMPLES[verb] + b"\r\n").said()[:3]
    waits = verdict(ServerState.ACCEPTING, verb) is Verdict.LOGIN_FIRST
    assert code == (b"530" if waits else NOT_220.get(verb, b"220"))
    code = late.feed(SAMPLES[verb] + b"\r\n").said()[:3]
    late_503 = verdict(ServerState.READY, verb) is Verdict.NOT_NOW
    assert code == (b"503" if late_503 else NOT_220.get(verb, b"220"))


def test_no_way_out_of_closed_and_every_state_is_reached() -> None:
    """`closed` absorbs everything; no state of the two tables is an island."""
    for table in (SERVER, CLIENT):
        reached = set(table.values())
        for state, what in table:
            assert state.value != "closed" or table[state, what].value == "closed"
            assert state in reached or state.value in ("waiting", "idle")
        assert "stateDiagram-v2" in diagram(table)


def test_every_error_has_its_reply() -> None:
    """Each class of the tree gives one line with its code; what is unforeseen is hidden."""
    known = {"LimitReached": ("x",), "AgentUnreachable": ("a.b",), "NoSuch": ("flow", "a.b"), "NotHosted": ("a.b",),
             "NotAllowed": ("read", "a.b"), "AuthenticationFailed": (), "WriteStopped": (451, "lost", 3), "ReplyError": (550, "no"),
             "ConfigError": ([],), "EncryptionRequired": (), "UnknownCommand": (), "LookupFailed": ("a.b", "lost"), "Answered": ("text", 3)}  # fmt: skip

    def walk(kind: type[EsonError]) -> None:
        reply = render.error_line(kind(*known.get(kind.__name__, ("text",))))
        assert reply[:1] in (b"4", b"5")
        assert reply.endswith(b"\r\n")
        assert reply.count(b"\r\n") == 1
        for below in kind.__subclasses__():
            walk(below)

    walk(errors.EsonError)
    assert render.error_line(NoSuch("flow", "a.b")) == b"550 No such flow: a.b\r\n"
    assert render.error_line(ZeroDivisionError("secret")) == (render.HIDDEN + "\r\n").encode()
    assert b"secret" not in render.error_line(errors.ConfigError([errors.Fault(1, "k", "secret", "r")]))
    assert len(render.error_line(Usage("é" * 600))) == 512
    assert render.error_line(Usage("a\r\n220 OK")) == b"501 a??220-OK\r\n"


def test_scram_login_on_the_wire() -> None:
    """Client-first as initial response, server-final in a 334, the empty answer, then 220."""
    agent = shell(login=False)
    agent.said()
    client = ScramClient("test", "test")
    agent.feed(b"AUTHENTICATE SCRAM-SHA-256 " + base64.b64encode(client.initial()) + b"\r\n")
    first = agent.said()
    assert first.startswith(b"334 ")
    agent.feed(base64.b64encode(client.answer(base64.b64decode(first[4:]))) + b"\r\n")
    final = agent.said()
    assert final.startswith(b"334 ")
    client.answer(base64.b64decode(final[4:]))
    assert agent.feed(b"\r\n").said() == b"220 Authenticated\r\n"
    assert client.finished()


def test_a_login_may_be_cancelled_and_the_third_failure_ends() -> None:
    """`*` cancels; 535 twice, then 421 and the end."""
    agent = shell(login=False)
    agent.said()
    assert agent.feed(b"AUTHENTICATE PLAIN\r\n*\r\n").said() == b"220 OK\r\n501 Authentication cancelled\r\n"
    wrong = b"AUTHENTICATE PLAIN AHRlc3QAeA==\r\n"
    assert agent.feed(wrong).said() == b"535 Authentication failed\r\n"
    assert agent.feed(b"AUTHENTICATE PLAIN !!!\r\n").said().startswith(b"501 Usage")
    assert agent.feed(b"AUTHENTICATE PLAIN\r\n!!!\r\n").said() == b"220 OK\r\n535 Authentication failed\r\n"
    assert agent.feed(wrong).said().startswith(b"421 ")
    assert agent.closed == "failed logins"
    assert [a.mechanism for a in agent.actions if isinstance(a, s.LoginFailed)] == ["PLAIN"] * 3


def test_who_may_not_act_as_somebody_is_not_let_in() -> None:
    """An authorisation identity that is not allowed fails like a wrong password."""
    agent = shell(login=False)
    agent.said()
    message = base64.b64encode(b"root\0test\0test")
    assert agent.feed(b"AUTHENTICATE PLAIN " + message + b"\r\n").said() == b"535 Authentication failed\r\n"


def test_mechanisms_that_are_not_offered_or_too_weak() -> None:
    """504 for unknown and later ones; 538 for a password in clear."""
    agent = shell(login=False, bad_before_login=9)
    agent.said()
    assert (
        agent.feed(b"AUTHENTICATE GSSAPI\r\n").said().startswith(b"504 Mechanism GSSAPI is not offered here")
    )
    assert agent.feed(b"AUTHENTICATE FOO\r\n").said().startswith(b"504 Mechanism FOO is not supported")
    far = Shell(s.ServerSession(make_policy()))
    far.said()
    assert far.feed(b"AUTHENTICATE PLAIN\r\n").said() == b"538 Encryption required\r\n"
    assert b"PLAIN" not in far.feed(b"EHLO x\r\n").said()
    assert b"334 " in far.feed(b"AUTHENTICATE SCRAM-SHA-256\r\n").said()


def test_starttls_forgets_everything_and_suffers_nothing_behind_it() -> None:
    """State is new after the handshake; octets behind STARTTLS end the session, a half line too."""
    agent = shell(login=False)
    agent.said()
    assert b"250-STARTTLS" in agent.feed(b"FORMAT JSON\r\nEHLO x\r\n").said()
    assert agent.feed(b"STARTTLS\r\n").said() == b"220 Ready to start TLS\r\n"
    assert agent.session.tls
    assert b"STARTTLS" not in agent.feed(b"EHLO x\r\n").said()
    assert agent.feed(b"STARTTLS\r\n").said().startswith(b"503")
    for behind in (b"NOOP\r\n", b"NOO", b"\n"):
        victim = shell(login=False).feed(b"STARTTLS\r\n" + behind)
        assert victim.closed == "octets behind STARTTLS"
        assert victim.said().endswith(b"220 Ready to start TLS\r\n")
    assert (
        shell(login=False, starttls=False)
        .feed(b"STARTTLS\r\n")
        .said()
        .endswith(b"454 TLS is not available here\r\n")
    )


def test_bad_lines_are_answered_and_counted() -> None:
    """Bare LF and CR, NUL, bad UTF-8, too long lines, unknown verbs; the third before login ends the session."""
    agent = shell(bad_after_login=50, line=60)
    bare = LineFault.BARE_LINE_END.value.encode() + b"\r\n"
    assert agent.feed(b"NOOP\n").said() == bare
    assert agent.feed(b"NOOP\rNOOP\r\n").said() == bare + b"220 OK\r\n"
    assert agent.feed(b"\nNOOP\r\n").said() == bare + b"220 OK\r\n"
    assert agent.feed(b"NO\0OP\r\n").said().startswith(b"501 ")
    assert agent.feed(b"NO\xff\r\n").said().startswith(b"501 ")
    assert agent.feed(b"x" * 200 + b"\r\nNOOP\r\n").said() == b"500 Line too long\r\n220 OK\r\n"
    assert agent.feed(b"x" * 61 + b"\r\nNOOP\r\n").said() == b"500 Line too long\r\n220 OK\r\n"
    assert agent.feed(b"NOOP" + b" " * 56 + b"\r\n").said() == b"220 OK\r\n"
    assert agent.feed(b"EXPN root\r\n\r\n").said() == b"500 Unknown command\r\n" * 2
    assert agent.feed(b"CREATE FLOW a..b\r\n").said().startswith(b"553 Name not allowed: ")
    assert agent.feed(b'CREATE FLOW a.b x="\r\n').said().startswith(b"501 Usage: CREATE")
    early = shell(login=False).feed(b"GET FL\r\nCREATE\r\nWHOAMI\r\n")
    assert early.said().endswith(
        b"530 Authenticate first\r\n530 Authenticate first\r\n421 Too many bad commands\r\n"
    )
    assert early.closed == "bad commands"


def test_write_takes_events_to_the_lone_dot() -> None:
    """Count after all are synced; the first bad line is named and the rest dropped."""
    agent = shell()
    good = b'{"id":"1"}\r\n'
    assert agent.feed(b"WRITE a.b\r\n" + good * 3 + b".\r\nNOOP\r\n").said() == (
        b"354 Send events, end with .\r\n220 OK 3\r\n220 OK\r\n"
    )
    agent.feed(b"WRITE a.b\r\n" + good * 2 + b"not json\r\n" + good * 2 + b".\r\n")
    assert agent.said().endswith(b"501 Line 3: no JSON object; 2 written\r\n")
    agent.feed(b'WRITE a.b\r\n{"x":1}\r\n[]\r\n.\r\n')
    assert agent.said().endswith(b"501 Line 1: no id; 0 written\r\n")
    agent.feed(b"WRITE a.b\r\n" + good + b"x\n" + good + b".\r\n")
    assert agent.said().endswith(b"501 Line 2: lines end in CR LF; 1 written\r\n")
    assert agent.feed(b"WRITE a.b\r\n" + b"[" * 100_000 + b"\r\n.\r\n").said().endswith(b"0 written\r\n")
    agent.feed(b"WRITE a.b\r\n" + good)
    agent.do(agent.session.event_refused(WriteStopped(451, "The broker was lost", 1)))
    assert agent.feed(good + b".\r\n").said().endswith(b"451 The broker was lost; 1 written\r\n")


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"1", b"null", b"{", b"{} {}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b"[" * 100_000,
     "{}".encode("utf-16"), b"\xef\xbb\xbf{}", b'{"a":' + b"1" * 5000 + b"}", b"..", b'{"a":"\x01"}'],
)  # fmt: skip
def test_what_is_no_event(line: bytes) -> None:
    """Only one JSON object in UTF-8 is."""
    agent = shell()
    agent.feed(b"WRITE a.b\r\n" + line + b"\r\n.\r\n")
    assert agent.said().endswith(b"501 Line 1: no JSON object; 0 written\r\n")
    assert agent.feed(b'WRITE a.b\r\n{"id":"\\ud83d\\ude00"}\r\n.\r\n').said().endswith(b"220 OK 1\r\n")
    assert agent.accepted == [{"id": "😀"}]


def test_read_is_bounded_or_followed_until_the_next_line() -> None:
    """FOLLOW ends at the client's next line, which is consumed."""
    agent = shell(events=[b"{}\r\n"])
    assert agent.feed(b"READ a.b\r\nNOOP\r\n").said() == b"220 DATA\r\n{}\r\n220 OK\r\n220 OK\r\n"
    assert agent.feed(b"READ a.b FOLLOW\r\n").said() == b"220 DATA\r\n{}\r\n"
    assert agent.feed(b"QUIT\r\n").said() == b"220 OK\r\n"
    assert agent.feed(b"NOOP\r\n").said() == b"220 OK\r\n"


def test_json_is_one_object_a_line() -> None:
    """FORMAT JSON changes bodies only."""
    agent = shell([Description(FLOW, frozenset({"flow"})), Listing([{"flow": "a.b", "lag": 3}]),
                   Subscribed("c.a.b", "l.m"), Ok("x"), Pending("c.a.b")])  # fmt: skip
    agent.feed(
        b"FORMAT JSON\r\nDESC FLOW a.b\r\nGET FL\r\nSUBSCRIBE a.b\r\nNOTIFY a.b ended\r\nSUBSCRIBE a.b\r\n"
    )
    lines = agent.said().decode().split("\r\n")
    assert json.loads(lines[2]) == FLOW
    assert json.loads(lines[5]) == {"flow": "a.b", "lag": 3}
    assert json.loads(lines[8]) == {"local": "l.m", "copy": "c.a.b"}
    assert lines[10:] == ["220 OK x", "202 Pending c.a.b", ""]
    text = shell(
        [
            Listing(
                [
                    {
                        "flow": "a.b",
                        "server": ["x:1", "y:2"],
                        "description": 'what "time" \\ it is',
                        "tls": True,
                    }
                ]
            )
        ]
    )
    assert text.feed(b"GET FL\r\n").said().decode().split("\r\n")[1] == (
        'flow=a.b server=x:1 server=y:2 description="what \\"time\\" \\\\ it is" tls=yes'
    )
    assert b"principal=user:test" in text.feed(b"WHOAMI\r\n").said()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40), st.sampled_from([b"\r\n", b"\n", b"\r", b"NOOP\r\n", b"STARTTLS\r\n"])
        )
    )
)
def test_no_octets_upset_the_session(pieces: list[bytes]) -> None:
    """Anything in any pieces gives replies of the grammar; the same octets whole give the same replies."""
    one, whole = shell(login=False), shell(login=False)
    for piece in pieces:
        one.feed(piece)
    if not any(b"STARTTLS" in piece for piece in pieces):
        whole.feed(b"".join(pieces))
        assert one.sent == whole.sent
    for line in one.sent.split(b"\r\n"):
        assert line == b"" or line[:3].isdigit() or b"\n" not in line


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_line_is_a_command_or_an_error(text: str) -> None:
    """The grammar raises nothing but its own errors."""
    for line in (
        text,
        "CREATE FLOW " + text,
        "SUBSCRIBE a.b " + text,
        "GET " + text,
        "REMOVE SUBSCRIBER a.b " + text,
    ):
        try:
            parse_command(line)
        except EsonError as error:
            assert len(render.error_line(error)) <= 512


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("create flow flow://A.B. description=\"x \\\"y\\\"\" partitions=3", c.CreateFlow("a.b", (("description", 'x "y"'), ("partitions", "3")))),
        ("GET ns AFTER x.y LIMIT 5", c.GetNamespaces("", c.Page("x.y", 5))),
        ("GET SUBSCRIPTIONS AFTER P-abc1234", c.GetSubscriptions("", c.Page("p-abc1234"))),
        ("get flows b.c limit 2", c.GetFlows("b.c", c.Page("", 2))),
        ("GET SUBSCRIPTIONS", c.GetSubscriptions()),
        ("SUBSCRIBE A.b LOCAL X.Y AS t-1", c.Subscribe("a.b", "x.y", "X.Y", None, "t-1")),
        ("AUTHENTICATE plain =", c.Authenticate("PLAIN", "=")),
        ("describe broker Local", c.Describe("BROKER", "local")),
    ],
)  # fmt: skip
def test_lines_become_commands(line: str, command: c.Command) -> None:
    """Names become canonical, keys lower case, values lose their quotation marks."""
    assert parse_command(line) == command


def test_a_line_buffer_holds_no_more_than_its_limit() -> None:
    """A line without end costs its limit and one piece."""
    buffer = LineBuffer()
    faults = 0
    for _ in range(1000):
        buffer.feed(b"x" * 1000)
        faults += buffer.next_line(100) is LineFault.TOO_LONG
        assert len(buffer) <= 1000
    assert faults == 1
    buffer.feed(b"\r")
    assert buffer.next_line(100) is None
    buffer.feed(b"\nNOOP\r\n")
    assert buffer.next_line(100) == b"NOOP"
