"""docs/fnap.md says what the tables, the usage and the policy say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eson import errors
from eson.errors import EsonError
from eson.fnap.core.policy import Policy
from eson.fnap.core.server import ServerSession
from eson.fnap.core.states import CLIENT, SERVER, diagram
from eson.fnap.core.usage import USAGE
from eson.fnap.net.places import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "fnap.md").read_text("utf-8")


def test_the_diagrams_are_those_of_the_tables() -> None:
    """`python -m eson.fnap.core.states` prints what the page shows."""
    shown = re.findall(r"```mermaid\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown == [diagram(SERVER), diagram(CLIENT)]


@pytest.mark.parametrize("verb", USAGE)
def test_every_verb_is_described(verb: str) -> None:
    """No verb is left out of the tables of commands."""
    assert re.search(rf"^\| .*`?\b{verb}\b", PAGE, re.MULTILINE), verb


def test_every_code_is_listed() -> None:
    """Each code of the tree of errors has its row."""
    listed = set(re.findall(r"\b[2-5]\d\d\b", " ".join(re.findall(r"^\| ([\d /]+) \|", PAGE, re.MULTILINE))))

    def walk(kind: type[EsonError]) -> None:
        assert str(kind.code) in listed, kind
        for below in kind.__subclasses__():
            walk(below)

    walk(errors.Refused)
    walk(errors.TryLater)


def test_the_words_of_ehlo_and_the_limits_are_those_of_the_code() -> None:
    """Every word that EHLO says is explained; defaults are the defaults."""
    session = ServerSession(Policy("x.y", ("PLAIN",), lambda name: None), clear_is_safe=True)
    for word in session._capabilities():
        assert re.search(rf"^\| `{word.split()[0]}\b", PAGE, re.MULTILINE), word
    policy, limits = Policy("x.y", (), lambda name: None), Limits()
    for what, value in (
        ("command line", f"{policy.line // 1024} KiB"),
        ("SASL response", f"{policy.sasl_line // 1024} KiB"),
        ("event of a WRITE", f"{policy.event >> 20} MiB"),
        ("bad commands before login / after", f"{policy.bad_before_login} / {policy.bad_after_login}"),
        ("failed logins", str(policy.failed_logins)),
        ("connections in all / of one address / of one user", f"{limits.total:,} / {limits.per_address} / {limits.per_user}"),
        ("from connection to login", f"{limits.login.seconds} s"),
        ("a SASL response", f"{limits.sasl_step.seconds} s"),
        ("from the first octet of a line to its last", f"{limits.command.seconds} s"),
        ("idle, logged in", f"{limits.idle.seconds // 60} min"),
    ):  # fmt: skip
        assert f"| {what} | {value} |" in PAGE, what


def test_the_grammar_is_included() -> None:
    """The page shows the file that the tests hold against the parser."""
    assert "```{literalinclude} fnap.abnf" in PAGE
