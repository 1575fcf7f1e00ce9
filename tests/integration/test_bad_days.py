"""One whole participant and what goes wrong around it: clients that leave or lie, a full disk, a broker that is away."""

from __future__ import annotations

import base64
import json
import random
import resource
import signal
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers.certificates import Authority
from servers.embedded import StartEmbedded
from servers.lying_agent import LyingAgent, body
from servers.pair import BROKER, PROCESSOR, Member, Pair
from servers.participant import Wire, eventually, free_ports
from servers.twisted_reactor import InReactor, Listen

FLOW = "time.flows.unix.ar"
SEED = random.randrange(1, 1 << 32)


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Generator[Member, None, None]:
    """One participant with a flow."""
    with Member("unix.ar", tmp_path_factory.mktemp("unix")) as member:
        member.settings["names"]["listen"] = ["127.0.0.1:0"]
        member.settings["limits"] |= {"login": "10s"}
        member.start()
        assert member.ask(f"CREATE FLOW {FLOW}") == [f"220 OK {FLOW}"]
        yield member
        assert "Traceback" not in member.log(), member.log()


def event(number: int) -> str:
    return json.dumps(
        {"specversion": "1.0", "id": str(number), "source": "/test", "type": "test", "data": number}
    )


def held(member: Member, flow: str = FLOW) -> list[int]:
    return [one["data"] for one in member.items(f"READ {flow} FROM BEGINNING")]


def fresh(member: Member, **pairs: object) -> str:
    """A new flow."""
    name = f"f{random.randrange(1 << 32):x}.flows.unix.ar"
    extra = "".join(f" {key}={value}" for key, value in pairs.items())
    assert member.ask(f"CREATE FLOW {name}{extra}") == [f"220 OK {name}"]
    return name


# What clients do


def test_an_event_that_is_no_json(unix: Member) -> None:
    """Line 3 of 5: the two before it are written, the two behind it are not, the session goes on."""
    flow = fresh(unix)
    with unix.session() as wire:
        assert wire.reply(f"WRITE {flow}")[0].startswith("354 ")
        wire.send(event(1), event(2), '{"id": "3", nonsense', event(4), event(5))
        (told,) = wire.reply(".")
        assert told.startswith("501 Line 3: ")
        assert told.endswith("; 2 written")
        assert wire.reply("NOOP") == ["220 OK"]
    assert held(unix, flow) == [1, 2]


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_in_the_middle_of_a_write(unix: Member, politely: bool) -> None:
    """Whole lines that arrived may be written; half a line never is."""
    flow = fresh(unix)
    wire = unix.session()
    assert wire.reply(f"WRITE {flow}")[0].startswith("354 ")
    wire.send(*map(event, range(100)))
    wire.raw(event(100).encode()[:-1])
    leave(wire, politely)
    found = eventually_steady(lambda: held(unix, flow))
    assert found == list(range(len(found)))
    assert len(found) <= 100
    if politely:
        assert len(found) == 100


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_in_the_middle_of_a_read(unix: Member, politely: bool) -> None:
    """Of ten megabytes a part was sent; nothing of the reader stays behind."""
    flow = fresh(unix)
    big = json.dumps(
        {"specversion": "1.0", "id": "1", "source": "/test", "type": "test", "data": "x" * 100_000}
    )
    with unix.session() as wire:
        wire.reply(f"WRITE {flow}")
        wire.send(*[big] * 100)
        assert wire.reply(".") == ["220 OK 100"]
    before = connections(unix)
    for follow in ("", " FOLLOW"):
        wire = unix.session()
        wire.send(f"READ {flow} FROM BEGINNING{follow}")
        assert wire.line() == "220 DATA\r\n"
        wire.line()
        leave(wire, politely)
    eventually(lambda: connections(unix) <= before, 15, lambda: f"{connections(unix)} of {before}")
    assert len(unix.items(f"READ {flow} FROM BEGINNING LIMIT 3")) == 3


def leave(wire: Wire, politely: bool) -> None:
    """Closes the connection, by a reset if not politely."""
    if not politely:
        wire._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def connections(member: Member) -> int:
    """Of the agent's process, whoever they are with."""
    found = psutil.Process(member.running().pid).net_connections("tcp")
    return len([one for one in found if one.status == psutil.CONN_ESTABLISHED])


