"""A configuration that means to exhaust whoever reads it is refused with faults, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from eson.config import load
from eson.errors import ConfigError

BASE = "participant: unix.ar\nagent: fnaa.unix.ar\nnamespaces: [{name: flows.unix.ar}]\n"
LAUGHS = "x0: &x0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        *(LAUGHS + line for line in ("brokers: *x11", "allow_private: *x11", "identity: {mechanisms: *x11}")),
        "brokers: &a [*a]",
        "identity: &a {identity: *a, accounts: *a}",
        "state: " + "[" * 2000 + "]" * 2000,
        "limits: {line: 0x" + "f" * 100_000 + "}",
        "limits: {login: " + "9" * 5000 + "}",
        "limits: {line: " + "1:" * 10_000 + "1}",
    ],
    ids=lambda text: text[-30:].strip()[:30],
)
def test_yaml_that_explodes_is_faults_at_once(tmp_path: Path, text: str) -> None:
    """Nine to the twelfth values behind aliases would take days; cycles would not end."""
    file = tmp_path / "eson.yaml"
    file.write_text(BASE + text + "\n")
    began = time.process_time()
    with pytest.raises(ConfigError):
        load(file)
    assert time.process_time() - began < 5
