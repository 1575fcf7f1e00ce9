"""A whole participant: `eson init`, `twistd eson`, the draft's session, and what goes wrong at start."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.participant import BIN, Participant, Wire, eventually

from eson.identity.certificates import make_ca, make_certificate

SESSION = """\
S: 220 fnaa.unix.ar FNAA
C: AUTHENTICATE PLAIN
S: 220 OK
C: AHRlc3QAdGVzdA==
S: 220 Authenticated
C: CREATE FLOW time.flows.unix.ar
S: 220 OK time.flows.unix.ar
C: DESCRIBE FLOW time.flows.unix.ar
S: 220 DATA
S: flow=time.flows.unix.ar
S: type=kafka
S: topic=time.flows.unix.ar
S: server=kf1.unix.ar:9092
S: 220 OK
C: SUBSCRIBE time.flows.unix.ar LOCAL emiliano.ar-time.flows.unix.ar
S: 220 DATA
S: ksdj898.time.flows.unix.ar
S: 220 OK
C: QUIT
S: 220 Bye
"""
LABEL = re.compile(r"[a-z][a-z0-9]{6}(?=\.time\.flows\.unix\.ar\r\n\Z)")


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[Participant]:
    """The draft's participant, not started yet."""
    with Participant("unix.ar", tmp_path) as participant:
        yield participant


