"""`eson init` and `eson check`."""

from __future__ import annotations

import stat
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eson.admin import initial
from eson.admin.checking import checked
from eson.admin.initial import new_password
from eson.admin.main import main
from eson.admin.opened import at_once, wait
from eson.cli.profile import parse_profile
from eson.config import Config, Places, load
from eson.config.values import EmbeddedBroker
from eson.errors import ConfigError
from eson.identity.certificates import make_ca, make_certificate
from eson.identity.tls import load_chain
from eson.model.principals import user
from eson.store.records import Account
from eson.store.sqlite import SqliteStore


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(main, arguments, input=text)


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def accounts_of(config: Config) -> list[Account]:
    store = SqliteStore(Places(config.state).store, at_once)
    wait(store.open())
    try:
        return list(wait(store.accounts()))
    finally:
        wait(store.close())


def test_the_draft_is_its_own_example_on_loopback(tmp_path: Path) -> None:
    told = done("init", "unix.ar", "--draft", "--dir", str(tmp_path / "d"))
    config = checked(tmp_path / "d" / "eson.yaml")
    assert (config.participant, config.agent) == ("unix.ar", "fnaa.unix.ar")
    (broker,) = config.brokers
    assert isinstance(broker, EmbeddedBroker)
    assert (str(broker.advertise), broker.login) == ("kf1.unix.ar:9092", "none")
    (account,) = config.identity.accounts
    assert account.name == "test"
    assert account.password is not None
    assert account.password.reveal() == "test"
    assert account.home == "flows.unix.ar"
    assert set(config.names.zones[0].hosts) == {"fnaa", "kf1", "ns1"}
    assert [zone.name for zone in config.names.zones] == ["unix.ar", "flows.unix.ar"]
    assert config.state == tmp_path / "d" / "state"
    assert all(
        one.is_loopback for one in (*config.fnap.listen, *config.fnap.listen_tls, *config.names.listen)
    )
    assert "Account test, password test" in told
    assert f"twistd -n --pidfile= eson --config {tmp_path}/d/eson.yaml" in told
    assert "fnua.yaml" in told


def test_a_participant_gets_an_account_and_what_its_parent_zone_needs(tmp_path: Path) -> None:
    told = done("init", "Unix.ar.", "--dir", str(tmp_path), "--account", "ana")
    config = checked(tmp_path / "eson.yaml")
    (account,) = accounts_of(config)
    assert (account.name, account.operator, account.home) == ("ana", True, "flows.unix.ar")
    password = parse_profile(tmp_path / "fnua.yaml").agents[0].password
    assert f"Account ana, password {password}" in told
    assert password not in (tmp_path / "eson.yaml").read_text()
    for record in (
        "fnaa.unix.ar.        IN A    127.0.0.1",
        "ns1.unix.ar.         IN A    127.0.0.1",
        "flows.unix.ar.       IN NS   ns1.unix.ar.",
        "_flow._tcp.unix.ar.  IN SRV  0 0 61001 fnaa.unix.ar.",
        '_flow._tcp.unix.ar.  IN TXT  "tls"',
        "unix.ar.      IN NS   ns1.unix.ar.",
        "ns1.unix.ar.  IN A    127.0.0.1",
    ):
        assert record in told.splitlines()


@pytest.mark.parametrize("draft", [True, False])
def test_the_user_agents_file_is_for_this_agent(tmp_path: Path, draft: bool) -> None:
    done("init", "unix.ar", "--dir", str(tmp_path), *(["--draft"] if draft else []))
    profile = parse_profile(tmp_path / "fnua.yaml")
    agent = profile.agent()
    assert (agent.fqdn, agent.address, agent.tls) == ("fnaa.unix.ar", "127.0.0.1:61001", "implicit")
    assert profile.nameserver == "127.0.0.1:5300"
    (own,) = load_chain((tmp_path / "state" / "keys" / "agent.pem").read_text())[:1]
    (ca,) = load_chain(Path(agent.trust).read_text())
    assert own.issuer == ca.subject


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    done("init", "unix.ar", "--dir", str(tmp_path), "--address", "192.0.2.1")
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    public = {name for name, mode in modes.items() if mode & 0o077}
    assert public == {"keys/ca.pem", "keys/agent.pem"}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_one_that_others_reach_listens_there_with_a_certificate(tmp_path: Path) -> None:
    told = done("init", "unix.ar", "--dir", str(tmp_path), "--address", "2001:db8::1")
    config = checked(tmp_path / "eson.yaml")
    assert [str(one) for one in config.fnap.listen_tls] == ["[2001:db8::1]:61001"]
    assert [str(one) for one in config.names.listen] == ["[2001:db8::1]:53"]
    (broker,) = config.brokers
    assert isinstance(broker, EmbeddedBroker)
    assert [str(one) for one in broker.listen] == ["127.0.0.1:9092"], "nothing in clear faces others"
    assert broker.login == "required"
    assert config.fnap.certificate == tmp_path / "keys" / "agent.pem"
    assert "fnaa.unix.ar.        IN AAAA 2001:db8::1" in told
    assert parse_profile(tmp_path / "fnua.yaml").agents[0].trust == str(tmp_path / "keys" / "ca.pem")


def test_a_request_for_a_public_ca(tmp_path: Path) -> None:
    told = done("init", "unix.ar", "--dir", str(tmp_path), "--address", "192.0.2.1", "--csr")
    assert (tmp_path / "keys" / "agent.csr").read_text().startswith("-----BEGIN CERTIFICATE REQUEST")
    assert not (tmp_path / "keys" / "ca.pem").exists()
    assert "agent.csr to your CA" in told
    assert parse_profile(tmp_path / "fnua.yaml").agents[0].trust == "system"
    result = run("check", "--config", str(tmp_path / "eson.yaml"))
    assert result.exit_code == 1
    assert "fnap.certificate" in result.output


