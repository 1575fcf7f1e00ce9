"""`fnua` as a program, against real participants."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from servers.fnua import Fnua
from servers.participant import BIN, Participant, eventually, find_each_other, free_ports

FLOW = "time.flows.unix.ar"


def change_profile(fnua: Fnua, **changes: object) -> None:
    profile = yaml.safe_load(fnua.file.read_text())
    profile["agents"][0].update(changes)
    fnua.file.write_text(yaml.safe_dump(profile))


def lines_of(count: int, first: int = 0) -> str:
    return "".join(
        json.dumps({"source": "/test", "type": "tick", "id": str(number)}) + "\n"
        for number in range(first, first + count)
    )


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Participant]:
    """A participant that the tests share; each uses flows of its own."""
    with Participant("unix.ar", tmp_path_factory.mktemp("fnua")) as participant:
        yield participant.start()


def test_a_flow_from_its_making_to_its_end(unix: Participant) -> None:
    """Every step of a flow's life, over TLS that is verified."""
    fnua = Fnua(unix)
    assert fnua.run("create", "flow", FLOW, "description=what time") == f"{FLOW}\n"
    assert fnua.run("create", "flow", FLOW, status=1) == ""
    assert "exist" in fnua.told
    described = fnua.rows("describe", "flow", FLOW)[0]
    assert (described["flow"], described["description"]) == (FLOW, "what time")
    assert {"flow": FLOW} in fnua.rows("get", "flows")
    fnua.run("update", "flow", FLOW, "visibility=public")
    assert fnua.rows("describe", "flow", FLOW)[0]["visibility"] == "public"
    assert fnua.run("write", FLOW, text=lines_of(500)) == ""
    assert "500 events written" in fnua.told
    events = [json.loads(line) for line in fnua.run("read", FLOW).splitlines()]
    assert [event["id"] for event in events] == [str(number) for number in range(500)]
    assert [event["esonoffset"] for event in events] == list(range(500))
    assert len(fnua.run("read", FLOW, "--from", "498").splitlines()) == 2
    assert len(fnua.run("read", FLOW, "--limit", "3").splitlines()) == 3
    resolved = fnua.rows("resolve", FLOW)[0]
    assert (resolved["type"], resolved["topic"]) == ("kafka", FLOW)
    fnua.run("delete", "flow", FLOW)
    fnua.run("describe", "flow", FLOW, status=1)


def test_what_was_read_can_be_written_again(unix: Participant) -> None:
    """One flow into another through a pipe: same events, same keys."""
    fnua = Fnua(unix)
    for name in ("from.flows.unix.ar", "into.flows.unix.ar"):
        fnua.run("create", "flow", name)
    event = {
        "source": "/s",
        "type": "t",
        "id": "1",
        "time": "2026-11-25T10:00:00Z",
        "data": ["é", 1.5],
        "esonkey": "k",
    }
    fnua.run("write", "from.flows.unix.ar", text=json.dumps(event))
    fnua.run("write", "into.flows.unix.ar", text=fnua.run("read", "from.flows.unix.ar"))
    assert fnua.run("read", "into.flows.unix.ar") == fnua.run("read", "from.flows.unix.ar")


def test_a_follower_prints_at_once_and_ends_by_ctrl_c(unix: Participant) -> None:
    fnua = Fnua(unix)
    fnua.run("create", "flow", "live.flows.unix.ar")
    follower = fnua.start("read", "live.flows.unix.ar", "--follow", "--from", "BEGINNING")
    assert follower.stdout is not None
    for number in range(3):
        fnua.run("write", "live.flows.unix.ar", text=lines_of(1, number))
        assert json.loads(follower.stdout.readline())["id"] == str(number)
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize("words", [("read", "many.flows.unix.ar"), ("get", "flows")], ids=["read", "get"])
def test_who_reads_no_further_ends_it_quietly(unix: Participant, words: tuple[str, str]) -> None:
    """`fnua … | head -1`, whose pipe is closed while much or little waits to be written."""
    fnua = Fnua(unix)
    if words[0] == "read":
        fnua.run("create", "flow", words[1])
        fnua.run("write", words[1], text=lines_of(5000))
    with fnua.start(*words) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        if words[0] == "read":
            assert reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
    assert reader.returncode == 141, "as the shell says of a filter that SIGPIPE ended"