def eventually_steady(look: Callable[[], list[int]]) -> list[int]:
    """What it shows when it shows the same again and again."""
    seen: list[list[int]] = []

    def steady() -> bool:
        seen.append(look())
        return len(seen) > 5 and all(one == seen[-1] for one in seen[-5:])

    eventually(steady, 20)
    return seen[-1]


def test_three_wrong_passwords(unix: Member) -> None:
    with Wire(unix.address("fnap")) as wire:
        assert wire.line().endswith(" FNAA\r\n")
        guess = base64.b64encode(b"\0test\0guess").decode()
        assert wire.reply(f"AUTHENTICATE PLAIN {guess}") == ["535 Authentication failed"]
        assert wire.reply(f"AUTHENTICATE PLAIN {guess}") == ["535 Authentication failed"]
        assert wire.reply(f"AUTHENTICATE PLAIN {guess}")[0].startswith("421 ")
        assert wire.line() == "", "and that is the end"
    assert unix.ask("NOOP") == ["220 OK"]


def test_names_that_cannot_be_had(unix: Member) -> None:
    flow = fresh(unix)
    copy = unix.ask(f"SUBSCRIBE {flow}")[1]
    told = {
        name: unix.ask(f"CREATE FLOW {name}")[-1]
        for name in (flow, f"below.{flow}", copy, f"below.{copy}", "time.flows.emiliano.ar")
    }
    assert told[flow].startswith("554 Conflict: ")
    assert told[f"below.{flow}"].startswith("553 Name not allowed: ")
    assert told[copy][:4] in ("554 ", "553 ")
    assert told[f"below.{copy}"].startswith("553 Name not allowed: ")
    assert told["time.flows.emiliano.ar"] == "551 Not hosted here: time.flows.emiliano.ar"
    assert unix.ask(f"UNSUBSCRIBE {copy}") == ["220 OK"]


def test_no_words_bring_the_inside_out(unix: Member) -> None:
    """A thousand lines that are nearly commands: each gets one line of its own, and no story of how we work."""
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    words = (
        "CREATE FLOW NAMESPACE DESCRIBE BROKER AGENT GET FL SUBSCRIPTIONS SUBSCRIBERS PROCESSORS SUBSCRIBE LOCAL FROM AS "
        "BEGINNING NOW READ LIMIT WRITE GRANT REVOKE ON TO read,write user:x group:staff anonymous REPLICATE COLLECT SIGNAL "
        "WHEN DISTRIBUTE FORMAT NOTIFY active PAUSE SUBSCRIPTION APPROVE SUBSCRIBER UPDATE DELETE FORCE 0:0 99999:1 -1 "
        f"visibility=public partitions=0 partitions=999999 x=y {FLOW} a.{FLOW} abcdefg.{FLOW} p-abcdefg flow://x . \" '' \\ "
        "\x00 \x7f é 😀 2020-01-01T00:00:00Z 9999-99-99T99:99:99Z %s {0} ${HOME} ../../etc/passwd xn--a.flows.unix.ar"
    ).split(" ")
    replies: list[str] = []
    with unix.session() as first:
        wire: Wire = first
        for _ in range(1000):
            line = " ".join(chance.choices(words, k=chance.randrange(1, 7)))
            if line.upper().startswith(("WRITE", "QUIT")) or " FOLLOW" in line:
                continue
            reply = wire.reply(line)
            if reply[-1].startswith("421 ") or not reply[-1]:
                wire.close()
                wire = unix.session()
            replies += reply
        wire.close()
    for reply in replies:
        assert len(reply.encode()) <= 8192
        for inside in (
            "Traceback",
            "Error(",
            "Exception",
            "sqlite",
            "/work",
            "eson.",
            "object at 0x",
            "NoneType",
        ):
            assert inside not in reply, reply
    assert not [reply for reply in replies if reply.startswith("451 ")], "these are no faults of ours"