@pytest.mark.parametrize("there", ["eson.yaml", "fnua.yaml", "state/store.sqlite", "keys/agent.key"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    path = tmp_path / there
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    result = run("init", "unix.ar", "--dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"{path} exists. Nothing was written" in result.output
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["unix"], 1, "needs at least two labels"),
        (["a b.ar"], 1, "Give a domain"),
        (["unix.ar", "--account", "a b"], 1, "An account's name"),
        ([".".join(["a" * 50] * 5)], 1, "Give a domain"),
        (["unix.ar", "--address", "here"], 2, "give an IP address"),
        (["unix.ar", "--address", "0.0.0.0"], 2, "under which others reach"),
        (["unix.ar", "--draft", "--csr"], 2, "example for loopback"),
        (["unix.ar", "--draft", "--address", "192.0.2.1"], 2, "example for loopback"),
        (["unix.ar", "--csr"], 2, "give its --address too"),
    ],
)
def test_what_makes_no_participant(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    result = run("init", *arguments, "--dir", str(tmp_path / "d"))
    assert (result.exit_code, words in result.output) == (status, True), result.output
    assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("init", "unix.ar", "--dir", str(tmp_path / "file" / "d"))
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert "--dir" in result.output


@pytest.mark.parametrize("account", ["no", "1e3", "007", "null", "a.b_c-d"])
@pytest.mark.parametrize("domain", ["1.2", "0x1.5", "null.no", "yes.on", f"{'a' * 63}.{'b' * 63}.ar"])
def test_names_that_yaml_would_read_otherwise(tmp_path: Path, domain: str, account: str) -> None:
    facts = initial.Facts(
        domain, IPv4Address("127.0.0.1"), False, account, initial.new_password(), "state", "state/keys/ca.pem"
    )
    for name, text in (("eson.yaml", initial.configuration(facts)), ("fnua.yaml", initial.user_agent(facts))):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    config = load(tmp_path / "eson.yaml")
    assert (config.participant, config.namespaces[0].name) == (domain, f"flows.{domain}")
    assert config.namespaces[0].administrators == (user(account),)
    agent = parse_profile(tmp_path / "fnua.yaml").agent()
    assert (agent.fqdn, agent.username, agent.password) == (f"fnaa.{domain}", account, facts.password)


def test_passwords_are_long_and_differ() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 19 and one.count("-") == 3 for one in made)


# eson check


def test_check_says_all_faults_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "eson.yaml"
    path.write_text("participant: unix.ar\nagent: fnaa\nnamespaces: []\nlog: {level: loud}\n")
    result = run("check", "--config", str(path))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        [f"{path}:2", "agent"],
        [f"{path}:4", "log.level"],
    ]


def test_check_takes_the_file_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done("init", "unix.ar", "--draft", "--dir", str(tmp_path))
    monkeypatch.setenv("ESON_CONFIG", str(tmp_path / "eson.yaml"))
    assert "no faults; agent fnaa.unix.ar of unix.ar" in done("check")


def with_certificate(directory: Path, names: list[str], spoil: str = "") -> Path:
    ca = make_ca()
    pair = make_certificate(ca, names)
    (directory / "agent.pem").write_text("nothing" if spoil == "certificate" else pair.certificate)
    key = make_certificate(ca, names).key if spoil == "other key" else pair.key
    (directory / "agent.key").write_text("nothing" if spoil == "key" else key)
    (directory / "agent.key").chmod(0o600)
    path = directory / "eson.yaml"
    path.write_text(
        "participant: unix.ar\nagent: fnaa.unix.ar\nnamespaces: [{name: flows.unix.ar}]\n"
        "fnap: {certificate: agent.pem, key: agent.key}\n"
    )
    return path


def test_a_certificate_of_the_agent_passes(tmp_path: Path) -> None:
    assert checked(with_certificate(tmp_path, ["fnaa.unix.ar"])).fnap.key == tmp_path / "agent.key"


@pytest.mark.parametrize(
    ("names", "spoil", "words"),
    [
        (["www.unix.ar"], "", "is not for fnaa.unix.ar"),
        (["fnaa.unix.ar"], "certificate", "holds no certificate"),
        (["fnaa.unix.ar"], "key", "key cannot be read"),
        (["fnaa.unix.ar"], "other key", "does not belong to the certificate"),
    ],
)
def test_a_certificate_that_others_would_refuse(
    tmp_path: Path, names: list[str], spoil: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        checked(with_certificate(tmp_path, names, spoil))


def test_trust_that_holds_no_ca_and_passwords_that_nobody_could_type(tmp_path: Path) -> None:
    path = tmp_path / "eson.yaml"
    (tmp_path / "ca.pem").write_text("nothing")
    path.write_text(
        "participant: unix.ar\nagent: fnaa.unix.ar\nnamespaces: [{name: flows.unix.ar}]\n"
        "remotes: [{agent: fnaa.b.ar, trust: ca.pem}]\n"
        'identity: {accounts: [{name: test, password: "a\\ue000b"}]}\n'
    )
    path.chmod(0o600)
    assert load(path)
    with pytest.raises(ConfigError) as caught:
        checked(path)
    assert [fault.key for fault in caught.value.faults] == [
        "remotes: fnaa.b.ar: trust",
        "identity.accounts: test: password",
    ]
    assert "\ue000" not in caught.value.text
