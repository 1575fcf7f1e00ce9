"""The user agent's file and the forms of its output."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from eson.cli.output import show_list, show_object
from eson.cli.profile import Profile, ProfileError, load_profile, parse_profile

GOOD = """
agents:
  - {name: fnaa-unix, fqdn: fnaa.unix.ar, username: test, password: test, prefix: "unix.ar-",
     address: "127.0.0.1:61000", tls: starttls, trust: ca.pem}
  - {name: other, fqdn: FNAA.Emiliano.ar., tls: none}
namespaces:
  - {name: flows.unix.ar, agent: fnaa-unix}
  - {name: emiliano.ar, agent: other}
default: fnaa-unix
nameserver: "127.0.0.1:5300"
"""


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "fnua.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_file_of_the_interface_is_read(tmp_path: Path) -> None:
    """Every key of interface section 3 has its effect."""
    profile = parse_profile(written(tmp_path, GOOD))
    agent = profile.agent()
    assert (agent.fqdn, agent.username, agent.secret(), agent.prefix) == (
        "fnaa.unix.ar",
        "test",
        "test",
        "unix.ar-",
    )
    assert (agent.address, agent.tls, agent.trust) == (
        "127.0.0.1:61000",
        "starttls",
        str(tmp_path / "ca.pem"),
    )
    assert profile.nameserver == "127.0.0.1:5300"


def test_the_agent_is_chosen_by_option_then_namespace_then_default(tmp_path: Path) -> None:
    """-a wins; else the longest namespace of the flow; else `default`."""
    profile = parse_profile(written(tmp_path, GOOD))
    assert profile.agent("other").fqdn == "fnaa.emiliano.ar"
    assert profile.agent("fnaa.emiliano.ar").name == "other"
    assert profile.agent(below="time.emiliano.ar").name == "other"
    assert profile.agent(below="x.example").name == "fnaa-unix"
    assert profile.agent("fnaa.example.org").fqdn == "fnaa.example.org"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("agents: [{name: a}]", "needs `fqdn:`"),
        ("agents: [{name: a, fqdn: a.b, colour: red}]", "known are"),
        ("agents: 5", "list of entries"),
        ("agents: [5]", "pairs"),
        ("[", "no YAML"),
        ("default: nobody", "no agent named 'nobody'"),
        ("agents: [{fqdn: a.b, tls: maybe}]", "implicit, starttls or none"),
        ("agents: [{fqdn: a.b, token_command: x}]", "not available yet"),
        ("agents: [{fqdn: a}]", "name in DNS"),
    ],
)
def test_a_fault_says_what_to_do(tmp_path: Path, text: str, remedy: str) -> None:
    """Each fault of the file has its own message."""
    with pytest.raises(ProfileError, match=remedy):
        parse_profile(written(tmp_path, text))


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A readable file passes without a password and is refused with one."""
    with pytest.raises(ProfileError, match="chmod 600"):
        parse_profile(written(tmp_path, GOOD, 0o644))
    parse_profile(written(tmp_path, GOOD.replace("password: test, ", ""), 0o644))


def test_the_first_file_that_exists_is_taken(tmp_path: Path) -> None:
    """-c and $FNUA_CONFIG must exist; else XDG, then the draft's ~/.flow.yml, then an empty profile."""
    home = {"HOME": str(tmp_path)}
    assert load_profile(environment=home) == Profile()
    (tmp_path / ".flow.yml").write_text("nameserver: 127.0.0.1:1")
    assert load_profile(environment=home).nameserver == "127.0.0.1:1"
    (tmp_path / ".config" / "eson").mkdir(parents=True)
    (tmp_path / ".config" / "eson" / "fnua.yaml").write_text("nameserver: 127.0.0.1:2")
    assert load_profile(environment=home).nameserver == "127.0.0.1:2"
    with pytest.raises(ProfileError, match="does not exist"):
        load_profile(environment={**home, "FNUA_CONFIG": str(tmp_path / "none")})


@pytest.mark.parametrize("password", ["0123", "1_000", "on", "1e3", "2026-11-26", "0x1f", "=", "~x"])
def test_a_password_is_taken_as_it_is_written(tmp_path: Path, password: str) -> None:
    """What YAML takes for a number, a date or a truth is a password here."""
    path = written(tmp_path, f"agents: [{{fqdn: a.b, username: {password}, password: {password}}}]")
    agent = parse_profile(path).agent()
    assert (agent.username, agent.secret()) == (password, password)


@pytest.mark.parametrize("line", ['password: "hunter2', "password: hunter2: x", "password: @hunter2"])
def test_a_file_that_is_no_yaml_does_not_show_its_password(tmp_path: Path, line: str) -> None:
    with pytest.raises(ProfileError, match="no YAML in line") as caught:
        parse_profile(written(tmp_path, f"agents:\n  - fqdn: a.b\n    {line}\n"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "tls"), [("no", "none"), ("none", "none"), ("null", None), ("implicit", "implicit")]
)
def test_no_tls_may_be_said_in_each_way(tmp_path: Path, word: str, tls: str | None) -> None:
    assert parse_profile(written(tmp_path, f"agents: [{{fqdn: a.b, tls: {word}}}]")).agent().tls == tls


def test_a_password_may_come_from_a_program(tmp_path: Path) -> None:
    """password_command's output is the password; its failure is said."""
    path = written(tmp_path, "agents: [{fqdn: a.b, password_command: 'echo secret'}]", 0o644)
    assert parse_profile(path).agent().secret() == "secret"
    path.write_text("agents: [{fqdn: a.b, password_command: 'exit 3'}]")
    with pytest.raises(ProfileError, match="status 3"):
        parse_profile(path).agent().secret()


def test_output_without_a_terminal_is_plain_and_stable() -> None:
    """Tab-separated with a head, `key=value` lines, one JSON object a line, YAML."""
    rows = [{"flow": "a.b", "lag": 3}, {"flow": "c.d", "lag": None, "server": ["x:1", "y:2"]}]
    plain = io.StringIO()
    show_list(rows, "table", plain)
    assert plain.getvalue() == "flow\tlag\tserver\na.b\t3\t\nc.d\t\tx:1 y:2\n"
    lines = io.StringIO()
    show_list(rows, "json", lines)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == rows
    one = io.StringIO()
    show_object(rows[1], "table", one)
    assert one.getvalue() == "flow=c.d\nlag=\nserver=x:1\nserver=y:2\n"
    as_yaml = io.StringIO()
    show_object(rows[0], "yaml", as_yaml)
    assert yaml.safe_load(as_yaml.getvalue()) == rows[0]


def test_columns_stand_in_the_order_of_the_rows_that_have_them() -> None:
    """Processors have no copy, copies do: theirs stands where the agent says it, whatever comes first."""
    rows = [{"subscription": "p-1", "local": "l", "lag": 1}, {"subscription": "c", "copy": "c", "local": "m"}]
    for order in (rows, rows[::-1]):
        out = io.StringIO()
        show_list(order, "table", out)
        assert out.getvalue().splitlines()[0] == "subscription\tcopy\tlocal\tlag"


def test_a_peers_control_characters_never_reach_the_terminal() -> None:
    """Escape sequences in data are shown as question marks."""
    out = io.StringIO()
    show_object({"text": "a\x1b[31mb"}, "table", out)
    assert out.getvalue() == "text=a?[31mb\n"
