"""`fnua` as a user sees it: what is said to the agent, what is printed where, and how it ends."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import yaml
from click.testing import CliRunner, Result
from servers.in_memory_agent import InMemoryAgent
from servers.lying_agent import Answer, body
from twisted.internet.defer import Deferred

from eson.cli.console import Console
from eson.cli.main import main
from eson.cli.profile import AgentProfile
from eson.cli.running import Interrupted, read_some
from eson.client import Agent
from eson.errors import AgentUnreachable, AuthenticationFailed, ProtocolViolation, TlsFailed, Unreachable

FLOW = "time.flows.unix.ar"
COPY = f"ksdj898.{FLOW}"
PROFILE = """
agents:
  - {name: fnaa-unix, fqdn: fnaa.unix.ar, username: test, password: test}
  - {name: fnaa-emiliano, fqdn: fnaa.emiliano.ar, username: emiliano, password: pw, prefix: "unix.ar-"}
  - {name: nobody, fqdn: fnaa.example.com}
namespaces:
  - {name: flows.unix.ar, agent: fnaa-unix}
  - {name: flows.emiliano.ar, agent: fnaa-emiliano}
default: fnaa-unix
"""


class Memory:
    """A `Runner` without a reactor: everything happens at once; the third `sleep` is the user's Ctrl-C."""

    reactor = None

    def __init__(self) -> None:
        self.agent: InMemoryAgent | None = None
        self.slept = 0

    def run(self, work: Coroutine[Deferred[Any], Any, Any]) -> Any:
        assert self.agent is not None
        return self.agent.run(work)

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept == 3:
            raise Interrupted

    async def chunks(self, stream: BinaryIO) -> AsyncIterator[bytes]:
        while chunk := read_some(stream):
            yield chunk


class Fnua(Console):
    """The console with an agent in memory behind it, or with an error instead of a session."""

    def __init__(self, answers: Mapping[str, Answer], failure: Exception | None = None) -> None:
        self.memory = Memory()
        super().__init__(runner=self.memory)
        self._answers, self._failure = answers, failure
        self.asked: list[AgentProfile] = []

    def prepare(self) -> None:
        super().prepare()
        self.memory.agent = InMemoryAgent(self._answers, self.dialogue.line if self.dialogue else None)

    async def connect(self, profile: AgentProfile) -> Agent:
        assert self.memory.agent is not None
        self.asked.append(profile)
        if self._failure is not None:
            raise self._failure
        await self.memory.agent.session.login(profile.username if profile.password else "", profile.password)
        return Agent(self.memory.agent.session)


