"""Key files that the agent makes for itself."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eson.identity.keys import KeyFileError, secret_key


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "accounts.key"
    key = secret_key(path)
    assert len(key) == 32
    assert secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["accounts.key"]


def test_all_who_come_at_once_get_one_key(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "accounts.key"
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_key(path), range(32)))) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    secret_key(path)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        secret_key(path)


def test_a_key_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    secret_key(path)
    path.write_bytes(b"short")
    with pytest.raises(KeyFileError, match="backup"):
        secret_key(path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("no directory")
    with pytest.raises(KeyFileError, match="cannot be read or made"):
        secret_key(tmp_path / "keys" / "a.key")
