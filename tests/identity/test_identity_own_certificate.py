"""Certificates of the agent's own CA."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eson.identity.certificates import SERVER_LIFE, expires
from eson.identity.keys import KeyFileError
from eson.identity.own_certificate import RENEW_BEFORE, own_certificate
from eson.identity.tls import ServerTls

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES, ADDRESSES = ["fnaa.unix.ar"], ["127.0.0.1"]


def test_it_is_made_once_and_can_be_used(tmp_path: Path) -> None:
    made = own_certificate(tmp_path / "keys", NAMES, ADDRESSES)
    ServerTls(made.certificate, made.key)
    before = [path.read_text() for path in (made.ca, made.certificate, made.key)]
    assert own_certificate(tmp_path / "keys", NAMES, ADDRESSES) == made
    assert [path.read_text() for path in (made.ca, made.certificate, made.key)] == before
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.ca.parent.iterdir()} == {
        "ca.pem": 0o644,
        "ca.key": 0o600,
        "agent.pem": 0o644,
        "agent.key": 0o600,
    }


def test_it_is_made_anew_before_it_ends_and_the_ca_stays(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, NAMES, ADDRESSES, now=NOW)
    ca, first = made.ca.read_text(), made.certificate.read_text()
    soon = NOW + SERVER_LIFE - RENEW_BEFORE - timedelta(hours=2)
    own_certificate(tmp_path, NAMES, ADDRESSES, now=soon)
    assert made.certificate.read_text() == first
    own_certificate(tmp_path, NAMES, ADDRESSES, now=soon + timedelta(hours=2))
    assert made.certificate.read_text() != first
    assert made.ca.read_text() == ca
    assert expires(made.certificate.read_text()) > NOW + SERVER_LIFE


@pytest.mark.parametrize("change", ["names", "addresses", "key", "certificate", "no key", "ca"])
def test_what_does_not_fit_any_more_is_made_anew(tmp_path: Path, change: str) -> None:
    made = own_certificate(tmp_path, NAMES, ADDRESSES)
    first = made.certificate.read_text()
    if change == "key":
        other = own_certificate(tmp_path / "other", NAMES, ADDRESSES)
        made.key.write_text(other.key.read_text())
    elif change == "certificate":
        made.certificate.write_text("cut")
    elif change == "no key":
        made.key.unlink()
    elif change == "ca":
        made.ca.unlink()
    own_certificate(
        tmp_path,
        ["fnaa.unix.ar", "b.ar"] if change == "names" else NAMES,
        ["127.0.0.1", "::1"] if change == "addresses" else ADDRESSES,
    )
    assert made.certificate.read_text() != first
    ServerTls(made.certificate, made.key)


def test_a_ca_that_is_broken_is_not_replaced_behind_its_owners_back(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, NAMES, ADDRESSES)
    made.certificate.unlink()
    (tmp_path / "ca.key").write_text("cut")
    with pytest.raises(KeyFileError, match="cannot be used"):
        own_certificate(tmp_path, NAMES, ADDRESSES)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be read or made"):
        own_certificate(tmp_path / "file" / "keys", NAMES, ADDRESSES)
