"""Reads `eson.yaml`: all that is wrong with it is said at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from eson.config.checks import check, complete
from eson.config.files import is_private
from eson.config.reading import Entry, Faults
from eson.config.sections import CONFIG
from eson.config.values import Config
from eson.errors import ConfigError, Fault

MAX_OCTETS = 1 << 20
USUAL = Path("/etc/eson/eson.yaml")


def chosen(option: str | None, environment: Mapping[str, str]) -> Path:
    """Which file: the option, else `$ESON_CONFIG`, else the usual one."""
    return Path(option or environment.get("ESON_CONFIG") or USUAL)


def load(path: Path) -> Config:
    """The configuration in the file at `path`.  Raises `ConfigError` with every fault, its line and its remedy."""
    source = str(path)
    faults = Faults()
    config = complete(_read(_compose(_text(path), source), path, faults))
    _check_privacy(path, faults)
    if faults.found:
        raise ConfigError(faults.in_order(), source)
    return config


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        remedy = "Give the path of a file that can be read: --config FILE, or make one with `eson init`"
        raise _whole(f"cannot be read: {error.strerror}", remedy, str(path)) from None
    if len(octets) > MAX_OCTETS:
        raise _whole("is longer than 1 MiB", "Give the path of a configuration", str(path))
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _whole("is not UTF-8", "Save the file in UTF-8", str(path), line) from None


def _compose(text: str, source: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise _whole(f"is no YAML: {error.problem}", "Mend the line", source, line) from None
    except yaml.YAMLError as error:
        raise _whole(f"is no YAML: {' '.join(str(error).split())}", "Mend the file", source) from None
    except (RecursionError, ValueError):
        raise _whole("is no YAML that can be read here", "Mend the file", source) from None
    if node is None:
        raise _whole("is empty", "Begin with participant, agent and namespaces", source)
    return node


def _read(root: yaml.Node, path: Path, faults: Faults) -> Config:
    config = CONFIG(Entry(root, "", path.absolute().parent, faults))
    check(config, faults)
    return config


def _check_privacy(path: Path, faults: Faults) -> None:
    if faults.secrets and not is_private(path):
        faults.add(
            faults.secrets[0],
            "is a secret, and others can read this file",
            f"Run: chmod o= {path}",
        )


def _whole(reason: str, remedy: str, source: str, line: int = 0) -> ConfigError:
    return ConfigError([Fault(line, "the file", reason, remedy)], source)