class User:
    """Types commands at a terminal that is none."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.console = Fnua({})

    def types(
        self,
        *args: str,
        answers: Mapping[str, Answer] = {},
        failure: Exception | None = None,
        stdin: str | bytes | None = None,
    ) -> Result:
        self.console = Fnua(answers, failure)
        return CliRunner().invoke(main, ["-c", str(self.file), *args], obj=self.console, input=stdin)

    @property
    def said(self) -> list[str]:
        """The lines that came after the login, QUIT left out."""
        agent = self.console.memory.agent
        assert agent is not None
        return [line for line in agent.heard if not re.match("EHLO|AUTHENTICATE|QUIT", line)]


@pytest.fixture
def user(tmp_path: Path) -> User:
    file = tmp_path / "fnua.yaml"
    file.write_text(PROFILE)
    file.chmod(0o600)
    return User(file)


OK = b"220 OK\r\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (f"update flow {FLOW} visibility=public", f"UPDATE FLOW {FLOW} visibility=public"),
        (f"delete flow {FLOW}", f"DELETE FLOW {FLOW}"),
        (f"delete flow {FLOW} --force", f"DELETE FLOW {FLOW} FORCE"),
        ("delete namespace flows.unix.ar", "DELETE NAMESPACE flows.unix.ar"),
        (f"unsubscribe {COPY}", f"UNSUBSCRIBE {COPY}"),
        (f"pause {COPY}", f"PAUSE SUBSCRIPTION {COPY}"),
        (f"pause subscription {COPY}", f"PAUSE SUBSCRIPTION {COPY}"),
        ("resume p-abcdefg", "RESUME SUBSCRIPTION p-abcdefg"),
        (f"stop {COPY}", f"STOP SUBSCRIPTION {COPY}"),
        (f"approve {COPY}", f"APPROVE SUBSCRIBER {COPY}"),
        (f"approve subscriber {FLOW} user:eve@evil.org", f"APPROVE SUBSCRIBER {FLOW} user:eve@evil.org"),
        (f"deny {COPY} --reason no", f'DENY SUBSCRIBER {COPY} "no"'),
        (f"remove {COPY}", f"REMOVE SUBSCRIBER {COPY}"),
        (f"grant read,write {FLOW} user:eve", f"GRANT read,write ON {FLOW} TO user:eve"),
        (
            f"grant read on {FLOW} to user:eve --until 2027-01-01T00:00:00Z --rate 5/s",
            f"GRANT read ON {FLOW} TO user:eve UNTIL 2027-01-01T00:00:00Z RATE 5/s",
        ),
        (f"revoke read {FLOW} user:eve", f"REVOKE read ON {FLOW} FROM user:eve"),
        (f"revoke read on {FLOW} from user:eve", f"REVOKE read ON {FLOW} FROM user:eve"),
    ],
)
def test_what_is_typed_is_what_is_said(user: User, typed: str, line: str) -> None:
    """Nothing on stdout: there is no data; a word for people on stderr."""
    result = user.types(*typed.split(), answers={line.split()[0]: OK})
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr
    assert user.said == [line]


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("pause", "Paused"),
        ("resume", "Resumed"),
        ("stop", "Stopped"),
        ("approve", "Approved"),
        ("deny", "Denied"),
        ("remove", "Removed"),
        ("unsubscribe", "Unsubscribed"),
    ],
)
def test_what_was_done_is_told(user: User, verb: str, told: str) -> None:
    assert user.types(verb, COPY, answers={verb.upper(): OK}).stderr == f"{told} {COPY}\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("replicate a.b c.d", "REPLICATE a.b TO c.d"),
        ("replicate a.b to c.d", "REPLICATE a.b TO c.d"),
        ("collect a.b c.d e.f", "COLLECT a.b c.d TO e.f"),
        ("distribute a.b c.d e.f", "DISTRIBUTE a.b TO c.d e.f"),
        ("signal a.b c.d", "SIGNAL a.b TO c.d"),
        ("signal a.b c.d to e.f g.h", "SIGNAL a.b c.d TO e.f g.h"),
    ],
)
def test_processors_print_their_id(user: User, typed: str, line: str) -> None:
    result = user.types(*typed.split(), answers={line.split()[0]: b"220 OK p-abc1234\r\n"})
    assert (result.exit_code, result.stdout) == (0, "p-abc1234\n")
    assert user.said == [line]


def test_what_is_accepted_and_not_done_yet_has_a_status_of_its_own(user: User) -> None:
    """Scripts get the id alone, and never take it for done."""
    pending = b"202 Pending p-abc1234\r\n"
    made = user.types("replicate", "a.b", "c.d", answers={"REPLICATE": pending})
    assert (made.exit_code, made.stdout) == (5, "p-abc1234\n")
    for verb, id in (("resume", "p-abc1234"), ("approve", COPY)):
        result = user.types(verb, id, answers={verb.upper(): pending})
        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr.startswith("It is not done yet")


def test_a_condition_of_a_signal_is_quoted(user: User) -> None:
    user.types("signal", "a.b", "c.d", "--when", "type = 'x\"y'", answers={"SIGNAL": b"220 OK p-abc1234\r\n"})
    assert user.said == ['SIGNAL a.b TO c.d WHEN "type = \'x\\"y\'"']


@pytest.mark.parametrize(
    "typed",
    [
        "replicate a.b",
        "collect a.b",
        "distribute a.b",
        "signal a.b",
        "signal a.b to",
        "grant read",
        "pause a b",
        "approve a b c",
    ],
)
def test_too_few_and_too_many_words_are_wrong_usage(user: User, typed: str) -> None:
    result = user.types(*typed.split())
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert user.console.asked == []


# Data on stdout


def test_what_was_made_is_printed(user: User) -> None:
    answers = {"CREATE": f"220 OK {FLOW}\r\n".encode()}
    result = user.types("create", "flow", FLOW, "description=what time", answers=answers)
    assert (result.exit_code, result.stdout) == (0, f"{FLOW}\n")
    assert user.said == [f'CREATE FLOW {FLOW} description="what time"']
    assert json.loads(user.types("create", "flow", FLOW, "-o", "json", answers=answers).stdout) == {
        "flow": FLOW
    }


DESCRIPTION = [
    f"flow={FLOW}",
    "type=kafka",
    f"topic={FLOW}",
    "server=kf1.unix.ar:9092",
    "server=kf2.unix.ar:9092",
]


def test_a_description_in_each_form(user: User) -> None:
    answers = {"DESCRIBE": body(*DESCRIPTION)}
    assert user.types("describe", "flow", FLOW, answers=answers).stdout.split("\n")[:-1] == DESCRIPTION
    expected = {
        "flow": FLOW,
        "type": "kafka",
        "topic": FLOW,
        "server": ["kf1.unix.ar:9092", "kf2.unix.ar:9092"],
    }
    assert json.loads(user.types("-o", "json", "describe", "flow", FLOW, answers=answers).stdout) == expected
    assert (
        yaml.safe_load(user.types("-o", "yaml", "describe", "flow", FLOW, answers=answers).stdout) == expected
    )


def test_lists_in_each_form(user: User) -> None:
    rows = [{"subscription": COPY, "state": "active", "lag": 5}, {"subscription": "x.y.z", "state": "paused"}]
    answers = {"GET": body(*map(json.dumps, rows))}
    assert (
        user.types("get", "subscriptions", answers=answers).stdout
        == f"subscription\tstate\tlag\n{COPY}\tactive\t5\nx.y.z\tpaused\t\n"
    )
    printed = user.types("get", "subscriptions", "-o", "json", answers=answers).stdout
    assert [json.loads(line) for line in printed.splitlines()] == rows
    assert yaml.safe_load(user.types("get", "subscriptions", "-o", "yaml", answers=answers).stdout) == rows
    assert user.types("get", "flows", answers={"GET": body()}).stdout == ""


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("get ns", "GET NAMESPACES"),
        ("get fl flows.unix.ar --after a.b --limit 5", "GET FLOWS flows.unix.ar AFTER a.b LIMIT 5"),
        (f"get subscribers {FLOW}", f"GET SUBSCRIBERS {FLOW}"),
        ("get brokers", "GET BROKERS"),
        ("get grants", "GET GRANTS"),
        (f"get credential {COPY}", f"GET CREDENTIAL {COPY}"),
    ],
)
def test_what_get_asks(user: User, typed: str, line: str) -> None:
    user.types(*typed.split(), answers={"GET": body("a=b")})
    assert user.said == [line]


@pytest.mark.parametrize(
    "typed",
    [
        "get subscribers",
        "get brokers x.y",
        "get brokers --limit 3",
        "get credential",
        f"get credential {COPY} --watch",
        "get everything",
        "get flows --limit 0",
    ],
)
def test_what_get_cannot_ask(user: User, typed: str) -> None:
    result = user.types(*typed.split())
    assert result.exit_code == 2
    assert result.stderr
    assert user.console.asked == []


def test_watching_prints_what_has_changed(user: User) -> None:
    """Elsewhere than on a terminal; one session is enough, and Ctrl-C ends it."""
    states = iter(["active", "active", "paused"])

    def answer(said: str) -> bytes:
        return body(
            json.dumps({"subscription": COPY, "state": next(states)}), json.dumps({"subscription": "a.b.c"})
        )

    result = user.types("get", "subscriptions", "--watch", "-o", "json", answers={"GET": answer})
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert printed == [
        {"subscription": COPY, "state": "active"},
        {"subscription": "a.b.c"},
        {"subscription": COPY, "state": "paused"},
    ]
    assert user.said == ["GET SUBSCRIPTIONS"] * 3
    assert len(user.console.asked) == 1


def test_an_agent_cannot_steer_the_terminal(user: User) -> None:
    answers = {"DESCRIBE": body(json.dumps({"flow": FLOW, "description": "\x1b[2Jred"}))}
    assert "\x1b" not in user.types("describe", "flow", FLOW, answers=answers).stdout
    result = user.types("describe", "flow", FLOW, answers={"DESCRIBE": b"550 \x1b[2J\r\n"})
    assert "\x1b" not in result.stderr


# Events


@pytest.mark.parametrize(
    "words",
    [
        ("delete", "flow", f"{FLOW} FORCE"),
        ("create", "flow", "sp ace.flows.unix.ar"),
        ("get", "flows", "--after", f"{FLOW} LIMIT 1"),
        ("subscribe", FLOW, "--from", "NOW AS x"),
        ("replicate", FLOW, f"{FLOW}\tTO"),
        ("approve", COPY, 'user:a "why"'),
        ("unsubscribe", f"{COPY}\u2028"),
        ("read", f"{FLOW} FOLLOW"),
    ],
)
def test_what_is_typed_as_one_word_stays_one(user: User, words: tuple[str, ...]) -> None:
    """No name can say another word of the command: nothing is asked."""
    result = user.types(*words)
    assert result.exit_code == 2
    assert "more than one word" in result.stderr
    assert user.said == []


def test_events_are_read_as_lines(user: User) -> None:
    events = [{"id": str(number), "data": "é\n"} for number in range(300)]
    answers = {"READ": body(*(json.dumps(event, ensure_ascii=False) for event in events))}
    result = user.types("read", FLOW, "--from", "BEGINNING", "--limit", "300", answers=answers)
    assert [json.loads(line) for line in result.stdout.splitlines()] == events
    assert user.said == [f"READ {FLOW} FROM BEGINNING LIMIT 300"]
    documents = user.types("-o", "yaml", "read", FLOW, answers=answers).stdout
    assert list(yaml.safe_load_all(documents)) == events


def test_a_read_that_finds_nothing_says_so(user: User) -> None:
    """On stderr, so that a pipe gets what there is: nothing."""
    for style in ("json", "yaml"):
        result = user.types("-o", style, "read", FLOW, "--from", "99999", answers={"READ": body()})
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"No events: {FLOW} has none from 99999 on\n"
    assert user.types("read", FLOW, answers={"READ": body()}).stderr == f"No events: {FLOW} has none\n"


def test_a_read_that_breaks_off_fails(user: User) -> None:
    result = user.types("read", FLOW, answers={"READ": b'220 DATA\r\n{"id":"1"}\r\n451 Broker lost\r\n'})
    assert result.exit_code == 3
    assert result.stdout == '{"id":"1"}\n'
    assert "Broker lost" in result.stderr


@pytest.mark.parametrize("words", [["--limit", "1", "--follow"], ["--from", "yesterday"], ["--limit", "0"]])
def test_reads_that_make_no_sense(user: User, words: list[str]) -> None:
    assert user.types("read", FLOW, *words).exit_code == 2
    assert user.types("read", "no name").exit_code == 2


WRITING: dict[str, Answer] = {"WRITE": b"354 Send events, end with .\r\n", "{": b"", ".": b"220 OK 2\r\n"}


@pytest.mark.parametrize(
    "text", ['{"a":1}\n{"b":2}\n', '{"a":1}\r\n\r\n  {"b":2}', '\n\n{"a":1}\n\n{"b":2}\n\n']
)
def test_events_are_written_from_lines(user: User, text: str) -> None:
    result = user.types("write", FLOW, stdin=text, answers=WRITING)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "2 events written\n"
    assert user.said == [f"WRITE {FLOW}", '{"a":1}', '{"b":2}', "."]


def test_events_are_written_from_a_file(user: User, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps({"n": number, "text": "é" * 100}) + "\n" for number in range(2000)))
    result = user.types(
        "-o", "json", "write", FLOW, "--file", str(file), answers=WRITING | {".": b"220 OK 2000\r\n"}
    )
    assert json.loads(result.stdout) == {"written": 2000}
    assert [json.loads(line)["n"] for line in user.said[1:-1]] == list(range(2000))
    assert user.types("write", FLOW, "--file", str(tmp_path / "none")).exit_code == 2


def test_how_many_were_written_before_a_bad_line(user: User) -> None:
    refused = WRITING | {".": b'501 Line 2: "source" is missing; 1 written\r\n'}
    result = user.types("write", FLOW, stdin='{"a":1}\n{"b":2}\n', answers=refused)
    assert result.exit_code == 1
    assert 'Line 2: "source" is missing; 1 written' in result.stderr
    lost = WRITING | {".": b"451 Broker lost; 1 written\r\n"}
    assert user.types("write", FLOW, stdin='{"a":1}\n', answers=lost).exit_code == 3


def test_a_line_that_is_no_event_is_not_sent(user: User) -> None:
    result = user.types("write", FLOW, stdin='{"a":1}\nword\n', answers=WRITING | {".": b"220 OK 1\r\n"})
    assert result.exit_code == 1
    assert "Line 2: An event is one JSON object on one line; 1 written\nMend that line" in result.stderr
    assert user.said == [f"WRITE {FLOW}", '{"a":1}', "."]


# Subscribing


def test_subscribing_with_all_words(user: User) -> None:
    answers = {"SUBSCRIBE": body(json.dumps({"local": "My.flows.unix.ar", "copy": COPY}))}
    result = user.types(
        "-o", "json", "subscribe", FLOW, "My.flows.unix.ar", "--from", "NOW", "--token", "t", answers=answers
    )
    assert json.loads(result.stdout) == {"flow": FLOW, "copy": COPY, "local": "My.flows.unix.ar"}
    assert user.said == [f"SUBSCRIBE {FLOW} LOCAL My.flows.unix.ar FROM NOW AS t"]


def test_the_prefix_of_the_agent_makes_the_local_name(user: User) -> None:
    answers = {"SUBSCRIBE": body(f"unix.ar-{FLOW} SUBSCRIBED TO {COPY}")}
    result = user.types("-a", "fnaa-emiliano", "subscribe", f"flow://{FLOW}", answers=answers)
    assert result.exit_code == 0
    assert user.said == [f"SUBSCRIBE flow://{FLOW} LOCAL unix.ar-{FLOW}"]


def test_a_flow_of_others_goes_below_home(user: User) -> None:
    answers = {
        "DESCRIBE": b"551 Not hosted here: x\r\n",
        "WHOAMI": body("principal=user:test", "home=flows.unix.ar"),
        "SUBSCRIBE": body("arrivals.flows.unix.ar SUBSCRIBED TO ksdj898.arrivals.airport.com"),
    }
    user.types("subscribe", "arrivals.airport.com", answers=answers)
    assert user.said[-1] == "SUBSCRIBE arrivals.airport.com LOCAL arrivals.flows.unix.ar"


def test_a_flow_of_this_agent_gives_a_copy_alone(user: User) -> None:
    result = user.types("subscribe", FLOW, answers={"DESCRIBE": body(*DESCRIPTION), "SUBSCRIBE": body(COPY)})
    assert user.said[-1] == f"SUBSCRIBE {FLOW}"
    assert result.stdout == f"flow={FLOW}\ncopy={COPY}\n"


def test_a_subscription_that_waits_has_a_status_of_its_own(user: User) -> None:
    answers = {"SUBSCRIBE": f"202 Pending {COPY}\r\n".encode()}
    result = user.types("-o", "json", "subscribe", FLOW, "mine.flows.unix.ar", answers=answers)
    assert result.exit_code == 5
    assert json.loads(result.stdout)["state"] == "pending"
    assert "approval" in result.stderr


# Which agent, and how it ends


def test_the_agent_follows_from_the_name(user: User) -> None:
    for words, fqdn in [
        (["delete", "flow", "x.flows.emiliano.ar"], "fnaa.emiliano.ar"),
        (["delete", "flow", "FLOW://x.flows.unix.ar."], "fnaa.unix.ar"),
        (["delete", "flow", "x.example.com"], "fnaa.unix.ar"),
        (["delete", "-a", "fnaa-emiliano", "flow", FLOW], "fnaa.emiliano.ar"),
        (["delete", "flow", FLOW, "--agent=fnaa.example.net"], "fnaa.example.net"),
    ]:
        assert user.types(*words, answers={"DELETE": OK}).exit_code == 0
        assert [one.fqdn for one in user.console.asked] == [fqdn]


def test_a_subscription_is_at_one_s_own_agent_wherever_its_copy_is(user: User) -> None:
    user.file.write_text(PROFILE.replace("default: fnaa-unix", "default: fnaa-emiliano"))
    for words, fqdn in [
        (["unsubscribe", COPY], "fnaa.emiliano.ar"),
        (["pause", COPY], "fnaa.emiliano.ar"),
        (["unsubscribe", "time.flows.unix.ar"], "fnaa.unix.ar"),
        (["remove", COPY], "fnaa.unix.ar"),
    ]:
        assert user.types(*words, answers={words[0].upper(): OK}).exit_code == 0
        assert [one.fqdn for one in user.console.asked] == [fqdn]


def test_without_an_account_one_is_a_stranger(user: User) -> None:
    user.types("-a", "nobody", "whoami", answers={"WHOAMI": body("principal=anonymous")})
    agent = user.console.memory.agent
    assert agent is not None
    assert any(line.startswith("AUTHENTICATE ANONYMOUS") for line in agent.heard)


@pytest.mark.parametrize(
    ("answer", "status", "remedy"),
    [
        (b"550 No such flow: x\r\n", 1, "you may not see it"),
        (b"502 GRANT is not offered\r\n", 1, "does not offer"),
        (b"451 Broker down\r\n", 3, "Try again later; why it failed stands in the agent's log"),
        (b"456 Agent of x cannot be reached\r\n", 3, "fnua resolve"),
        (b"530 Authenticate first\r\n", 4, "Log in"),
        (b"538 Encryption required\r\n", 4, "tls: starttls"),
        (b"554 Conflict: has subscribers\r\n", 1, "--force"),
        (b"553 Name not allowed: x\r\n", 1, "joined by dots"),
        (b"556 Remote agent refused: no\r\n", 1, "Ask the owner"),
    ],
)
def test_refusals_have_their_status_and_remedy(user: User, answer: bytes, status: int, remedy: str) -> None:
    result = user.types("delete", "flow", FLOW, answers={"DELETE": answer})
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(f"fnua: {answer[4:-2].decode()}\n")
    assert remedy in result.stderr


@pytest.mark.parametrize(
    ("failure", "status", "remedy"),
    [
        (AuthenticationFailed(), 4, "Check the name and the password"),
        (TlsFailed("The server is not trusted: its certificate has expired"), 4, "`fqdn:`, `address:`"),
        (Unreachable("fnaa.unix.ar port 61001 cannot be reached: Connection refused"), 3, "address"),
        (AgentUnreachable(FLOW, why="no SRV record names an agent"), 3, "No SRV record names an agent"),
        (AgentUnreachable(FLOW, why=f"{FLOW} cannot be resolved"), 3, f"{FLOW} cannot be resolved"),
        (ProtocolViolation("The server did not greet as an FNAA does"), 3, "Tell the agent's operator"),
    ],
)
def test_lost_sessions_have_their_status_and_remedy(
    user: User, failure: Any, status: int, remedy: str
) -> None:
    result = user.types("whoami", failure=failure)
    assert result.exit_code == status
    first, second = result.stderr.splitlines()
    assert first == f"fnua: {failure.text}"
    assert remedy in second


def test_a_file_that_cannot_be_used_is_wrong_usage(user: User) -> None:
    user.file.write_text("agents: [{name: x}]")
    result = user.types("whoami")
    assert result.exit_code == 2
    assert "needs `fqdn:`" in result.stderr


def test_ctrl_c_ends_with_130(user: User) -> None:
    assert user.types("whoami", failure=Interrupted()).exit_code == 130


# Logging in


def test_login_asks_tries_and_says_who_one_is(user: User) -> None:
    """The password is typed, tried, and never printed; without a keyring the user is told where to put it."""
    answers = {"WHOAMI": body(json.dumps({"principal": "user:eve", "tls": True}))}
    result = user.types("-o", "json", "login", "-u", "eve", answers=answers, stdin="typed-word\n")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"principal": "user:eve", "tls": True}
    assert [(one.username, one.password) for one in user.console.asked] == [("eve", "typed-word")]
    assert "typed-word" not in result.output
    assert "Logged in" in result.stderr


def test_login_with_the_file_s_password_only_tries_it(user: User) -> None:
    result = user.types("login", answers={"WHOAMI": body("principal=user:test")})
    assert (result.exit_code, result.stdout) == (0, "principal=user:test\n")
    assert "is right" in result.stderr


def test_a_login_without_a_password_says_so(user: User) -> None:
    result = user.types("login", "-u", "eve", stdin="")
    assert (result.exit_code, user.console.asked) == (2, [])
    assert "No password came for eve" in result.stderr


def test_who_has_no_password_is_told_that_a_stranger_asks(user: User) -> None:
    user.file.write_text("agents: [{fqdn: fnaa.unix.ar, username: eve}]")
    result = user.types("whoami", answers={"WHOAMI": body("principal=anonymous")})
    assert (result.exit_code, result.stdout) == (0, "principal=anonymous\n")
    assert result.stderr == "No password is known for eve at fnaa.unix.ar: asking as a stranger\n"
    user.file.write_text("agents: [{fqdn: fnaa.unix.ar}]")
    assert user.types("whoami", answers={"WHOAMI": body("principal=anonymous")}).stderr == ""


# The dialogue


def test_the_dialogue_is_the_draft_s_and_hides_passwords(user: User) -> None:
    """On stderr, with the options behind the verb, as the draft types them."""
    answers = {
        "AUTHENTICATE PLAIN": b"220 OK\r\n",
        "AH": b"220 Authenticated\r\n",
        "SUBSCRIBE": body(f"g.flows.unix.ar SUBSCRIBED TO {COPY}"),
    }
    answers["EHLO"] = b"500 Unknown command\r\n"
    result = user.types("subscribe", "-d", "--agent", "fnaa-unix", FLOW, "g.flows.unix.ar", answers=answers)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    said = [
        line
        for line in lines
        if "EHLO" not in line and "500 " not in line and not line.startswith("Using config")
    ]
    assert said == [
        "C: Got a response: 220 fnaa.unix.ar FNAA",
        "Connected to FNAA",
        "C: Wrote (6 bytes written)",
        "Authenticating with PLAIN mechanism",
        "C: Sending command AUTHENTICATE PLAIN",
        "C: Wrote (20 bytes written)",
        "C: Got a response: 220 OK",
        "C: Authentication string sent: ***",
        "C: Got a response: 220 Authenticated",
        f"C: Sending command SUBSCRIBE {FLOW} LOCAL g.flows.unix.ar",
        "C: Wrote (52 bytes written)",
        "C: Got a response: 220 DATA",
        f"C: Got a response: g.flows.unix.ar SUBSCRIBED TO {COPY}",
        f"C: Server sent OK for command SUBSCRIBE {FLOW} LOCAL g.flows.unix.ar",
        "C: Sending command QUIT",
        "C: Wrote (6 bytes written)",
        "C: Got a response: 220 Bye",
    ]
    assert "AHRlc3QAdGVzdA" not in result.output


def test_a_credential_is_data_but_no_dialogue(user: User) -> None:
    answers = {"GET": body(json.dumps({"copy": COPY, "type": "kafka", "password": "very-secret"}))}
    result = user.types("-d", "get", "credential", COPY, answers=answers)
    assert "password=very-secret" in result.stdout
    assert "very-secret" not in result.stderr


def test_lines_of_input_may_come_in_any_pieces() -> None:
    class Trickle(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read(1)

    assert read_some(Trickle(b"ab")) == b"a"
    assert read_some(io.BytesIO(b"ab")) == b"ab"