def test_a_writer_is_fed_by_a_pipe_as_it_comes(unix: Participant) -> None:
    """Nobody waits for the end of the input: what came is there for readers."""
    fnua = Fnua(unix)
    fnua.run("create", "flow", "typed.flows.unix.ar")
    writer = fnua.start("write", "typed.flows.unix.ar")
    assert writer.stdin is not None
    writer.stdin.write(lines_of(1).encode())
    writer.stdin.flush()
    eventually(lambda: fnua.run("read", "typed.flows.unix.ar"), 20)
    _, err = writer.communicate(lines_of(1, 1).encode(), 30)
    assert (writer.returncode, err) == (0, b"2 events written\n")


def test_subscriptions_at_one_agent(unix: Participant) -> None:
    fnua = Fnua(unix)
    fnua.run("create", "flow", "src.flows.unix.ar")
    copy = str(fnua.rows("subscribe", "src.flows.unix.ar", "--token", "once")[0]["copy"])
    assert fnua.rows("subscribe", "src.flows.unix.ar", "--token", "once")[0]["copy"] == copy
    assert [row["subscriber"] for row in fnua.rows("get", "subscribers", "src.flows.unix.ar")] == [copy]
    fnua.run("write", "src.flows.unix.ar", text=lines_of(5))
    assert fnua.follow(copy, 5) == list("01234")
    fnua.run("pause", copy)
    assert fnua.rows("get", "subscriptions")[0]["state"] == "paused"
    fnua.run("resume", copy)
    credential = fnua.rows("get", "credential", copy)[0]
    assert credential["copy"] == copy
    fnua.run("unsubscribe", copy)
    assert fnua.rows("get", "subscriptions") == []


def test_how_it_ends_when_it_cannot_be_done(unix: Participant) -> None:
    fnua = Fnua(unix)
    fnua.run("describe", "flow", "none.flows.unix.ar", status=1)
    fnua.run("write", "none.flows.unix.ar", text=lines_of(1), status=1)
    fnua.run("grant", "read", "none.flows.unix.ar", "anonymous", status=1)
    fnua.run("read", "two words", status=2)
    fnua.run("-a", "fnaa.unix.ar.invalid", "whoami", status=3)
    change_profile(fnua, password="wrong")
    assert fnua.run("whoami", status=4) == ""
    assert "Check the name and the password" in fnua.told
    change_profile(fnua, password="test", trust="system")
    fnua.run("whoami", status=4)
    change_profile(fnua, address="127.0.0.1:1")
    fnua.run("whoami", status=3)
    fnua.file.chmod(0o644)
    fnua.run("whoami", status=2)
    assert "chmod 600" in fnua.told


def test_the_dialogue_and_the_password(unix: Participant) -> None:
    fnua = Fnua(unix)
    who = fnua.run("whoami", "-d", "-o", "json")
    assert json.loads(who)["principal"] == "user:test"
    assert "C: Sending command WHOAMI" in fnua.told
    assert "***" in fnua.told
    assert "password" not in fnua.told.replace("***", "")


def test_an_agent_that_only_its_name_is_known_of(unix: Participant, tmp_path: Path) -> None:
    """DNS says where it is; its certificate holds its name; a password command gives the password."""
    fnua = Fnua(unix)
    profile = yaml.safe_load(fnua.file.read_text())
    agent = profile["agents"][0]
    for key in ("address", "tls", "password"):
        agent.pop(key, None)
    agent["password_command"] = "printf 'test\\n'"
    agent["trust"] = str(unix.ca)
    fnua.file = tmp_path / "other.yaml"
    fnua.file.write_text(yaml.safe_dump(profile))
    assert fnua.rows("whoami")[0]["tls"] in (True, "yes")


def at_a_terminal(*command: str) -> tuple[int, str]:
    """What a program shows on a terminal of 100 columns, colours and movements of the cursor left out; its status."""
    shown: list[bytes] = []

    def look(terminal: int) -> bytes:
        octets = os.read(terminal, 65536)
        shown.append(octets)
        return octets

    with open(os.devnull, "wb") as nothing:
        saved = os.dup(1)
        os.dup2(nothing.fileno(), 1)
        try:
            status = pty.spawn([*command], look, lambda _: b"")
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    text = b"".join(shown).decode()
    return os.waitstatus_to_exitcode(status), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace(
        "\r\n", "\n"
    )


def test_tables_and_progress_on_a_terminal(unix: Participant, tmp_path: Path) -> None:
    fnua = Fnua(unix)
    fnua.run("create", "flow", "shown.flows.unix.ar", "description=for people")
    command = (str(BIN / "fnua"), "-c", str(fnua.file))
    status, text = at_a_terminal(*command, "describe", "flow", "shown.flows.unix.ar")
    assert status == 0
    assert "description  for people\n" in text
    file = tmp_path / "events.jsonl"
    file.write_text(lines_of(1000))
    status, text = at_a_terminal(*command, "write", "shown.flows.unix.ar", "--file", str(file))
    assert status == 0
    assert "Writing" in text
    assert text.endswith("1000 events written\n")


