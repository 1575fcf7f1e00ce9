"""Every key of `eson.yaml` stands in docs/operations.md, and no other."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from eson.config import values
from eson.model.flows import Namespace

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
_KEYS = re.compile(r"^\| (`[^|]*`) \|", re.MULTILINE)
PREFIXED = {
    values.Copies: "copies.",
    values.Account: "accounts[].",
    values.BadCommands: "bad_commands.",
    values.Connections: "connections.",
    values.Remote: "remotes[].",
    values.Processors: "processors.",
    values.Web: "web.",
    values.Log: "log.",
}
WRITTEN = {"login_as": "as"}
INSIDE = {"configured", "owner", "created", "oauth", "gssapi", "secondaries", "servers", "dnssec", "type"}
"""Not in files, not available yet, or explained in a sentence."""
NESTED = {
    "fnap",
    "identity",
    "names",
    "brokers",
    "namespaces",
    "copies",
    "processors",
    "limits",
    "web",
    "log",
}


def documented() -> set[str]:
    """What stands in the first column of the tables."""
    rows = "\n".join(_KEYS.findall(TEXT))
    return set(re.findall(r"`([^`]+)`", rows))


def keys_of(kind: type[Any]) -> set[str]:
    names = {field.name for field in dataclasses.fields(kind)} - INSIDE
    if kind is values.KafkaBroker:
        names.add("servers")
    return {WRITTEN.get(name, name) for name in names}


@pytest.mark.parametrize(
    "kind",
    [
        values.Fnap,
        values.Identity,
        values.Account,
        values.Names,
        values.EmbeddedBroker,
        values.KafkaBroker,
        Namespace,
        values.Copies,
        values.Remote,
        values.Processors,
        values.BadCommands,
        values.Connections,
        values.Limits,
        values.Web,
        values.Log,
        values.Config,
    ],
)
def test_each_key_is_documented(kind: type[Any]) -> None:
    found = documented()
    for key in keys_of(kind):
        if kind is values.Config and key in NESTED:
            assert f"`{key}" in TEXT
        elif key in ("bad_commands", "connections"):
            assert any(name.startswith(f"{key}.") for name in found)
        else:
            prefix = PREFIXED.get(kind, "")
            shown = {f"{prefix}{key}"} | ({key} if prefix.endswith("[].") else set())
            assert shown & found, f"{kind.__name__}.{key}"


def test_every_command_is_documented() -> None:
    from eson.admin.main import main

    for name in main.commands:
        assert f"`eson {name}" in TEXT, name
