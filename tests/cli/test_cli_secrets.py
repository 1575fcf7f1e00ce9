"""Where passwords come from: the file, a program, the keyring."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eson.cli import secrets
from eson.cli.profile import AgentProfile, ProfileError

AGENT = AgentProfile("unix", "fnaa.unix.ar", username="test")
KEYRING = """
from collections import namedtuple
Credential = namedtuple("Credential", "username password")
class Backend:
    priority = {priority}
kept = {{}}
def get_keyring(): return Backend
def set_password(service, username, password): kept[service] = Credential(username, password)
def get_credential(service, username):
    found = kept.get(service)
    return found if found and username in (None, found.username) else None
"""


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of that name which keeps passwords in memory."""
    (tmp_path / "keyring.py").write_text(KEYRING.format(priority=5))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    yield
    sys.modules.pop("keyring", None)


def test_the_file_comes_first(keyring: None) -> None:
    written = AgentProfile("unix", "fnaa.unix.ar", username="test", password="written")
    secrets.keep(AgentProfile("unix", "fnaa.unix.ar", username="test", password="kept"))
    assert secrets.with_secret(written).password == "written"
    asked = AgentProfile("unix", "fnaa.unix.ar", username="test", password_command="echo printed")
    assert secrets.with_secret(asked).password == "printed"
    failing = AgentProfile("unix", "fnaa.unix.ar", username="test", password_command="exit 3")
    with pytest.raises(ProfileError, match="status 3"):
        secrets.with_secret(failing)


def test_the_keyring_keeps_name_and_password(keyring: None) -> None:
    assert secrets.with_secret(AGENT).password == ""
    assert secrets.keep(AgentProfile("unix", "fnaa.unix.ar", username="test", password="kept"))
    assert secrets.with_secret(AGENT).password == "kept"
    nameless = secrets.with_secret(AgentProfile("unix", "fnaa.unix.ar"))
    assert (nameless.username, nameless.password) == ("test", "kept")
    other = AgentProfile("unix", "fnaa.unix.ar", username="eve")
    assert secrets.with_secret(other).password == ""


@pytest.mark.parametrize(
    "text", [KEYRING.format(priority=0), "raise RuntimeError('no session bus')", "x = 1"]
)
def test_a_keyring_that_keeps_nothing_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "keyring.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert secrets.with_secret(AGENT) == AGENT
    assert not secrets.keep(AGENT)
    sys.modules.pop("keyring", None)


def test_a_password_is_never_shown() -> None:
    assert "hidden" not in repr(AgentProfile("unix", "fnaa.unix.ar", password="hidden"))