def test_a_reader_that_has_seen_enough(unix: Participant) -> None:
    """A closed pipe ends it without a word."""
    fnua = Fnua(unix)
    fnua.run("create", "flow", "long.flows.unix.ar")
    fnua.run("write", "long.flows.unix.ar", text=lines_of(5000))
    reader = fnua.start("read", "long.flows.unix.ar", "--follow")
    assert reader.stdout is not None
    reader.stdout.readline()
    reader.stdout.close()
    assert reader.wait(20) == 141  # as of a filter that ends by SIGPIPE
    assert reader.stderr is not None
    assert reader.stderr.read() == b""


def test_ctrl_c_while_an_agent_says_nothing(tmp_path: Path) -> None:
    """It ends at once, without a trace of Python; and a connection that is cut is told as such."""
    file = tmp_path / "fnua.yaml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        agent = {"name": "a", "fqdn": "fnaa.unix.ar", "address": address, "tls": "starttls"}
        file.write_text(yaml.safe_dump({"agents": [agent]}))
        for end, status in (("ctrl-c", 130), ("cut", 3)):
            process = subprocess.Popen(
                [BIN / "fnua", "-c", file, "whoami"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            with silent.accept()[0]:
                if end == "ctrl-c":
                    process.send_signal(signal.SIGINT)
                    process.wait(20)
            out, err = process.communicate(timeout=20)
            assert (process.returncode, out) == (status, b"")
            assert b"Traceback" not in err


def test_completion_knows_the_verbs(unix: Participant) -> None:
    environment = {
        **os.environ,
        "_FNUA_COMPLETE": "bash_complete",
        "COMP_WORDS": "fnua subsc",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [BIN / "fnua"], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert "subscribe" in done.stdout


def test_a_flow_of_another_participant(tmp_path: Path) -> None:
    """The draft's use case 4 from the terminal: nothing is known but a name."""
    with (
        Participant("unix.ar", tmp_path, draft=False) as provider,
        Participant("emiliano.ar", tmp_path, draft=False) as subscriber,
    ):
        for one in (provider, subscriber):
            one.settings.setdefault("identity", {}).setdefault("accounts", [])
        find_each_other(provider, subscriber)
        provider.start()
        subscriber.start()
        there, here = Fnua(provider), Fnua(subscriber)
        there.run("create", "flow", FLOW, "visibility=public")
        made = here.rows("subscribe", FLOW)[0]
        local = str(made["local"])
        there.run("write", FLOW, text=lines_of(20))
        assert here.follow(local, 20) == [str(number) for number in range(20)]
        assert here.rows("get", "subscriptions")[0]["state"] == "active"
        here.run("unsubscribe", str(made["copy"]))
        assert there.rows("get", "subscribers", FLOW) == []
        assert len(here.run("read", local).splitlines()) == 20, "what was carried stays"


def test_a_public_flow_of_a_stranger(tmp_path: Path) -> None:
    """No account, no entry in `remotes`: DNS and a certificate that holds the domain are enough for a public flow."""
    with (
        Participant("unix.ar", tmp_path, draft=False) as provider,
        Participant("emiliano.ar", tmp_path, draft=False) as subscriber,
    ):
        (port,) = free_ports(1)
        provider.settings["names"]["listen"] = [f"127.0.0.1:{port}"]
        subscriber.settings["names"]["resolve"] = {"unix.ar": f"127.0.0.1:{port}"}
        subscriber.settings["allow_private"] = ["127.0.0.0/8"]
        subscriber.settings["fnap"]["trust"] = str(provider.ca)
        provider.start()
        subscriber.start()
        there, here = Fnua(provider), Fnua(subscriber)
        there.run("create", "flow", FLOW, "visibility=public")
        made = here.rows("subscribe", FLOW, "mine.flows.emiliano.ar")[0]
        assert made["local"] == "mine.flows.emiliano.ar"
        there.run("write", FLOW, text=lines_of(3))
        assert here.follow("mine.flows.emiliano.ar", 3) == ["0", "1", "2"]
        there.run("create", "flow", "listed.flows.unix.ar")
        here.run("subscribe", "listed.flows.unix.ar", "other.flows.emiliano.ar", status=1)