def test_almost_as_many_silent_connections_as_there_are_places(unix: Member) -> None:
    """Whoever logs in meanwhile is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 12_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    resource.prlimit(unix.running().pid, resource.RLIMIT_NOFILE, (most, hard))
    count = min(9_900, most - 1500)
    try:
        with ExitStack() as stack:
            for number in range(count):
                one = stack.enter_context(socket.socket())
                # 50 and more addresses, so that no limit for one address is in the way
                one.bind((f"127.0.{number % 50}.{2 + number % 97}", 0))
                one.settimeout(10)
                one.connect(unix.address("fnap"))
            assert unix.ask("NOOP") == ["220 OK"]
        assert unix.ask("NOOP") == ["220 OK"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# What the machine does

SHARED_INDEX = 32_768
"""What SQLite needs for reading: the file that its connections share; the log of the store is longer."""


@contextmanager
def full_disk(process: int, octets: int = 1) -> Generator[None, None, None]:
    """No file of this process can grow beyond that: what it writes fails, as on a disk without space."""
    limits = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (octets, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_under_the_brokers_log(unix: Member) -> None:
    """What cannot be kept is not acknowledged; when there is room again, it goes on, and nothing stands there twice."""
    flow = fresh(unix)
    assert write(unix, flow, 1) == "220 OK 1"
    with full_disk(unix.child(BROKER)[0].pid):
        refused = write(unix, flow, 2)
        assert refused[:4] == "451 ", refused
        assert refused.endswith("0 written")
        assert held(unix, flow) == [1]
        assert unix.ask(f"CREATE FLOW {flow.replace('f', 'g', 1)}")[-1].startswith("451 ")
    eventually(lambda: write(unix, flow, 3) == "220 OK 1", 20)
    assert held(unix, flow) == [1, 3]


def write(member: Member, flow: str, number: int) -> str:
    with member.session() as wire:
        reply = wire.reply(f"WRITE {flow}")[-1]
        if not reply.startswith("354 "):
            return reply
        wire.send(event(number))
        return wire.reply(".")[-1]


def failing(member: Member) -> tuple[int, list[str]]:
    """The status of `/health`, and what it names."""
    url = "http://{}:{}/health".format(*member.address("metrics"))
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)["failing"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["failing"]


def test_a_disk_that_is_full_under_the_store(unix: Member) -> None:
    """Nothing is changed and nothing is told as done; a login, which must be audited, is put off, and health says it."""
    name = "full.flows.unix.ar"
    with unix.session() as wire, full_disk(unix.running().pid, SHARED_INDEX):
        told = wire.reply(f"CREATE FLOW {name}")
        assert told[0].startswith("451 "), told
        assert "Errno" not in told[0]
        assert wire.reply(f"DESCRIBE FLOW {name}") == [f"550 No such flow: {name}"]
        assert wire.reply(f"DESCRIBE FLOW {FLOW}")[-1] == "220 OK", "what needs no writing is answered"
        with pytest.raises(AssertionError, match="454 Authentication is not available now"):
            unix.session()
        status, names = failing(unix)
        assert status == 503
        assert "store" in names
    assert unix.insist(f"CREATE FLOW {name}") == [f"220 OK {name}"]
    assert "store" not in failing(unix)[1]


def test_a_broker_that_is_down_at_start_comes_goes_and_comes_back(
    tmp_path: Path, start_embedded: StartEmbedded
) -> None:
    (port,) = free_ports(1)
    with Member("unix.ar", tmp_path) as member:
        member.settings["names"]["listen"] = ["127.0.0.1:0"]
        member.settings["brokers"] = [{"name": "main", "type": "kafka", "servers": [f"127.0.0.1:{port}"]}]
        member.start()
        assert member.ask(f"CREATE FLOW {FLOW}")[-1].startswith("451 ")
        assert member.ask("GET FLOWS") == ["220 DATA", "220 OK"]
        broker = start_embedded(listen=(("127.0.0.1", port),), login=False, admin_password="")
        assert member.insist(f"CREATE FLOW {FLOW}") == [f"220 OK {FLOW}"]
        assert write(member, FLOW, 1) == "220 OK 1"
        broker.kill()
        assert write(member, FLOW, 2)[:4] == "451 "
        broker.start()
        eventually(lambda: write(member, FLOW, 3) == "220 OK 1", 30)
        assert held(member) in ([1, 3], [1, 2, 3]), "what was told to be unsure may be there, once"
        assert "Traceback" not in member.log()


def test_an_agent_that_is_stopped_and_goes_on(unix: Member) -> None:
    """SIGSTOP, as a machine that sleeps: sessions are still there afterwards."""
    with unix.session() as wire:
        unix.signal(signal.SIGSTOP)
        wire.send("NOOP")
        wire._socket.settimeout(0.5)
        with suppress(TimeoutError):
            assert wire.line() == "", "nobody answers"
        unix.signal(signal.SIGCONT)
        wire._socket.settimeout(20)
        assert wire.line() == "220 OK\r\n"


# What other agents do


def test_lying_agents_are_told_in_one_text_and_leave_nothing(
    tmp_path: Path, in_reactor: InReactor, listen: Listen
) -> None:
    """Garbage, endless lines, names outside their zone, a broker inside our network: one text, the reason in our log."""
    authority = Authority(tmp_path)
    agent = LyingAgent()
    port = listen(agent.over_tls(authority.issue("fnaa.unix.ar", "unix.ar")))
    with Pair(tmp_path) as pair:
        subscriber = pair.subscriber
        assert pair.provider.ask(f"CREATE FLOW {FLOW} visibility=public") == [f"220 OK {FLOW}"]
        subscriber.stop()
        subscriber.settings["remotes"][0] |= {
            "address": f"127.0.0.1:{port}",
            "trust": str(authority.certificate),
            "mechanism": "PLAIN",
        }
        subscriber.settings["allow_private"] = []
        subscriber.start()
        for number, (answers, reason) in enumerate(LIES):
            local = f"g{number}.flows.emiliano.ar"
            greeting = answers.get("greeting", LyingAgent().greeting)
            agent.greeting, agent.answers = greeting, {**LyingAgent().answers, **answers}
            told = subscriber.ask(f"SUBSCRIBE {FLOW} LOCAL {local}")
            assert told == [f"456 Agent of {FLOW} cannot be reached"], (answers, told)
            why = [line for line in subscriber.tail(5).splitlines() if "'why': " in line][-1]
            assert reason in why, (answers, why)
            assert subscriber.ask(f"DESCRIBE FLOW {local}") == [f"550 No such flow: {local}"]
        assert subscriber.rows("select * from subscriptions where state != 'ended'") == []
        agent.answers = {**LyingAgent().answers, **INSIDE}
        told = subscriber.ask(f"SUBSCRIBE {FLOW} LOCAL g.flows.emiliano.ar")
        assert told == [f"202 Pending {COPY}"], "its last steps are tried again"
        assert "10.0.0.7" in subscriber.log()
        (waiting,) = subscriber.items("GET SUBSCRIPTIONS")
        assert waiting["reason"].startswith("no server of the credential has an address")
        assert subscriber.child(PROCESSOR) == []
        assert set(subscriber.broker().topics) == set()
        assert "Traceback" not in subscriber.log(), subscriber.log()


COPY = f"ksdj898.{FLOW}"
LET_IN = {"AUTHENTICATE": b"220 Authenticated\r\n"}
INSIDE = LET_IN | {
    "SUBSCRIBE": body(COPY),
    "DESCRIBE": body(json.dumps({"flow": COPY, "partitions": 1, "state": "active", "copy-of": FLOW})),
    "GET CREDENTIAL": body(
        json.dumps(
            {
                "copy": COPY,
                "type": "kafka",
                "server": ["10.0.0.7:9092"],
                "security": "sasl_ssl",
                "mechanism": "SCRAM-SHA-256",
                "username": COPY,
                "password": "x",
                "group": COPY,
                "trust": "system",
            }
        )
    ),
}
LIES: list[tuple[dict[str, Any], str]] = [
    ({"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, "did not greet"),
    ({"greeting": b"\xff\x00\xfe" * 1000 + b"\r\n"}, "not UTF-8"),
    ({"greeting": b"x" * 1_000_000}, "too long a line"),
    ({"EHLO": b"250-" + b"x\r\n250-" * 5000}, "odd answer to EHLO"),
    ({"AUTHENTICATE": b"535 Authentication failed\r\n"}, "Authentication failed"),
    (LET_IN | {"SUBSCRIBE": b"y" * 1_000_000}, "too long a line"),
    (LET_IN | {"SUBSCRIBE": body("ksdj898.flows.emiliano.ar")}, "ksdj898.flows.emiliano.ar is no copy"),
    (LET_IN | {"SUBSCRIBE": body(f"ksdj898.{FLOW}.example.org")}, f"{FLOW}.example.org is no copy"),
    (LET_IN | {"SUBSCRIBE": body(FLOW)}, "is no copy"),
]