def hold_the_session(send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
    """Types the draft's lines and compares each octet of the answers, the random label aside."""
    for line in SESSION.splitlines():
        who, text = line[:3], line[3:] + "\r\n"
        if who == "C: ":
            send(text.encode())
            continue
        got = receive().decode()
        assert LABEL.sub("ksdj898", got) == text, f"after {text!r}"


def test_the_drafts_session_holds_to_the_byte(unix: Participant) -> None:
    with Wire(unix.start().address("fnap")) as wire:
        hold_the_session(wire.raw, lambda: wire.line().encode())
        assert wire.line() == "", "the server closes after its last line, and sends nothing else"


def test_it_holds_inside_tls_typed_with_openssl(unix: Participant) -> None:
    unix.start()
    client = subprocess.Popen(
        [
            *("openssl", "s_client", "-crlf", "-quiet", "-verify_return_error"),
            *("-connect", "{}:{}".format(*unix.address("fnaps"))),
            *("-CAfile", str(unix.ca), "-verify_hostname", "fnaa.unix.ar"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    with client, client.stdin as keys, client.stdout as screen:
        hold_the_session(lambda line: keys.write(line.replace(b"\r\n", b"\n")), screen.readline)
        assert screen.read() == b""
    assert client.returncode == 0


def test_listeners_are_told_when_everything_listens(unix: Participant) -> None:
    unix.start()
    told = unix.listeners()
    assert list(told) == ["pid", "fnap", "fnaps", "names", "web", "metrics", "brokers"]
    assert told["pid"] == unix.running().pid
    assert told["web"] is None
    for host, port in (told["fnap"], told["fnaps"], told["names"], told["metrics"], told["brokers"]["local"]):
        assert host == "127.0.0.1"
        socket.create_connection((host, port), 5).close()
    assert "eson: ready" in unix.log()


def test_health_says_that_nothing_fails(unix: Participant) -> None:
    unix.start()
    with urllib.request.urlopen("http://{}:{}/health".format(*unix.address("metrics")), timeout=10) as answer:
        assert json.load(answer) == {"healthy": True, "failing": []}


def test_it_ends_in_order_when_asked(unix: Participant) -> None:
    unix.start()
    assert unix.children(), "the embedded broker is a child"
    with Wire(unix.address("fnap")).login() as wire:
        wire.send("CREATE FLOW time.flows.unix.ar")
        assert wire.line() == "220 OK time.flows.unix.ar\r\n"
        unix.signal(signal.SIGTERM)
        assert wire.line().startswith("421 ")
        assert wire.line() == ""
    assert unix.wait() == -signal.SIGTERM
    unix.no_orphans()
    assert unix.listeners() == {}
    assert "eson: stopped" in unix.log()
    assert "Traceback" not in unix.log()


def test_what_was_made_is_there_after_a_kill(unix: Participant) -> None:
    with Wire(unix.start().address("fnap")).login() as wire:
        assert wire.reply("CREATE FLOW time.flows.unix.ar") == ["220 OK time.flows.unix.ar"]
    unix.kill()
    unix.no_orphans(2.0)
    assert unix.listeners(), "nobody removed it"
    with Wire(unix.start().address("fnap")).login() as wire:
        assert "topic=time.flows.unix.ar" in wire.reply("DESCRIBE FLOW time.flows.unix.ar")
        assert wire.reply("CREATE FLOW time.flows.unix.ar")[0].startswith("554 ")
    unix.stop()


def test_accounts_change_while_it_runs(unix: Participant) -> None:
    unix.start()
    for command, text, welcome in (
        (["add", "ana"], "one\n", "one"),
        (["passwd", "ana"], "two\n", "two"),
    ):
        done = subprocess.run(
            [BIN / "eson", "account", *command, "--config", unix.file],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        Wire(unix.address("fnap")).login("ana", welcome).close()
    follower = Wire(unix.address("fnap")).login("ana", "two")
    locked = subprocess.run(
        [BIN / "eson", "account", "lock", "ana", "--config", unix.file], timeout=60, check=False
    )
    assert locked.returncode == 0
    assert follower.line() == "421 The account was locked\r\n"
    assert follower.line() == ""
    with pytest.raises(AssertionError, match="535 Authentication failed"):
        Wire(unix.address("fnap")).login("ana", "two")


def test_a_subscription_goes_on_after_a_kill(unix: Participant) -> None:
    flow, local = "time.flows.unix.ar", "copy-of-time.flows.unix.ar"
    with Wire(unix.start().address("fnap")).login() as wire:
        assert wire.reply(f"CREATE FLOW {flow}") == [f"220 OK {flow}"]
        assert wire.reply(f"SUBSCRIBE {flow} LOCAL {local}")[-1] == "220 OK"
        write(wire, flow, 1)
    unix.kill()
    unix.no_orphans(2.0)
    with Wire(unix.start().address("fnap")).login() as wire:
        write(wire, flow, 2)
        wire.send(f"READ {local} FROM BEGINNING FOLLOW")
        assert wire.line() == "220 DATA\r\n"
        assert [json.loads(wire.line())["data"] for _ in range(2)] == [1, 2]
        wire.send("")
        assert wire.line() == "220 OK\r\n"


def write(wire: Wire, flow: str, number: int) -> None:
    wire.send(f"WRITE {flow}")
    assert wire.line().startswith("354 ")
    event = {"specversion": "1.0", "id": str(number), "source": "/test", "type": "test", "data": number}
    wire.send(json.dumps(event), ".")
    assert wire.line() == "220 OK 1\r\n"


def test_it_may_be_told_to_end_before_it_is_ready(unix: Participant) -> None:
    unix.start(wait=False)
    eventually(lambda: (unix.state / "agent.lock").exists(), 30, unix.log)
    eventually(unix.children, 30, unix.log)
    unix.signal(signal.SIGTERM)
    assert unix.wait() == -signal.SIGTERM
    unix.no_orphans()
    assert unix.listeners() == {}


def test_listeners_that_are_off_are_told_as_null(unix: Participant) -> None:
    unix.settings["fnap"]["listen_tls"] = None
    unix.settings["names"]["listen"] = None
    unix.settings["web"]["metrics"] = None
    told = unix.start().listeners()
    assert [told[kind] for kind in ("fnaps", "names", "metrics")] == [None, None, None]
    with Wire(unix.address("fnap")).login() as wire:
        assert wire.reply("CREATE FLOW time.flows.unix.ar") == ["220 OK time.flows.unix.ar"]
    unix.stop()


def presented(address: tuple[str, int]) -> bytes:
    """The certificate that a client sees, DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, 10) as connection,
        context.wrap_socket(connection, server_hostname="fnaa.unix.ar") as tls,
    ):
        found = tls.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_a_new_certificate_is_shown_after_sighup_and_sessions_go_on(unix: Participant) -> None:
    ca = make_ca()
    certificate, key = unix.directory / "agent.pem", unix.directory / "agent.key"

    def renew() -> None:
        made = make_certificate(ca, ["fnaa.unix.ar"])
        certificate.write_text(made.certificate)
        key.write_text(made.key)
        key.chmod(0o600)

    renew()
    unix.settings["fnap"] |= {"certificate": "agent.pem", "key": "agent.key"}
    unix.start()
    before = presented(unix.address("fnaps"))
    with Wire(unix.address("fnap")).login() as wire:
        renew()
        unix.signal(signal.SIGHUP)
        eventually(lambda: presented(unix.address("fnaps")) != before, 10, unix.log)
        assert wire.reply("NOOP") == ["220 OK"]
    unix.stop()


def test_one_who_guesses_is_put_off_and_others_are_not(unix: Participant) -> None:
    unix.settings["limits"] = {"connections": {"per_address": 1000}}
    unix.start()
    replies: list[str] = []
    for _ in range(15):
        with Wire(unix.address("fnap")) as wire:
            wire.line()
            replies += wire.reply("AUTHENTICATE PLAIN AGdob3N0AGd1ZXNz")
    assert replies[:10] == ["535 Authentication failed"] * 10
    assert {reply[:4] for reply in replies[10:]} == {"454 "}
    address = ("127.0.0.2", 0)
    with socket.create_connection(unix.address("fnap"), 10, source_address=address) as other:
        other.sendall(b"AUTHENTICATE PLAIN AHRlc3QAdGVzdA==\r\n")
        assert other.recv(1000).startswith(b"220 fnaa.unix.ar FNAA\r\n")
        assert other.recv(1000) == b"220 Authenticated\r\n"


# what goes wrong at start


def refused(participant: Participant, *twistd: str) -> str:
    """The log of a start that fails."""
    participant.start(*twistd, wait=False)
    assert participant.wait() == 1, participant.log()
    log = participant.log()
    participant.log_file.unlink()
    assert "Traceback" not in log
    participant.no_orphans()
    return log


def twistd(participant: Participant, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, in the participant's directory."""
    return subprocess.run(
        [BIN / "twistd", *options, "eson", "--config", participant.file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=participant.directory,
    )


def test_check_says_all_faults_and_starts_nothing(unix: Participant) -> None:
    unix.write()
    command = [BIN / "twistd", "--pidfile=", "eson", "--config", unix.file, "--check"]
    fine = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout == f"{unix.file}: no faults; agent fnaa.unix.ar of unix.ar\n"
    unix.settings["log"] = {"level": "loud", "colour": "red"}
    unix.write()
    for arguments in (command, command[:-1]):  # without --check it does not daemonise either
        bad = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        assert (bad.returncode, bad.stdout) == (1, "")
        keys = [line.split(": ")[1] for line in bad.stderr.splitlines()]
        assert keys == ["log.level", "log.colour"]
    assert not (unix.state / "store.sqlite").exists()


def test_a_port_that_is_taken(unix: Participant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        unix.settings["fnap"]["listen"] = [f"127.0.0.1:{port}"]
        log = refused(unix)
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in log
    assert "change fnap.listen" in log


@pytest.mark.parametrize("kind", ["names", "broker", "metrics"])
def test_any_port_that_is_taken(unix: Participant, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = [f"127.0.0.1:{other.getsockname()[1]}"]
        if kind == "names":
            unix.settings["names"]["listen"] = listen
        elif kind == "broker":
            unix.settings["brokers"][0]["listen"] = listen
        else:
            unix.settings["web"]["metrics"] = listen
        log = refused(unix)
    assert "Address already in use" in log
    assert f"sport = :{listen[0].rpartition(':')[2]}" in log


def test_a_state_directory_that_cannot_be_written(unix: Participant) -> None:
    (unix.directory / "file").write_text("")
    unix.settings["state"] = "file/state"
    log = refused(unix)
    assert f"The state directory {unix.directory}/file/state cannot be written: Not a directory." in log
    assert "chown" in log


def test_two_agents_never_share_a_state_directory(unix: Participant) -> None:
    unix.start()
    first = unix.process
    log_before = unix.log()
    second = twistd(unix, "-n", "--pidfile=")
    assert second.returncode == 1
    assert f"Another agent (pid {unix.running().pid}) runs in {unix.state}" in second.stderr
    assert unix.process is first
    assert unix.log() == log_before
    Wire(unix.address("fnap")).login().close()


def test_a_store_that_is_none(unix: Participant) -> None:
    (unix.state / "store.sqlite").write_bytes(b"this is no database" * 100)
    assert "The store cannot read or write" in refused(unix)


def test_a_broker_that_is_down_does_not_keep_the_agent_from_starting(unix: Participant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    unix.settings["brokers"] = [{"name": "main", "type": "kafka", "servers": [f"127.0.0.1:{port}"]}]
    unix.start()
    with Wire(unix.address("fnap")).login() as wire:
        assert wire.reply("CREATE FLOW time.flows.unix.ar")[0].startswith("451 ")
        assert wire.reply("NOOP") == ["220 OK"]
    eventually(lambda: "broker main does not answer" in unix.log(), 30)
    unix.stop()


def test_a_daemon_writes_its_log_as_json_and_its_pid(unix: Participant) -> None:
    unix.settings["log"] = {"level": "info", "format": "json"}
    unix.write()
    pidfile, logfile = unix.directory / "pid", unix.directory / "eson.log"
    started = twistd(unix, f"--pidfile={pidfile}", f"--logfile={logfile}")
    assert started.returncode == 0, started.stderr
    pid = int(pidfile.read_text())
    try:
        eventually(lambda: unix.listeners().get("pid") == pid, 30, lambda: logfile.read_text())
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not pidfile.exists(), 30, lambda: logfile.read_text())
    events = [json.loads(line) for line in logfile.read_text().splitlines()]
    ready = next(event for event in events if event["message"] == "eson: ready")
    assert ready["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ready["time"])
    assert events[-1]["message"] == "Server Shut Down."


def test_a_daemon_that_cannot_start_tells_whoever_started_it(unix: Participant) -> None:
    pidfile, logfile = unix.directory / "pid", unix.directory / "eson.log"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        unix.settings["fnap"]["listen"] = [f"127.0.0.1:{port}"]
        unix.write()
        started = twistd(unix, f"--pidfile={pidfile}", f"--logfile={logfile}")
    assert started.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in started.stderr
    assert "change fnap.listen" in logfile.read_text()
    assert not pidfile.exists()


def test_no_secret_reaches_the_log_or_other_users(unix: Participant) -> None:
    unix.settings["log"] = {"level": "debug"}
    unix.start()
    Wire(unix.address("fnap")).login().close()
    for process in unix.children():
        assert not any("password" in word.lower() for word in process.cmdline())
        assert not any("PASSWORD" in name.upper() for name in process.environ())
    unix.stop()
    assert "AHRlc3QAdGVzdA==" not in unix.log()
    readable = [
        path
        for path in unix.state.rglob("*")
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o044 and path.suffix in (".key", ".sqlite")
    ]
    assert readable == []
