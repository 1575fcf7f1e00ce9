"""`eson account`: on the store, whether the agent runs or not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from eson.admin.main import main
from eson.admin.opened import at_once, opened_accounts, wait
from eson.agent.accounts import SealedVerifiers
from eson.config import Places
from eson.config.values import Account as FileAccount
from eson.config.values import Secret
from eson.errors import EsonError
from eson.identity.keys import secret_key
from eson.identity.verifier import check_password
from eson.store.records import Account, AuditEntry
from eson.store.sqlite import SqliteStore


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "eson.yaml"
    path.write_text(
        "participant: unix.ar\nagent: fnaa.unix.ar\nstate: state\nnamespaces: [{name: flows.unix.ar}]\n"
    )
    return path


def run(config: Path, *arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(main, ["account", *arguments, "--config", str(config)], input=text)


def stored(config: Path) -> tuple[dict[str, Account], list[AuditEntry]]:
    store = SqliteStore(Places(config.parent / "state").store, at_once)
    wait(store.open())
    try:
        return {one.name: one for one in wait(store.accounts())}, list(wait(store.audit()))
    finally:
        wait(store.close())


def verifies(config: Path, account: Account, password: str) -> bool:
    key = secret_key(Places(config.parent / "state").sealing_key)
    return check_password(SealedVerifiers(key).open(account), password)


def test_an_account_from_its_first_day_to_its_last(config: Path) -> None:
    more = ("--home", "flows.unix.ar", "--group", "staff", "--group", "ops", "--operator")
    added = run(config, "add", "ana", *more, text="open sesame\nsecond line\n")
    assert (added.exit_code, added.stdout, added.stderr) == (0, "", "Account ana added.\n")
    ana = stored(config)[0]["ana"]
    assert verifies(config, ana, "open sesame")
    assert (ana.home, ana.groups, ana.operator) == ("flows.unix.ar", {"staff", "ops"}, True)

    assert run(config, "passwd", "ana", text="open barley\n").exit_code == 0
    assert verifies(config, stored(config)[0]["ana"], "open barley")

    assert run(config, "lock", "ana").stderr == "Account ana locked.\n"
    assert stored(config)[0]["ana"].locked
    assert run(config, "unlock", "ana").exit_code == 0
    assert not stored(config)[0]["ana"].locked

    assert run(config, "remove", "ana").exit_code == 0
    accounts, audit = stored(config)
    assert accounts == {}
    assert [entry.act for entry in audit] == [
        "add account",
        "set password of account",
        "lock account",
        "unlock account",
        "remove account",
    ]
    assert all(entry.actor.startswith("system user ") and entry.object == "ana" for entry in audit)


def test_the_list_is_stable_in_each_form(config: Path) -> None:
    run(config, "add", "zoe", text="x\n")
    run(config, "add", "emiliano", "--participant", "emiliano.ar", text="x\n")
    expected = {
        "name": "emiliano",
        "source": "command",
        "locked": False,
        "operator": False,
        "home": "",
        "groups": [],
        "participant": "emiliano.ar",
    }
    lines = run(config, "list", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["emiliano", "zoe"]
    assert json.loads(lines[0]) == expected
    assert yaml.safe_load(run(config, "list", "-o", "yaml").stdout)[0] == expected
    assert run(config, "list").stdout == (
        "name\tsource\tlocked\toperator\thome\tgroups\tparticipant\n"
        "emiliano\tcommand\tno\tno\t\t\temiliano.ar\n"
        "zoe\tcommand\tno\tno\t\t\t\n"
    )


def test_no_account_is_no_line(config: Path) -> None:
    assert run(config, "list", "-o", "json").stdout == ""


def test_no_option_takes_a_password(config: Path) -> None:
    """Arguments and the environment are seen by others."""
    for command in ("add", "passwd"):
        assert "--password" not in run(config, command, "--help").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["passwd", "nobody"], "No such account: nobody"),
        (["lock", "nobody"], "No such account: nobody"),
        (["remove", "nobody"], "No such account: nobody"),
        (["add", "ana"], "account ana exists"),
        (["add", "a b"], "An account's name"),
        (["add", "ben", "--home", "unix"], "at least two labels"),
        (["remove", "file"], "change it there"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(config: Path, arguments: list[str], words: str) -> None:
    run(config, "add", "ana", text="x\n")
    with opened_accounts(Places(config.parent / "state")) as accounts:
        wait(accounts.take_file([FileAccount("file", Secret("x"))]))
    result = run(config, *arguments, text="secret-word\n")
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "secret-word" not in result.output


def test_an_empty_password_is_none(config: Path) -> None:
    result = run(config, "add", "ana", text="")
    assert (result.exit_code, "1 to 255 octets" in result.stderr) == (1, True)
    assert stored(config)[0] == {}


def test_a_broken_configuration_is_said_as_ever(config: Path) -> None:
    config.write_text("participant: unix.ar\n")
    result = run(config, "list")
    assert result.exit_code == 1
    assert f"{config}: agent: is missing." in result.stderr


def test_a_state_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    places = Places(Path("/proc/1"))
    if places.state.stat().st_uid == os.geteuid():
        places = Places(tmp_path / "theirs")
        places.state.mkdir()
        os.chown(places.state, 65534, 65534)
    with pytest.raises(EsonError, match="Run this as that user: sudo -u"), opened_accounts(places):
        pass
    assert not places.store.exists()
